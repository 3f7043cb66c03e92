#!/usr/bin/env bash
# An energy of the digits by score matching, by maximum likelihood, and by both in turn.
# Makes the table of digits of docs/results/interpolants.md. About an hour on one core.
# A cell that is on record is run again and replaced.
set -euo pipefail
cd "$(dirname "$0")/.."
for seed in 0 1 2; do
  for way in score both; do
    "${PYTHON:-python}" -m experiments interpolants.digits run --plan.way "$way" --plan.seed "$seed"
    "${PYTHON:-python}" -m experiments interpolants.digits run --plan.way "$way" --plan.seed "$seed" --plan.iterations 1237
  done
done
"${PYTHON:-python}" -m experiments interpolants.digits run --plan.way likelihood --plan.seed 0
"${PYTHON:-python}" -m experiments interpolants.digits table
