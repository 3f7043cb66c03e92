"""Langevin steps that follow a clipped gradient: their weight is that of the clipped step."""

import math

import pytest
import torch
from roster import factors
from targets import TARGETS, Grid, Net, assert_exact, base, seeded, skewed, start, z_scores
from torch.distributions import MultivariateNormal

from noneq import ULA, Walkers
from noneq.energies import GeometricPath, Identity
from noneq.kernels import Repeat

CLIP = 0.6


def clipped(g, c=CLIP):
    """Written out, not by `torch.clamp`."""
    return torch.where(g.abs() > c, c * g.sign(), g)


def test_the_increment_is_the_ratio_of_two_gaussian_densities():
    # float64: log e^{-U'(y)} N(x; y - hMk', 2hM) - log e^{-U(x)} N(y; x - hMk, 2hM)
    for shape in ((3,), (1, 2, 3)):
        d = math.prod(shape)
        for kind, factor in factors(shape).items():
            root = factor.mul(torch.eye(d, dtype=torch.float64).view(d, *shape)).flatten(1).T
            m = root @ root.T
            for h in (0.05, 0.7):
                for stale in (False, True):
                    model = Net(shape, torch.float64, seed=3)
                    old = Net(shape, torch.float64, seed=2) if stale else model
                    state = start(old, 50, shape, torch.float64)
                    new, increment, info = ULA(h, factor, clip=CLIP)(model, state, seeded(0))
                    assert info == {}
                    share = float((state.cache["g"].abs() > CLIP).double().mean())
                    assert 0.2 < share < 0.9, "some components are clipped, and some are not"

                    def log_q(to, at, g, h=h, m=m):
                        mean = at.flatten(1) - h * clipped(g).flatten(1) @ m
                        return MultivariateNormal(mean, 2 * h * m).log_prob(to.flatten(1))

                    expected = -new.u + log_q(state.x, new.x, new.cache["g"])
                    expected -= -state.u + log_q(new.x, state.x, state.cache["g"])
                    error = (increment - expected).abs() / (1 + new.u.abs())
                    assert float(error.max()) < 1e-12, (kind, h, stale)
                    # the noise is that of a step without clipping
                    plain, *_ = ULA(h, factor)(model, state, seeded(0))
                    drift = (plain.x - new.x).flatten(1)
                    off = (clipped(state.cache["g"]) - state.cache["g"]).flatten(1)
                    torch.testing.assert_close(drift, h * off @ m, rtol=0, atol=1e-12)


def test_what_is_not_clipped_is_as_without():
    model = Net((2,), torch.float64)
    state = start(model, 20, (2,), torch.float64)
    plain, expected, _ = ULA(0.3)(model, state, seeded(0))
    new, increment, _ = ULA(0.3, clip=100.0)(model, state, seeded(0))
    assert torch.equal(new.x, plain.x)
    assert torch.equal(increment, expected)


def test_the_cache_holds_the_gradient_itself():
    model = Net((2,), torch.float64)
    new, *_ = ULA(0.3, clip=0.1)(model, start(model, 20, (2,), torch.float64), seeded(0))
    x = new.x.clone().requires_grad_(True)
    (g,) = torch.autograd.grad(model(x).sum(), x)
    torch.testing.assert_close(new.cache["g"], g)


@pytest.mark.parametrize("name", ["skewed", "correlated", "two modes"])
def test_log_z_is_unbiased_along_a_path(name):
    # seed 31; 100 islands of 1,000 walkers, from a Gaussian to the target in 12 stale steps: E w
    # and E w (f - mean f) are exact, and agree within 4 standard errors (about 0.3 percent for w)
    energy, dim = TARGETS[name]
    origin, rng = base(dim), seeded(31)
    path = GeometricPath(origin, energy)
    walkers = Walkers.sample(origin, 100_000, rng, islands=100)
    kernel = ULA(0.15, Identity(0.9), clip=0.5)
    for step in range(1, 13):
        walkers = walkers.move(kernel, path.at(step / 12), rng)
    assert_exact(walkers, Grid.of(energy, dim), name)
    assert walkers.log_z.stderr < 0.02


def test_the_weight_of_the_whole_step_would_be_wrong():
    # seed 32; exact start, three clipped steps: weights right, walkers without weights far off
    grid, rng = Grid.of(skewed, 1), seeded(32)
    walkers = Walkers.at(grid.sample(100_000, rng), skewed, log_z=grid.log_z, islands=100)
    walkers = walkers.move(Repeat(ULA(0.4, clip=0.3), 3), skewed, rng)
    assert_exact(walkers, grid, "clipped")
    plain = walkers.x.square().view(100, -1).mean(1, keepdim=True)
    assert float(z_scores(plain, grid.mean(grid.x.square()))) > 10


@pytest.mark.parametrize("clip", [0.0, -1.0, math.nan])
def test_a_clip_is_positive(clip):
    with pytest.raises(ValueError, match="clip is positive, or None for the whole gradient, got"):
        ULA(0.1, clip=clip)


def test_it_is_kept_when_the_step_changes():
    kernel = ULA(0.1, clip=0.4).scaled(0.5).preconditioned(Identity(2.0))
    assert (kernel.h, kernel.clip) == (0.05, 0.4)
