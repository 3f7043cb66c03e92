#!/usr/bin/env bash
# The digits: three seeds of noneq, 120 s each, beside Gaussians, mixtures and a kernel density.
# Makes the first table of docs/results/digits.md. About ten minutes on two cores.
set -euo pipefail
cd "$(dirname "$0")/.."
"${PYTHON:-python}" -m experiments digits table | tee experiments/results/digits.txt
