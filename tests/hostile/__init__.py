"""The hostile suite: cases of known log Z at which a bracket may be silently wrong.

======== =====================================================================================
REACHABLE 1 % of the rows are in each mode, or 10 of 1,024 draws of a base (the one given, or
          uniform sites) descend into it: the value must be right, or an alarm must ring
INFINITE  ``exp(-U)`` has no finite integral: an alarm must ring
INVISIBLE what neither rows nor draws of a base reach: counted apart, no sampler can see it
BENIGN    the value must be right and no alarm may ring
======== =====================================================================================

A case is built from a seed, which draws its rows.
"""

from __future__ import annotations

from collections.abc import Callable

from . import discrete, real
from .targets import Case

__all__ = ["BENIGN", "INFINITE", "INVISIBLE", "REACHABLE", "Case"]

Suite = dict[str, Callable[[int], Case]]

REACHABLE: Suite = {**real.CASES, **discrete.CASES}
INFINITE: Suite = real.INFINITE
INVISIBLE: Suite = real.INVISIBLE
BENIGN: Suite = {**real.BENIGN, **discrete.BENIGN}
