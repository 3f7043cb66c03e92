#!/usr/bin/env bash
# A restricted Boltzmann machine of binary MNIST by the command line, 120 s of training.
# Makes the last section of docs/results/rbm.md. About four minutes on one core.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -z "${MNIST:-}" ]; then
  echo "$0: skipped, MNIST names no file: an .npz of 10,000 digits, array images (10000, 28, 28)" >&2
  exit 0
fi
"${PYTHON:-python}" -m noneq train "$MNIST" --model rbm --hidden 500 --binary --out runs/rbm_mnist --overwrite \
  | tee experiments/results/rbm_mnist_program.txt
