r"""Targets whose log Z is known, each written once for torch, jax.numpy and numpy.

A formula takes the array library, prepares its constants and returns ``U: (..., d) -> (...)``. It
uses only what the three libraries call by the same name, so none of them computes another target;
where noneq.testing has the same density, its log Z is taken from there.
The network has the same weights in all of them.

=========== === ================================================================== =============
target      d   U                                                                  base
=========== === ================================================================== =============
banana      2   a Gaussian bent along a parabola, its top off the centre           N(0, 2^2)
funnel      10  the logarithm of nine variances is N(0.5, 1.5^2)                   N(0, 2^2)
modes       32  three correlated Gaussians of masses 0.2, 0.3, 0.5                 N(0, 2^2)
stiff       64  a Gaussian, variances 0.02 to 2 along random axes                  N(0, 1)
skewed      64  generalised logistic densities, skewed to either side              N(0, 2^2)
network     d   two layers of 256 SiLU units, random weights, added to the base's  correlated
=========== === ================================================================== =============

log Z is a closed form but for the networks. Theirs is what noneq finds from both sides with 2,048
walkers, 250 temperatures and 8 leaps; 5 runs of blackjax with as many found 80.393 ± 0.013 and
67.623 ± 0.014 (``python -m experiments log_z.smc_peers --references``).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import nn

import noneq
from noneq import testing

__all__ = ["TARGETS", "Formula", "Target", "target"]

Array = np.ndarray
Formula = Callable[[Any], Callable[[Any], Any]]


@dataclass(frozen=True)
class Target:
    """An energy and its base, a Gaussian about 0.

    Attributes:
        name: for people.
        root: L (d, d), lower triangular: the base is N(0, L L^T).
        formula: of the energy; of ``U - U_base`` for a network.
        log_z: of exp(-U).
        stderr: of log_z, 0 for a closed form.
        net: the network in torch.
    """

    name: str
    root: Array
    formula: Formula
    log_z: float
    stderr: float = 0.0
    net: nn.Module | None = None

    @property
    def dim(self) -> int:
        """Of x."""
        return len(self.root)

    @property
    def base(self) -> noneq.Gaussian:
        """The base, in float32."""
        scale, mean = float(self.root[0, 0]), torch.zeros(self.dim)
        if np.array_equal(self.root, scale * np.eye(self.dim)):
            return noneq.Gaussian(mean, noneq.energies.Identity(scale))
        return noneq.Gaussian(
            mean, noneq.energies.Cholesky(torch.from_numpy(self.root @ self.root.T))
        )

    def path(self) -> noneq.energies.GeometricPath:
        """From the base to the energy."""
        base = self.base
        end = self.formula(torch) if self.net is None else noneq.Tilted(base, self.net)
        return noneq.energies.GeometricPath(base, end)

    def compiled(self) -> noneq.energies.Path:
        """The same path, that of a closed form as one compiled program with its gradient."""
        if self.net is not None:
            return self.path()
        return noneq.energies.Compiled(self.formula(torch)).path_from(self.base)

    def tilt(self, xp: Any) -> Callable[[Any], Any]:
        """``U - U_base`` as a function of the whitened position ``L^-1 x``, (..., d) -> (...)."""
        f, root, scale = self.formula(xp), xp.asarray(self.root.T), float(self.root[0, 0])
        if self.net is not None:
            return lambda z: f(z @ xp.asarray(root, dtype=z.dtype))
        return lambda z: f(z * scale) - (z * z).sum(-1) / 2


def banana(xp: Any) -> Callable[[Any], Any]:  # noqa: ARG001
    """``(a - 1)^2 / 2 + (b - a^2 / 2)^2 / (2 0.3^2)``."""

    def u(x: Any) -> Any:
        a, b = x[..., 0], x[..., 1]
        return (a - 1) ** 2 / 2 + (b - a * a / 2) ** 2 / (2 * 0.3**2)

    return u


def funnel(xp: Any) -> Callable[[Any], Any]:
    """``v = x_0 of N(0.5, 1.5^2), x_i of N(0, e^v)``; Neal's (2003), milder and off the centre."""

    def u(x: Any) -> Any:
        v, rest = x[..., 0], x[..., 1:]
        n = rest.shape[-1]
        return (v - 0.5) ** 2 / 4.5 + (rest * rest).sum(-1) * xp.exp(-v) / 2 + n * v / 2

    return u


def modes(xp: Any) -> Callable[[Any], Any]:
    """A normalised mixture, its means about 5 apart."""
    rng, d, parts = np.random.default_rng(1), 32, []
    for mass in (0.2, 0.3, 0.5):
        axes, _ = np.linalg.qr(rng.standard_normal((d, d)))
        sd = np.geomspace(0.5, 1.5, d)
        mean = rng.standard_normal(d) * 3.5 / math.sqrt(d)
        norm = math.log(mass) - np.log(sd).sum() - d / 2 * math.log(2 * math.pi)
        parts.append((xp.asarray((axes / sd).astype("f")), mean @ (axes / sd), float(norm)))
    parts = [(w, xp.asarray(m.astype("f")), norm) for w, m, norm in parts]

    def u(x: Any) -> Any:
        logs = [norm - ((x @ w - m) ** 2).sum(-1) / 2 for w, m, norm in parts]
        return -xp.logaddexp(xp.logaddexp(logs[0], logs[1]), logs[2])

    return u


STIFF = np.geomspace(0.02, 2.0, 64)


def stiff(xp: Any) -> Callable[[Any], Any]:
    """``|W x - m|^2 / 2``, the variances `STIFF` along random axes."""
    rng = np.random.default_rng(2)
    axes, _ = np.linalg.qr(rng.standard_normal((64, 64)))
    w = xp.asarray((axes / np.sqrt(STIFF)).astype("f"))
    m = xp.asarray(((rng.standard_normal(64) * 0.3) @ (axes / np.sqrt(STIFF))).astype("f"))
    return lambda x: ((x @ w - m) ** 2).sum(-1) / 2


SKEWS = np.where(np.arange(64) % 3 == 0, 4.0, 0.5)


def skewed(xp: Any) -> Callable[[Any], Any]:
    """``sum_i x_i + (a_i + 1) log(1 + e^{-x_i})``: each has ``Z_i = 1 / a_i``."""
    a = xp.asarray((SKEWS + 1).astype("f"))

    def u(x: Any) -> Any:
        return (x + a * xp.logaddexp(-x, 0 * x)).sum(-1)

    return u


def network(dim: int, strength: float, seed: int, log_z: tuple[float, float]) -> Target:
    """``strength`` is the standard deviation of the tilt under the base, in nats."""
    rng = np.random.default_rng(seed)
    axes, _ = np.linalg.qr(rng.standard_normal((dim, dim)))
    root = np.linalg.cholesky((axes * np.geomspace(0.1, 3.0, dim)) @ axes.T)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        net = noneq.MLP(dim)
        last = net.net[-1]
        assert isinstance(last, nn.Linear)
        last.weight.normal_()
        x = torch.randn(4096, dim) @ torch.from_numpy(root.T).float()
        last.weight *= strength / float(net(x).std())
    weights = [p.detach().numpy() for p in net.parameters()]

    def formula(xp: Any) -> Callable[[Any], Any]:
        w1, b1, w2, b2, w3, b3 = (xp.asarray(w.T) for w in weights)

        def f(x: Any) -> Any:
            for w, b in ((w1, b1), (w2, b2)):
                x = x @ w + b
                x = x / (1 + xp.exp(-x))
            return (x @ w3 + b3)[..., 0]

        return f

    return Target(f"network {dim}", root, formula, *log_z, net)


def _closed(name: str, dim: int, scale: float, formula: Formula, log_z: float) -> Target:
    return Target(name, scale * np.eye(dim), formula, log_z)


FUNNEL = testing.neal(10, 1.5, 0.5).log_z
TARGETS: dict[str, Callable[[], Target]] = {
    "banana": lambda: _closed("banana 2", 2, 2.0, banana, testing.parabola(0.3).log_z),
    "funnel": lambda: _closed("funnel 10", 10, 2.0, funnel, FUNNEL),
    "modes": lambda: _closed("modes 32", 32, 2.0, modes, 0.0),
    "stiff": lambda: _closed(
        "stiff 64", 64, 1.0, stiff, 32 * math.log(2 * math.pi) + float(np.log(STIFF).sum()) / 2
    ),
    "skewed": lambda: _closed(
        "skewed 64", 64, 2.0, skewed, testing.logistic(SKEWS.tolist()).log_z
    ),
    "network 32": lambda: network(32, 6.0, 3, (80.368, 0.012)),
    "network 64": lambda: network(64, 6.0, 4, (67.632, 0.016)),
}
target = cache(lambda name: TARGETS[name]())
