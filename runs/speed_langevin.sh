#!/usr/bin/env bash
# What a weighted Langevin step costs, and walkers that are moved in turns.
# Makes the section on Langevin steps of docs/results/speed.md. About four minutes on one core.
set -euo pipefail
cd "$(dirname "$0")/.."
"${PYTHON:-python}" -m benchmarks.langevin
