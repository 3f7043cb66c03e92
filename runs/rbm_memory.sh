#!/usr/bin/env bash
# How long weights should remember: binary MNIST in the course of training.
# Makes the table of memories of docs/results/rbm.md. About half an hour on one core.
# What experiments/results/rbm_memory.json has is not run again: remove it for a fresh run.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -z "${MNIST:-}" ]; then
  echo "$0: skipped, MNIST names no file: an .npz of 10,000 digits, array images (10000, 28, 28)" >&2
  exit 0
fi
"${PYTHON:-python}" -m experiments rbm.memory --data "$MNIST" --seeds 1
