#!/usr/bin/env bash
# Are the errors true that log_z gives? 200 seeds of targets with a known log Z.
# Makes the table of errors of docs/results/log_z.md. About ten minutes on one core.
set -euo pipefail
cd "$(dirname "$0")/.."
"${PYTHON:-python}" -m experiments log_z.calibration | tee experiments/results/calibration.txt
