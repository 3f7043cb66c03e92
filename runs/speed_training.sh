#!/usr/bin/env bash
# What weights cost a training: evaluations, time and memory.
# Makes the first tables of docs/results/speed.md. About five minutes on one core.
set -euo pipefail
cd "$(dirname "$0")/.."
"${PYTHON:-python}" -m benchmarks.cost
