"""An energy that keeps its log Z and its samples to itself, so that they have to be estimated."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from noneq.energies import evaluate, fingerprint
from noneq.spaces import space_of

__all__ = ["Unsolved"]


class Unsolved:
    """An energy that does all that another one does, except tell its log Z or sample itself.

    `noneq.log_z` asks a Gaussian or a small Boltzmann machine for its log Z; wrapped in this it
    has to be annealed like any other energy.

    Arguments:
        energy: any.

    >>> import torch, noneq
    >>> gaussian = noneq.Gaussian(torch.zeros(2), noneq.energies.Identity())
    >>> hasattr(gaussian, "log_z"), hasattr(noneq.testing.Unsolved(gaussian), "log_z")
    (True, False)
    """

    def __init__(self, energy: Any) -> None:
        self.energy = energy
        self.space = space_of(energy)
        for name in ("gradient", "gibbs", "path_from", "base", "remedy"):
            if hasattr(energy, name):
                setattr(self, name, getattr(energy, name))

    def __call__(self, x: Tensor) -> Tensor:
        """Return the energies (B,)."""
        u: Tensor = self.energy(x)
        return u

    def fingerprint(self) -> Tensor | None:
        """Return the wrapped energy's fingerprint."""
        return fingerprint(self.energy)

    def evaluate(
        self, x: Tensor, previous_cache: Any = None, graph: bool = False
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the wrapped energy's values and cache."""
        return evaluate(self.energy, x, previous_cache, graph=graph, skip_gradient=True)
