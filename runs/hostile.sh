#!/usr/bin/env bash
# log Z where it is hard: is it right, or does an alarm ring?
# Makes the table of the hostile suite of docs/results/log_z.md. About an hour on one core.
set -euo pipefail
cd "$(dirname "$0")/.."
"${PYTHON:-python}" -m experiments log_z.hostile --name hostile
"${PYTHON:-python}" -m experiments log_z.hostile --first 3 --seeds 1 --name hostile_fresh
