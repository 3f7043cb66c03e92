#!/usr/bin/env bash
# Proportions of the digits 2, 3 and 6 of MNIST, with and without weights: a factorial at 14 x 14 pixels,
# four cells at 28 x 28, on samples of a known model, and on Fashion-MNIST.
# Makes docs/results/proportions.md. About four hours on one core, in parts; a run that was killed goes on.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -z "${MNIST:-}" ]; then
  echo "$0: skipped, MNIST names no file: an .npz of 10,000 digits, arrays images and labels" >&2
  exit 0
fi
PYTHON="${PYTHON:-python}"
"$PYTHON" -m experiments proportions.study --data "$MNIST"
"$PYTHON" -m experiments proportions.study --data "$MNIST" --study teacher
"$PYTHON" -m experiments proportions.study --data "$MNIST" --study large
if [ -n "${FASHION:-}" ]; then # train-images-idx3-ubyte.gz, its labels beside it
  "$PYTHON" -m experiments proportions.study --data "$FASHION" --study fashion
fi
"$PYTHON" -m experiments proportions.report
