#!/usr/bin/env bash
# The digits: one trust region at learning rates from 1e-4 to 1e-2, three seeds.
# Makes the table of learning rates of docs/results/digits.md. About ten minutes on two cores.
set -euo pipefail
cd "$(dirname "$0")/.."
"${PYTHON:-python}" -m experiments digits rates | tee experiments/results/digits_rates.txt
