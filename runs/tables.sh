#!/usr/bin/env bash
# Likelihoods of small tables of scikit-learn: noneq's default, a Gaussian mixture, a kernel density.
# Makes the table of docs/results/tables.md. About eight minutes on one core.
set -euo pipefail
cd "$(dirname "$0")/.."
"${PYTHON:-python}" -m experiments tables
