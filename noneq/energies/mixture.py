"""A mixture of solvable energies of any kind, e.g. one for each cluster of the data.

Annealing from such a mixture starts walkers (weighted samples) in every cluster. For Gaussians of
some tens of dimensions `noneq.GaussianMixture` is the same density, and faster.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from noneq.energies.base import Cache, Solvable, evaluate
from noneq.energies.covariance import Factor
from noneq.spaces import Space, space_of

__all__ = ["Mixture"]


class Mixture(nn.Module):
    """Mixes solvable energies to a normalised energy, with ``log Z = 0``.

    ``U(x) = -log sum_k pi_k exp(-U_k(x)) / Z_k``, with Z_k the normalising constants of the
    components and pi_k their probabilities.

    Arguments:
        components: solvable energies U_k (with exact log Z and samples), for positions of the same
            shape in the same space.
        masses: probabilities pi (K,) of the components, positive, normalised here; by default
            all equal.

    Attributes:
        log_masses: logarithms of pi (K,).
        log_norms: ``log Z_k`` of the components (K,).
        factor: square root of the covariance of the first component, if it has one; else None.

    Raises:
        ValueError: there are no components, the numbers of masses and components differ, a mass is
            not positive, or the components live on different spaces.

    >>> from noneq.energies import Bernoulli
    >>> two = [Bernoulli(torch.tensor([2.0, -1.0])), Bernoulli(torch.zeros(2))]
    >>> mixture = Mixture(two)
    >>> states = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> float((-mixture(states)).logsumexp(0).abs()) < 1e-6  # probabilities sum to 1
    True
    """

    log_masses: Tensor
    log_norms: Tensor

    def __init__(self, components: Sequence[Solvable], masses: Tensor | None = None) -> None:
        super().__init__()
        if not components:
            raise ValueError("a mixture has one component or more, got none")
        self.parts = nn.ModuleList(c for c in components if isinstance(c, nn.Module))
        if masses is None:
            held = itertools.chain(self.parts.buffers(), self.parts.parameters())
            masses = torch.ones(len(components), device=next((t.device for t in held), "cpu"))
        if masses.shape != (len(components),) or not bool((masses > 0).all()):
            raise ValueError(
                f"{len(components)} components need as many positive masses, got {masses.tolist()}"
            )
        spaces = {str(space_of(one)) for one in components}
        if len(spaces) > 1:
            raise ValueError(f"components live on one space, got {' and '.join(sorted(spaces))}")
        self.components = tuple(components)
        self.space: Space = space_of(components[0])
        self.factor: Factor | None = getattr(components[0], "factor", None)
        norms = [one.log_z() for one in components]
        self.register_buffer("log_masses", (masses / masses.sum()).log())
        self.register_buffer("log_norms", masses.new_tensor(norms))

    def _log_p(self, energies: Sequence[Tensor]) -> Tensor:
        """Return ``log pi_k exp(-U_k) / Z_k`` (B, K) from the components' energies (B,)."""
        return (self.log_masses - self.log_norms).to(energies[0]) - torch.stack([*energies], 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the energies ``-log sum_k pi_k exp(-U_k(x)) / Z_k`` (B,) of the rows of x."""
        return -self._log_p([one(x) for one in self.components]).logsumexp(1)

    def evaluate(
        self,
        x: Tensor,
        previous_cache: Mapping[str, Tensor] | None = None,  # noqa: ARG002
        graph: bool = False,  # noqa: ARG002
    ) -> tuple[Tensor, Cache]:
        """Evaluate the energy and its gradient, ``sum_k P(k | x) dU_k/dx``, at the rows of x.

        Arguments:
            x: positions (B, *shape).
            previous_cache: not used; an argument of the ``evaluate`` methods of all energies.
            graph: not used: a mixture has no parameters that are trained.

        Returns:
            The energies (B,) and a cache, ``{"g": dU/dx (B, *shape)}``.
        """
        each = [evaluate(one, x) for one in self.components]
        log_p = self._log_p([u for u, _ in each])
        u = -log_p.logsumexp(1)
        r = (log_p + u[:, None]).exp().T.reshape(len(each), -1, *[1] * (x.dim() - 1))
        g = torch.stack([cache["g"] for _, cache in each])
        return u, {"g": (r * g).sum(0)}

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """Draw n exact, independent samples of the mixture.

        Arguments:
            n: number of samples.
            rng: source of randomness.

        Returns:
            The samples (n, *shape).
        """
        p = self.log_masses.exp()
        k = torch.multinomial(p, n, replacement=True, generator=rng)
        drawn = torch.stack([one.sample(n, rng) for one in self.components])
        return drawn[k, torch.arange(n, device=k.device)]

    def responsibilities(self, x: Tensor) -> Tensor:
        """Return the posterior probabilities ``P(k | x)`` (B, K) of components given rows x."""
        return self._log_p([one(x) for one in self.components]).softmax(1)

    def with_masses(self, masses: Tensor) -> Mixture:
        """Return a new mixture of the same components with other probabilities.

        Arguments:
            masses: probabilities (K,) of the components, positive; they are normalised here.

        Returns:
            The new mixture.
        """
        return Mixture(self.components, masses)

    def gibbs(self, x: Tensor, cache: Cache, rng: torch.Generator) -> Tensor:  # noqa: ARG002
        """Make a Gibbs sweep of a single block, which draws exact samples of the mixture.

        Arguments:
            x: positions (B, *shape), of which only the number of rows is used.
            cache: not used; an argument of the ``gibbs`` methods of all energies.
            rng: source of randomness.

        Returns:
            The new positions (B, *shape), independent of x.
        """
        return self.sample(len(x), rng)

    def log_z(self) -> float:
        """Return 0.0, the log Z of the mixture, which is normalised."""
        return 0.0
