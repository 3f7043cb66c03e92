#!/usr/bin/env bash
# Few steps and a wrong drift along an interpolant, with and without weights.
# Makes the first table of docs/results/interpolants.md. Half a minute on one core.
set -euo pipefail
cd "$(dirname "$0")/.."
"${PYTHON:-python}" -m experiments interpolants.steps
