"""The digits given their labels: a density for each label, and Bayes' theorem as a classifier.

One energy ``U(x, c)`` of the 8 x 8 digits x and their labels c: a Gaussian with a mean for each
label, tilted by a perceptron with ten outputs (`noneq.models.PerLabel`), trained by weighted
walkers that keep their labels. log Z of each label is bracketed by `noneq.log_z`; ``p(c | x)``
needs none. Beside it the same perceptron as a classifier (cross entropy), its best iteration
chosen by the validation rows, too; the base alone; and scikit-learn's logistic regression with a
penalty chosen by the validation rows. Test rows are read once, by the model of the best validation
NLL.

    python -m experiments labels            three seeds; a quarter of an hour on one core
    python -m experiments labels --quick    seconds, no record
"""

from __future__ import annotations

import copy
import time
from dataclasses import asdict, dataclass
from typing import Any

import torch
import tyro
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

import noneq
from experiments.common import record, table, write_table
from noneq.data.digits import SIZES, raw_digits
from noneq.energies import ConditionalGaussian, Given, posterior, with_context
from noneq.random import add_noise, seeded

NOISE, TAU, ITERATIONS, LOOK = 0.15, 0.03, 1500, 100
ONE_HOT = torch.eye(10)


@dataclass(frozen=True)
class Rows:
    """Training, validation and test rows, and their labels."""

    x: tuple[Tensor, Tensor, Tensor]
    labels: tuple[Tensor, Tensor, Tensor]

    @classmethod
    def digits(cls) -> Rows:
        """Return scikit-learn's digits."""
        split, labels = noneq.data.digits(), torch.from_numpy(raw_digits()[1])
        return cls(tuple(split), torch.split(labels, list(SIZES)))  # type: ignore[arg-type]

    def noisy(self, part: int, draws: int = 10) -> Tensor:
        """Rows with their labels as contexts, with noise drawn ten times."""
        rng = torch.Generator().manual_seed(part)
        x, labels = self.x[part].repeat(draws, 1), self.labels[part].repeat(draws)
        return with_context(add_noise(x, NOISE, rng), ONE_HOT[labels])


@dataclass(frozen=True)
class Result:
    """One model: accuracies of validation and test rows, and its likelihood if it has one.

    Attributes:
        model: name.
        seed: of all randomness.
        validation, test: shares of rows whose label is found.
        nll: mean of ``U(x, c) + log Z_c`` over test rows, in nats; None for a classifier.
        within: largest width of a label's bracket of log Z, nats.
        alarms: number of labels whose bracket raised an alarm.
        seconds: of training and bracket.
    """

    model: str
    seed: int
    validation: float
    test: float
    nll: float | None = None
    within: float | None = None
    alarms: int | None = None
    seconds: float | None = None


def network(seed: int) -> noneq.MLP:
    """The perceptron, with an output for each label."""
    with seeded(seed):
        return noneq.MLP(64, width=256, outputs=10)


def right(p: Tensor, labels: Tensor) -> float:
    """Share of rows whose most probable label is theirs."""
    return float((p.argmax(1) == labels).float().mean())


def accuracies(energy: nn.Module, rows: Rows) -> tuple[float, float]:
    """Shares of validation and test rows whose label the energy finds, by Bayes' theorem."""
    masses = ONE_HOT[rows.labels[0]].mean(0)
    found = [right(posterior(energy, rows.x[i], ONE_HOT, masses), rows.labels[i]) for i in (1, 2)]
    return found[0], found[1]


def trained(rows: Rows, seed: int, iterations: int) -> nn.Module:
    """The conditional model of the best validation NLL along a training."""
    base = ConditionalGaussian.fit(rows.x[0], ONE_HOT[rows.labels[0]], noise=NOISE)
    energy = noneq.Tilted(base, noneq.models.PerLabel(network(seed), 10))
    settings = noneq.Settings(held_out=256, moves=4, tau=TAU, noise=NOISE, renew=150, batch=1024)
    data, held = with_context(rows.x[0], ONE_HOT[rows.labels[0]]), rows.noisy(1)
    average = noneq.training.moving_average(energy, 0.99)
    best: tuple[float, nn.Module] = (float("inf"), energy)
    rng = torch.Generator().manual_seed(seed)
    for done in noneq.train(energy, data, settings, rng=rng):
        average.update_parameters(energy)
        trust, walkers = done.state.trust, done.state.held_out
        assert trust is not None
        assert walkers is not None
        trust.tau = TAU * max(0.05, 1 - done.iteration / iterations)
        if done.iteration % LOOK == 0:
            own = average.module
            log_z = walkers.reweight(own).log_z.value
            with torch.no_grad():
                nll = float(own(held).mean()) + log_z
            best = min(best, (nll, copy.deepcopy(own)), key=lambda one: one[0])
            print(f"{done}, validation NLL {nll:.2f}", flush=True)
        if done.iteration == iterations:
            return best[1]
    raise AssertionError


def likelihoods(energy: nn.Module, rows: Rows, seed: int, steps: int) -> dict[str, Any]:
    """The NLL of test rows given their labels, with a bracket of log Z for each label."""
    u, log_z, within, alarms = energy(rows.noisy(2)).detach(), torch.zeros(10), 0.0, 0
    for c in range(10):
        own = rows.x[0][rows.labels[0] == c]
        z = noneq.log_z(
            Given(energy, ONE_HOT[c]), data=own, noise=NOISE, n=512, temperatures=steps,
            rng=torch.Generator().manual_seed(seed),
        )  # fmt: skip
        print(c, z, flush=True)
        log_z[c] = z.value
        within, alarms = (
            max(within, abs(z.forward.value - z.backward.value)),
            alarms + bool(z.alarms),
        )
    nll = float((u + log_z[rows.labels[2].repeat(10)]).mean())
    return {"nll": nll, "within": within, "alarms": alarms}


def classifier(rows: Rows, seed: int, iterations: int) -> tuple[float, float]:
    """The same perceptron by cross entropy, on rows with the same noise."""
    net, rng = network(seed), torch.Generator().manual_seed(seed)
    adam = torch.optim.Adam(net.parameters(), lr=1e-3)
    best = (-1.0, -1.0)
    for k in range(1, iterations + 1):
        at = torch.randint(len(rows.x[0]), (1024,), generator=rng)
        out = net(add_noise(rows.x[0][at], NOISE, rng))
        adam.zero_grad()
        loss = nn.functional.cross_entropy(out, rows.labels[0][at])
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
        if k % LOOK == 0:
            with torch.no_grad():
                found = [right(net(rows.x[i]), rows.labels[i]) for i in (1, 2)]
            best = max(best, (found[0], found[1]), key=lambda one: one[0])
    return best


def logistic(rows: Rows) -> tuple[float, float]:
    """Logistic regression, with the penalty that the validation rows choose."""
    best = (-1.0, -1.0)
    for c in (0.01, 0.1, 1.0):
        own = LogisticRegression(C=c, max_iter=2000).fit(rows.x[0], rows.labels[0])
        found = [float(own.score(rows.x[i], rows.labels[i])) for i in (1, 2)]
        best = max(best, (found[0], found[1]), key=lambda one: one[0])
    return best


COLUMNS = ["model", "seed", "validation", "test", "test NLL given the label", "log Z within",
           "labels with alarms", "s"]  # fmt: skip


def row(one: Result) -> list[str]:
    """A line of the table."""

    def shown(value: float | None, how: str) -> str:
        return "" if value is None else f"{value:{how}}"

    return [
        one.model, str(one.seed), f"{one.validation:.1%}", f"{one.test:.1%}",
        shown(one.nll, ".2f"), shown(one.within, ".2f"), shown(one.alarms, "d"),
        shown(one.seconds, ".0f"),
    ]  # fmt: skip


def main(seeds: int = 3, quick: bool = False) -> None:
    """Train the models, print the table and record it.

    Arguments:
        seeds: how many.
        quick: one seed of few iterations; no record.
    """
    torch.set_num_threads(1)
    rows, iterations, steps = Rows.digits(), 100 if quick else ITERATIONS, 50 if quick else 500
    base = ConditionalGaussian.fit(rows.x[0], ONE_HOT[rows.labels[0]], noise=NOISE)
    nll = float(base(rows.noisy(2)).mean()) + base.log_z()
    found = [Result("Gaussian given the label", 0, *accuracies(base, rows), nll)]
    found.append(Result("logistic regression", 0, *logistic(rows)))
    for seed in range(1 if quick else seeds):
        began = time.process_time()
        energy = trained(rows, seed, iterations)
        own = likelihoods(energy, rows, seed, steps)
        seconds = time.process_time() - began
        found.append(Result("noneq", seed, *accuracies(energy, rows), **own, seconds=seconds))
        found.append(
            Result("perceptron, cross entropy", seed, *classifier(rows, seed, iterations))
        )
    lines = [row(one) for one in found]
    table("Digits given their labels", COLUMNS, lines)
    if not quick:
        record("labels", [asdict(one) for one in found])
        write_table("labels.md", COLUMNS, lines)


if __name__ == "__main__":
    tyro.cli(main)
