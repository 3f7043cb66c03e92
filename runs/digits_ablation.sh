#!/usr/bin/env bash
# The digits: weights, trust region, start and renewal, each on and off, 400 iterations a cell.
# Makes the factorial table of docs/results/digits.md. About an hour and a half on two cores.
set -euo pipefail
cd "$(dirname "$0")/.."
"${PYTHON:-python}" -m experiments digits ablate | tee experiments/results/digits_ablation.txt
