#!/usr/bin/env bash
# Proportions of the digits 2, 3 and 6 of MNIST, with and without weights: a factorial at 14 x 14 pixels.
# Makes docs/results/proportions.md. About 80 minutes on one core; a run that was killed goes on.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -z "${MNIST:-}" ]; then
  echo "$0: skipped, MNIST names no file: an .npz of 10,000 digits, arrays images and labels" >&2
  exit 0
fi
"${PYTHON:-python}" -m experiments proportions.study --data "$MNIST" "$@"
"${PYTHON:-python}" -m experiments proportions.report
