#!/usr/bin/env bash
# Masses of two modes that no walker crosses between, with and without weights.
# Makes the mixture's table of docs/results/mixture_and_gradient.md. About half an hour on one core.
set -euo pipefail
cd "$(dirname "$0")/.."
"${PYTHON:-python}" -m experiments mixture
