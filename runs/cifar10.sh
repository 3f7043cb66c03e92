#!/usr/bin/env bash
# CIFAR-10 on one GPU: what it costs, and one training, PRESET=ours or PRESET=paper; a killed run goes on.
# Makes docs/results/cifar10.md, so far its table of costs alone. Hours: see there.
set -euo pipefail
cd "$(dirname "$0")/.."
"${PYTHON:-python}" -m experiments cifar10.cost
if [ -z "${CIFAR10:-}" ]; then
  echo "$0: no training, CIFAR10 names no folder: cifar-10-batches-bin, the binary version" >&2
  exit 0
fi
"${PYTHON:-python}" -u -m experiments cifar10.train "$CIFAR10" --preset "${PRESET:-ours}" "$@"
