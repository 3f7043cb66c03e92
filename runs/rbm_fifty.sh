#!/usr/bin/env bash
# Restricted Boltzmann machines on 50 bits, beside the exact gradient.
# Makes the table of 50 bits of docs/results/rbm.md. About a quarter of an hour on one core.
set -euo pipefail
cd "$(dirname "$0")/.."
"${PYTHON:-python}" -m experiments rbm.fifty
