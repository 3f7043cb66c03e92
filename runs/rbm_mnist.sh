#!/usr/bin/env bash
# Restricted Boltzmann machines on binary MNIST: noneq, scikit-learn and rbms, ten minutes each.
# Makes the table of binary MNIST of docs/results/rbm.md. Five hours on one core.
# What experiments/results/rbm_mnist_*.json has is not run again: remove them for a fresh run.
# Needs: pip install -c constraints.txt -e '.[rbm]'
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -z "${MNIST:-}" ]; then
  echo "$0: skipped, MNIST names no file: an .npz of 10,000 digits, array images (10000, 28, 28)" >&2
  exit 0
fi
"${PYTHON:-python}" -m experiments rbm.mnist --data "$MNIST"
