#!/usr/bin/env bash
# Bias and variance of the gradient by five methods, against quadrature.
# Makes the gradient's table of docs/results/gradient.md. About 20 minutes on one core.
set -euo pipefail
cd "$(dirname "$0")/.."
"${PYTHON:-python}" -m experiments gradient
