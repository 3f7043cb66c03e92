"""Weighted walkers: samples with log-weights, and the events that change them.

Two events change a log-weight, a reweighting from one energy U to another, and a move by a kernel
with transition density q(x->y), from the energy U of the last evaluation to an energy U':

========= =============================== ====================================================
event     what changes                    increment of log_w
========= =============================== ====================================================
reweight  the energy; x stays             ``U_old(x) - U_new(x)``
move      x -> y by a kernel              ``log [e^{-U'(y)} q(y->x)] - log [e^{-U(x)} q(x->y)]``
========= =============================== ====================================================

Any sequence of them telescopes to the exact weight of the path, so that at every moment
``sum_i w_i f(x_i) / sum_i w_i`` estimates the mean of f under the present model and
``log Z = log Z_start + log mean_i w_i``.

Sources: Jarzynski 1997; Neal 2001 (AIS); Del Moral, Doucet, Jasra 2006 (SMC samplers); Carbone,
Hua, Coste, Vanden-Eijnden 2023 (arXiv 2305.19414); Carbone 2025 (arXiv 2506.07843).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, TypeAlias, TypeVar, overload

import torch
from torch import Tensor

from noneq.energies import Energy, Snapshot, Solvable, evaluate
from noneq.kernels import Info, Kernel, State
from noneq.kernels.base import each, put
from noneq.walkers import faults
from noneq.walkers.graph import without_zero
from noneq.walkers.moves import apply, moved, needs_reweighting
from noneq.walkers.readings import Readings
from noneq.walkers.resampling import Resampler, systematic
from noneq.walkers.weights import Weights

__all__ = ["Walkers"]

T = TypeVar("T")
Target: TypeAlias = Energy | Snapshot


@dataclass(frozen=True, repr=False)
class Walkers(Readings):
    """Holds N walkers, samples with weights, for estimates of means and of log Z of a model.

    `sample` starts walkers at a model whose log Z is known, `at` at given positions. Methods that
    change walkers return new ones; an energy may be given as its `noneq.energies.Snapshot`.

    >>> import torch, noneq
    >>> rng, target = torch.Generator().manual_seed(0), noneq.testing.correlated()
    >>> base = noneq.Gaussian.fit(torch.randn(99, 2, generator=rng))
    >>> walkers = noneq.Walkers.sample(base, 1024, rng).reweight(target.energy).resample(0.5, rng)
    >>> walkers = walkers.move(noneq.MALA(0.1), target.energy, rng)
    >>> abs(walkers.log_z.value - target.log_z) < 0.2, tuple(walkers.mean(walkers.x).shape)
    (True, (2,))

    Attributes:
        state: positions (N, *shape), energies (N,), and other tensors of the last evaluation.
        weights: log-weights of the walkers, and the starting walkers from which they descend.
        info: means over the walkers of what the last move observed, 0-d tensors, e.g.
            ``{"accept": mean acceptance}``.
        under: the energy for which the walkers are weighted; None if it is unknown or not the same
            for all walkers.
        last_move: the last move, from which the cause of an invalid weight is explained.
    """

    state: State
    weights: Weights
    info: Info = field(default_factory=dict)
    under: Snapshot | None = None
    last_move: faults.LastMove | None = None

    @classmethod
    def sample(cls, base: Solvable, n: int, rng: torch.Generator, *, islands: int = 8) -> Walkers:
        """Draw N exact samples of a solvable model as walkers: weights are 1, log Z is known.

        Arguments:
            base: the model, an energy with exact methods ``sample`` and ``log_z``.
            n: number N of walkers, 2 or more and a multiple of ``islands``; else ValueError.
            rng: source of randomness.
            islands: number of groups that are resampled separately, so that the spread of their
                log Z gives a standard error.

        Returns:
            The walkers.
        """
        return cls.at(base.sample(n, rng), base, log_z=base.log_z(), islands=islands)

    @classmethod
    def at(
        cls, x: Tensor, energy: Energy, *, log_z: float = math.nan, islands: int = 1
    ) -> Walkers:
        """Make walkers of weight 1 at given positions, for a given energy.

        Arguments:
            x: positions (N, *shape).
            energy: energy for which the walkers are weighted.
            log_z: log Z of the energy, NaN if unknown. With 0 the later estimates of log Z are the
                change since the start.
            islands: number of groups that are resampled separately, for the standard error.

        Returns:
            The walkers.
        """
        x = x.detach().clone()
        weights = Weights.equal(len(x), log_z, islands, device=x.device)
        faults.check_inside(x, energy)
        u, cache = evaluate(energy, x, skip_gradient=True)
        faults.check_start(u)
        weights = weights.add(torch.zeros_like(u), zero=u.isposinf())
        return cls(State(x, u, cache, {}), weights, under=Snapshot.of(energy))

    @overload
    def reweight(self, energy: Target) -> Walkers: ...
    @overload
    def reweight(
        self, energy: Target, *, graph: Literal[True], raw: bool = False
    ) -> tuple[Walkers, Tensor]: ...
    def reweight(
        self, energy: Target, *, graph: bool = False, raw: bool = False
    ) -> Walkers | tuple[Walkers, Tensor]:
        """Change the energy: ``log_w += U_old(x) - U_new(x)``, while the positions x stay.

        The cost is one evaluation; none if neither the energy nor its parameters have changed and
        ``graph`` is False. An energy of +inf gives a weight of zero; NaN or -inf makes the weight
        invalid, which raises FloatingPointError where the weights are next read.

        Arguments:
            energy: the new energy U_new.
            graph: whether to return also the energies u (N,) with their graph to the parameters,
                for a loss ``energy(x).mean() - walkers.mean(u)``, for one backward pass.
            raw: whether the graph of u keeps walkers of weight zero, whose gradient may be NaN; if
                so, call `without_zero` before the backward pass.

        Returns:
            The walkers, weighted for the new energy; with ``graph`` a pair of them and u.
        """
        now = Snapshot.of(energy)
        faults.check_space(self.x, now.model, self.under)
        current = now.same(self.under)
        if current and not graph:
            return self
        known = self.state.cache if not graph and now.same_parameters(self.under) else None
        u, cache = evaluate(now.model, self.state.x, known, graph=graph, skip_gradient=True)
        walkers, new = self, u.detach()
        if not current:
            weights = self.weights.add(self.state.u, minus=new)
            state = self.state._replace(u=new, cache=cache)
            walkers = replace(self, state=state, weights=weights, under=now)
        if not graph:
            return walkers
        return walkers, u if raw else walkers.without_zero(u)

    @overload
    def move(self, kernel: Kernel, energy: Target, rng: torch.Generator) -> Walkers: ...
    @overload
    def move(
        self,
        kernel: Kernel,
        energy: Target,
        rng: torch.Generator,
        *,
        graph: Literal[True],
        raw: bool = False,
    ) -> tuple[Walkers, Tensor]: ...
    def move(
        self,
        kernel: Kernel,
        energy: Target,
        rng: torch.Generator,
        *,
        graph: bool = False,
        raw: bool = False,
    ) -> Walkers | tuple[Walkers, Tensor]:
        """Move by a kernel that targets ``energy``; the walkers are then weighted for ``energy``.

        Where the energy or its parameters have changed, the walkers are first reweighted (one
        evaluation) if the kernel needs that, as all kernels that leave the energy invariant do.

        Arguments:
            kernel: transition kernel.
            energy: energy that the kernel targets.
            rng: source of randomness, on the walkers' device.
            graph: whether to return also the new energies u (N,) with their graph to the
                parameters, for the next loss (Algorithm 1 of arXiv 2305.19414); for unadjusted
                kernels only.
            raw: whether the graph of u keeps walkers of weight zero, as in `reweight`.

        Returns:
            The walkers; with ``graph`` a pair of the walkers and u.
        """
        if graph:
            faults.check_graph(kernel)
        now = Snapshot.of(energy)
        faults.check_space(self.x, now.model, self.under)
        walkers = self.reweight(now) if needs_reweighting(self, kernel, now) else self
        state, increment, info = apply(kernel, now.model, walkers.state, rng, graph=graph)
        u = state.u
        state = state._replace(u=u.detach()) if graph else state
        walkers = moved(walkers, kernel, now, state, increment, info)
        if not graph:
            return walkers
        return walkers, u if raw else walkers.without_zero(u)

    def without_zero(self, u: Tensor) -> Tensor:
        """Return energies u (N,) whose graph leaves out walkers of weight zero.

        The energy may be infinite there and the gradient NaN. ``u`` is what `reweight` or `move`
        returned with ``raw=True``; the values stay the same.
        """
        assert self.under is not None
        return without_zero(self.under.model, u, self.x, self.weights)

    def resample(
        self,
        ess_min: float,
        rng: torch.Generator,
        scheme: Resampler = systematic,
        *,
        order: Tensor | None = None,
    ) -> Walkers:
        """Resample each island (group of walkers) of low effective sample size; log Z is kept.

        Arguments:
            ess_min: effective sample size, a fraction in [0, 1], below which an island is
                resampled: 1 resamples always, 0 never. ValueError outside [0, 1].
            rng: source of randomness.
            scheme: function that draws which walkers are copied, e.g. systematic resampling.
            order: quantity (N,) by which the walkers of an island are sorted before resampling.

        Returns:
            The walkers, each resampled one with the mean weight of its island.
        """
        weights, index = self._read(lambda w: w.resample(ess_min, rng, scheme, order=order))
        if index is None:
            return self
        return replace(self, state=each(lambda t: t[index], self.state), weights=weights)

    def decay(self, forgetting_factor: float) -> Walkers:
        """Return walkers whose log-weights are multiplied by a forgetting factor in [0, 1].

        If the factor is below 1, log Z is unknown from then on. A factor of 0 sets weights to 1,
        as in contrastive divergence; weights of zero stay zero.
        """
        if forgetting_factor == 1:
            return self
        return replace(self, weights=self.weights.decay(forgetting_factor))

    def __getitem__(self, index: Tensor) -> Walkers:
        """Return the walkers at ``index`` (a 1-d integer tensor), as one group (island)."""
        state = each(lambda t: t[index], self.state)
        return replace(self, state=state, weights=self.weights[index])

    def put(self, index: Tensor, part: Walkers) -> Walkers:
        """Return a copy in which some walkers are replaced by others.

        Those that stay are weighted for the energy of their last evaluation, those that are put in
        for that of ``part``. Momenta are kept only if both have them.

        Arguments:
            index: places (n,) of those replaced, chosen without a look at positions or weights.
            part: the n walkers that are put there.
        """
        state, weights = put(self.state, index, part.state), self.weights.put(index, part.weights)
        return Walkers(state, weights, info=part.info, last_move=part.last_move)

    def state_dict(self, energy: Energy) -> dict[str, Any]:
        """Return a dictionary of tensors and numbers, from which the walkers can be restored.

        Arguments:
            energy: present energy; the entry "current" says whether the walkers are weighted for
                it.
        """
        return {
            "state": self.state._asdict(),
            "weights": {f.name: getattr(self.weights, f.name) for f in fields(self.weights)},
            "info": self.info,
            "current": Snapshot.of(energy).same(self.under),
        }

    @classmethod
    def from_state_dict(cls, saved: Mapping[str, Any], energy: Energy) -> Walkers:
        """Return the walkers that `state_dict` saved.

        Arguments:
            saved: the dictionary that `state_dict` returned.
            energy: the energy that it was called with, with the same parameters.
        """
        state, weights = State(**saved["state"]), Weights(**saved["weights"])
        under = Snapshot.of(energy) if saved["current"] else None
        return cls(state, weights, saved["info"], under)
