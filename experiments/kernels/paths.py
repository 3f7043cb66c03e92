r"""The recorded training paths of the kernel study, and what is true along them.

A path is a list of parameters ``theta_0 .. theta_K``, made again from its seed every time. It does
not depend on the walkers that are later led along it, so that their log Z is unbiased and no
kernel is favoured.

========= ============================================= ======================================
path      model and training                            log Z and ``E_rho[dU/dtheta]``
========= ============================================= ======================================
mixture   two modes that part in 50 dimensions          closed form
          (experiments/paper_a), exact gradient
rbm       12 visible and 8 hidden units on three        enumeration
          unequal clusters of bits, exact gradient
digits    an MLP on a Gaussian, 64 pixels, weighted     both sides of a long annealing, and its
          training under a trust region                 forward walkers, at three updates
========= ============================================= ======================================

Where log Z is known as a function, the exact mean is its derivative: ``E_rho[dU/dtheta] = -d log
Z / d theta``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus
from torch.nn.utils import parameters_to_vector, vector_to_parameters

import noneq
from experiments.paper_a.targets import PAIR, Mixture
from noneq.data import digits
from noneq.energies import Factor, Solvable, local_covariance

NOISE = 0.15  # of the digits
CLUSTERS = (0.6, 0.3, 0.1)  # masses of the clusters of bits


@dataclass(frozen=True)
class Truth:
    """What is known at one update.

    Attributes:
        log_z: with ``stderr`` 0 where it is exact.
        gradient: ``E_rho[dU/dtheta]`` (P,).
        spread: squared error expected of that gradient; 0 where it is exact.
        floor: ``tr Cov_rho(dU/dtheta)``: the squared error of one exact sample.
        x: samples of the model (4096, *shape).
        alarms: of the bracket.
    """

    log_z: float
    stderr: float
    gradient: Tensor
    spread: float
    floor: float
    x: Tensor
    alarms: tuple[str, ...] = ()


@dataclass(frozen=True)
class Path:
    """A model whose parameters are set to any point of its recorded training.

    Attributes:
        name: mixture, rbm or digits.
        energy: the model; `place` sets its parameters.
        start: the solvable energy that the model is at theta_0.
        thetas: (K + 1, P).
        truths: by update.
        factors: preconditioners by name, the usual one first; empty for bits.
        judged: the first parameter whose gradient is judged.
    """

    name: str
    energy: nn.Module
    start: Solvable
    thetas: Tensor
    truths: dict[int, Truth] = field(default_factory=dict)
    factors: dict[str, Factor] = field(default_factory=dict)
    judged: int = 0

    def __len__(self) -> int:
        """Updates K."""
        return len(self.thetas) - 1

    def place(self, at: float) -> None:
        """Set the parameters to a point between two recorded updates, or to one."""
        k = min(int(at), len(self) - 1)
        theta = torch.lerp(self.thetas[k], self.thetas[k + 1], at - k)
        vector_to_parameters(theta, self.energy.parameters())

    def gradients(self, x: Tensor, p: Tensor) -> Tensor:
        """``sum_i p_i dU(x_i)/dtheta`` of every island: x (R, n, ...), p (R, n) -> (R, P)."""
        parameters = list(self.energy.parameters())

        def one(x: Tensor, p: Tensor) -> Tensor:
            loss = (p.to(x.dtype) * self.energy(x)).sum()
            parts = torch.autograd.grad(loss, parameters)
            return torch.cat([g.flatten() for g in parts])[self.judged :]

        return torch.stack([one(*island) for island in zip(x, p, strict=True)]).double()

    def floor(self, x: Tensor, group: int = 16) -> float:
        """``tr Cov(dU/dtheta)`` from independent samples x: means of groups vary n times less."""
        parts = x.unflatten(0, (-1, group))
        return group * float(
            self.gradients(parts, torch.full(parts.shape[:2], 1 / group)).var(0).sum()
        )


def recorded(name: str, *, quick: bool = False) -> Path:
    """The path of that name: the same bits every time on the same machine."""
    return {"mixture": mixture, "rbm": rbm, "digits": handwritten}[name](quick)


# -- log Z is a function of the parameters --------------------------------------------------------


def mixture(quick: bool = False) -> Path:
    """Two Gaussians that part from 0.6 to 16 standard deviations, the left one left with 1/4."""
    rng, energy = torch.Generator().manual_seed(0), Mixture(PAIR)
    data, updates = PAIR.draw(rng), 30 if quick else 120
    optimizer = torch.optim.SGD(energy.parameters(), lr=1.0)

    def log_z() -> Tensor:
        own = softplus(-energy.z).sum()
        return own + energy.log_z() - own.detach()

    def rate(k: int) -> float:
        return 0.2 * 120 / updates * min(1.0, 0.2 + 3 * k / updates)

    path = _exactly(energy, data, log_z, optimizer, [rate(k) for k in range(updates)])
    # only z knows the masses of the modes; the other hundred parameters would drown it
    known = Path(
        "mixture",
        energy,
        energy,
        path,
        factors={"identity": noneq.energies.Identity()},
        judged=100,
    )
    return _known(known, log_z)


def rbm(quick: bool = False) -> Path:
    """An RBM that learns three clusters of 12 bits, of masses 0.6, 0.3 and 0.1."""
    rng = torch.Generator().manual_seed(0)
    centres = 0.06 + 0.88 * (torch.rand(3, 12, generator=rng) < 0.45).float()
    which = torch.multinomial(torch.tensor(CLUSTERS), 4_000, replacement=True, generator=rng)
    data = (torch.rand(4_000, 12, generator=rng) < centres[which]).float()
    logits = ((data.sum(0) + 0.5) / (len(data) + 1)).logit()
    # weights that are all zero would stay so: every hidden unit would learn the same
    energy = noneq.BernoulliRBM(
        0.01 * torch.randn(12, 8, generator=rng), logits, 0.01 * torch.randn(8, generator=rng)
    )
    hidden = torch.tensor(list(itertools.product((0.0, 1.0), repeat=8)), dtype=torch.float64)

    def log_z() -> Tensor:
        w, b, c = (t.double() for t in energy.parameters())
        return (hidden @ c + softplus(b + hidden @ w.T).sum(1)).logsumexp(0)

    updates = 30 if quick else 120
    optimizer = torch.optim.Adam(energy.parameters(), lr=1.0)
    path = _exactly(energy, data, log_z, optimizer, [0.06 * 120 / updates] * updates)
    return _known(Path("rbm", energy, energy, path), log_z)


def _exactly(
    energy: nn.Module,
    data: Tensor,
    log_z: Callable[[], Tensor],
    optimizer: torch.optim.Optimizer,
    rates: list[float],
) -> Tensor:
    """Maximum likelihood with the exact gradient of ``mean U(data) + log Z``."""
    path = [parameters_to_vector(energy.parameters()).detach().clone()]
    for rate in rates:
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        (energy(data).mean() + log_z()).backward()
        optimizer.step()
        path.append(parameters_to_vector(energy.parameters()).detach().clone())
    return torch.stack(path)


def _known(path: Path, log_z: Callable[[], Tensor]) -> Path:
    """With the truth at four updates, a quarter of the way apart."""
    energy, rng = path.energy, torch.Generator().manual_seed(1)
    for k in (len(path) * i // 4 for i in (1, 2, 3, 4)):
        path.place(k)
        value = log_z()
        parts = torch.autograd.grad(value, list(energy.parameters()), allow_unused=True)
        zeros = [torch.zeros_like(p) for p in energy.parameters()]
        exact = torch.cat(
            [-(z if g is None else g).flatten() for g, z in zip(parts, zeros, strict=True)]
        )
        x = path.start.sample(4096, rng)
        path.truths[k] = Truth(
            value.item(), 0.0, exact[path.judged :].double(), 0.0, path.floor(x), x
        )
    return path


# -- log Z is annealed ----------------------------------------------------------------------------


def handwritten(quick: bool = False) -> Path:
    """The digits as an MLP of 64 x 64 units on a Gaussian learns them with a trust region."""
    train = digits().train
    base = noneq.Gaussian.fit(train, noise=NOISE)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        energy = noneq.Tilted(base, noneq.MLP(64, 64))
    settings = noneq.Settings(
        walkers=512, held_out=None, renew=None, tau=0.2, longest=0.1, batch=512, noise=NOISE
    )
    thetas = [parameters_to_vector(energy.parameters()).detach().clone()]
    kernel = noneq.MALA(0.15, local_covariance(train, 15, noise=NOISE))
    records = noneq.train(
        energy, train, settings, kernel=kernel, rng=torch.Generator().manual_seed(0)
    )
    for _ in itertools.islice(records, 24 if quick else 200):
        thetas.append(parameters_to_vector(energy.parameters()).detach().clone())
    scale = torch.tensor(base.factor.log_det(64) / 64).exp()
    factors: dict[str, Factor] = {
        "base": base.factor,
        "clusters": kernel.factor,
        "identity": noneq.energies.Identity(float(scale)),  # of the base's volume
    }
    path = Path("digits", energy, base, torch.stack(thetas), factors=factors)
    checks = (len(path),) if quick else (len(path) // 4, len(path) // 2, len(path))
    size = {"n": 256, "temperatures": 60} if quick else {"n": 1024, "temperatures": 500}
    for k in checks:
        path.place(k)
        path.truths[k] = _annealed(path, partial(noneq.log_z, kernel=kernel, **size))
    return path


def _annealed(path: Path, bracket: Callable[..., noneq.likelihood.Estimate]) -> Truth:
    """From both sides; the gradient is that of the forward walkers, its error their islands'."""
    rng = torch.Generator().manual_seed(2)
    z = bracket(path.energy, data=digits().train, noise=NOISE, rng=rng)
    ends = z.walkers
    r = ends.islands
    # islands count by their weight, as in the estimate of log Z
    p = ends.p.view(r, -1)
    share = p.sum(1)
    each = path.gradients(ends.x.view(r, -1, 64), p)
    gradient = each.sum(0)
    off = each - share[:, None].double() * gradient
    spread = float(off.square().sum()) * r / (r - 1)
    value = (z.forward.value + z.backward.value) / 2
    x = ends.equal(4096, rng)
    stderr = max(z.forward.stderr, z.backward.stderr, abs(z.gap) / 2)
    return Truth(value, stderr, gradient, spread, path.floor(x), x, z.alarms)
