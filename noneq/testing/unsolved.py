"""An energy that hides its log Z and its samples, so that they have to be estimated."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from noneq.energies import evaluate, fingerprint
from noneq.spaces import space_of

__all__ = ["Unsolved"]


class Unsolved:
    """Hide the methods ``log_z`` and ``sample`` of an energy, and keep those that kernels use.

    `noneq.log_z` returns the exact log Z of an energy that has these methods, such as a Gaussian
    or a small RBM. For the wrapped energy it has to estimate log Z by annealing.

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
        """Compute the energies of rows.

        Arguments:
            x: rows (B, *shape).

        Returns:
            Energies (B,).
        """
        u: Tensor = self.energy(x)
        return u

    def fingerprint(self) -> Tensor | None:
        """Compute a fingerprint of the wrapped energy's parameters, which changes with them.

        Returns:
            The fingerprint; None if the wrapped energy has none.
        """
        return fingerprint(self.energy)

    def evaluate(
        self, x: Tensor, previous_cache: Any = None, graph: bool = False
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the wrapped energy, with intermediate results that kernels use again.

        Arguments:
            x: rows (B, *shape).
            previous_cache: cache of the same rows from an earlier evaluation, or None.
            graph: whether the energies keep the graph of autograd.

        Returns:
            Energies (B,), and a cache: tensors by name, one row for each row of x.
        """
        return evaluate(self.energy, x, previous_cache, graph=graph, skip_gradient=True)
