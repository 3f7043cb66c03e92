"""What the library costs in time and memory: speed only, recorded in ``benchmarks/results``."""

from pathlib import Path

__all__ = ["RESULTS"]

#: where the benchmarks record what they measure
RESULTS = Path(__file__).parent / "results"
