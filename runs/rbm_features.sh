#!/usr/bin/env bash
# Features of restricted Boltzmann machines in a scikit-learn pipeline, beside BernoulliRBM.
# Makes the table of features of docs/results/rbm.md. A few minutes on one core.
set -euo pipefail
cd "$(dirname "$0")/.."
for hidden in 256 100; do
  echo "$hidden hidden units"
  "${PYTHON:-python}" examples/rbm_digits.py "$hidden"
done | tee experiments/results/rbm_digits.txt
