"""What do other libraries' trained energies say of the digits? Audited by `noneq.log_z`.

The same network (MLP 64-256-256-1, SiLU, torch's initial values, no base) is trained on the same
noisy digits by persistent contrastive divergence of torchebm, of ebmkit and of noneq, each as its
documentation shows: as many updates, rows, chains in store, chains an update and moves a chain,
Adam. The reference is noneq's weighted training of the same network on a Gaussian base. Each has
four trials. A user of the first three sees samples, so theirs are chosen by the energy distance
between validation rows and 256 samples, 500 moves of the library's own sampler from a standard
normal; the reference by its own likelihood of the validation rows. Then `noneq.log_z` brackets
every model.

Not equal: torchebm and ebmkit move by unadjusted Langevin steps of a size that is a trial, noneq
by MALA, which finds its own; their chains start from noise, after 100 moves (torchebm) or anew
with probability 0.05 (ebmkit), noneq's from the data; torchebm penalises squared energies (its
default, 0.001); the reference has 256 chains, weights, 128 held-out chains and renewals.

    pip install torchebm ebmkit       (what is not installed is left out)
    python -m experiments audit
"""

from __future__ import annotations

import importlib.util
import math
import sys
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
import tyro
from torch import Tensor, nn

import noneq
from experiments.baselines import NOISE
from experiments.common import record, table
from noneq.data import digits
from noneq.likelihood.score import energy_of
from noneq.random import add_noise

ROWS, CHAINS, MOVES, BUFFER, SAMPLES = 256, 256, 10, 8192, 256
DATA = digits()


class Fitted(NamedTuple):
    """A trained model; what chose it is the lower the better."""

    energy: nn.Module
    criterion: float
    samples: float
    """energy distance of 500-move samples to the validation rows"""


Fit = Callable[[float, float, int, int], Fitted]  # step size or tau, learning rate, updates, seed


class Way(NamedTuple):
    """One library's way to train, and its trials: (step size or tau, learning rate)."""

    name: str
    needs: str
    fit: Fit
    trials: tuple[tuple[float, float], ...]


class Audit(NamedTuple):
    """What is known of a model; what is not is NaN."""

    model: str
    trial: tuple[float, float]
    seed: int
    failed: str = ""
    samples: float = math.nan
    seconds: float = math.nan
    """of the audit"""
    forward: float = math.nan
    backward: float = math.nan
    nll: float = math.nan
    stderr: tuple[float, float] = (math.nan, math.nan)
    away: tuple[float, float] = (math.nan, math.nan)
    alarms: tuple[str, ...] = ()


def network(seed: int) -> nn.Sequential:
    """The same network, and the same initial values, for all."""
    torch.manual_seed(seed)
    layers = (nn.Linear(64, 256), nn.SiLU(), nn.Linear(256, 256), nn.SiLU(), nn.Linear(256, 1))
    return nn.Sequential(*layers, nn.Flatten(0))


def batches(seed: int) -> Iterator[Tensor]:
    """Rows with noise, without end."""
    rng = torch.Generator().manual_seed(seed)
    while True:
        rows = torch.randint(len(DATA.train), (ROWS,), generator=rng)
        yield add_noise(DATA.train[rows], NOISE, rng)


def energy_distance(x: Tensor, y: Tensor) -> float:
    """``2 E|x - y| - E|x - x'| - E|y - y'|`` (Szekely, Rizzo 2013), 0 for equal distributions."""

    def among(z: Tensor) -> float:
        return float(torch.cdist(z, z).sum()) / (len(z) * (len(z) - 1))

    return 2 * float(torch.cdist(x, y).mean()) - among(x) - among(y)


def sampled(energy: nn.Module, draw: Callable[[Tensor], Tensor], seed: int) -> Fitted:
    """A model chosen by its samples."""
    rng = torch.Generator().manual_seed(seed)
    start = torch.randn(SAMPLES, 64, generator=rng)
    validation = add_noise(DATA.validation, NOISE, rng)
    distance = energy_distance(draw(start).detach().double(), validation.double())
    distance = distance if math.isfinite(distance) else math.inf
    return Fitted(energy.eval(), distance, distance)


def torchebm(step: float, lr: float, updates: int, seed: int) -> Fitted:
    """The README's persistent contrastive divergence, with its defaults."""
    from torchebm.core import BaseModel
    from torchebm.losses import ContrastiveDivergence
    from torchebm.samplers import LangevinDynamics

    class MLPEnergy(BaseModel):
        def __init__(self) -> None:
            super().__init__()
            self.net = network(seed)

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x)

    energy = MLPEnergy()
    sampler = LangevinDynamics(model=energy, step_size=step, noise_scale=1.0)
    loss_of = ContrastiveDivergence(
        model=energy, sampler=sampler, k_steps=MOVES, persistent=True, buffer_size=BUFFER
    )
    optimizer = torch.optim.Adam(energy.parameters(), lr=lr)
    for _, x in zip(range(updates), batches(seed), strict=False):
        loss, _ = loss_of(x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return sampled(energy, lambda x: sampler.sample(x=x, n_steps=500), seed)


def ebmkit(step: float, lr: float, updates: int, seed: int) -> Fitted:
    """The README's persistent contrastive divergence, with its defaults."""
    import ebm

    energy = network(seed)
    sampler = ebm.LangevinDynamics(step_size=step, steps=MOVES)
    loss = ebm.ContrastiveDivergence(sampler, buffer=ebm.ReplayBuffer(BUFFER, (64,)))
    trainer = ebm.Trainer(energy, loss, lr=lr, device="cpu")
    trainer.fit(batches(seed), steps=updates, verbose=False)
    return sampled(energy, lambda x: sampler.sample(energy, x, steps=500), seed)


def pcd(_: float, lr: float, updates: int, seed: int) -> Fitted:
    """noneq's persistent contrastive divergence: MALA, whose step adapts, chains from the data."""
    energy = network(seed)
    settings = noneq.Settings.pcd(
        walkers=BUFFER, active=CHAINS, moves=MOVES, batch=ROWS, noise=NOISE
    )
    last = trained(energy, settings, lr, updates, seed)

    def draw(x: Tensor) -> Tensor:
        walkers, rng = noneq.Walkers.at(x, energy), torch.Generator().manual_seed(seed)
        return walkers.move(noneq.kernels.Repeat(last.state.kernel, 500), energy, rng).x

    return sampled(energy, draw, seed)


def weighted(tau: float, lr: float, updates: int, seed: int) -> Fitted:
    """The reference: weights, trust region, renewal, held-out walkers, on a Gaussian base."""
    energy = noneq.Tilted(noneq.Gaussian.fit(DATA.train, noise=NOISE), network(seed))
    settings = noneq.Settings(
        walkers=CHAINS, held_out=128, moves=MOVES, batch=ROWS, noise=NOISE, tau=tau
    )
    last = trained(energy, settings, lr, updates, seed)
    rng = torch.Generator().manual_seed(seed)
    validation = add_noise(DATA.validation.repeat(20, 1), NOISE, rng)
    nll = float(energy_of(energy, validation).mean()) + last.log_z_held_out.value

    def draw(x: Tensor) -> Tensor:
        walkers = noneq.Walkers.at(x, energy)
        return walkers.move(noneq.kernels.Repeat(last.state.kernel, 500), energy, rng).x

    return sampled(energy, draw, seed)._replace(criterion=nll)


def trained(
    energy: nn.Module, settings: noneq.Settings, lr: float, updates: int, seed: int
) -> noneq.training.Record:
    """Train in place; the last record."""
    optimizer = torch.optim.Adam(energy.parameters(), lr=lr)
    rng = torch.Generator().manual_seed(seed)
    records = noneq.train(energy, DATA.train, settings, optimizer=optimizer, rng=rng)
    return next(r for r in records if r.iteration == updates)


STEPS = ((0.003, 1e-3), (0.01, 1e-3), (0.03, 1e-3), (0.01, 3e-4))
WAYS = (
    Way("torchebm, PCD", "torchebm", torchebm, STEPS),
    Way("ebmkit, PCD", "ebm", ebmkit, STEPS),
    Way("noneq, PCD", "noneq", pcd, tuple((math.nan, lr) for lr in (1e-4, 3e-4, 1e-3, 3e-3))),
    Way("noneq, weighted", "noneq", weighted, tuple((t, 1e-3) for t in (0.02, 0.05, 0.1, 0.2))),
)


def tried(way: Way, trial: tuple[float, float], updates: int, seed: int) -> Fitted | str:
    """Train; what went wrong where it did."""
    try:
        return way.fit(*trial, updates, seed)
    except (RuntimeError, FloatingPointError) as error:  # diverged
        return f"training: {error}"


def criterion(model: Fitted | str) -> float:
    """What trials are compared by; inf where there is none."""
    value = math.inf if isinstance(model, str) else model.criterion
    return value if math.isfinite(value) else math.inf


def audit(name: str, trial: tuple[float, float], seed: int, model: Fitted | str) -> Audit:
    """Bracket and score; a model that cannot be bracketed is a result, too."""
    found = Audit(name, trial, seed)
    if isinstance(model, str):
        return found._replace(failed=model)
    found = found._replace(samples=model.samples)
    start = time.perf_counter()
    try:
        rng = torch.Generator().manual_seed(seed)
        z = noneq.log_z(
            model.energy, data=DATA.train, noise=NOISE, n=512, temperatures=600, rng=rng
        )
        nll = noneq.nll(model.energy, DATA.test, z, noise=NOISE)
    except (ValueError, RuntimeError, FloatingPointError) as error:
        return found._replace(failed=str(error))
    assert z.off_support_mass is not None
    return found._replace(
        seconds=time.perf_counter() - start, forward=z.forward.value,
        backward=z.backward.value, nll=nll.value, stderr=(nll.stderr_z, nll.stderr_data),
        away=z.off_support_mass[:2], alarms=z.alarms,
    )  # fmt: skip


def row(audits: list[Audit]) -> list[str]:
    """The worst seed: first one that failed, then by alarms and NLL."""
    a = max(audits, key=lambda a: (bool(a.failed), bool(a.alarms), a.nll))
    step, lr = (f"{value:g}" for value in a.trial)
    return [
        a.model,
        ", ".join(value for value in (step, lr) if value != "nan"),
        f"{a.samples:.2f}",
        "none" if math.isnan(a.forward) else f"{a.forward:.2f} to {a.backward:.2f}",
        "no: alarms" if a.alarms or a.failed else f"{a.nll:.1f} ± {math.hypot(*a.stderr):.1f}",
        "" if math.isnan(a.forward) else f"{a.away[0]:.2f} ± {a.away[1]:.2f}",
        (a.failed or next(iter(a.alarms), "none")).split(":")[0],
    ]


def main(updates: int = 1000, seeds: int = 3) -> None:
    """Train, choose and audit; prints a table of the worst seeds, records them all.

    Arguments:
        updates: of the parameters, each way the same.
        seeds: of each way's chosen trial.
    """
    torch.set_num_threads(1)
    audits: list[Audit] = []
    trials: dict[str, list[tuple[float, float, float]]] = {}
    for way in WAYS:
        if importlib.util.find_spec(way.needs) is None:
            print(f"{way.name}: not installed, left out (pip install -e '.[audit]')")
            continue
        models = {trial: tried(way, trial, updates, 0) for trial in way.trials}
        trials[way.name] = [(*trial, criterion(model)) for trial, model in models.items()]
        best = min(models, key=lambda trial: criterion(models[trial]))
        for seed in range(seeds):
            model = tried(way, best, updates, seed) if seed else models[best]
            audits.append(audit(way.name, best, seed, model))
            print(*row(audits[-1:]), f"(seed {seed})", sep=" | ", file=sys.stderr, flush=True)
    base = noneq.Gaussian.fit(DATA.train, noise=NOISE)
    alone = sampled(base, lambda x: base.sample(len(x), torch.Generator().manual_seed(1)), 0)
    audits.append(audit("the Gaussian base alone", (math.nan, math.nan), 0, alone))
    record("audit", {"trials": trials, "audits": [a._asdict() for a in audits]})
    rows = add_noise(DATA.train[:SAMPLES], NOISE, torch.Generator().manual_seed(2))
    data = sampled(base, lambda _: rows, 0).samples
    names = list(dict.fromkeys(a.model for a in audits))
    table(
        f"Audit of energies trained on the digits: {updates} updates, the worst of {seeds} seeds",
        [
            "model",
            "step or tau, lr",
            f"samples' energy distance (data: {data:.2f})",
            "log Z",
            "NLL, test",
            "mass where there are no data",
            "first alarm",
        ],
        [row([a for a in audits if a.model == name]) for name in names],
    )


if __name__ == "__main__":
    tyro.cli(main)
