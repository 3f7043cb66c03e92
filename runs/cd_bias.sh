#!/usr/bin/env bash
# The bias of contrastive divergence on machines that can be enumerated.
# Makes the tables and figures of docs/rbm_bias.md. About 20 minutes on one core.
set -euo pipefail
cd "$(dirname "$0")/.."
"${PYTHON:-python}" -m experiments cd_bias.study
