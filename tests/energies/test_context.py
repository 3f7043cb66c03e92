"""Conditional models: a context that stays, weights that know each context's log Z."""

import math

import pytest
import torch
from torch import Tensor, nn

import noneq
from noneq import HMC, MALA, ULA, Settings, Tilted, Walkers
from noneq.energies import (
    Cholesky,
    ConditionalGaussian,
    Given,
    Held,
    Identity,
    check_energy,
    path_to,
    posterior,
    with_context,
)
from noneq.kernels import RandomWalk, Refreshed
from noneq.spaces import WithContext, space_of

LABELS = torch.eye(3)
MASSES = torch.tensor([0.5, 0.3, 0.2])
CENTRES = torch.tensor([[0.0, 1.0], [2.0, -1.0], [-1.5, 0.5]])
WIDTHS, HEIGHTS = torch.tensor([0.8, 0.5, 1.3]), torch.tensor([0.0, -1.2, 0.7])


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def labelled(n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Rows around a centre for each of three labels, in the proportions 5 : 3 : 2, exactly."""
    labels = torch.arange(3).repeat_interleave((MASSES * n).round().long())
    x = CENTRES[labels] + WIDTHS[labels, None] * torch.randn(n, 2, generator=generator(seed))
    return x, LABELS[labels]


class Bumps(nn.Module):
    """``U(x, c) = |x - centre_c|^2 / (2 width_c^2) + height_c``, whose every Z_c is known."""

    space = WithContext(3)

    def forward(self, x: Tensor) -> Tensor:
        c = x[:, 2:].argmax(1)
        off = (x[:, :2] - CENTRES[c].to(x)).square().sum(1)
        return off / (2 * WIDTHS[c].to(x).square()) + HEIGHTS[c].to(x)

    def log_z_given(self) -> Tensor:
        return (2 * math.pi * WIDTHS.square()).log() - HEIGHTS


@pytest.fixture(scope="module")
def base() -> ConditionalGaussian:
    return ConditionalGaussian.fit(*labelled(2000))


def test_the_base_has_the_density_of_a_gaussian_around_each_centre(base):
    x, c = labelled(500, seed=1)
    covariance = base.factor.factor.root @ base.factor.factor.root.T
    for label in LABELS:
        exact = torch.distributions.MultivariateNormal(base.mean + base.slope @ label, covariance)
        u = base(with_context(x, label))
        assert torch.allclose(u + base.log_z(), -exact.log_prob(x), atol=1e-4)
        assert torch.allclose(base.given(label)(x), u, atol=1e-5)
    assert torch.allclose(base.mean + base.slope @ LABELS[1], CENTRES[1], atol=0.1)
    check_energy(base, with_context(x, c))


def test_samples_of_the_base_have_its_moments_and_the_contexts_of_the_data(base):
    x = base.sample(40_000, generator(0))
    shares = x[:, 2:].mean(0)  # standard errors of at most 0.0025
    assert torch.allclose(shares, MASSES, atol=0.01)
    off = x[:, :2] - base.mean - x[:, 2:] @ base.slope.T
    covariance = base.factor.factor.root @ base.factor.factor.root.T
    assert torch.allclose(torch.cov(off.T), covariance, atol=0.03)
    assert float(off.mean(0).abs().max()) < 0.03


def test_a_covariate_is_regressed_on():
    rng = generator(0)
    c = torch.rand(5000, 2, generator=rng) * 3
    x = c @ torch.tensor([[1.0, -2.0, 0.5], [0.0, 1.0, 3.0]]) + 1
    x = x + 0.1 * torch.randn(5000, 3, generator=rng)
    base = ConditionalGaussian.fit(x, c)
    assert torch.allclose(
        base.slope, torch.tensor([[1.0, 0.0], [-2.0, 1.0], [0.5, 3.0]]), atol=0.02
    )
    assert torch.allclose(base.mean, torch.ones(3), atol=0.02)


KERNELS = {
    "ULA": lambda factor: ULA(0.05, factor),
    "MALA": lambda factor: MALA(0.3, factor),
    "HMC": lambda factor: HMC(0.3, factor, leapfrog_steps=3),
    "generalised HMC": lambda factor: HMC(0.3, factor, leapfrog_steps=1, friction=1.0),
    "random walk": lambda factor: RandomWalk(0.3, factor),
}


@pytest.mark.parametrize("name", KERNELS)
def test_no_kernel_moves_a_context(base, name):
    rng, model = generator(0), Bumps()
    walkers = Walkers.sample(base, 512, rng).reweight(model)
    moved = walkers.move(KERNELS[name](base.factor), model, rng)
    assert torch.equal(moved.x[:, 2:], walkers.x[:, 2:])
    assert not torch.equal(moved.x[:, :2], walkers.x[:, :2])
    with pytest.raises(
        ValueError, match=r"would move 3 coordinates of the context.*factor of the base"
    ):
        walkers.move(KERNELS[name](Identity()), model, rng)
    with pytest.raises(ValueError, match="would move 2 coordinates of the context"):
        walkers.move(KERNELS[name](Held(Identity(), 1)), model, rng)


@pytest.mark.parametrize("name", KERNELS)
def test_weights_know_the_mass_of_every_context_though_none_moves(base, name):
    # within 4 standard errors of the islands' spread, seed 0
    rng, model = generator(0), Bumps()
    path = path_to(model, base)
    walkers = Walkers.sample(base, 8192, rng)
    kernel = KERNELS[name](base.factor)
    for beta in torch.linspace(0, 1, 41)[1:]:
        walkers = walkers.resample(0.5, rng).move(kernel, path.at(float(beta)), rng)
    exact = MASSES.double().log() + model.log_z_given().double()
    z = walkers.log_z
    assert abs(z.value - float(exact.logsumexp(0))) < 4 * z.stderr
    masses = walkers.mean(walkers.x[:, 2:])
    assert torch.allclose(masses.double(), exact.softmax(0), atol=0.02)


def test_one_context_is_an_energy_as_any_other(base):
    model = Bumps()
    tilted = Tilted(base, noneq.MLP(5, width=8))
    one = Given(tilted, LABELS[1])
    x = torch.randn(64, 2, generator=generator(0))
    check_energy(one, x)
    assert torch.equal(one(x), tilted(with_context(x, LABELS[1])))
    for label, exact in zip(LABELS, model.log_z_given(), strict=True):
        rows = labelled(2000)[0]
        z = noneq.log_z(Given(model, label), data=rows, n=512, temperatures=100)
        assert not z.alarms
        assert abs(z.value - float(exact)) < 4 * (z.forward.stderr + z.backward.stderr)


def test_the_log_z_of_all_contexts_at_once_is_refused(base):
    with pytest.raises(ValueError, match=r"each has a log Z.*noneq.energies.Given"):
        noneq.log_z(Tilted(base, noneq.MLP(5, width=8)))


def test_bayes_tells_the_label(base):
    model, (x, _) = Bumps(), labelled(300, seed=2)
    p = posterior(model, x, LABELS, MASSES)
    log_p = torch.stack([
        MASSES[k].log() - model(with_context(x, LABELS[k])) for k in range(3)
    ], 1)  # fmt: skip
    assert torch.allclose(p, log_p.double().softmax(1), atol=1e-6)
    assert torch.allclose(p.sum(1), torch.ones(300, dtype=p.dtype))


class OneHot(nn.Module):
    """A network that refuses a context which is not one-hot."""

    def __init__(self) -> None:
        super().__init__()
        self.net = noneq.MLP(3, width=32)

    def forward(self, x: Tensor) -> Tensor:
        assert bool(((x[:, 1:] == 0) | (x[:, 1:] == 1)).all())
        out: Tensor = self.net(x)
        return out


def two_labels(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """Label 0: a Gaussian; label 1, 40 % of the rows: two modes, the right one with 70 %."""
    rng = generator(seed)
    label = (torch.arange(n) % 5 < 2).long()
    right = torch.rand(n, generator=rng) < 0.7
    centre = torch.where(label == 0, -1.0, torch.where(right, 1.6, -0.4))
    x = centre + torch.where(label == 0, 0.6, 0.3) * torch.randn(n, generator=rng)
    return x[:, None], label


@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_training_learns_each_density_and_its_log_z_is_that_of_quadrature(noise):
    x, label = two_labels(2000, seed=0)
    eye = torch.eye(2)
    base = ConditionalGaussian.fit(x, eye[label], noise=noise)
    with noneq.random.seeded(0):
        energy = Tilted(base, OneHot())
    settings = Settings(walkers=512, held_out=128, noise=noise, renew=100, moves=4, batch=1024)
    adam = torch.optim.Adam(energy.parameters(), lr=3e-3)
    for record in noneq.train(energy, with_context(x, eye[label]), settings, optimizer=adam):
        if record.iteration == 400:
            break
    spread = (torch.tensor([0.6, 0.3]).square() + noise**2).sqrt()
    grid, truths = torch.linspace(-8, 8, 4001)[:, None], []
    for k, modes in enumerate([[(1.0, -1.0)], [(0.3, -0.4), (0.7, 1.6)]]):
        one = Given(energy, eye[k])
        with torch.no_grad():
            u = one(grid).double()
        log_z = float((-u).logsumexp(0)) + math.log(0.004)
        rows = x[label == k]
        z = noneq.log_z(one, data=rows, noise=noise, n=512, temperatures=100)
        assert abs(z.value - log_z) < 5 * (z.forward.stderr + z.backward.stderr)
        normals = [(m, torch.distributions.Normal(c, spread[k])) for m, c in modes]
        truth = sum(m * n.log_prob(grid[:, 0]).double().exp() for m, n in normals)
        truths.append(truth)
        kl = float((truth * (truth.clamp(min=1e-300).log() + u + log_z)).sum() * 0.004)
        assert kl < 0.03, (k, kl)  # the base alone: about 0.4 for the two modes
    masses = torch.tensor([0.6, 0.4])
    exact = torch.stack(truths, 1) * masses
    p = posterior(energy, grid, eye, masses)
    apart = (p - exact / exact.sum(1, keepdim=True)).abs().amax(1)
    assert float((apart * exact.sum(1)).sum() * 0.004) < 0.1  # on average over x


def test_bad_input_is_refused(base):
    x, c = labelled(100)
    with pytest.raises(ValueError, match="beside 100 rows"):
        with_context(x, c[:50])
    with pytest.raises(ValueError, match="finite"):
        ConditionalGaussian.fit(torch.where(x > 1, torch.nan, x), c)
    with pytest.raises(ValueError, match="has no context"):
        Given(noneq.Gaussian.fit(x), LABELS[0])
    with pytest.raises(ValueError, match=r"vector \(3,\)"):
        Given(base, torch.ones(2))
    with pytest.raises(ValueError, match="made vectors first"):
        with_context(x, c.argmax(1))
    with pytest.raises(ValueError, match="one-hot labels"):
        ConditionalGaussian.fit(x, c.argmax(1))
    with pytest.raises(ValueError, match="without error"):
        ConditionalGaussian.fit(c[:, :1] * 3 + 1, c)
    with pytest.raises(ValueError, match="3 contexts have as many masses"):
        posterior(Bumps(), x, LABELS, torch.ones(1))
    with pytest.raises(ValueError, match="one coordinate or more"):
        Held(Identity(), 0)
    assert space_of(base) == WithContext(3) != noneq.spaces.REAL
    assert "context" in str(space_of(base))
    assert base.factor.log_det(5) == Cholesky.log_det(base.factor.factor, 2)


class Silent(nn.Module):
    """An energy with a conditional base that does not say so."""

    def __init__(self, base: ConditionalGaussian) -> None:
        super().__init__()
        self.base, self.net = base, noneq.MLP(5, width=8)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.base(x) + self.net(x)
        return out


def test_an_energy_that_hides_its_context_is_refused(base):
    x, c = labelled(200)
    rows = with_context(x, c)
    with pytest.raises(ValueError, match=r"space = base\.space"):
        next(noneq.train(Silent(base), rows))
    with pytest.raises(ValueError, match=r"space = base\.space"):
        noneq.log_z(Silent(base), data=rows)
    energy = Tilted(base, noneq.MLP(5, width=8))
    with pytest.raises(ValueError, match="with_context"):
        next(noneq.train(energy, x))
    averaged = noneq.training.moving_average(energy, 0.9)
    assert space_of(averaged) == WithContext(3)
    for start, end in ((base, Silent(base)), (noneq.Gaussian.fit(rows, noise=0.1), energy)):
        with pytest.raises(ValueError, match="which does not hold"):
            path_to(end, start)


def test_samples_of_the_base_are_proposed_with_their_contexts(base):
    model = Bumps()
    walkers = Walkers.sample(base, 2000, generator(0)).reweight(model)
    kernel = Refreshed(MALA(0.3, base.factor), base)
    moved = walkers.move(kernel, model, generator(1))
    labels = moved.x[:, 2:]
    assert bool(((labels == 0) | (labels == 1)).all())
    assert bool((labels.sum(1) == 1).all())
    assert not torch.equal(labels, walkers.x[:, 2:])
    wrong = Refreshed(MALA(0.3, base.factor), noneq.Gaussian(torch.zeros(5), Identity()))
    with pytest.raises(ValueError, match="another context"):
        walkers.move(wrong, model, generator(1))


def test_noise_of_a_likelihood_stays_off_the_context(base):
    x, c = labelled(500)
    z = noneq.log_z(base, data=with_context(x, c), noise=0.3)
    found = noneq.nll(base, with_context(x, c), z, noise=0.3)
    rng = generator(9)
    noisy = with_context(x.repeat(20, 1), c.repeat(20, 1))
    noisy[:, :2] += 0.3 * torch.randn(10_000, 2, generator=rng)
    assert found.value == pytest.approx(float(base(noisy).mean()) + z.value, abs=0.05)
