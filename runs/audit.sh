#!/usr/bin/env bash
# Energies that torchebm, ebmkit and noneq train on the digits, audited by log_z.
# Makes the table of docs/results/audit.md. About a quarter of an hour on one core.
# Needs: pip install -c constraints.txt -e '.[audit]'
set -euo pipefail
cd "$(dirname "$0")/.."
"${PYTHON:-python}" -m experiments audit | tee experiments/results/audit.txt
