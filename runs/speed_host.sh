#!/usr/bin/env bash
# What an iteration of training waits for and launches, counted beside a bare loop.
# Makes the table of transfers of docs/results/speed.md. About a minute on one core.
set -euo pipefail
cd "$(dirname "$0")/.."
"${PYTHON:-python}" -m benchmarks.host_traffic
