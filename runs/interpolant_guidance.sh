#!/usr/bin/env bash
# Whether a reward should guide the drift as well as the score: effective sample sizes.
# Makes the table of rewards of docs/lab/interpolants.md. About a minute on one core.
set -euo pipefail
cd "$(dirname "$0")/.."
"${PYTHON:-python}" -m experiments interpolants.guidance
