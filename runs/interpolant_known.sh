#!/usr/bin/env bash
# Learned drifts towards known energies, beside annealing.
# Makes the table of known energies of docs/results/interpolants.md. About a minute on one core.
set -euo pipefail
cd "$(dirname "$0")/.."
"${PYTHON:-python}" examples/interpolant_known.py | tee experiments/results/interpolant_known.txt
