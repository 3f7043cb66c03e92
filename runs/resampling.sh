#!/usr/bin/env bash
# When to resample while annealing, in which order, and by which kernel: errors of log Z.
# Makes the table of errors of docs/lab/annealing.md. About three minutes on one core.
set -euo pipefail
cd "$(dirname "$0")/.."
"${PYTHON:-python}" -m experiments log_z.resampling
