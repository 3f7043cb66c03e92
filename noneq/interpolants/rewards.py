r"""A density tilted by a reward, ``rho_1(x) e^{r(x)}``, without training."""

from __future__ import annotations

from torch import Tensor

from noneq.energies import Cache, Energy, evaluate
from noneq.interpolants.drifted import DriftedPath

__all__ = ["RewardPath"]


class RewardPath(DriftedPath):
    r"""``U(x, t) - t r(x)``, the drift as it was, the score guided: ``s + t grad r``.

    Without weights this is guidance, whose samples are of no density that is known. With weights
    they are of ``rho_1 e^r``, and log Z gains ``log E_{rho_1} e^r``.

    Arguments:
        path: to U_1.
        reward: r, ``(B, *shape) -> (B,)``, e.g. a classifier's log-probability.
    """

    def __init__(self, path: DriftedPath, reward: Energy) -> None:
        super().__init__(path.base)
        self.path = path
        self.reward = reward
        self.space = path.space

    def fields(self, x: Tensor, t: float) -> tuple[Tensor, Cache]:
        """The path's, the reward taken off the energy and its gradient."""
        u, cache = self.path.fields(x, t)
        r, slope = evaluate(self.reward, x)
        if "g" not in slope:
            raise ValueError(
                f"the reward, a {type(self.reward).__name__}, has no gradient to guide by"
            )
        up = t * slope["g"]
        cache = {**cache, **{k: cache[k] + up for k in ("s",) if k in cache}}
        return u - t * r, {**cache, **{k: cache[k] - up for k in ("g",) if k in cache}}

    def drift(self, x: Tensor, t: float) -> Tensor:
        """The path's."""
        return self.path.drift(x, t)

    def gradient(self, x: Tensor, t: float) -> Tensor | None:
        """The path's less the reward's."""
        g, (_, slope) = self.path.gradient(x, t), evaluate(self.reward, x)
        return None if g is None else g - t * slope["g"]
