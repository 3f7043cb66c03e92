#!/usr/bin/env bash
# Features of restricted Boltzmann machines in a scikit-learn pipeline, beside BernoulliRBM.
# Makes the table of features of docs/results/rbm.md. A few minutes on one core.
set -euo pipefail
cd "$(dirname "$0")/.."
"${PYTHON:-python}" examples/rbm_digits.py | tee experiments/results/rbm_digits.txt
