#!/usr/bin/env bash
# Whether everything runs and is right on a GPU, what it waits for there, and how fast it is.
# Makes the section on a GPU of docs/results/speed.md. About four minutes on one GPU; without one, nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
python="${PYTHON:-python}"
if "$python" -c "import sys, torch; sys.exit(torch.cuda.is_available())"; then
    echo "there is no GPU here: nothing is measured"
    exit 0
fi
"$python" -u -m benchmarks.gpu --device cuda "$@"
