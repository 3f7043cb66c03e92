#!/usr/bin/env bash
# Three tables of known density: the reported likelihoods beside quadrature, many draws and the
# truth. Makes the table of "Reported likelihoods against exact ones" in docs/results/tables.md.
# About 25 minutes on one core; a run that was killed goes on.
set -euo pipefail
cd "$(dirname "$0")/.."
"${PYTHON:-python}" -m experiments tables.known "$@"
