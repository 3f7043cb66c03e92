r"""Flow matching and diffusion, both with the exact likelihood of their probability flow.

Both train one network to undo Gaussian noise. In the axes of the covariance of the rows (variances
lambda_i), a row z with noise of standard deviation sigma n_i is

    (z_i + sigma n_i xi_i) / sqrt(lambda_i + sigma^2 n_i^2)  =  cos(phi_i) z_i / sqrt(lambda_i)
                                                               + sin(phi_i) xi_i  =:  w_i

with ``tan phi_i = sigma n_i / sqrt(lambda_i)``. The probability flow is dw_i/dphi_i = F_i(w), the
conditional mean of the derivative ``cos(phi_i) xi_i - sin(phi_i) z_i / sqrt(lambda_i)``. It is 0
for Gaussian rows; the network learns it. Flow matching's ``x_t = (1 - t) x_0 + t x_1`` is the same
flow, with sigma = (1 - t) / t and the space scaled by t: there t is drawn uniformly, and the loss
is that of the velocity; for the diffusion the loss is the integral over log sigma that bounds the
likelihood (Song, Durkan, Murray, Ermon 2021, arXiv 2101.09258), by importance sampling.

With n_i = 1 noise is that of the standardised columns, with n_i = sqrt(lambda_i) of the whitened
ones, which may have been mapped to normal variables before; the validation rows choose.

The likelihood is ``log p(z) = log N(w_end; 0, I) + int tr(dphi/ds dF/dw) ds - sum_i log(lambda_i +
sigma_0^2 n_i^2) / 2`` along the flow (Chen and others 2018, arXiv 1806.07366), by Runge-Kutta's
steps. The trace is exact, at the cost of one more product of matrices: the network has two layers.
"""

from __future__ import annotations

import copy
import itertools
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, silu

from experiments.tables.rows import (
    MANY,
    Coordinates,
    Fitted,
    Rows,
    Whitener,
    noisy,
    scored,
    spaces_of,
)  # fmt: skip
from experiments.tables.search import best_of
from noneq.random import add_noise

__all__ = ["FieldNet", "Flow", "FlowTraining", "diffusion", "flow_matching"]

BATCH, RATE, EMA = 256, 2e-3, 0.999
OFTEN = 0.05  # added to the density of log sigma, so that large ones are met, too
FARTHEST = 20.0  # sigma at which the flow ends, of a diffusion
STEPS, QUICK = 24, 8  # of Runge-Kutta, in the end and while it trains


class FieldNet(nn.Module):
    """A perceptron of two hidden layers, the second one residual, that is also told log sigma.

    ``F = C (h + silu(B h + b)), h = silu(A w + a)``; a and b depend on log sigma.
    """

    def __init__(self, dim: int, width: int = 256, drop: float = 0.0) -> None:
        super().__init__()
        self.first, self.mix = nn.Linear(dim, width), nn.Linear(width, width)
        self.last, self.drop = nn.Linear(width, dim), drop
        self.time = nn.Sequential(nn.Linear(33, 64), nn.SiLU(), nn.Linear(64, 2 * width))
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)
        self.register_buffer("frequencies", torch.linspace(0.1, 2.0, 16))

    def biases(self, log_sigma: Tensor) -> tuple[Tensor, Tensor]:
        """What log sigma (B,) adds to the hidden layers, (B, width) each."""
        c = log_sigma.clamp(-8.0, 8.0)[:, None]
        waves = c * self.frequencies
        known = torch.cat([c / 4, waves.sin(), waves.cos()], 1)
        a, b = self.time(known).chunk(2, 1)
        return a, b

    def forward(self, w: Tensor, log_sigma: Tensor) -> Tensor:
        """F (B, D) at w (B, D) and log sigma (B,)."""
        a, b = self.biases(log_sigma)
        h = dropout(silu(self.first(w) + a), self.drop, self.training)
        more = dropout(silu(self.mix(h) + b), self.drop, self.training)
        return self.last(h + more)

    def with_trace(self, w: Tensor, log_sigma: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        """F (B, D) and ``sum_i g_i dF_i/dw_i`` (B,), at one log sigma (1,), without dropout."""
        a, b = self.biases(log_sigma)
        p = self.first(w) + a
        h = silu(p)
        q = self.mix(h) + b
        m = self.first.weight @ (g[:, None] * self.last.weight)  # A diag(g) C
        inner, outer = _slope(p), _slope(q)
        # tr diag(g) C (1 + D_q B) D_p A
        trace = inner @ m.diagonal() + (outer @ (self.mix.weight * m.T) * inner).sum(1)
        return self.last(h + silu(q)), trace


def _slope(x: Tensor) -> Tensor:
    s = x.sigmoid()
    return s * (1 + x * (1 - s))


class Flow:
    """The probability flow from a small to a large sigma, and the likelihood along it.

    Arguments:
        variances: lambda (D,), of the rows in the axes of their covariance.
        scales: n (D,).
        end: sigma at which the flow ends in standard normal variables w.
    """

    def __init__(self, variances: Tensor, scales: Tensor, end: float) -> None:
        self.variances, self.scales, self.end = variances.double(), scales.double(), end

    def angle(self, log_sigma: Tensor) -> Tensor:
        """phi (B, D) at log sigma (B,)."""
        return (log_sigma.double().exp()[:, None] * self.scales / self.variances.sqrt()).atan()

    def _grid(self, start: float, steps: int) -> Tensor:
        """Values of log sigma between which a step is taken, about evenly spaced in angle."""
        fine = torch.linspace(math.log(start), math.log(self.end), 2000, dtype=torch.float64)
        share = self.angle(fine).mean(1)
        share = (share - share[0]) / (share[-1] - share[0]) + 0.2 * torch.linspace(0, 1, 2000)
        wanted = torch.linspace(0, float(share[-1]), steps + 1, dtype=torch.float64)
        at = torch.searchsorted(share, wanted).clamp(0, 1999)
        at[0], at[-1] = 0, 1999
        return fine[at]

    @torch.no_grad()
    def nll(self, net: FieldNet, z: Tensor, start: float, steps: int = STEPS) -> Tensor:
        """``-log p`` of rows z (M, D), in the axes of the covariance, at sigma = start."""
        spread = (self.variances + (start * self.scales) ** 2).sqrt()
        w = (z / spread).float()
        gained = torch.zeros(len(z), dtype=torch.float64)

        def slope(w: Tensor, log_sigma: Tensor) -> tuple[Tensor, Tensor]:
            phi = self.angle(log_sigma[None])[0]
            g = (phi.sin() * phi.cos()).float()  # dphi / dlog sigma
            field, trace = net.with_trace(w, log_sigma[None].float(), g)
            return g * field, trace

        grid = self._grid(start, steps)
        for low, high in itertools.pairwise(grid):
            h = float(high - low)
            k1, t1 = slope(w, low)
            k2, t2 = slope(w + h / 2 * k1, (low + high) / 2)
            k3, t3 = slope(w + h / 2 * k2, (low + high) / 2)
            k4, t4 = slope(w + h * k3, high)
            w = w + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
            gained += h / 6 * (t1 + 2 * t2 + 2 * t3 + t4).double()
        normal = w.double().square().sum(1) / 2 + z.shape[1] * math.log(2 * math.pi) / 2
        return normal - gained + float(spread.log().sum())


class FlowTraining:
    """One training of a network along a `Flow`: of a diffusion, or by flow matching.

    Arguments:
        rows: the rows of the split.
        matching: whether this is flow matching.
        space: one of `spaces_of`: whether the noise is that of standardised or of whitened
            columns, or of whitened columns that were mapped to normal variables before.
        drop: probability of dropout.
        decay: weight decay of AdamW.
        width: of the hidden layers.
    """

    def __init__(
        self, rows: Rows, *, matching: bool, space: str, drop: float, decay: float,
        width: int = 256,
    ) -> None:  # fmt: skip
        self.outer, self.matching, self.own = rows, matching, torch.Generator()
        self.own.manual_seed(rows.seed)
        self.coordinates = Coordinates(rows, mapped=space == "mapped")
        self.rows = rows = self.coordinates.rows
        # a diffusion's flow starts at the noise itself; flow matching learns from noisy rows
        self.exact = 0.0 if matching else rows.noise
        self.whitener = Whitener(noisy(rows) if matching else rows.train, rows.validation)
        self.data = self.whitener.rotate(rows.train).float()
        variances = self.whitener.variances
        plain = space == "standardised"
        scales = torch.ones_like(variances) if plain else variances.sqrt()
        self.flow = Flow(variances, scales, 1e3 if matching else FARTHEST)
        self.starts = (self.exact,) if self.exact else (1e-3,) if matching else (0.01, 0.03, 0.1)
        self.start = self.starts[0]
        ends = math.log(self.start), math.log(FARTHEST)
        self.fine = torch.linspace(*ends, 4000, dtype=torch.float64)
        self.share = (self.flow.angle(self.fine).cos().square().mean(1) + OFTEN).cumsum(0)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(rows.seed)
            self.net = FieldNet(rows.train.shape[1], width, drop)
        self.average = copy.deepcopy(self.net).eval()
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=RATE, weight_decay=decay)
        self.done = 0
        self.words = f"{space} columns, dropout {drop:g}, weight decay {decay:g}"

    def _log_sigma(self) -> Tensor:
        u = torch.rand(BATCH, generator=self.own, dtype=torch.float64)
        if self.matching:
            return -torch.logit(u.clamp(1e-3, 1 - 1e-3))
        # as often as the likelihood weighs the loss there
        at = torch.searchsorted(self.share, u * self.share[-1]).clamp(max=len(self.share) - 1)
        return self.fine[at]

    def _loss(self) -> Tensor:
        which = torch.randint(len(self.data), (BATCH,), generator=self.own)
        z, log_sigma = self.data[which], self._log_sigma()
        if self.matching and self.rows.noise:
            z = add_noise(z, self.rows.noise, self.own)
        phi = self.flow.angle(log_sigma)
        sin, cos = phi.sin().float(), phi.cos().float()
        y = z / self.flow.variances.sqrt().float()
        xi = torch.randn(z.shape, generator=self.own)
        error = self.net(cos * y + sin * xi, log_sigma.float()) - (cos * xi - sin * y)
        if self.matching:  # of the velocity in coordinates with noise of variance 1
            often = (1 / (1 + log_sigma.exp())).float()[:, None].square()  # t^2
        else:
            often = cos.square().mean(1, keepdim=True) + OFTEN
        return (cos.square() / often * error.square()).mean(1).mean()

    def advance(self, iterations: int, speed: float = 1.0) -> None:
        """Train for some iterations, at this fraction of the learning rate."""
        for group in self.optimizer.param_groups:
            group["lr"] = speed * RATE
        self.net.train()
        for _ in range(iterations):
            self.optimizer.zero_grad(set_to_none=True)
            self._loss().backward()
            nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
            self.optimizer.step()
            self.done += 1
            step = 1 - min(EMA, self.done / (self.done + 10))
            with torch.no_grad():
                averages, now = list(self.average.parameters()), list(self.net.parameters())
                torch._foreach_lerp_(averages, now, step)

    def nll(self, x: Tensor, steps: int = STEPS) -> Tensor:
        """NLL of rows (M, D), by the averaged parameters."""
        y, log_volume = self.coordinates.apply(x.double())
        parts = torch.split(self.whitener.rotate(y), 2000)
        own = [self.flow.nll(self.average, z, self.start, steps) for z in parts]
        return torch.cat(own) - log_volume

    def check(self) -> float:
        """The validation NLL, by few steps; where the flow starts is chosen by it, too."""
        found = {}
        for start in self.starts:
            self.start = start
            values = scored(
                lambda x: self.nll(x, QUICK), self.outer.validation[:600], self.rows.noise, draws=3
            )
            found[start] = float(values.nan_to_num(math.inf).mean())
        self.start = min(found, key=lambda s: found[s])
        return found[self.start]

    def state(self) -> Any:
        """The averaged parameters, and where the flow starts."""
        return self.start, self.average.state_dict()

    def restore(self, state: Any) -> None:
        """Take these as the averaged parameters."""
        self.start, parameters = state
        self.average.load_state_dict(parameters)


def _fitted(trainings: list[FlowTraining], seconds: float) -> Fitted:
    best, words = best_of(trainings, seconds)
    assert isinstance(best, FlowTraining)
    return Fitted(best.nll, f"{words}, from sigma {best.start:g}")


def diffusion(rows: Rows) -> Fitted:
    """A variance-exploding diffusion with dropout, and its exact likelihood.

    The density is that of the probability flow at its first sigma: the noise of the rows where
    there is noise, else one of three small values, chosen by validation as the coordinates are.
    """
    # the noise that the flow undoes is the noise of the rows, in their own columns
    spaces = spaces_of(rows)[: 1 if rows.noise else 3]
    drop, decay = (0.2, 0.3) if len(rows.train) < MANY else (0.05, 0.01)
    trainings = [
        FlowTraining(rows, matching=False, space=s, drop=drop, decay=decay) for s in spaces
    ]
    return _fitted(trainings, rows.seconds)


def flow_matching(rows: Rows) -> Fitted:
    """Flow matching along straight lines (Lipman and others 2022, arXiv 2210.02747)."""
    drop = 0.1 if len(rows.train) < MANY else 0.0
    trainings = [
        FlowTraining(rows, matching=True, space=s, drop=drop, decay=0.01) for s in spaces_of(rows)
    ]
    return _fitted(trainings, rows.seconds)
