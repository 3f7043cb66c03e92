"""Transports: kernels that carry walkers from one time of a path with a drift to the next.

A transport moves walkers (weighted samples) from the energy under which they were last evaluated,
U at time t, to the one that it is given, U' at t'. The walkers must not have been reweighted to U'
before. The increment of the log-weight is the exact weight of the move, so that wrong fields or
long steps cost effective sample size, but cause no bias (Carbone 2025, arXiv 2506.07843; derived
in docs/mathematics.md).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from noneq.energies import Drifted, Energy, Factor, Identity, evaluate
from noneq.kernels.base import Info, State, Stepped
from noneq.random import normal_like
from noneq.spaces import Real, require

__all__ = ["EulerMaruyama", "Flow"]


@dataclass(frozen=True)
class EulerMaruyama(Stepped):
    """Makes one step of ``dX = (b + eps M s) dt + sqrt(2 eps M) dW``, with its exact weight.

    It carries walkers (weighted samples) from time t to time t' of a path of energies U(x, t) that
    has a velocity field b(x, t) and a score s(x, t), see `noneq.models.interpolants`. With
    ``h = t' - t``, ``M = L L^T``, ``a = (b + eps M s)(x, t)``, ``c = (b - eps M s)(y, t')`` and xi
    standard normal a step is

        ``y = x + h a + sqrt(2 eps h) L xi``,

    and the step of the reverse process is ``x = y - h c + sqrt(2 eps h) L xi'``. The increment of
    the log-weight is

        ``U(x, t) - U(y, t') - e xi.D - e^2 |D|^2 / 2``,  ``e = sqrt(h / 2 eps)``,
        ``D = L^-1 (a - c)``,

    which is right for any fields b and s and any eps > 0. Backward in time, where h is
    negative, the noise has the variance ``2 eps |h|`` and s enters with the other sign, so that
    the kernel is its own time reversal. The next step reuses the fields at (y, t'), so that a step
    costs one evaluation. For an eps that depends on time, give a `noneq.Schedule` one kernel for
    each step.

    Arguments:
        eps: diffusivity > 0. With the exact fields the density at each time is the same for all
            eps; a step is accurate if ``eps |h|`` is well below the smallest variance of the
            density exp(-U), in coordinates in which M is the identity.
        factor: square root L of the preconditioner M, which is best near the model's covariance.

    Raises:
        ValueError: the diffusivity is not positive and finite.
    """

    eps: float
    factor: Factor = field(default_factory=Identity)

    fresh = False
    transports = True

    def __post_init__(self) -> None:
        if not (math.isfinite(self.eps) and self.eps > 0):
            raise ValueError(
                f"eps, the diffusivity, must be positive and finite, got {self.eps}; without "
                "noise take noneq.kernels.Flow"
            )

    def __call__(
        self, model: Energy, state: State, rng: torch.Generator
    ) -> tuple[State, Tensor, Info]:
        """Make one step of every walker, from the time of the state to that of the model.

        Arguments:
            model: energy of the path at the time to which the step leads.
            state: N walkers (weighted samples), evaluated under another energy of the path.
            rng: source of randomness.

        Returns:
            The new state at the time of the model, the increments of the log-weights (N,), and no
            observations (an empty dictionary).
        """
        require(model, self, Real)
        h = _place(self, model, state).beta - state.cache["t"]
        h = h.view(-1, *[1] * (state.x.dim() - 1))
        turn, root = h.sign(), (2 * self.eps * h.abs()).sqrt()
        e = turn * root / (2 * self.eps)  # with the sign of time
        a = self._drift(state.cache, turn)
        xi = normal_like(state.x, rng)
        y = self.factor.mul((h * a).addcmul_(root, xi)).add_(state.x)
        u, cache = evaluate(model, y, skip_gradient=True)
        difference = a.sub_(self._drift(cache, -turn))  # L^-1 (a - c)
        # |xi|^2 / 2 - |xi + e D|^2 / 2: the noise of the step, and that of the backward step
        middle = xi.addcmul_(e, difference, value=0.5)
        increment = state.u - u - e.flatten() * _dot(middle, difference)
        return State(y, u, cache, state.aux), _supported(increment, u), {}

    def _drift(self, cache: Mapping[str, Tensor], turn: Tensor) -> Tensor:
        """Return ``L^-1 (b + turn eps M s)``, in one pass over the walkers."""
        s, sign = (cache["s"], 1.0) if "s" in cache else (cache["g"], -1.0)
        b, s = self.factor.solve(cache["b"]), self.factor.t_mul(s)
        return torch.addcmul(b, turn, s, value=sign * self.eps)


@dataclass(frozen=True)
class Flow(Stepped):
    """Makes one step of ``dX = b dt``, a deterministic map y = T(x), weighted by its Jacobian.

    It carries walkers (weighted samples) from time t to time t' of a path of energies U(x, t) that
    has a velocity field b(x, t), see `noneq.models.interpolants`. The increment of the log-weight
    is ``U(x, t) - U(T x, t') + log |det dT/dx|``, with Euler's map ``T x = x + h b(x, t)`` or
    Heun's, ``T x = x + h [b(x, t) + b(x + h b(x, t), t')] / 2``, ``h = t' - t``. The determinant
    is that of the map T itself: ``h div b`` would be wrong by ``h^2``.

    With ``probes = 0`` log det is exact, at d backward passes a step and d^2 stored numbers a
    walker. Otherwise it is the sum of the first ``terms`` of ``tr A - tr A^2/2 + ...``,
    ``A = dT/dx - 1``, with traces estimated by ``probes`` vectors of random signs (Hutchinson
    1989). The series converges if h times the Lipschitz constant of b is below 1. The estimate of
    log det is unbiased up to the terms left out, but weights are biased: a noise of variance v in
    log det adds v/2 to log Z at every step. Use probes to explore, not to bracket log Z.

    Without noise, errors of b never decay. The map has no time reversal of the same form, so that
    backward annealing (`noneq.Schedule.backward`) is an error. All walkers must be at one time.
    Where the map is not invertible, which is possible if h is large, the weight is invalid:
    FloatingPointError when weights are read.

    Arguments:
        heun: whether to use Heun's map (second order, two evaluations of b) instead of Euler's.
        probes: number of random vectors of each trace estimate; 0 for the exact determinant.
        terms: number of terms of the series, used if probes > 0.

    Raises:
        ValueError: ``probes`` is negative or ``terms`` is below 1.
    """

    heun: bool = True
    probes: int = 0
    terms: int = 4

    fresh = False
    transports = True
    reversible = False

    def __post_init__(self) -> None:
        if self.probes < 0 or self.terms < 1:
            raise ValueError(
                f"probes must be 0 or more and terms 1 or more, got {self.probes}, {self.terms}"
            )

    def __call__(
        self, model: Energy, state: State, rng: torch.Generator
    ) -> tuple[State, Tensor, Info]:
        """Make one step of every walker, from the time of the state to that of the model.

        Arguments:
            model: energy of the path at the time to which the step leads.
            state: N walkers (weighted samples), evaluated under another energy of the path.
            rng: source of randomness.

        Returns:
            The new state at the time of the model, the increments of the log-weights (N,), and no
            observations (an empty dictionary).
        """
        require(model, self, Real)
        place = _place(self, model, state)
        with torch.enable_grad():
            x = state.x.detach().requires_grad_(True)
            y = self._map(place, x, _time(state))
            log_det = self._estimate(x, y, rng) if self.probes else _log_det(x, y)
        y = y.detach()
        u, cache = evaluate(model, y, skip_gradient=True)
        return State(y, u, cache, state.aux), _supported(state.u - u + log_det, u), {}

    def _map(self, place: Drifted, x: Tensor, t: float) -> Tensor:
        """Return T(x), with its graph."""
        end = place.beta
        b = place.drift(x, t)
        if not self.heun:
            return x + (end - t) * b
        again = place.drift(x + (end - t) * b, end)
        return x + (end - t) * (b + again) / 2

    def _estimate(self, x: Tensor, y: Tensor, rng: torch.Generator) -> Tensor:
        """Estimate ``log det dy/dx`` by the truncated series with random probes."""
        total = torch.zeros(len(x), dtype=x.dtype, device=x.device)
        for _ in range(self.probes):
            sign = torch.rand(x.shape, generator=rng, dtype=x.dtype, device=x.device)
            probe = sign.sub_(0.5).sign_()
            v = probe
            for k in range(1, self.terms + 1):
                (w,) = torch.autograd.grad(y, x, v, retain_graph=True)
                v = w - v  # A^T v
                total += (-1) ** (k + 1) / k * _dot(v, probe) / self.probes
        return total


def _log_det(x: Tensor, y: Tensor) -> Tensor:
    """Return ``log det dy/dx`` of every row, NaN where the determinant is not positive."""
    columns = y.flatten(1).unbind(1)
    rows = [torch.autograd.grad(c.sum(), x, retain_graph=True)[0].flatten(1) for c in columns]
    sign, log_det = torch.linalg.slogdet(torch.stack(rows, 1))
    return torch.where(sign > 0, log_det, math.nan)


def _place(kernel: object, model: Energy, state: State) -> Drifted:
    """Return the model; raise ValueError unless it and the state are on a path with a drift."""
    if isinstance(model, Drifted) and "t" in state.cache:
        return model
    if isinstance(model, Drifted):
        name = "the energy that the walkers last saw"
    else:
        name = f"a {type(model).__name__}"
    raise ValueError(
        f"{type(kernel).__name__} carries walkers along a path with a drift "
        f"(noneq.models.interpolants), and {name} is not on one"
    )


def _time(state: State) -> float:
    """Return the time of all walkers; raise ValueError where they are at several times."""
    low, high = torch.stack(state.cache["t"].aminmax()).tolist()
    if low != high:
        raise ValueError(
            "a flow moves walkers that are all at one time, and these are at "
            f"{low:g} to {high:g}: take noneq.kernels.EulerMaruyama, or move them apart"
        )
    return float(low)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Return the dot product of every row of a with that of b."""
    dot: Tensor = torch.linalg.vecdot(a.flatten(1), b.flatten(1))
    return dot


def _supported(increment: Tensor, u: Tensor) -> Tensor:
    """Set increments to NaN outside the support, whence no backward move has a density."""
    return increment.masked_fill_(u.isposinf(), math.nan)
