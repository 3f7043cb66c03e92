#!/usr/bin/env bash
# Sampling from data by a learned velocity: noneq, torchcfm and flow_matching.
# Makes the last tables of docs/results/interpolants.md. About a quarter of an hour on one core.
# Needs: pip install -c constraints.txt -e '.[flows]'
set -euo pipefail
cd "$(dirname "$0")/.."
"${PYTHON:-python}" -m experiments interpolants.peers
