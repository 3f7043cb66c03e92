"""The one home of defaults: from what the data are to every choice of a run.

`choose` needs only the shape and the kind of the data, and nothing heavy is imported: the command
line shows every choice as an option. Each default has its reason in docs/lab/defaults.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from noneq.training import Settings

__all__ = ["IDLE", "MACHINES", "Recipe", "choose"]

#: models that move by block Gibbs
MACHINES = ("rbm", "gaussian-rbm")
_NETWORKS = ("base", "clusters", "width", "depth", "leaps", "step_size", "z_cycled")
_WALKERS = (
    "walkers", "held_out", "moves", "tau", "tau_end", "longest", "ess_min", "renew",
    "temperatures", "weighted", "memory", "start",
)  # fmt: skip
_TRANSPORTS = ("steps", "eps", "corrections")
#: choices that say nothing to a model; bits have no noise added
IDLE = {
    "network": ("hidden", *_TRANSPORTS),
    "rbm": ("net", "noise", *_NETWORKS, *_TRANSPORTS),
    "gaussian-rbm": ("net", *_NETWORKS, *_TRANSPORTS),
    "interpolant": ("hidden", "net", *_WALKERS),
}


@dataclass(frozen=True)
class Recipe:
    """Every choice of a run.

    Attributes:
        model: network: a base plus an energy network; rbm: a restricted Boltzmann machine of bits;
            gaussian-rbm: one of numbers; interpolant: an energy of all times from a Gaussian to
            the data, learned by denoising score matching.
        hidden: units of a machine.
        noise: standard deviation of the Gaussian noise added to the data (scaled as they are
            trained on), afresh in every batch; what is learned is the density of the noisy data.
        base: covariance of the Gaussian that the energy starts from: full, diagonal or low-rank.
        clusters: moves are preconditioned by the pooled covariance of this many Gaussian clusters
            of the data; 0: by the base's.
        net: the energy's network: mlp, convnet or resnet.
        width: its hidden units, or channels after the first layer.
        depth: its hidden layers, or halvings of the resolution.
        walkers: walkers that feed the gradient.
        held_out: walkers on the same path that do not: their log Z is unbiased (a multiple of 8).
        moves: kernel moves an iteration.
        leaps: gradient steps of a move: 1: MALA, more: Hamiltonian Monte Carlo.
        step_size: h of the first move; adapted to its acceptance from then on.
        tau: trust region, nats of effective sample size an optimiser step may cost; 0: plain
            steps.
        tau_end: tau falls linearly to this fraction of itself.
        longest: no step is longer than this fraction of the parameters.
        ess_min: resample below this effective sample size.
        renew: iterations between renewals of all walkers by annealing from the base, of a machine
            of those held out alone; 0: never.
        temperatures: steps of a renewal's annealing.
        batch: data rows an iteration.
        lr: learning rate of AdamW; under a trust region it hardly matters. Of an interpolant it
            falls to 0 along a cosine.
        decay: weight decay of AdamW.
        ema: decay of the exponential moving average of the parameters that is kept as the model.
        weighted: False: no weights (persistent contrastive divergence), for comparison.
        memory: of the log-weights from one iteration to the next; 1: exact, for modes that do not
            mix; 0.9, with 1 move: for images, whose many modes do, slowly.
        start: where the walkers start: base or data.
        seconds: training time; used unless iterations are given.
        iterations: training length instead of a time: the same bits every time; 0: seconds count.
        z_walkers: walkers on each side of the final bracket of log Z (a multiple of 16).
        z_temperatures: temperatures of the final bracket.
        z_equilibrate: moves under the model before its backward side starts.
        z_cycled: vary the step size along its annealing, which finds sharp modes but spends half
            of the moves on short steps.
        steps: of Euler-Maruyama from the base to a sample of an interpolant.
        eps: their diffusivity: larger steps forget more and cost more effective sample size.
        corrections: moves after each of them, at the time it led to.
        threads: of the processor; 0: as many as torch takes by itself.
    """

    model: Literal["network", "rbm", "gaussian-rbm", "interpolant"] = "network"
    hidden: int = 500
    noise: float = 0.0
    base: Literal["full", "diagonal", "low-rank"] = "full"
    clusters: int = 0
    net: Literal["mlp", "convnet", "resnet"] = "mlp"
    width: int = 256
    depth: int = 2
    walkers: int = 512
    held_out: int = 128
    moves: int = 8
    leaps: int = 1
    step_size: float = 0.3
    tau: float = 0.2
    tau_end: float = 0.05
    longest: float = 0.02
    ess_min: float = 0.5
    renew: int = 500
    temperatures: int = 500
    batch: int = 1024
    lr: float = 3e-3
    decay: float = 0.5
    ema: float = 0.99
    weighted: bool = True
    memory: float = 1.0
    start: Literal["base", "data"] = "base"
    seconds: float = 120.0
    iterations: int = 0
    z_walkers: int = 1024
    z_temperatures: int = 1500
    z_equilibrate: int = 4500
    z_cycled: bool = True
    steps: int = 100
    eps: float = 1.0
    corrections: int = 4
    threads: int = 1

    def __post_init__(self) -> None:
        if not (self.iterations > 0 or self.seconds > 0):
            raise ValueError(f"the budget is a time > 0 or iterations > 0, got {self.seconds} s")
        for name in ("tau_end", "ema"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a fraction in [0, 1], got {getattr(self, name)}")
        for name in ("hidden", "width", "depth", "leaps", "z_temperatures", "steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, got {getattr(self, name)}")
        least = ("clusters", "iterations", "z_equilibrate", "threads", "decay", "lr", "tau")
        for name in (*least, "corrections"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name)}")
        if self.z_walkers < 32 or self.z_walkers % 16:
            raise ValueError(
                f"z_walkers must be a multiple of 16, 32 or more, got {self.z_walkers}"
            )
        for name in ("longest", "step_size", "eps"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} is a finite number > 0, got {getattr(self, name)}")
        if self.model == "interpolant" and not self.noise > 0:
            raise ValueError(
                f"--noise {self.noise:g}: score matching learns the density of rows with noise "
                "added: give --model interpolant more than 0"
            )
        if self.weighted and self.memory < 1 and not self.held_out:
            raise ValueError(
                f"--memory {self.memory:g} leaves log Z, which tells a run that diverges, to "
                "held-out walkers: take --held-out 8 or more, or --memory 1"
            )
        self.settings()  # which checks the rest

    def settings(self) -> Settings:
        """What `noneq.train` wants to know."""
        own = {f.name for f in fields(self)}
        shared = {f.name: getattr(self, f.name) for f in fields(Settings) if f.name in own}
        return Settings(**{**shared, "tau": self.tau or None})

    def progress(self, iteration: int, seconds: float) -> float:
        """How much of the budget is spent, 1 at its end."""
        return iteration / self.iterations if self.iterations else seconds / self.seconds

    def fall(self, progress: float) -> float:
        """What tau is multiplied by at that progress."""
        return max(self.tau_end, 1 - (1 - self.tau_end) * progress)

    def plain(self) -> dict[str, Any]:
        """As a dictionary, for a file."""
        return asdict(self)

    def relevant(self) -> dict[str, Any]:
        """The choices that its model knows."""
        idle = IDLE[self.model]
        return {name: value for name, value in asdict(self).items() if name not in idle}


def choose(
    shape: Sequence[int],
    rows: int,
    kind: Literal["image", "table"],
    *,
    discrete: bool = False,
    **changes: Any,
) -> Recipe:
    """Every choice for data of that shape and kind, with the caller's ``changes``.

    Arguments:
        shape: of one row; images are (channels, height, width).
        rows: to train on.
        kind: image or table.
        discrete: whether values repeat, or columns are constant: no density without noise.
        changes: fields of `Recipe` to set otherwise.

    Raises:
        TypeError: a change that is no field of `Recipe`.
        ValueError: a value out of range.
    """
    known = {f.name for f in fields(Recipe)}
    for name in changes:
        if name not in known:
            raise TypeError(f"a recipe has no {name!r}; it has {', '.join(sorted(known))}")
    model = changes.get("model", "network")
    idle = [name for name in changes if name in IDLE.get(model, ())]
    if idle:
        option = "--" + idle[0].replace("_", "-")
        raise ValueError(f"{option} says nothing to --model {model}: leave it out")
    if model == "network":
        return replace(_network(shape, rows, kind, discrete), **changes)
    if model == "interpolant":
        return replace(_interpolant(shape, rows, kind, discrete), **changes)
    return replace(_machine(shape, rows, kind, model, discrete), **changes)


def _network(
    shape: Sequence[int], rows: int, kind: Literal["image", "table"], discrete: bool
) -> Recipe:
    dim = math.prod(shape)
    choice = Recipe(
        base="full" if dim <= 2048 else "low-rank",
        clusters=min(15, rows // 80) if dim <= 2048 else 0,
        batch=min(1024, rows),
    )
    if discrete:
        choice = replace(choice, noise=0.15 if kind == "image" else 0.1)
    if kind == "image":
        choice = replace(choice, longest=0.1)
        if min(shape[1:]) >= 16:
            choice = replace(
                choice,
                net="convnet",
                width=8,
                depth=3,
                walkers=192,
                held_out=64,
                moves=1,
                leaps=4,
                step_size=0.05,
                tau=0.05,
                renew=0,
                batch=min(128, rows),
                seconds=540.0,
                z_walkers=320,
                z_temperatures=800,
                z_equilibrate=500,
                z_cycled=False,
                threads=0,
            )
    return choice


def _interpolant(
    shape: Sequence[int], rows: int, kind: Literal["image", "table"], discrete: bool
) -> Recipe:
    dim = math.prod(shape)
    return Recipe(
        model="interpolant",
        noise=(0.15 if kind == "image" else 0.1) if discrete else 0.05,
        base="full" if dim <= 2048 else "low-rank",
        clusters=min(15, rows // 80) if dim <= 2048 else 0,
        width=256,
        depth=2,
        batch=min(512, rows),
        lr=2e-3,
        decay=0.5,
        ema=0.999,
        z_walkers=1024,
        z_temperatures=500,
        z_equilibrate=500,
        z_cycled=False,
    )


def _machine(
    shape: Sequence[int], rows: int, kind: Literal["image", "table"], model: Any, discrete: bool
) -> Recipe:
    choice = Recipe(
        model=model,
        hidden=max(8, min(500, 2 * math.prod(shape), rows // 10)),
        noise=0.1 if discrete and model == "gaussian-rbm" else 0.0,
        walkers=1024,
        held_out=256,
        moves=4,
        tau=0.1,
        renew=1000,
        batch=min(512, rows),
        lr=1e-2,
        decay=0.1,
        z_walkers=512,
        z_temperatures=5000,
        z_equilibrate=1000,
        z_cycled=False,
    )
    if kind == "image" and model == "rbm":
        choice = replace(choice, moves=1, memory=0.9)
    return choice
