"""The path to a density tilted by a reward r, ``rho_1(x) e^{r(x)}``, without training.

Here rho_1 is the density at the end of a path that is known or has been trained already.
"""

from __future__ import annotations

import torch
from torch import Tensor

from noneq.energies import Cache, Energy, evaluate
from noneq.models.interpolants.path import DriftedPath, checked_fields, gradient_with_graph

__all__ = ["RewardPath"]


class RewardPath(DriftedPath):
    """Tilt a path by a reward r, so that it ends at ``exp(-U_1(x) + r(x))``, without training.

    Of a path with the energies U(x, t), from t = 0 to the model ``U_1 = U(., 1)``, a score s and a
    drift (velocity field) b, it makes one with the energies ``U(x, t) - t r(x)`` and the score
    ``s + t grad r`` (guidance). Samples that are guided in this way follow no known density unless
    they are weighted; with weights they sample ``rho_1 e^r``, with ``rho_1 = exp(-U_1) / Z_1``,
    and log Z exceeds ``log Z_1`` by ``log E_{rho_1} e^r``.

    Arguments:
        path: path to U_1 with a drift and a score.
        reward: reward r, ``(B, *shape) -> (B,)``, e.g. the log-probability of a classifier.
        whole: whether to change the drift, too, as the changed score implies
            (`DriftedPath.answer`). Weights are exact in either case; in a test on a mixture their
            effective sample size was ten times larger or more with False
            (docs/lab/interpolants.md).

    Raises:
        ValueError: ``whole`` is set and the drift does not follow from the score, or the reward
            has no gradient.
        FloatingPointError: the reward is not finite at a sample at t = 0.
    """

    def __init__(self, path: DriftedPath, reward: Energy, *, whole: bool = False) -> None:
        super().__init__(path.base)
        self.path = path
        self.reward = reward
        self.whole = whole
        self.space = path.space

    def fields(self, x: Tensor, t: float) -> tuple[Tensor, Cache]:
        """Compute the energies ``U(x, t) - t r(x)`` with the reward r, the drift and the score.

        Arguments:
            x: positions (B, *shape).
            t: time in [0, 1].

        Returns:
            The energies (B,), and a dictionary of the drift ``b`` and the score ``s`` or the
            gradient ``g`` of the energies, whichever the path without reward has, each (B,
            *shape).

        Raises:
            ValueError: the reward has no gradient.
            FloatingPointError: t = 0 and the reward is not finite at a position.
        """
        u, cache = checked_fields(self.path, x, t)
        r, slope = evaluate(self.reward, x)
        if "g" not in slope:
            raise ValueError(
                f"the reward, a {type(self.reward).__name__}, has no gradient to guide by"
            )
        if t == 0:  # only there, to avoid transfers from a GPU later; weights become invalid then
            self._refuse_walls(r)
        up = t * slope["g"]
        if self.whole:
            cache = {**cache, "b": cache["b"] + self._answer(slope["g"], t)}
        cache = {**cache, **{k: cache[k] + up for k in ("s",) if k in cache}}
        return u - t * r, {**cache, **{k: cache[k] - up for k in ("g",) if k in cache}}

    def drift(self, x: Tensor, t: float) -> Tensor:
        """Compute the drift (velocity field) b of the path with the reward.

        It is that of the path without reward, or, if the path was made with ``whole=True``, the
        one that follows from the score with the reward.

        Arguments:
            x: positions (B, *shape).
            t: time in [0, 1].

        Returns:
            The drift (B, *shape), differentiable in x.
        """
        b = self.path.drift(x, t)
        if not self.whole:
            return b
        y = gradient_with_graph(self.reward, x)
        assert y is not None  # or `fields` has refused it
        return b + self._answer(y, t)

    def energy_gradient(self, x: Tensor, t: float) -> Tensor | None:
        """Compute the gradient of the energy ``U(x, t) - t r(x)``, with the reward r.

        Arguments:
            x: positions (B, *shape).
            t: time in [0, 1].

        Returns:
            The gradient (B, *shape); None if the path without reward does not give that of U
            separately.
        """
        g, (_, slope) = self.path.energy_gradient(x, t), evaluate(self.reward, x)
        return None if g is None else g - t * slope["g"]

    def _refuse_walls(self, r: Tensor) -> None:
        bad = ~torch.isfinite(r)
        if bool(bad.any()):
            raise FloatingPointError(
                f"the reward, a {type(self.reward).__name__}, is {float(r[bad][0])} at "
                f"{int(bad.sum())} of {len(r)} walkers at the start (t = 0), and no drift leads "
                "through a wall: make it finite wherever the base is, e.g. by clamp(min=-50)"
            )

    def _answer(self, y: Tensor, t: float) -> Tensor:
        change = self.path.answer(y, t)
        if change is None:
            raise ValueError(
                f"the drift of a {type(self.path).__name__} does not follow from its score: it "
                "is guided only on paths from a Gaussian; leave whole=False"
            )
        return change
