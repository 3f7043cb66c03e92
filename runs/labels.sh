#!/usr/bin/env bash
# The digits given their labels: a density for each label, and Bayes' theorem as a classifier.
# Makes the table of docs/results/labels.md. A quarter of an hour on one core.
set -euo pipefail
cd "$(dirname "$0")/.."
"${PYTHON:-python}" -m experiments labels | tee experiments/results/labels.txt
