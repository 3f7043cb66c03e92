#!/usr/bin/env bash
# Restricted Boltzmann machines on DNA splice rows, by the processor's time, beside scikit-learn.
# Makes the table of DNA rows of docs/results/rbm.md. About half an hour on one core.
# Needs: pip install -c constraints.txt -e '.[dna]'
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -z "${DNA:-}" ]; then
  echo "$0: skipped, DNA names no file: DNA.rda of R's package mlbench" >&2
  exit 0
fi
"${PYTHON:-python}" -m experiments rbm.dna --data "$DNA"
