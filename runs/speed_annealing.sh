#!/usr/bin/env bash
# What annealing costs over the evaluations that it needs.
# Makes the table of annealing of docs/results/speed.md. About two minutes on one core.
set -euo pipefail
cd "$(dirname "$0")/.."
"${PYTHON:-python}" -m benchmarks.annealing
