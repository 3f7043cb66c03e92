"""Densities of x given a context c, e.g. a label or covariates: energies ``U(x | c)``.

A row of such a model is ``(x, c)``: d numbers and behind them the k numbers of the context, for a
label a one-hot vector (`with_context` joins them). No move changes the context of a walker
(weighted sample), except that `noneq.kernels.Refreshed` proposes whole rows of the base. An energy
says that it has a context by ``space = noneq.spaces.WithContext(k)``; `noneq.Tilted` takes it from
its base. With the contexts of the training rows as the distribution ``p(c)``, uniform over these
rows, the model is

    ``p(x, c) = p(c) exp(-U(x, c)) / Z``,  ``Z = mean over contexts of Z_c``,
    ``Z_c = integral of exp(-U(x, c)) dx``,

whose weights, likelihood and training are those of any other model. Its largest likelihood is
reached where every Z_c is equal and ``p(x | c) = exp(-U(x, c)) / Z_c`` is the conditional density
of the data. `Given` is the model of x for one context, an energy as any other: its log Z is
``log Z_c``, which `noneq.log_z` brackets. By Bayes' theorem ``p(c | x)`` is proportional to ``p(c)
exp(-U(x, c))``, without any log Z.

Source: classifiers as joint energies, Grathwohl and others 2020 (arXiv 1912.03263).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from noneq.energies.base import Cache, Energy, Solvable, evaluate
from noneq.spaces import WithContext, space_of

__all__ = ["Given", "log_joint", "posterior", "with_context"]


def with_context(x: Tensor, context: Tensor) -> Tensor:
    """Join rows and their contexts to the rows of a conditional model.

    Arguments:
        x: rows (M, *shape), with d numbers each.
        context: contexts (M, k), or one context (k,) for all rows.

    Returns:
        The rows (M, d + k), in the dtype of x.

    Raises:
        ValueError: the numbers of rows and contexts differ, or contexts are labels as integers.

    >>> labels = torch.nn.functional.one_hot(torch.tensor([0, 2]), 3)
    >>> with_context(torch.tensor([[0.5], [1.5]]), labels)
    tensor([[0.5000, 1.0000, 0.0000, 0.0000],
            [1.5000, 0.0000, 0.0000, 1.0000]])
    """
    if context.dim() == 1 and not context.is_floating_point():
        raise ValueError(
            "labels are made vectors first: torch.nn.functional.one_hot(labels).float()"
        )
    if context.dim() == 1:
        context = context.expand(len(x), -1)
    if context.dim() != 2 or len(context) != len(x):
        raise ValueError(
            f"contexts are a matrix ({len(x)}, k) beside {len(x)} rows, got {tuple(context.shape)}"
        )
    return torch.cat([x.flatten(1), context.to(x)], 1)


class Given(nn.Module):
    """Represents the density of x for one context: ``U(x) = U(x, c)``, an energy as any other.

    Its attribute ``base`` is the base of the conditional model for this context, where the model
    has one. So ``noneq.log_z(Given(energy, c))`` brackets ``log Z_c``.

    Arguments:
        energy: energy of rows (x, c), shape (B, d + k).
        context: context c (k,).

    Raises:
        ValueError: the energy has no context, or one of another size.

    >>> import noneq
    >>> labels = torch.nn.functional.one_hot(torch.arange(600) % 2, 2)
    >>> x = torch.randn(600, 1) + labels[:, :1]
    >>> base = noneq.energies.ConditionalGaussian.fit(x, labels)
    >>> energy = noneq.Tilted(base, noneq.MLP(3, width=8))
    >>> one = Given(energy, torch.tensor([1.0, 0.0]))
    >>> abs(noneq.log_z(one, n=64, temperatures=50).value - base.log_z()) < 1e-3
    True
    """

    context: Tensor

    def __init__(self, energy: Energy, context: Tensor) -> None:
        super().__init__()
        space = space_of(energy)
        if not isinstance(space, WithContext):
            raise ValueError(
                f"a {type(energy).__name__} has no context: take a ConditionalGaussian as its base"
            )
        if context.shape != (space.size,):
            raise ValueError(f"a context is a vector ({space.size},), got {tuple(context.shape)}")
        self.energy = energy
        self.register_buffer("context", context.detach().clone())
        base = getattr(energy, "base", energy)
        if hasattr(base, "given"):
            self.base: Solvable = base.given(context)

    def forward(self, x: Tensor) -> Tensor:
        """Return the energies (B,) of rows x (B, d)."""
        u: Tensor = self.energy(with_context(x, self.context))
        return u

    def evaluate(
        self,
        x: Tensor,
        previous_cache: Mapping[str, Tensor] | None = None,  # noqa: ARG002
        graph: bool = False,
    ) -> tuple[Tensor, Cache]:
        """Evaluate the energy and its gradient at the rows of x.

        Arguments:
            x: rows (B, *shape), with d numbers each.
            previous_cache: not used; an argument of the ``evaluate`` methods of all energies.
            graph: whether the energies keep their autograd graph to the parameters.

        Returns:
            The energies (B,) and a cache, ``{"g": dU/dx (B, *shape)}``.
        """
        u, cache = evaluate(self.energy, with_context(x, self.context), graph=graph)
        if "g" not in cache:
            return u, {}
        return u, {"g": cache["g"][:, : -len(self.context)].reshape(x.shape)}


def posterior(energy: Energy, x: Tensor, contexts: Tensor, masses: Tensor | None = None) -> Tensor:
    """Compute the probabilities of contexts given x: ``p(c | x)`` by Bayes' theorem.

    They are proportional to ``p(c) exp(-U(x, c))``. The normalising constants are part of the
    model, since Z is that of x and c together.

    Arguments:
        energy: energy of rows (x, c).
        x: rows (M, *shape).
        contexts: contexts (C, k) to choose from, e.g. ``torch.eye(C)`` for labels.
        masses: probabilities ``p(c)`` (C,) of the contexts among the training rows; default equal.

    Returns:
        The probabilities (M, C), whose rows add up to 1.

    Raises:
        ValueError: the number of masses is not that of the contexts, or contexts are no vectors.

    >>> from noneq.energies import ConditionalGaussian
    >>> labels = torch.eye(2).repeat_interleave(2, 0)
    >>> base = ConditionalGaussian.fit(torch.tensor([[0.0], [0.4], [2.0], [2.4]]), labels)
    >>> posterior(base, torch.tensor([[0.1]]), torch.eye(2)).argmax(1)
    tensor([0])
    """
    return log_joint(energy, x, contexts, masses).softmax(1)


@torch.no_grad()
def log_joint(
    energy: Energy,
    x: Tensor,
    contexts: Tensor,
    masses: Tensor | None = None,
    *,
    batch: int = 4096,
) -> Tensor:
    """Compute ``log p(c) - U(x, c)``, the log-density of x and c together but for log Z.

    Arguments:
        energy: energy of rows (x, c).
        x: rows (M, *shape).
        contexts: contexts (C, k).
        masses: probabilities ``p(c)`` (C,); None: log p(c) is left out.
        batch: number of rows that are evaluated at once.

    Returns:
        The numbers (M, C), float64.

    Raises:
        ValueError: the number of masses is not that of the contexts, or contexts are no vectors.

    >>> log_joint(lambda row: row.sum(1), torch.ones(1, 1), torch.eye(2))
    tensor([[-2., -2.]], dtype=torch.float64)
    """
    if masses is not None and masses.shape != (len(contexts),):
        raise ValueError(f"{len(contexts)} contexts have as many masses, got {masses.tolist()}")
    parts = torch.split(x, batch)
    u = [torch.cat([energy(with_context(own, c)).double() for own in parts]) for c in contexts]
    log_p = -torch.stack(u, 1)
    return log_p if masses is None else log_p + masses.to(x.device).double().log()
