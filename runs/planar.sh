#!/usr/bin/env bash
# Five densities in the plane, trained in three ways, beside the truth, and their figure.
# Makes docs/results/planar.md. About 50 minutes on one core; a run that was killed goes on.
set -euo pipefail
cd "$(dirname "$0")/.."
"${PYTHON:-python}" -m experiments planar.study "$@"
"${PYTHON:-python}" -m experiments planar.picture
