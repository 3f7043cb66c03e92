#!/usr/bin/env bash
# The digits 2, 3 and 6 of MNIST by a convolution and the command line.
# Makes the section on images of docs/results/digits.md. Three seeds, 45 minutes each on one core.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -z "${MNIST:-}" ]; then
  echo "$0: skipped, MNIST names no file: an .npz of 10,000 digits, arrays images and labels" >&2
  exit 0
fi
for seed in 0 1 2; do
  record=mnist$([ "$seed" = 0 ] || echo "_seed$seed")
  "${PYTHON:-python}" -m noneq train "$MNIST" --classes 2,3,6 --subset 800,400,200 --budget 20m --seed "$seed" \
    --out "runs/$record" --overwrite | tee "experiments/results/$record.txt"
done
