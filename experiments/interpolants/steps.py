r"""Few steps and a wrong drift: what weights correct, and what it costs.

Walkers follow an interpolant from a Gaussian to a mixture of three Gaussians in two dimensions,
none of it symmetric, by K steps of Euler and Maruyama. The fields are exact, or the drift is 20 %
short, or drift and score both are. Raw: all walkers alike, as diffusions are sampled; of log Z
the mean of log w, which no sampler without weights has. Weighted: by the exact weights of the
same walkers, who are not resampled. Truth: closed forms.

    python -m experiments interpolants.steps              100,000 walkers: half a minute
    python -m experiments interpolants.steps --reduced    10,000 walkers, no record: seconds
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import torch
import tyro
from torch import Tensor

import noneq
from experiments.common import RESULTS, record, table
from noneq.energies import Cache
from noneq.models.interpolants import DriftedPath, MixturePath, Trigonometric

STEPS = (5, 10, 20, 40)
FACTORS = {"exact": (1.0, 1.0), "b 20 % short": (0.8, 1.0), "b and s 20 % short": (0.8, 0.8)}
QUANTITIES = ("mean", "variance", "mode mass", "log Z")
EDGE = 0.9  # right of it on the first axis lies the mode of mass one half
EPS = 0.5


@dataclass(frozen=True)
class Error:
    """Of one quantity, with its standard error."""

    value: float
    stderr: float

    @property
    def z(self) -> float:
        """In standard errors."""
        return self.value / self.stderr

    def __str__(self) -> str:
        return f"{self.value:+.4f} ({self.stderr:.4f})"


@dataclass(frozen=True)
class Run:
    """K steps with one drift: errors of `QUANTITIES`."""

    fields: str
    steps: int
    ess: float
    raw: tuple[Error, ...]
    weighted: tuple[Error, ...]


class Scaled(DriftedPath):
    """The energies of a path, its drift and its score times two numbers."""

    def __init__(self, path: MixturePath, b: float, s: float) -> None:
        super().__init__(path.base)
        self.path, self.b, self.s = path, b, s

    def fields(self, x: Tensor, t: float) -> tuple[Tensor, Cache]:
        """``U(x, t)``, b and s."""
        u, cache = self.path.fields(x, t)
        return u, {"b": self.b * cache["b"], "s": -self.s * cache["g"]}

    def drift(self, x: Tensor, t: float) -> Tensor:
        """``b(x, t)``."""
        return self.b * self.path.drift(x, t)


def target() -> noneq.GaussianMixture:
    """Masses .5, .3, .2, all of other shapes."""
    means = torch.tensor([[2.0, 1.0], [-1.5, 0.5], [0.0, -2.0]], dtype=torch.float64)
    covariances = [[[0.3, 0.1], [0.1, 0.2]], [[0.1, 0.0], [0.0, 0.15]], [[0.5, -0.2], [-0.2, 0.4]]]
    masses = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    return noneq.GaussianMixture(means, torch.tensor(covariances, dtype=torch.float64), masses)


def path(fields: str) -> Scaled:
    """From a Gaussian that is not centred."""
    mean = torch.tensor([0.3, -0.2], dtype=torch.float64)
    start = noneq.Gaussian(mean, noneq.energies.Identity(1.3))
    return Scaled(MixturePath(Trigonometric(), start, target()), *FACTORS[fields])


def truth() -> tuple[float, float, float]:
    """Mean and variance of the first coordinate, mass beyond `EDGE`."""
    mixture = target()
    p, m = mixture.log_masses.exp(), mixture.means[:, 0]
    v = (mixture.roots @ mixture.roots.mT)[:, 0, 0]
    mean = (p * m).sum()
    beyond = torch.special.ndtr((m - EDGE) / v.sqrt())
    return float(mean), float((p * (v + (m - mean) ** 2)).sum()), float((p * beyond).sum())


def errors(x: Tensor, p: Tensor) -> tuple[Error, ...]:
    """Of mean, variance and mass by walkers x (N, 2) of weights p (N,), which sum to one."""
    a = x[:, 0]
    mean = (p * a).sum()
    found = []
    for f, exact in zip((a, (a - mean) ** 2, (a > EDGE).double()), truth(), strict=True):
        value = (p * f).sum()
        stderr = (p * (f - value)).square().sum().sqrt()
        found.append(Error(float(value - exact), float(stderr)))
    return tuple(found)


def run(fields: str, steps: int, n: int, seed: int = 0) -> Run:
    """Both kinds of errors, of the same walkers."""
    rng, way = torch.Generator().manual_seed(seed), path(fields)
    schedule = noneq.Schedule.uniform(steps, noneq.kernels.EulerMaruyama(EPS))
    walkers = noneq.Walkers.sample(way.start, n, rng, islands=1)
    walkers = noneq.anneal(schedule.forward(way), walkers, rng, ess_min=0)
    log_w = walkers.log_w
    equal = torch.full_like(log_w, 1 / n)
    bound = Error(float(log_w.mean()), float(log_w.std() / math.sqrt(n)))
    evidence = Error(walkers.log_z.value, math.sqrt((1 / walkers.ess - 1) / n))
    raw, weighted = errors(walkers.x, equal), errors(walkers.x, walkers.p)
    return Run(fields, steps, walkers.ess, (*raw, bound), (*weighted, evidence))


def _rows(runs: list[Run]) -> list[list[str]]:
    rows = []
    for found in runs:
        head = [f"{found.fields}, K = {found.steps}", f"{found.ess:.3f}"]
        both = zip(found.raw, found.weighted, strict=True)
        rows.append(head + [f"{a.value:+.3f} / {b}" for a, b in both])
    return rows


def draw(runs: list[Run]) -> None:
    """The errors against K, raw and weighted, into docs/."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 5.2), layout="constrained")
    axes = figure.subplots(2, 4, sharex=True)
    names = list(FACTORS)[:2]
    for row, fields in zip(axes, names, strict=True):
        chosen = [r for r in runs if r.fields == fields]
        for i, (ax, quantity) in enumerate(zip(row, QUANTITIES, strict=True)):
            for kind, mark in (("raw", "s"), ("weighted", "o")):
                found = [getattr(r, kind)[i] for r in chosen]
                bars = [3 * e.stderr for e in found]
                ax.errorbar(
                    [r.steps for r in chosen], [e.value for e in found], bars,
                    marker=mark, capsize=3, label=kind,
                )  # fmt: skip
            ax.axhline(0, color="grey", lw=0.8)
            ax.set(xscale="log", title=f"{quantity}, {fields}", xticks=STEPS)
            ax.set_xticks(STEPS, [str(k) for k in STEPS])
            ax.minorticks_off()
    axes[0, 0].legend()
    axes[0, 0].set_ylabel("error, bars of 3 stderr")
    axes[1, 0].set_ylabel("error, bars of 3 stderr")
    for ax in axes[1]:
        ax.set_xlabel("steps K")
    figure.savefig(RESULTS.parent.parent / "docs" / "interpolant_steps.png", dpi=110)


def main(reduced: bool = False, seed: int = 0) -> None:
    """Run all, print the table and record it.

    Args:
        reduced: fewer walkers, no record and no picture.
        seed: of every run.
    """
    n = 10_000 if reduced else 100_000
    runs = [run(fields, steps, n, seed) for fields in FACTORS for steps in STEPS]
    columns = ["raw / weighted (stderr)", "ESS/N", *QUANTITIES]
    table(f"Errors of {n:,} walkers", columns, _rows(runs))
    worst = max(abs(e.z) for r in runs for e in r.weighted)
    print(f"worst weighted error: {worst:.1f} stderr of {len(runs) * len(QUANTITIES)} errors")
    if not reduced:
        data = {"walkers": n, "eps": EPS, "seed": seed, "runs": [asdict(r) for r in runs]}
        print(f"recorded in {record('interpolant_steps', data)}")
        draw(runs)


if __name__ == "__main__":
    tyro.cli(main)
