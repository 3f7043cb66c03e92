r"""Lead walkers along a recorded path with one kernel, and measure what they know on the way.

Every kernel has the same number of evaluations of the network an update: one that puts the weights
right and eight for moves; a kernel that takes stale states moves with all nine. The order at each
update is that of `noneq.annealing.anneal`: reweight, resample, move; then the walkers are looked
at.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

import noneq
from experiments.kernels.paths import Path, Truth
from noneq.energies import Factor
from noneq.kernels import Kernel
from noneq.walkers import Resampler, reductions, systematic

BUDGET = 8  # evaluations for moves, besides one
POINTS = 24  # of the curve of the effective sample size


@dataclass(frozen=True)
class Contender:
    """A kernel and how its evaluations are spent.

    Attributes:
        name: for people.
        make: (h, factor) -> one move.
        leaps: evaluations of a move.
        splits: an update of the path is divided into so many equal ones.
        steps: whether it has a step size.
        everywhere: whether it is also led along the digits' path, which takes ten times as long.
    """

    name: str
    make: Callable[[float, Factor], Kernel]
    leapfrog_steps: int = 1
    splits: int = 1
    steps: bool = True
    everywhere: bool = True

    def kernel(self, h: float, factor: Factor, budget: int = BUDGET) -> Kernel:
        """All moves of one (part of an) update."""
        one = self.make(h, factor)
        total = budget + 1 - self.splits if one.fresh else budget + 1
        return noneq.kernels.Repeat(one, max(1, total // (self.leapfrog_steps * self.splits)))


def _hmc(leapfrog_steps: int) -> Contender:
    name = f"HMC, {leapfrog_steps} leaps"
    return Contender(
        name,
        lambda h, f: noneq.HMC(h, f, leapfrog_steps),
        leapfrog_steps,
        everywhere=leapfrog_steps > 2,
    )


CONTINUOUS = (
    Contender("ULA, Algorithm 1", lambda h, f: noneq.ULA(h, f), splits=9),
    Contender("ULA, stale", lambda h, f: noneq.ULA(h, f), everywhere=False),
    Contender("ULA, fresh", lambda h, f: noneq.ULA(h, f, refresh=True), everywhere=False),
    Contender("MALA", lambda h, f: noneq.MALA(h, f)),
    Contender("MALA, 4 parts", lambda h, f: noneq.MALA(h, f), splits=4, everywhere=False),
    _hmc(2),
    _hmc(4),
    _hmc(8),
    Contender("unadjusted HMC, 4 leaps", lambda h, f: noneq.HMC(h, f, 4, adjusted=False), 4),
    Contender("OBABO", lambda h, f: noneq.HMC.obabo(h, f), everywhere=False),
    Contender("OBABO, 9 parts", lambda h, f: noneq.HMC.obabo(h, f), splits=9),
    Contender("GHMC", lambda h, f: noneq.HMC.obabo(h, f, adjusted=True)),
    Contender("random walk", lambda h, f: noneq.kernels.RandomWalk(h, f)),
)
DISCRETE = (
    Contender("block Gibbs", lambda _, __: noneq.kernels.BlockGibbs(), steps=False),
    Contender(
        "block Gibbs, 4 parts", lambda _, __: noneq.kernels.BlockGibbs(), splits=4, steps=False
    ),
    Contender(
        "Gibbs with gradients", lambda _, __: noneq.kernels.GibbsWithGradients(), steps=False
    ),
    Contender("discrete Langevin", lambda h, _: noneq.kernels.DiscreteLangevin(h)),
    Contender("unadjusted DL", lambda h, _: noneq.kernels.DiscreteLangevin(h, adjusted=False)),
    Contender(
        "unadjusted DL, 9 parts",
        lambda h, _: noneq.kernels.DiscreteLangevin(h, adjusted=False),
        splits=9,
    ),
)


def contenders(path: Path) -> tuple[Contender, ...]:
    """Those that can move the path's walkers."""
    if not path.factors:
        return DISCRETE
    return tuple(c for c in CONTINUOUS if c.everywhere or path.name != "digits")


def reference(path: Path) -> float:
    """The step that all grids are multiples of: that of `noneq.kernels.default_kernel`."""
    return 1.3 * path.truths[len(path)].x[0].numel() ** (-1 / 3) if path.factors else 0.3


@dataclass(frozen=True)
class Sizes:
    """Islands of walkers, and when and how they are resampled."""

    islands: int = 32
    n: int = 32
    ess_min: float = 0.0
    scheme: Resampler = systematic
    budget: int = BUDGET
    seed: int = 0


@dataclass(frozen=True)
class Error:
    """Of a gradient, mean over the updates looked at, in units of ``tr Cov / n``.

    That unit is the squared error of n exact samples, so that 1 is the best that n walkers can
    expect. ``bias2`` is unbiased, hence sometimes negative; its error is the jackknife's.
    """

    bias2: float
    stderr: float
    variance: float

    @property
    def mse(self) -> float:
        """Expected squared error of one island's gradient."""
        return self.bias2 + self.variance


@dataclass(frozen=True)
class Outcome:
    """What became of a walk.

    Attributes:
        ess: effective sample size of all walkers along the path, a fraction.
        work: dissipated work in nats at the end, ``log Z_K / Z_0 - mean log w``: the relative
            entropy of the forward to the backward path. Only without resampling.
        work_stderr: its standard error.
        log_z_error: mean over islands of ``log Z_r - log Z``.
        log_z_variance: over islands.
        weighted: error of the gradient with weights.
        unweighted: of the same walkers without them (as in contrastive divergence); only without
            resampling.
        accept: acceptance, mean over the path.
        resampled: times that some island was.
        failed: why there is no number, or empty.
    """

    kernel: str
    h: float
    factor: str
    ess: list[float]
    work: float = math.nan
    work_stderr: float = math.nan
    log_z_error: float = math.nan
    log_z_variance: float = math.nan
    weighted: Error | None = None
    unweighted: Error | None = None
    accept: float = math.nan
    resampled: int = 0
    failed: str = ""

    @property
    def log_z_mse(self) -> float:
        """Of one island's log Z."""
        return self.log_z_error**2 + self.log_z_variance


def walk(path: Path, who: Contender, h: float, sizes: Sizes, factor: str = "") -> Outcome:
    """Lead the walkers from theta_0 to theta_K.

    Arguments:
        path: recorded.
        who: the kernel.
        h: its step size.
        sizes: of the population.
        factor: name of the preconditioner; default the path's usual one.
    """
    factor = factor or next(iter(path.factors), "")
    root = path.factors.get(factor, noneq.energies.Identity())
    blank = Outcome(who.name, h, factor, [])
    try:
        return _walk(path, who, who.kernel(h, root, sizes.budget), sizes, blank)
    except FloatingPointError as error:
        return replace(blank, failed=str(error).split(":")[0])


def _walk(path: Path, who: Contender, kernel: Kernel, sizes: Sizes, outcome: Outcome) -> Outcome:
    rng = torch.Generator().manual_seed(sizes.seed)
    path.place(0)
    walkers = noneq.Walkers.sample(path.start, sizes.islands * sizes.n, rng, islands=sizes.islands)
    accepts: list[float] = []
    found: dict[bool, list[Tensor]] = {True: [], False: []}
    for k in range(1, len(path) + 1):
        for part in range(1, who.splits + 1):
            path.place(k - 1 + part / who.splits)
            if kernel.fresh:
                walkers = walkers.reweight(path.energy)
            walkers = walkers.resample(sizes.ess_min, rng, sizes.scheme)
            walkers = walkers.move(kernel, path.energy, rng)
        accepts.append(float(walkers.info.get("accept", math.nan)))
        if k % max(1, len(path) // POINTS) == 0:
            outcome.ess.append(walkers.ess)
        if k in path.truths:
            for weighted in (True, False):
                found[weighted].append(islands_off(path, path.truths[k], walkers, weighted))
    truth = path.truths[len(path)]
    each = walkers.weights.log_z_start + walkers.weights.log_mean_by_island
    biased = sum(t.spread * sizes.n / t.floor for t in path.truths.values()) / len(path.truths)
    moved = walkers.weights.resampled == 0
    work = truth.log_z - walkers.weights.log_z_start - float(walkers.log_w.mean())
    return replace(
        outcome,
        work=work if moved else math.nan,
        work_stderr=math.hypot(float(walkers.log_w.std()) / len(walkers) ** 0.5, truth.stderr),
        log_z_error=float(each.mean()) - truth.log_z,
        log_z_variance=float(each.var()),
        weighted=judge(torch.cat(found[True], 1), biased),
        unweighted=judge(torch.cat(found[False], 1), biased) if moved else None,
        accept=sum(accepts) / len(accepts),
        resampled=walkers.weights.resampled,
    )


def islands_off(path: Path, truth: Truth, walkers: noneq.Walkers, weighted: bool) -> Tensor:
    """Errors of the islands' gradients (R, P), scaled to their unit and the number of updates."""
    log_w = walkers.log_w.view(walkers.islands, -1)
    p = reductions.normalise(log_w if weighted else torch.zeros_like(log_w))
    x = walkers.x.unflatten(0, p.shape)
    unit = truth.floor / p.shape[1] * len(path.truths)
    return (path.gradients(x, p) - truth.gradient) / math.sqrt(unit)


def judge(off: Tensor, spread: float = 0.0) -> Error:
    """Squared bias from pairs of islands, less what the reference's own error adds to it."""
    r = len(off)
    pairs = (off @ off.T).fill_diagonal_(0.0)
    bias2 = float(pairs.sum()) / (r * (r - 1))
    without = (pairs.sum() - 2 * pairs.sum(1)) / ((r - 1) * (r - 2))
    stderr = math.sqrt((r - 1) / r * float((without - without.mean()).square().sum()))
    return Error(bias2 - spread, math.hypot(stderr, spread), float(off.var(0).sum()))
