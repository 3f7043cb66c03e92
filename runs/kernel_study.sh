#!/usr/bin/env bash
# Every kernel along the same recorded trainings, at equal evaluations.
# Makes the tables and figures of docs/kernel_study.md. About twelve minutes on one core.
set -euo pipefail
cd "$(dirname "$0")/.."
"${PYTHON:-python}" -m experiments kernels.study
