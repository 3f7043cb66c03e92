"""Whether a column has several peaks, each of which may be normal by itself."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["has_peaks"]

DIP = 0.8  # density between two peaks, in units of that of the lower one, that sets them apart
MASS = 0.05  # on each side of such a dip
POINTS = 2001  # at which the density is computed


def has_peaks(gaussians: np.ndarray[Any, np.dtype[np.float64]]) -> bool:
    """Return whether the density of a mixture in one dimension has a dip between two peaks.

    Arguments:
        gaussians: weight, mean and standard deviation of each Gaussian (K, 3).

    Returns:
        Whether there is a point with a twentieth of the mass or more on each side, where the
        density is below 0.8 times the highest on either side.

    >>> narrow, wide = [[0.3, 0.0, 1.0], [0.7, 5.0, 1.0]], [[0.3, 0.0, 1.0], [0.7, 2.0, 1.0]]
    >>> has_peaks(np.array(narrow)), has_peaks(np.array(wide))
    (True, False)
    """
    weights, means, sds = gaussians.T
    points = np.linspace((means - 4 * sds).min(), (means + 4 * sds).max(), POINTS)[:, None]
    density = (weights / sds * np.exp(-(((points - means) / sds) ** 2) / 2)).sum(1)
    below, above = np.maximum.accumulate(density), np.maximum.accumulate(density[::-1])[::-1]
    mass = density.cumsum() / density.sum()
    aside = np.minimum(mass, 1 - mass) >= MASS
    return bool((aside & (density < DIP * np.minimum(below, above))).any())
