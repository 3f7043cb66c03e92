#!/usr/bin/env bash
# log Z by tempered SMC: noneq, blackjax and particles on the same targets.
# Makes the table of peers of docs/results/log_z.md. About an hour on one core; a run that was killed goes on.
# Needs: pip install -c constraints.txt -e '.[peers]'
set -euo pipefail
cd "$(dirname "$0")/.."
"${PYTHON:-python}" -m experiments log_z.smc_peers | tee experiments/results/log_z_peers.txt
