"""Faults: kills, interrupts, full disks, races; ``make faults`` runs their long form."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # the helpers of tests/
