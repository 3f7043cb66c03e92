r"""Sampling of a density tilted by a reward, ``rho_1(x) e^{r(x)}``, without further training.

Guidance adds ``t grad r`` to the score along the path, and the corresponding term to the drift.
Its samples have a larger reward, but their density is unknown. Weighted samples have the density
``rho_1 e^r``, and their log Z estimates ``log E e^r``. There are two cases:

    the plane     a mixture of three Gaussians with its exact drift and r(x) = 2 sin(2 x_0) - x_1,
                  where all expectations are known by quadrature
    the digits    U(x, t) learned by score matching with noise of 0.25, and r = log p(class | x) of
                  a classifier. Printed are the fraction of samples that *another* classifier,
                  trained on other rows, assigns to the class, and log E e^r by two methods: by
                  log Z, and by the mean of e^r over weighted samples of U(., 1)

    python examples/interpolant_reward.py                    under two minutes on one core
    python examples/interpolant_reward.py --digit 8 --picture reward.png
    python examples/interpolant_reward.py --iterations 0     the plane alone
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
import tyro
from sklearn.svm import SVC
from torch import Tensor, nn

import noneq
from noneq.data.digits import SIZES, raw_digits
from noneq.models.interpolants import (
    DriftedPath,
    EnergyPath,
    Linear,
    MixturePath,
    RewardPath,
    TimedEnergy,
)
from noneq.training import moving_average

Reward = Callable[[Tensor], Tensor]
NOISE = 0.25  # added to the digits; less noise makes narrower modes, which need more steps


class Estimate(NamedTuple):
    """Holds means of some quantities and their standard errors."""

    mean: Tensor
    stderr: Tensor


class Populations(NamedTuple):
    """Holds walkers for one reward, in 32 islands.

    Attributes:
        weighted: walkers with weights.
        guided: walkers without weights, with guidance in score and drift.
        score: walkers without weights, with guidance in the score alone.
    """

    weighted: noneq.Walkers
    guided: noneq.Walkers
    score: noneq.Walkers


def tilted(
    path: DriftedPath, reward: Reward, n: int, schedule: noneq.Schedule, rng: torch.Generator
) -> Populations:
    """Carry walkers towards ``rho_1 e^r``, with weights and, in two ways, without."""
    way = RewardPath(path, reward)
    weighted, _ = noneq.population(way, n, schedule, rng=rng, islands=32)
    bare = []
    for whole in (True, False):
        way = RewardPath(path, reward, whole=whole)
        start = noneq.Walkers.sample(way.start, n, rng, islands=32)
        bare.append(noneq.anneal(schedule.forward(way), start, rng, ess_min=0).decay(0.0))
    return Populations(weighted, *bare)


def estimate(walkers: noneq.Walkers, f: Tensor) -> Estimate:
    """Compute weighted means of f (N, m), with errors from the spread of independent islands."""
    mean, r = walkers.mean(f), walkers.islands
    off = (walkers.p[:, None] * (f - mean)).view(r, -1, f.shape[1]).sum(1)
    return Estimate(mean, (off.square().sum(0) * r / (r - 1)).sqrt())


# -- the plane


def plane() -> tuple[MixturePath, noneq.GaussianMixture]:
    """Make the exact path from a Gaussian to a mixture of three unequal modes."""
    means = torch.tensor([[2.0, 1.0], [-1.5, 0.5], [0.0, -2.0]], dtype=torch.float64)
    shapes = [[[0.3, 0.1], [0.1, 0.2]], [[0.1, 0.0], [0.0, 0.15]], [[0.5, -0.2], [-0.2, 0.4]]]
    masses = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    end = noneq.GaussianMixture(means, torch.tensor(shapes, dtype=torch.float64), masses)
    start = noneq.Gaussian(torch.zeros(2, dtype=torch.float64), noneq.energies.Identity(1.5))
    return MixturePath(Linear(), start, end), end


def sine(x: Tensor) -> Tensor:
    """Compute the reward in the plane."""
    return 2 * (2 * x[:, 0]).sin() - x[:, 1]


def features(x: Tensor, end: noneq.GaussianMixture) -> Tensor:
    """Return both coordinates, and a one-hot vector of the nearest of the three means."""
    nearest = torch.cdist(x, end.means).argmin(1)
    return torch.cat([x, nn.functional.one_hot(nearest, len(end.means)).to(x)], 1)


def by_quadrature(end: noneq.GaussianMixture) -> tuple[float, Tensor]:
    """Compute ``log E e^r`` and the means of `features` under ``rho_1 e^r`` by quadrature."""
    line = torch.linspace(-7, 7, 1401, dtype=torch.float64)
    x = torch.cartesian_prod(line, line)
    log_p = sine(x) - end(x)
    p = log_p.softmax(0)
    return float(log_p.logsumexp(0)) + 2 * math.log(0.01), p @ features(x, end)


def show_plane(seed: int = 0, n: int = 6400, steps: int = 40) -> None:
    """Print means over each kind of samples, and their deviations z from the exact values."""
    path, end = plane()
    log_mean, exact = by_quadrature(end)
    schedule = noneq.Schedule.uniform(steps, noneq.kernels.EulerMaruyama(1.0))
    rng = torch.Generator().manual_seed(seed)
    found = tilted(path, sine, n, schedule, rng)
    print(f"the plane, {steps} steps, {n} walkers: ESS {found.weighted.ess:.2f}")
    heads = "".join(f"{name:>17}{'z':>7}" for name in ("weighted", "guided", "score guided"))
    print(f"{'':12}{'exact':>8}{heads}")
    estimates = [estimate(walkers, features(walkers.x, end)) for walkers in found]
    for i, name in enumerate(("mean x_0", "mean x_1", "mass 1", "mass 2", "mass 3")):
        row = f"{name:12}{float(exact[i]):8.3f}"
        for column in estimates:
            mean, stderr = float(column.mean[i]), float(column.stderr[i])
            row += f"{mean:9.3f} ± {stderr:.3f}{(mean - float(exact[i])) / stderr:7.1f}"
        print(row)
    value, stderr = found.weighted.log_z
    z = (value - log_mean) / stderr
    print(f"{'log E e^r':12}{log_mean:8.3f}{value:9.3f} ± {stderr:.3f}{z:7.1f}\n")


# -- the digits


class Rows(NamedTuple):
    """Holds digits and labels (x, y) for training, and others for the second classifier."""

    x: Tensor
    y: Tensor
    other_x: Tensor
    other_y: Tensor


def rows() -> Rows:
    """Load the training rows of `noneq.data.digits`, and its other rows."""
    pixels, labels = raw_digits()
    x, y = torch.from_numpy(pixels).float() / 8 - 1, torch.from_numpy(labels)
    n = SIZES[0]
    return Rows(x[:n], y[:n], x[n:], y[n:])


def learn(x: Tensor, iterations: int, rng: torch.Generator, batch: int = 256) -> TimedEnergy:
    """Learn U(x, t) by denoising score matching; keep the moving average of its parameters."""
    energy = TimedEnergy.fit(x, noneq.models.TimedMLP(64, 256, 2), NOISE)
    optimizer = torch.optim.Adam(energy.net.parameters(), 1e-3)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, iterations)
    average = moving_average(energy.net, 0.999)
    for _ in range(iterations):
        chosen = torch.randint(len(x), (batch,), generator=rng)
        optimizer.zero_grad()
        energy.score_loss(x[chosen], rng).backward()
        optimizer.step()
        cosine.step()
        average.update_parameters(energy.net)
    energy.net.load_state_dict(average.module.state_dict())
    return energy.requires_grad_(False)


def classifier(x: Tensor, y: Tensor, rng: torch.Generator, iterations: int = 800) -> nn.Module:
    """Train a classifier with one hidden layer on noisy digits."""
    net = nn.Sequential(nn.Linear(64, 128), nn.SiLU(), nn.Linear(128, 10))
    optimizer = torch.optim.AdamW(net.parameters(), 3e-3, weight_decay=0.01)
    for _ in range(iterations):
        chosen = torch.randint(len(x), (256,), generator=rng)
        noisy = noneq.random.add_noise(x[chosen], NOISE, rng)
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(noisy), y[chosen]).backward()
        optimizer.step()
    return net.requires_grad_(False)


def second_classifier(x: Tensor, y: Tensor, rng: torch.Generator) -> SVC:
    """Train a support vector machine on other rows, each with five draws of the noise."""
    noisy = torch.cat([noneq.random.add_noise(x, NOISE, rng) for _ in range(5)])
    return SVC(C=10).fit(noisy.numpy(), y.repeat(5).numpy())


def show_digits(digit: int, iterations: int, n: int = 1024, steps: int = 200) -> list[Tensor]:
    """Print the digits' table and log E e^r; return plain, guided and weighted samples."""
    rng = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    data = rows()
    energy, net = learn(data.x, iterations, rng), classifier(data.x, data.y, rng)
    other = second_classifier(data.other_x, data.other_y, rng)
    noisy = noneq.random.add_noise(data.other_x, NOISE, rng)
    right = float((net(noisy).argmax(1) == data.other_y).float().mean())
    print(f"digits of class {digit}; the classifier is right on {right:.3f} of held-out rows")

    def reward(x: Tensor) -> Tensor:
        log_p: Tensor = net(x).log_softmax(1)
        return log_p[:, digit]

    def hits(x: Tensor) -> Tensor:
        return torch.from_numpy(other.predict(x.numpy()) == digit).double()

    path, factor = EnergyPath(energy), energy.base.factor
    kernel = noneq.kernels.Chain(
        (noneq.kernels.EulerMaruyama(2.0, factor), noneq.MALA(0.05, factor))
    )
    schedule = noneq.Schedule.uniform(steps, kernel)
    plain, _ = noneq.population(path, n, schedule, rng=rng, islands=32)
    found = tilted(path, reward, n, schedule, rng)
    names = ("U(., 1), weighted", "tilted, weighted", "guided", "score guided")
    print(f"{'':18}{f'called {digit}':>16}{'mean r':>16}{'mean U(., 1)':>16}{'ESS':>6}")
    for name, walkers in zip(names, (plain, *found), strict=True):
        x = walkers.x
        values = torch.stack([hits(x), reward(x).double(), energy(x).double()], 1)
        (share, r, u), (share_se, r_se, u_se) = estimate(walkers, values)
        print(
            f"{name:18}{share:8.3f} ± {share_se:.3f}{r:9.2f} ± {r_se:.2f}"
            f"{u:9.2f} ± {u_se:.2f}{walkers.ess:6.2f}"
        )
    share = estimate(plain, reward(plain.x).double().exp()[:, None])
    gained = found.weighted.log_z.value - plain.log_z.value
    error = math.hypot(found.weighted.log_z.stderr, plain.log_z.stderr)
    other_way = f"{float(share.mean.log()):.2f} ± {float(share.stderr / share.mean):.2f}"
    print(f"log E e^r: {gained:.2f} ± {error:.2f} by weights; {other_way} by samples of U(., 1)")
    return [plain.equal(64, rng), found.guided.x[:64], found.weighted.equal(64, rng)]


def draw(samples: list[Tensor], file: Path) -> None:
    """Draw three grids of digits to a file."""
    from matplotlib.figure import Figure

    from noneq.report.axes import tiles

    figure = Figure((9, 2.6))
    titles = ("U(., 1)", "guided, without weights", "tilted, with weights")
    for ax, x, title in zip(figure.subplots(1, 3), samples, titles, strict=True):
        ax.imshow(tiles(x.view(-1, 1, 8, 8), scale=4), cmap="gray")
        ax.set_title(title, fontsize=9)
        ax.axis("off")
    figure.savefig(file, dpi=120, bbox_inches="tight")


def main(digit: int = 3, iterations: int = 5000, picture: Path | None = None) -> None:
    """Sample a density tilted by a reward, in the plane and for digits, and print tables.

    Arguments:
        digit: class whose log-probability is the reward, 0 to 9.
        iterations: iterations of score matching; 0 leaves the digits out.
        picture: file for a picture of samples of the digits; none is drawn without it.
    """
    show_plane()
    if iterations:
        samples = show_digits(digit, iterations)
        if picture is not None:
            draw(samples, picture)


if __name__ == "__main__":
    tyro.cli(main)
