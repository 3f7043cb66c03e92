r"""Weighted walkers: a state, its weights, and the events that change them.

Two events change a log-weight:

========= =============================== ====================================================
event     what changes                    increment of log_w
========= =============================== ====================================================
reweight  the energy; x stays             ``U_old(x) - U_new(x)``
move      x -> y by a kernel              ``log [e^{-U'(y)} q(y->x)] - log [e^{-U(x)} q(x->y)]``
========= =============================== ====================================================

Any alternation of the two telescopes to the exact weight of the path, so that at every moment
``sum_i w_i f(x_i) / sum_i w_i`` estimates the mean of f under the present model and
``log Z = log Z_start + log mean_i w_i``. The weights themselves, and all that is computed from
them, are `noneq.walkers.weights.Weights`.

Sources: Jarzynski 1997; Neal 2001 (annealed importance sampling); Del Moral, Doucet, Jasra 2006
(SMC samplers); Carbone, Hua, Coste, Vanden-Eijnden 2023 (arXiv 2305.19414; training); Carbone 2025
(arXiv 2506.07843; any kernel).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, TypeAlias, TypeVar, overload

import torch
from torch import Tensor

from noneq.energies import Energy, Snapshot, Solvable, evaluate
from noneq.kernels import Info, Kernel, State, transports
from noneq.kernels.base import each, put
from noneq.walkers import faults
from noneq.walkers.graph import apply, lacks_gradient, without_zero
from noneq.walkers.resampling import Resampler, systematic
from noneq.walkers.weights import InvalidWeightsError, LogZ, Weights

__all__ = ["Walkers"]

T = TypeVar("T")
Target: TypeAlias = Energy | Snapshot


@dataclass(frozen=True)
class Walkers:
    """N weighted walkers; every method returns new ones.

    Make them with `sample` (from a model whose log Z is known: log_z is then known for ever after)
    or `at` (from given positions: equal weights, log_z unknown).

    An event also takes a `noneq.energies.Snapshot` for an energy: the caller then says that the
    parameters have not changed since, and no fingerprint is computed.

    Attributes:
        state: positions, energies last seen and their cache, see `noneq.kernels.State`.
        weights: log-weights, ancestors and islands, see `noneq.walkers.weights.Weights`.
        info: what the last kernel observed, e.g. its acceptance.
        under: the energy, with the fingerprint of its parameters, that ``state.u`` and the weights
            belong to; None where that is not one for all walkers or not known.
        last_move: what the last move did, to explain a weight that is invalid.
    """

    state: State
    weights: Weights
    info: Info = field(default_factory=dict)
    under: Snapshot | None = field(default=None, repr=False)
    last_move: faults.LastMove | None = field(default=None, repr=False)

    # -- making them

    @classmethod
    def sample(cls, base: Solvable, n: int, rng: torch.Generator, *, islands: int = 8) -> Walkers:
        """N exact samples of a solvable model, weights 1.

        Raises ValueError if n < 2 or n is not a multiple of the number of islands.
        """
        return cls.at(base.sample(n, rng), base, log_z=base.log_z(), islands=islands)

    @classmethod
    def at(
        cls, x: Tensor, energy: Energy, *, log_z: float = math.nan, islands: int = 1
    ) -> Walkers:
        """Walkers at given positions (N, *shape), weights 1 under ``energy``.

        ``log_z`` is that energy's, if known; 0 makes `log_z` the change from there.
        """
        x = x.detach().clone()
        weights = Weights.equal(len(x), log_z, islands, device=x.device)
        faults.check_inside(x, energy)
        u, cache = evaluate(energy, x, skip_gradient=True)
        faults.check_start(u)
        weights = weights.add(torch.zeros_like(u), zero=u.isposinf())
        return cls(State(x, u, cache, {}), weights, under=Snapshot.of(energy))

    # -- the events

    @overload
    def reweight(self, energy: Target) -> Walkers: ...
    @overload
    def reweight(
        self, energy: Target, *, graph: Literal[True], raw: bool = False
    ) -> tuple[Walkers, Tensor]: ...
    def reweight(
        self, energy: Target, *, graph: bool = False, raw: bool = False
    ) -> Walkers | tuple[Walkers, Tensor]:
        """Make the weights belong to ``energy``: ``log_w += U_old(x) - U_new(x)``; x stays.

        Costs one evaluation; none, without ``graph``, if the walkers already belong to that energy
        with those very parameters. An energy of +inf is weight 0.

        Arguments:
            energy: U_new.
            graph: also return the energies (N,) with their graph to the parameters, for a loss
                ``energy(x).mean() - walkers.mean(u)``. A graph serves one backward.
            raw: leave to the caller to call `without_zero` before the backward, which reads the
                weights from the device.

        An energy of NaN or -inf makes a weight invalid: a FloatingPointError where the weights are
        next read (`p`, `ess`, `log_z`, `mean`, `resample`). So does a move.
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
            weights = self.weights.add(self.state.u, minus=new, zero=new.isposinf())
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
        """Move by a kernel that targets ``energy``; the weights then belong to ``energy``.

        A kernel that needs a fresh state gets one: walkers that do not belong to ``energy`` with
        those very parameters are reweighted first (one evaluation).

        Arguments:
            kernel: the transition.
            energy: its target.
            rng: source of randomness, on the walkers' device.
            graph: also return the energies at the new positions with their graph; for unadjusted
                kernels, whose evaluation then serves the next loss (Algorithm 1).
            raw: as in `reweight`.
        """
        path = transports(kernel)  # from the energy last seen, so that it must not be replaced
        if graph:
            faults.check_graph(kernel)
        now = Snapshot.of(energy)
        faults.check_space(self.x, now.model, self.under)
        aims = kernel.fresh or lacks_gradient(self.state.cache, now, self.under)
        walkers = self.reweight(now) if aims and not path else self
        state, increment, info = apply(kernel, now.model, walkers.state, rng, graph=graph)
        u, end, increment = state.u, state.u.detach(), increment.detach()
        zero = None if path else end.isposinf()  # that a transport led there is a fault
        walkers = replace(
            walkers,
            state=state._replace(u=end),
            weights=walkers.weights.add(increment, zero=zero),
            info={key: value.detach() for key, value in info.items()},
            under=walkers.under if kernel.fresh else now,
            last_move=faults.LastMove(kernel, increment, walkers.state.u, end),
        )
        if not graph:
            return walkers
        return walkers, u if raw else walkers.without_zero(u)

    def without_zero(self, u: Tensor) -> Tensor:
        """Energies u (N,) with a graph that walkers of weight zero have no part in.

        The product of a weight of zero and an infinite derivative would be NaN.
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
        """Resample every island whose effective sample size is below ``ess_min`` (a fraction).

        Everything a walker owns is copied with it; the island's weights become its mean weight, so
        log Z is what it was. ``ess_min=1`` resamples always, 0 never. ``order`` (N,) lines the
        walkers of an island up before the draw, see `noneq.walkers.resampling.resample_islands`.

        Raises ValueError if ess_min is outside [0, 1], FloatingPointError as `p` does.
        """
        weights, index = self._read(lambda w: w.resample(ess_min, rng, scheme, order=order))
        if index is None:
            return self
        return replace(self, state=each(lambda t: t[index], self.state), weights=weights)

    def decay(self, forgetting_factor: float) -> Walkers:
        """The same with log-weights times the forgetting factor, and log Z unknown.

        1 keeps all; 0 leaves weights of 1, what contrastive divergence uses, and zero stays zero.
        """
        return (
            self
            if forgetting_factor == 1
            else replace(self, weights=self.weights.decay(forgetting_factor))
        )

    # -- parts of them

    def __getitem__(self, index: Tensor) -> Walkers:
        """The walkers at ``index`` (a 1-d integer tensor), as one island."""
        state = each(lambda t: t[index], self.state)
        return replace(self, state=state, weights=self.weights[index])

    def put(self, index: Tensor, part: Walkers) -> Walkers:
        """These walkers with those at ``index`` replaced by ``part``.

        The others keep the energy they last saw; their increments telescope, so they are exact
        when they are next reweighted. Choose ``index`` independently of positions and weights.
        What only one of the two has in ``state.aux`` is dropped: momenta are then drawn afresh.
        """
        state, weights = put(self.state, index, part.state), self.weights.put(index, part.weights)
        return Walkers(state, weights, info=part.info, last_move=part.last_move)

    def state_dict(self, energy: Energy) -> dict[str, Any]:
        """All that they are, as tensors and numbers, and whether they belong to ``energy``."""
        return {
            "state": self.state._asdict(),
            "weights": {f.name: getattr(self.weights, f.name) for f in fields(self.weights)},
            "info": self.info,
            "current": Snapshot.of(energy).same(self.under),
        }

    @classmethod
    def from_state_dict(cls, saved: Mapping[str, Any], energy: Energy) -> Walkers:
        """The walkers that a `state_dict` was made of, under the same energy.

        Under another, after ``saved["current"] = False``, the next event reweights them.
        """
        state, weights = State(**saved["state"]), Weights(**saved["weights"])
        under = Snapshot.of(energy) if saved["current"] else None
        return cls(state, weights, saved["info"], under)

    # -- what they say

    def _read(self, what: Callable[[Weights], T]) -> T:
        """What the weights say; where one is invalid the error says why."""
        try:
            return what(self.weights)
        except InvalidWeightsError as error:
            why = faults.explain(self.x, self.weights.invalid, self.last_move)
            raise FloatingPointError(why) from error

    def __len__(self) -> int:
        return len(self.weights)

    @property
    def x(self) -> Tensor:
        """Positions (N, *shape)."""
        return self.state.x

    @property
    def log_w(self) -> Tensor:
        """Log-weights (N,), float64."""
        return self.weights.log_w

    @property
    def islands(self) -> int:
        """Number of groups that never exchange members."""
        return self.weights.islands

    @property
    def p(self) -> Tensor:
        """Normalised weights (N,), float64; FloatingPointError where one is invalid."""
        return self._read(lambda w: w.p)

    @property
    def ess(self) -> float:
        """Effective sample size of all walkers together, a fraction in [1/N, 1]."""
        return self._read(lambda w: w.ess)

    @property
    def log_z(self) -> LogZ:
        """``log Z_start + log mean w`` and its standard error over islands (`Weights.log_z`)."""
        return self._read(lambda w: w.log_z)

    @property
    def effective_ancestors(self) -> float:
        """Effective number of starting walkers that these descend from, by weight."""
        return self._read(lambda w: w.effective_ancestors)

    def mean(self, f: Tensor) -> Tensor:
        """Weighted mean of values (N, ...) at the walkers, with their graph (`Weights.mean`)."""
        return self._read(lambda w: w.mean(f))

    def equal(self, n: int, rng: torch.Generator) -> Tensor:
        """N positions drawn by weight: an ordinary sample (n, *shape) of the model."""
        x: Tensor = self.state.x[self._read(lambda w: w.draw(n, rng))]
        return x
