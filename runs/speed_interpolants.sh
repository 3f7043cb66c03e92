#!/usr/bin/env bash
# What weights cost along an interpolant, against the bare diffusion.
# Makes the table of interpolants of docs/results/speed.md. Half a minute on one core.
set -euo pipefail
cd "$(dirname "$0")/.."
"${PYTHON:-python}" -m benchmarks.interpolants
