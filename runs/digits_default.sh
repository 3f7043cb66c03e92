#!/usr/bin/env bash
# Likelihoods of the digits by the default of `noneq train`, three seeds, for docs/results/tables.md.
# About 20 minutes on one core.
set -euo pipefail
cd "$(dirname "$0")/.."
folder="$(mktemp -d)"
for seed in 0 1 2; do
  "${PYTHON:-python}" -m noneq train digits --seed "$seed" --out "$folder/$seed"
done
"${PYTHON:-python}" - "$folder" <<'END'
import json, sys
from pathlib import Path

runs = {p.name: json.loads((p / "likelihood.json").read_text()) for p in sorted(Path(sys.argv[1]).iterdir())}
Path("experiments/results/digits_default.json").write_text(json.dumps(runs, indent=1) + "\n")
END
