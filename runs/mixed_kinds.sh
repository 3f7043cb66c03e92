#!/usr/bin/env bash
# Two synthetic tables of mixed kinds of columns, whose true likelihood is known. Makes the table of
# "Mixed kinds" in docs/results/tables.md. About 15 minutes on one core.
set -euo pipefail
cd "$(dirname "$0")/.."
"${PYTHON:-python}" -m experiments mixed_kinds "$@"
