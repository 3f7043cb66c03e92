#!/usr/bin/env bash
# A drift that is learned by least squares, on the lattice phi^4 and on many wells, beside annealing.
# Makes the section on escorted steps of docs/results/interpolants.md. About 5 minutes on one core.
set -euo pipefail
cd "$(dirname "$0")/.."
"${PYTHON:-python}" -m experiments interpolants.escort "$@"
