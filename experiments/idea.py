"""The idea in pictures: walkers that cannot cross, with weights and without.

python -m experiments idea [--out docs/idea.png]

Two modes on a line hold 30 % and 70 % of the data. The model is right but for one parameter, the
share of the second mode, which begins at one half. Walkers move by MALA and never cross from one
mode to the other. Without weights they hold half of the model whatever its parameter is: the
gradient, data less walkers, never vanishes, and a mode is lost. With weights it vanishes where
the shares are the data's. The figure shows both at four times of the training; it takes seconds.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
import tyro
from matplotlib.axes import Axes
from torch import Tensor, nn

import noneq
from noneq.report.axes import BLUE, GREY, NORMAL, RED

__all__ = ["TwoModes", "main", "training"]

DOCS = Path(__file__).parents[1] / "docs"
AWAY, WIDTH, SHARE = 5.0, 1.0, 0.7  # modes at -5 and 5; what the second holds of the data
WALKERS, RATE = 60, 0.1
TIMES = (0, 20, 60, 200)


class TwoModes(nn.Module):
    """``U = -log(N(x; -5, 1) + e^z N(x; 5, 1))``, whose Z is ``1 + e^z``."""

    def __init__(self) -> None:
        super().__init__()
        self.z = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Compute the energies (B,) of points (B, 1)."""
        places = x.new_tensor([-AWAY, AWAY])
        logs = -0.5 * ((x - places) / WIDTH).square() - 0.5 * float(np.log(2 * np.pi))
        return -torch.stack([logs[:, 0], self.z + logs[:, 1]], 1).logsumexp(1)

    @property
    def share(self) -> float:
        """Return what the second mode holds of the model."""
        return float(torch.sigmoid(self.z.detach()))


def training(*, weighted: bool, seed: int = 0) -> list[tuple[float, Tensor, Tensor]]:
    """Train the share of the second mode.

    Args:
        weighted: whether walkers have weights; otherwise this is persistent contrastive
            divergence.
        seed: seed of walkers and moves.

    Returns:
        After every iteration, and before the first: the share, the walkers (N,) and their
        weights (N,), which sum to 1.
    """
    rng, energy = torch.Generator().manual_seed(seed), TwoModes()
    x = torch.randn(WALKERS, 1, generator=rng)
    x[: WALKERS // 2] -= AWAY
    x[WALKERS // 2 :] += AWAY
    walkers = noneq.Walkers.at(x, energy)
    kernel = noneq.MALA(0.5)
    found = [(energy.share, walkers.x[:, 0], walkers.p)]
    for _ in range(TIMES[-1]):
        right = (walkers.x[:, 0] > 0).double()
        own = walkers.mean(right) if weighted else right.mean()
        with torch.no_grad():  # dU/dz is minus the probability of the second mode
            energy.z += RATE * (SHARE - float(own)) / 0.25
        walkers = walkers.reweight(energy).move(kernel, energy, rng)
        p = walkers.p if weighted else torch.full((WALKERS,), 1 / WALKERS).double()
        found.append((energy.share, walkers.x[:, 0], p))
    return found


def main(out: Path = DOCS / "idea.png") -> None:
    """Draw the figure.

    Args:
        out: PNG file.
    """
    rows = {
        "PCD:\nwithout weights": training(weighted=False),
        "with weights": training(weighted=True),
    }
    figure, axes = plt.subplots(2, len(TIMES), figsize=(11, 4.6), sharex=True, sharey=True)
    for (name, found), line in zip(rows.items(), axes, strict=True):
        for time, ax in zip(TIMES, line, strict=True):
            _draw(ax, *found[time])
            ax.set_title(f"update {time}: model {found[time][0]:.0%}", fontsize=NORMAL)
        line[0].set_ylabel(name, fontsize=NORMAL)
    for ax in axes[1]:
        ax.set_xlabel("x", fontsize=NORMAL)
    axes[0, 0].legend(loc="upper left", fontsize=NORMAL - 1.5, frameon=False)
    figure.suptitle(
        "The second mode holds 70 % of the data (grey). No walker crosses from one mode to the "
        "other; a dot's area is its weight.",
        fontsize=NORMAL,
    )
    figure.tight_layout()
    figure.savefig(out, dpi=110, facecolor="white")
    plt.close(figure)
    print(out)


def _draw(ax: Axes, share: float, x: Tensor, p: Tensor) -> None:
    """Draw densities, and walkers below them, spread a little so that none hides another."""
    at = np.linspace(-9, 9, 400)

    def density(second: float) -> np.ndarray:
        bells = [np.exp(-((at - m) ** 2) / 2) / np.sqrt(2 * np.pi) for m in (-AWAY, AWAY)]
        return np.asarray((1 - second) * bells[0] + second * bells[1])

    ax.fill_between(at, density(SHARE), color=GREY, alpha=0.3, linewidth=0, label="data")
    ax.plot(at, density(share), color=BLUE, label="model")
    heights = -0.05 - 0.1 * np.random.default_rng(0).random(len(x))
    areas = 10 * len(x) * p.numpy()
    ax.scatter(x.numpy(), heights, s=areas, color=RED, alpha=0.6, linewidths=0, label="walkers")
    ax.set(ylim=(-0.19, 0.42), yticks=[])
    ax.spines[["top", "right", "left"]].set_visible(False)


if __name__ == "__main__":
    tyro.cli(main)
