#!/usr/bin/env bash
# The Gaussian mixtures of arXiv 2305.19414: kernels and weights, resampling, numbers of walkers.
# Makes docs/results/paper_a.md. About four and a half hours on one core, in parts; a run that was killed goes on.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON="${PYTHON:-python}"
for part in ways resampling walkers; do
  "$PYTHON" -m experiments paper_a.mixture "$part"
done
"$PYTHON" -m experiments paper_a.report --out docs/mixture.png
