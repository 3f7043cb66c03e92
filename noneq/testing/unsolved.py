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
        energy: the energy to wrap, a function (B, *shape) -> (B,) or an object with more methods.

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
        """Compute the energies of states.

        Arguments:
            x: B states (B, *shape), where ``shape`` is the shape of one state.

        Returns:
            Energies (B,).
        """
        u: Tensor = self.energy(x)
        return u

    def fingerprint(self) -> Tensor | None:
        """Compute a fingerprint: a hash of the wrapped energy's parameters.

        Returns:
            A 0-d integer tensor, as `noneq.energies.fingerprint` returns it; None if the wrapped
            energy is neither a torch module nor has a method ``fingerprint``.
        """
        return fingerprint(self.energy)

    def evaluate(
        self, x: Tensor, previous_cache: Any = None, graph: bool = False
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the wrapped energy, with intermediate results that kernels use again.

        Arguments:
            x: B states (B, *shape), where ``shape`` is the shape of one state.
            previous_cache: cache of the same states from an earlier evaluation, or None.
            graph: whether the energies keep the graph of autograd.

        Returns:
            Energies (B,), and the cache, a dictionary of intermediate results such as the logits
            of hidden units: tensors whose first dimension is B.
        """
        return evaluate(self.energy, x, previous_cache, graph=graph, skip_gradient=True)
