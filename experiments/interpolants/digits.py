r"""Does an energy learned by score matching make a better start for maximum likelihood?

The digits as in `experiments.digits`: the same rows, noise and network. Three ways to spend the
same processor time on one core:

* score: ``U(x, t)`` by denoising score matching, judged at t = 1;
* likelihood: weighted maximum likelihood from the Gaussian, `experiments.digits` itself;
* both: score matching first; then its energy at t = 1, whose time is folded into a bias
  (`noneq.models.TimedMLP.frozen`), is trained on by weighted maximum likelihood, from walkers that
  an annealing along U(., t) has brought to it.

A budget is so many iterations of the one or so many steps of the other as take the same time of
the processor (not of the clock: the RBM may be busy): the same bits every time.

    python -m experiments interpolants.digits run --plan.way both --plan.seed 0
    python -m experiments interpolants.digits table    what has been recorded
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
import tyro
from torch import Tensor

import noneq
from experiments.baselines import NOISE, mean_error, noisy, per_row
from experiments.common import LIKELIHOOD_ALONE, record, recorded, table
from noneq import MALA, Recipe, Session, Tilted, TrustRegion, pilot
from noneq.data import digits
from noneq.energies import local_covariance
from noneq.kernels import Kernel, with_momentum
from noneq.likelihood.score import energy_of
from noneq.models.interpolants import EnergyPath, TimedEnergy
from noneq.run import choose
from noneq.run.choosing import with_changes
from noneq.training import TrainState, moving_average

Way = Literal["score", "likelihood", "both"]
NAME = "interpolant_digits"
STEPS = 5.6  # of score matching in the time of an iteration of maximum likelihood
ANNEALING = 130  # iterations in the time that walkers take along U(., t)


@dataclass(frozen=True)
class Plan:
    """How to spend the budget; every choice is explained in docs/lab/interpolants.md.

    Attributes:
        way: score, likelihood or both.
        seed: of the network and all randomness.
        iterations: of maximum likelihood that the whole budget would pay; 2,475 take 120 s on a
            quiet core.
        first: fraction of it that is score matching's, where likelihood follows.
        decay: weight decay of score matching.
        tau: of the trust region, where likelihood follows.
    """

    way: Way
    seed: int = 0
    iterations: int = 2475
    first: float = 1 / 3
    decay: float = 0.3
    tau: float = 0.1


def match(steps: int, seed: int, *, decay: float = 0.3) -> TimedEnergy:
    """U(x, t) by denoising score matching: the moving average of the parameters."""
    x, rng = digits().train, torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = noneq.models.TimedMLP(64, 256, 2, gain=3.0)
    energy = TimedEnergy.fit(x, net, NOISE)
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=decay)
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    average = moving_average(energy, 0.999)
    for _ in range(steps):
        rows = torch.randint(len(x), (512,), generator=rng)
        loss = energy.score_loss(x[rows], rng)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        fall.step()
        average.update_parameters(energy)
    matched = average.module
    assert isinstance(matched, TimedEnergy)
    return matched


def at_the_end(energy: TimedEnergy) -> Tilted:
    """U(., 1) as the digits' own kind of model."""
    net = energy.net
    assert isinstance(net, noneq.models.TimedMLP)
    return Tilted(energy.base, net.frozen(1.0))


def _recipe(iterations: int) -> Recipe:
    shape, rows = (1, 8, 8), len(digits().train)
    how = {**LIKELIHOOD_ALONE, "tau": 0.2, "renew": 500, "iterations": iterations}
    return choose(shape, rows, "image", discrete=True, **how)


def go_on(
    energy: TimedEnergy, iterations: int, seed: int, *, temperatures: int = 500, tau: float = 0.1
) -> Session:
    """A session of the digits' recipe that starts at U(., 1), walkers brought along U(., t)."""
    recipe = with_changes(_recipe(iterations), {"tau": tau})
    session = Session(recipe, digits().train, seed)
    session.energy.load_state_dict(at_the_end(energy).state_dict())
    rng, path = session.rng, EnergyPath(energy)
    schedule = pilot(path, with_momentum(session.kernel), rng).resized(temperatures)

    def arrived(n: int, islands: int) -> noneq.Walkers:
        walkers, _ = noneq.population(path, n, schedule, rng=rng, islands=islands)
        return walkers.reweight(session.energy)  # the same energy in another's words: nothing

    settings = recipe.train
    session.trained = TrainState(
        0,
        arrived(settings.walkers, 1),
        arrived(settings.held_out, 8),
        session.kernel,
        TrustRegion(recipe.train.tau, longest=recipe.train.longest),
    )
    return session


@dataclass(frozen=True)
class Result:
    """What came of a plan; likelihoods in nats per image."""

    plan: Plan
    seconds: float
    """of the processor"""
    forward: float
    backward: float
    stderr: float
    founders: float
    away: float
    """share of the model's mass where there are no data"""
    alarms: tuple[str, ...]
    train: float
    validation: float
    test: list[float]


def learn(plan: Plan) -> tuple[noneq.energies.Energy, Kernel]:
    """The model, and a move for its walkers."""
    x, end = digits().train, plan.iterations
    if plan.way == "score":
        energy = match(round(STEPS * end), plan.seed, decay=plan.decay)
        return at_the_end(energy), MALA(0.3, local_covariance(x, 15, noise=NOISE))
    if plan.way == "likelihood":
        session = Session(_recipe(end), x, plan.seed)
    else:
        energy = match(round(plan.first * STEPS * end), plan.seed, decay=plan.decay)
        left = round((1 - plan.first) * end) - ANNEALING
        session = go_on(energy, left, plan.seed, tau=plan.tau)
    held = noisy(digits().validation)
    for r in session:
        if r.iteration % 100 == 0:
            now = float(energy_of(session.energy, held).mean()) + r.log_z_held_out.value
            print(f"{r.iteration}: running validation {now:.2f}, ess {r.ess:.2f}", flush=True)
    return session.average, session.kernel


def judge(plan: Plan, temperatures: int, walkers: int, *, test: bool) -> Result:
    """Train by a plan and bracket its likelihood."""
    torch.set_num_threads(1)
    data, start = digits(), time.process_time()
    model, kernel = learn(plan)
    seconds = time.process_time() - start
    z = noneq.log_z(
        model,
        data=data.train,
        noise=NOISE,
        n=walkers,
        temperatures=temperatures,
        equilibrate=3 * temperatures,
        kernel=with_momentum(kernel),
        rng=torch.Generator().manual_seed(7),
    )

    def score(x: Tensor) -> Tensor:
        return energy_of(model, x) + z.value

    assert z.off_support_mass is not None
    return Result(
        plan,
        seconds,
        z.forward.value,
        z.backward.value,
        z.stderr,
        z.effective_ancestors,
        z.off_support_mass.value,
        z.alarms,
        float(score(noisy(data.train)).mean()),
        float(score(noisy(data.validation)).mean()),
        [round(value, 4) for value in per_row(score, data.test)] if test else [],
    )


def run(plan: Plan) -> None:
    """One way and one seed: train, bracket, record."""
    found = judge(plan, 800, 384, test=True)
    print({key: value for key, value in asdict(found).items() if key != "test"})
    name = f"{plan.way} {plan.iterations} {plan.seed}"
    record(NAME, {**_recorded(), name: asdict(found)})


def trial(plan: Plan) -> None:
    """The same without the test rows, and with a rougher bracket: to choose by."""
    print(asdict(judge(plan, 500, 256, test=False)))


def tell() -> None:
    """Table of what has been recorded; differences are paired, row by row."""
    found = _recorded()
    plain = {name: cell["test"] for name, cell in found.items()}
    rows = []
    for name, cell in found.items():
        way, iterations, seed = name.split()
        than = plain.get(f"likelihood {iterations} {seed}", [])
        differences = [a - b for a, b in zip(cell["test"], than, strict=False)]
        rows.append(
            [
                f"{way}, {iterations} iterations' time, seed {seed}",
                "{:.2f} ± {:.2f}".format(*mean_error(cell["test"])),
                "{:+.2f} ± {:.2f}".format(*mean_error(differences)) if differences else "",
                f"{cell['forward']:.2f} .. {cell['backward']:.2f} ± {cell['stderr']:.2f}, "
                f"{len(cell['alarms'])} alarms",
                f"{cell['validation']:.2f}",
                f"{cell['train']:.2f}",
                f"{cell['seconds']:.0f}",
            ]
        )
    columns = [
        "way", "test NLL", "against likelihood, paired", "log Z", "validation", "train", "s",
    ]  # fmt: skip
    table("Digits, nats per image", columns, rows)


def _recorded() -> dict[str, Any]:
    found: dict[str, Any] = recorded(NAME) or {}
    new = {"lower": "forward", "upper": "backward"}  # keys of older records
    return {
        name: {new.get(key, key): value for key, value in cell.items()}
        for name, cell in found.items()
    }


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict({"run": run, "trial": trial, "table": tell})
