"""An energy that hides its log Z and its samples, so that they have to be estimated."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from noneq.energies import evaluate, fingerprint
from noneq.spaces import space_of

__all__ = ["Unsolved"]


class Unsolved:
    """Wrap an energy so that all of its methods but ``log_z`` and ``sample`` are available.

    `noneq.log_z` asks a Gaussian or a small RBM for its exact log Z; a wrapped one has to be
    annealed like any other energy.

    Arguments:
        energy: the energy to wrap.

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
        """Compute the energies (B,) of rows x (B, *shape)."""
        u: Tensor = self.energy(x)
        return u

    def fingerprint(self) -> Tensor | None:
        """Return the fingerprint of the wrapped energy's parameters; None if it has none."""
        return fingerprint(self.energy)

    def evaluate(
        self, x: Tensor, previous_cache: Any = None, graph: bool = False
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the wrapped energy's values (B,) and cache."""
        return evaluate(self.energy, x, previous_cache, graph=graph, skip_gradient=True)
