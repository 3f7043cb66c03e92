r"""Weighted walkers: the algebra of the library, and the only file that writes ``log_w``.

Two events change a log-weight:

========= =============================== ====================================================
event     what changes                    increment of log_w
========= =============================== ====================================================
reweight  the energy; x stays             ``U_old(x) - U_new(x)``
move      x -> y by a kernel              ``log [e^{-U'(y)} q(y->x)] - log [e^{-U(x)} q(x->y)]``
========= =============================== ====================================================

Any alternation of the two telescopes to the exact weight of the path, so that at every moment
``sum_i w_i f(x_i) / sum_i w_i`` estimates the mean of f under the present model and
``log Z = log Z_start + log mean_i w_i``. Resampling gives every walker of an island the island's
mean weight, so nothing has to be remembered apart: the mean is all of log Z at any time.

Sources: Jarzynski 1997; Neal 2001 (annealed importance sampling); Del Moral, Doucet, Jasra 2006
(SMC samplers); Carbone, Hua, Coste, Vanden-Eijnden 2023 (arXiv 2305.19414; training); Carbone 2025
(arXiv 2506.07843; any kernel).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import Any, Literal, NamedTuple, overload

import torch
from torch import Tensor

from noneq.energies import Cache, Energy, Solvable, evaluate, fingerprint, slope
from noneq.energies.base import faulty
from noneq.kernels import Info, Kernel, State, transports
from noneq.kernels.base import apply_in_parts, each, name
from noneq.spaces import Discrete, space_of
from noneq.walkers import weights
from noneq.walkers.resampling import Resampler, systematic

__all__ = ["LogZ", "Walkers"]


class LogZ(NamedTuple):
    """An estimate of log Z with its standard error over islands (NaN for three or fewer)."""

    value: float
    stderr: float


class _Seen(NamedTuple):
    """The mark of freshness: the model, with its parameters, that state.u belongs to."""

    model: Energy
    mark: Tensor | None

    def same_parameters(self, mark: Tensor | None) -> bool:
        """False also where nothing can be known: then the walkers are evaluated again."""
        if mark is None or self.mark is None:
            return False
        return mark is self.mark or bool(mark == self.mark)


class _Moved(NamedTuple):
    """The last move, kept only to know what to say of a weight that is none."""

    kernel: Kernel
    increment: Tensor
    before: Tensor
    after: Tensor

    def guilty(self) -> bool:
        """Whether an increment is no number although the energies at both ends are."""
        known = torch.isfinite(self.before) & torch.isfinite(self.after)
        return bool((~(self.increment < math.inf) & known).any())

    def left(self) -> bool:
        """Whether a transport has led somebody out of the support."""
        return transports(self.kernel) and bool(self.after.isposinf().any())


@dataclass(frozen=True)
class Walkers:
    """N weighted walkers; every method returns new ones.

    Make them with `sample` (from a model whose log Z is known: log_z is then known for ever after)
    or `at` (from given positions: equal weights, log_z unknown).

    Attributes:
        state: positions, energies last seen and their cache, see `noneq.kernels.State`.
        log_w: (N,) float64 log-weights, everything since the start included.
        log_z_start: log Z of the model they were sampled from; NaN if unknown.
        founders: (N,) index of the starting walker each descends from.
        islands: the walkers are this many equal contiguous groups that never exchange members,
            so that the spread of their log Z gives a standard error.
        info: what the last kernel observed, e.g. its acceptance.
        resampled: how many times some island of them has been resampled since the start.
    """

    state: State
    log_w: Tensor
    log_z_start: float
    founders: Tensor
    islands: int = 1
    info: Info = field(default_factory=dict)
    resampled: int = 0
    _seen: _Seen | None = field(default=None, repr=False)
    _u: Tensor | None = field(default=None, repr=False)
    _moved: _Moved | None = field(default=None, repr=False)

    # -- making them

    @classmethod
    def sample(cls, base: Solvable, n: int, rng: torch.Generator, *, islands: int = 8) -> Walkers:
        """N exact samples of a solvable model, weights 1.

        Raises ValueError if n < 2 or n is not a multiple of the number of islands.
        """
        return cls._new(base, base.sample(n, rng), base.log_z(), islands)

    @classmethod
    def at(
        cls, x: Tensor, energy: Energy, *, log_z: float = math.nan, islands: int = 1
    ) -> Walkers:
        """Walkers at given positions (N, *shape), weights 1 under ``energy``.

        ``log_z`` is that energy's, if known; 0 makes `log_z` the change from there.
        """
        return cls._new(energy, x.detach().clone(), log_z, islands)

    @classmethod
    def _new(cls, energy: Energy, x: Tensor, log_z: float, islands: int) -> Walkers:
        n = len(x)
        if n < 2:
            raise ValueError(f"weights compare walkers: 2 or more are needed, got {n}")
        if islands < 1 or n % islands:
            near = max(islands, 1) * max(1, round(n / max(islands, 1)))
            raise ValueError(
                f"{n} walkers cannot be split into {islands} equal islands; "
                f"take {near} walkers or islands=1"
            )
        space = space_of(energy)
        if not bool((inside := space.contains(x)).all()):
            raise ValueError(
                f"{int((~inside).sum())} of {n} walkers are outside the energy's space, {space}: "
                "start them inside, nothing is clipped"
            )
        u, cache = evaluate(energy, x, lean=True)
        bad = faulty(u)
        if bool(bad.any()):
            raise FloatingPointError(
                f"the energy is NaN or -inf at {int(bad.sum())} of {n} walkers at the start: "
                "an energy is a number or +inf wherever its walkers may be"
            )
        return cls(
            State(x, u, cache, {}),
            torch.where(u == math.inf, -math.inf, 0.0).double(),
            log_z,
            torch.arange(n, device=x.device),
            islands,
            _seen=_Seen(energy, fingerprint(energy)),
        )

    # -- the events

    @overload
    def reweight(self, energy: Energy) -> Walkers: ...
    @overload
    def reweight(self, energy: Energy, *, graph: Literal[True]) -> tuple[Walkers, Tensor]: ...
    def reweight(self, energy: Energy, *, graph: bool = False) -> Walkers | tuple[Walkers, Tensor]:
        """Make the weights belong to ``energy``: ``log_w += U_old(x) - U_new(x)``; x stays.

        Costs one evaluation, none if the walkers already belong to that energy with those very
        parameters (and, with ``graph``, are `prepared`). An energy of +inf is weight 0.

        Arguments:
            energy: U_new.
            graph: also return the energies (N,) with their graph to the parameters, for a loss
                ``energy(x).mean() - walkers.mean(u)``.

        An energy of NaN or -inf makes a weight that is none: a FloatingPointError where the
        weights are next read (`p`, `ess`, `log_z`, `mean`, `resample`). So does a move.
        """
        if graph:
            ready = self.prepared(energy)
            assert ready._u is not None
            return ready.detach(), ready._u
        seen, known, current = self._compare(energy)
        if current:
            return self
        u, cache = evaluate(energy, self.state.x, self.state.cache if known else None, lean=True)
        return self._reweighted(seen, u, cache)

    def prepared(self, energy: Energy) -> Walkers:
        """Reweight, and keep the graph for the next ``reweight(energy, graph=True)``.

        That hands it out, once: a graph serves one backward. Asked again it evaluates again.
        """
        seen, _, current = self._compare(energy)
        if current and self._u is not None:
            return self
        u, cache = self._with_graph(energy)
        return replace(self._reweighted(seen, u.detach(), cache), _u=u)

    def _compare(self, energy: Energy) -> tuple[_Seen, bool, bool]:
        """The mark of ``energy``; whether its parameters are those seen; and it itself, too."""
        self._enter(energy)
        seen = _Seen(energy, fingerprint(energy))
        known = self._seen is not None and self._seen.same_parameters(seen.mark)
        return seen, known, known and self._seen is not None and self._seen.model is energy

    def _bare(self, energy: Energy) -> bool:
        """Whether the gradient was left out, which only the model as it was then could give."""
        models = (energy, None if self._seen is None else self._seen.model)
        return "g" not in self.state.cache and any(hasattr(m, "gradient") for m in models)

    def _enter(self, energy: Energy) -> None:
        """Raise ValueError for walkers between the states of an energy of discrete sites."""
        space = space_of(energy)
        if not isinstance(space, Discrete) or self._seen is None:
            return
        # looked at only where the space changes: on their way walkers do not wait for a GPU
        if space_of(self._seen.model) != space and not bool((on := space.contains(self.x)).all()):
            raise ValueError(
                f"{int((~on).sum())} of {len(self)} walkers are none of the states of the energy, "
                f"a {type(energy).__name__} on {space}: start from a base on the same space"
            )

    def _with_graph(self, energy: Energy) -> tuple[Tensor, Cache]:
        """Evaluate with the graph kept, the dead left out: 0 x inf is NaN in a gradient."""
        u, cache = evaluate(energy, self.state.x, graph=True, lean=True)
        return self._without_dead(energy, u), cache

    def _bury(self, log_w: Tensor, u: Tensor, *, leads: bool = False) -> Tensor:
        """New log-weights, -inf where u is +inf; the dead stay so, and a fault is not undone.

        Where a transport has led somebody to an infinite energy that is a fault, too.
        """
        # inf - inf is not a weight either
        dead = self.state.u.isposinf() | self.log_w.isneginf()
        dead = dead if leads else dead | u.isposinf()
        return log_w.masked_fill_(dead & (self.log_w < math.inf), -math.inf)

    def _without_dead(self, energy: Energy, u: Tensor) -> Tensor:
        """Energies u at x with a graph that the dead are not part of."""
        alive = torch.isfinite(u.detach()) & (self.log_w != -math.inf)
        if bool(alive.all()):
            return u
        kept, _ = evaluate(energy, self.state.x[alive], graph=True, lean=True)
        return u.detach().masked_scatter(alive, kept)

    def _reweighted(self, seen: _Seen, u: Tensor, cache: Cache) -> Walkers:
        state = self.state
        log_w = self.log_w + state.u - u  # in float64, as the first of them
        return replace(
            self,
            state=State(state.x, u, cache, state.aux),
            log_w=self._bury(log_w, u),
            _seen=seen,
            _u=None,
        )

    @overload
    def move(self, kernel: Kernel, energy: Energy, rng: torch.Generator) -> Walkers: ...
    @overload
    def move(
        self, kernel: Kernel, energy: Energy, rng: torch.Generator, *, graph: Literal[True]
    ) -> tuple[Walkers, Tensor]: ...
    def move(
        self, kernel: Kernel, energy: Energy, rng: torch.Generator, *, graph: bool = False
    ) -> Walkers | tuple[Walkers, Tensor]:
        """Move by a kernel that aims at ``energy``; the weights then belong to ``energy``.

        A kernel that needs a fresh state gets one: walkers that do not belong to ``energy`` with
        those very parameters are reweighted first (one evaluation).

        Arguments:
            kernel: the transition.
            energy: its target.
            rng: source of randomness, on the walkers' device.
            graph: also return the energies at the new positions with their graph; for unadjusted
                kernels, whose evaluation then serves the next loss (Algorithm 1).
        """
        if graph and kernel.fresh:
            raise ValueError(
                "graph=True is for unadjusted kernels on stale states (ULA); "
                "after other kernels use reweight(energy, graph=True)"
            )
        leads = transports(kernel)  # from the energy last seen, so that it must not be replaced
        if graph and leads:
            raise ValueError(
                f"{name(kernel)} leads along a path, whose energies have no parameters to "
                "differentiate: move without graph=True, then reweight(energy, graph=True) to "
                "the energy that learns"
            )
        self._enter(energy)
        aims = kernel.fresh or self._bare(energy)
        walkers = self.reweight(energy) if aims and not leads else self
        target: Energy = _Graphed(energy) if graph else energy
        apply = kernel if graph else partial(apply_in_parts, kernel)
        state, increment, info = apply(target, walkers.state, rng)
        u, increment = state.u, increment.detach()
        walkers = replace(
            walkers,
            state=state._replace(u=u.detach()),
            log_w=walkers._bury(walkers.log_w + increment, u.detach(), leads=leads),
            info={key: value.detach() for key, value in info.items()},
            _seen=walkers._seen if kernel.fresh else _Seen(energy, fingerprint(energy)),
            _u=None,
            _moved=_Moved(kernel, increment, walkers.state.u, u.detach()),
        )
        if not graph:
            return walkers
        u = walkers._without_dead(energy, u)
        return replace(walkers, _u=u), u

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
        log Z is what it was. ``ess_min=1`` resamples always, 0 never.

        ``order`` (N,) lines the walkers of an island up before the draw. No order biases, but
        with systematic or stratified draws any stretch of the line keeps its mass to within one
        walker or two (Gerber, Chopin, Whiteley 2019, study sorted particles): take a quantity that
        later weights depend on.

        Raises ValueError if ess_min is outside [0, 1], FloatingPointError as `p` does.
        """
        if not 0 <= ess_min <= 1:
            raise ValueError(f"ess_min is a fraction of the walkers in [0, 1], got {ess_min}")
        log_w = self.log_w.view(self.islands, -1)
        # 1 - 1e-12: equal weights gain nothing; a NaN must not pass for healthy
        healthy = weights.ess(log_w) >= ess_min * (1 - 1e-12)
        if bool(healthy.all()):
            return self
        self._check()
        low = ~healthy
        mean = weights.log_mean_exp(log_w)
        n = log_w.shape[1]
        own = torch.arange(n, device=log_w.device).expand_as(log_w)
        p = weights.normalise(log_w)
        if order is None:
            drawn = scheme(p, rng)
        else:
            line = order.view(self.islands, -1).argsort(-1)
            drawn = line.gather(-1, scheme(p.gather(-1, line), rng))
        chosen = torch.where(low[:, None], drawn, own)
        offset = torch.arange(self.islands, device=log_w.device)[:, None] * n
        index = (chosen + offset).flatten()
        log_w = torch.where(low[:, None], mean[:, None], log_w).flatten()
        return replace(self._take(index), log_w=log_w, resampled=self.resampled + 1)

    def faded(self, memory: float) -> Walkers:
        """The same positions, log-weights times ``memory``, log Z unknown: the past is forgotten.

        1 keeps all; 0 leaves weights of 1, what contrastive divergence uses. The dead stay dead.
        What `noneq.Settings.memory` is for. Raises ValueError if it is outside [0, 1].
        """
        if not 0 <= memory <= 1:
            raise ValueError(f"memory is a fraction of the log-weights in [0, 1], got {memory}")
        if memory == 1:
            return self
        dead = self.log_w.isneginf()
        log_w = (memory * self.log_w).masked_fill_(dead, -math.inf)
        return replace(self, log_w=log_w, log_z_start=math.nan)

    def detach(self) -> Walkers:
        """The same walkers without the graph of their energies, to be kept."""
        return replace(self, _u=None)

    def state_dict(self, energy: Energy) -> dict[str, Any]:
        """All that they are, as tensors and numbers, and whether they belong to ``energy``."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if not f.name.startswith("_")}
        return {**own, "state": self.state._asdict(), "current": self._compare(energy)[2]}

    @classmethod
    def from_state_dict(cls, saved: Mapping[str, Any], energy: Energy) -> Walkers:
        """The walkers that a `state_dict` was made of.

        Arguments:
            saved: the dictionary.
            energy: the same, with the same parameters; or another, to which the walkers are then
                reweighted at the next event (after ``saved["current"] = False``).
        """
        own = {key: value for key, value in saved.items() if key != "current"}
        seen = _Seen(energy, fingerprint(energy)) if saved["current"] else None
        return cls(**{**own, "state": State(**own["state"])}, _seen=seen)

    # -- parts of them

    def _take(self, index: Tensor) -> Walkers:
        return replace(
            self,
            state=each(lambda t: t[index], self.state),
            log_w=self.log_w[index],
            founders=self.founders[index],
            _u=None,
        )

    def __getitem__(self, index: Tensor) -> Walkers:
        """The walkers at ``index`` (a 1-d integer tensor), as one island."""
        return replace(self._take(index), islands=1)

    def put(self, index: Tensor, part: Walkers) -> Walkers:
        """These walkers with those at ``index`` replaced by ``part``.

        The others keep the energy they last saw; their increments telescope, so they are exact
        when they are next reweighted. Choose ``index`` independently of positions and weights.
        What only one of the two has in ``state.aux`` is dropped: momenta are then drawn afresh.
        """

        def into(a: Tensor, b: Tensor) -> Tensor:
            return a.index_copy(0, index, b)

        def both(a: Cache, b: Cache) -> Cache:
            return {key: a[key] for key in b if key in a}

        shared = State(
            self.state.x,
            self.state.u,
            both(self.state.cache, part.state.cache),
            both(self.state.aux, part.state.aux),
        )
        return replace(
            self,
            state=each(into, shared, part.state),
            log_w=into(self.log_w, part.log_w),
            founders=into(self.founders, part.founders),
            log_z_start=self.log_z_start if part.log_z_start == self.log_z_start else math.nan,
            info=part.info,
            resampled=max(self.resampled, part.resampled),
            _seen=None,
            _u=None,
            _moved=part._moved,
        )

    # -- what they know

    def __len__(self) -> int:
        return len(self.log_w)

    def _check(self) -> None:
        """Raise if the weights are not weights; one look at the numbers, where they are read."""
        fault = ~(self.log_w < math.inf)
        if bool(fault.any()):
            where = f"at {int(fault.sum())} of {len(self)} walkers"
            lost = not bool(torch.isfinite(self.x[fault]).all())
            if self._moved is not None and self._moved.left():
                raise FloatingPointError(
                    f"{name(self._moved.kernel)} led {int(self._moved.after.isposinf().sum())} of "
                    f"{len(self)} walkers to where the energy is +inf: no diffusion has a valid "
                    "weight at a hard wall; give it a finite height, or anneal by kernels that "
                    "accept and reject"
                )
            if self._moved is not None and (lost or self._moved.guilty()):
                raise FloatingPointError(
                    f"the kernel {name(self._moved.kernel)} returned a weight of NaN or +inf, or "
                    f"a position that is not finite, {where}: take a smaller step, or look at the "
                    "increment that it computes"
                )
            raise FloatingPointError(
                f"the energy is NaN or -inf {where}, {self._place(fault)}: look at what it "
                "computes there; where it is being trained the model has diverged; take a smaller "
                "learning rate or trust region (tau)"
            )
        if bool((self.log_w.view(self.islands, -1) == -math.inf).all(1).any()):
            raise FloatingPointError(
                "every walker of an island has weight zero: the energy is +inf wherever they are; "
                "start closer to the model, or change it in smaller steps"
            )

    def _place(self, fault: Tensor) -> str:
        """Where the first of the walkers at fault is, in few words."""
        x = self.x[fault][0].flatten()
        shown = ", ".join(f"{float(v):.4g}" for v in x[:4])
        return f"the first at x = ({shown}{', ...' if len(x) > 4 else ''})"

    @property
    def x(self) -> Tensor:
        """Positions (N, *shape)."""
        return self.state.x

    @property
    def p(self) -> Tensor:
        """Normalised weights (N,), float64.

        Raises FloatingPointError if an energy was NaN or -inf, a kernel's increment NaN or +inf,
        or every walker of an island is dead.
        """
        self._check()
        return weights.normalise(self.log_w)

    @property
    def ess(self) -> float:
        """Effective sample size of all walkers together, a fraction in [1/N, 1]."""
        return float(1.0 / (len(self) * self.p.square().sum()))

    @property
    def log_z(self) -> LogZ:
        """``log Z_start + log mean w``, and its standard error by the jackknife over islands.

        R islands tell it with R - 1 degrees of freedom, so that in units of it errors are a
        Student t: it is widened by ``sqrt((R - 1) / (R - 3))``, after which their variance is 1.
        NaN for three islands or fewer, where that variance is infinite.
        """
        self._check()
        each_island = weights.log_mean_exp(self.log_w.view(self.islands, -1))
        value = self.log_z_start + float(weights.log_mean_exp(each_island))
        r = self.islands
        few = math.sqrt((r - 1) / (r - 3)) if r > 3 else math.nan
        return LogZ(value, few * float(weights.jackknife(each_island)))

    @property
    def survivors(self) -> float:
        r"""Effective number of founders, ``1 / sum_a P_a^2``, P_a the mass descended from a."""
        founders = 1 + int(self.founders.max())  # a part keeps the numbers of the whole
        mass = torch.zeros(founders, dtype=torch.float64, device=self.log_w.device)
        mass = mass.index_add(0, self.founders, self.p)
        return float(1.0 / mass.square().sum())

    def mean(self, f: Tensor) -> Tensor:
        """Weighted mean ``sum_i p_i f_i`` of values (N, ...) at the walkers; keeps f's graph.

        Dead walkers are left out, whatever f is there.
        """
        p = self.p
        alive = p > 0
        if not bool(alive.all()):
            p, f = p[alive], f[alive]
        mean: Tensor = torch.tensordot(p.to(f.dtype), f, 1)
        return mean

    def equal(self, n: int, rng: torch.Generator) -> Tensor:
        """N positions drawn by weight: an ordinary sample (n, *shape) of the model."""
        chosen = torch.multinomial(self.p, n, replacement=True, generator=rng)
        x: Tensor = self.state.x[chosen]
        return x


class _Graphed:
    """An energy whose every evaluation keeps its graph."""

    def __init__(self, energy: Energy) -> None:
        self.energy = self.__wrapped__ = energy
        self.space = space_of(energy)

    def __call__(self, x: Tensor) -> Tensor:
        return self.energy(x)

    def evaluate(
        self,
        x: Tensor,
        was: Cache | None = None,
        graph: bool = True,  # noqa: ARG002
    ) -> tuple[Tensor, Cache]:
        return evaluate(self.energy, x, was, graph=True)

    def gradient(self, x: Tensor, cache: Cache) -> Tensor | None:
        return slope(self.energy, x, cache)
