#!/usr/bin/env bash
# What a block Gibbs sweep and an update of an RBM cost, beside scikit-learn and rbms.
# Makes the table of RBMs of docs/results/speed.md. About two minutes on one core.
# Needs: pip install -c constraints.txt -e '.[rbm]'
set -euo pipefail
cd "$(dirname "$0")/.."
"${PYTHON:-python}" -m benchmarks.rbm_sweep
