#!/usr/bin/env bash
# A mixture and digits of one class by a reward, with weights and by guidance alone.
# Makes the tables of rewards of docs/results/interpolants.md. About a minute on one core.
set -euo pipefail
cd "$(dirname "$0")/.."
"${PYTHON:-python}" examples/interpolant_reward.py | tee experiments/results/interpolant_reward.txt
