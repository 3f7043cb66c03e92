"""Networks of vectors as energies, and dropout that only score matching asks for.

Statistical tests are judged at 4 standard errors, with the seeds that they name.
"""

import copy
import math

import pytest
import torch
from drifting import D, points
from targets import seeded

from noneq import Gaussian, Tilted, check_energy
from noneq.energies import Cholesky, evaluate
from noneq.models import InnerProduct, TimedInnerProduct, TimedMLP
from noneq.models.interpolants import EnergyPath, Linear, TimedEnergy
from noneq.models.networks import time_features

NOISE = 0.4


def centred(net, base):
    return net.centred(base.mean, base.covariance())


def denoiser(dropout=0.3):
    """A network of random parameters (torch's seed 1) in two lopsided dimensions."""
    c = torch.tensor([[1.0, 0.4], [0.4, 0.6]], dtype=D)
    start = Gaussian(torch.tensor([0.7, -0.2], dtype=D), Cholesky(c, D))
    with torch.random.fork_rng():
        torch.manual_seed(1)
        net = centred(TimedInnerProduct(2, 16, dropout=dropout).to(D), start)
        for p in net.parameters():
            torch.nn.init.normal_(p, std=0.3)
    return start, net


def test_it_is_the_inner_product_that_it_says():
    start, net = denoiser()
    x, t = points(), torch.linspace(0, 1, 6, dtype=D)
    for row, time, found in zip(x, t, net(x, t), strict=True):
        y = row - start.mean
        near = y / (1 + float(y @ y) / (10 * (1.0 + 0.6))) ** 0.5
        n = net.net((near + start.mean)[None], time[None])[0]
        torch.testing.assert_close(found, y @ n)


def test_its_gradient_is_its_network_where_that_is_constant():
    _, net = denoiser()
    *_, last = net.net.net
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(torch.tensor([0.7, -1.1]))
    _, cache = evaluate(net.frozen(0.5), points())
    torch.testing.assert_close(cache["g"], last.bias.detach().expand(6, 2))


def test_it_is_zero_before_training_and_learns():
    start, _ = denoiser()
    energy = TimedEnergy(start, centred(TimedInnerProduct(2, 16).to(D), start), NOISE)
    x, t = points(), torch.linspace(0, 1, 6, dtype=D)
    assert not energy.net(x, t).detach().any()
    optimizer = torch.optim.SGD(energy.net.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        energy.score_loss(x, seeded(0)).backward()
        optimizer.step()
    assert all(bool(p.grad.any()) for p in energy.net.parameters())
    assert energy.net(x, t).detach().all()
    check_energy(energy, x)


def test_the_gaussian_confines_it_far_away():
    # f grows as the distance does, U_G as its square
    start, net = denoiser()
    along = torch.randn(50, 2, generator=seeded(0), dtype=D)
    t = torch.ones(50, dtype=D)
    far = [net(10.0**k * along, t) / 10.0**k for k in (3, 5)]
    torch.testing.assert_close(far[0], far[1], rtol=0.02, atol=0.02)
    energy = TimedEnergy(start, net, NOISE)
    assert bool((energy(1e5 * along) > 1e8).all())


def test_at_one_time_it_is_a_network_of_its_own():
    start, net = denoiser()
    plain, x = net.frozen(0.3), points()
    torch.testing.assert_close(plain(x), net(x, torch.full((6,), 0.3, dtype=D)))
    check_energy(Tilted(start, plain), x)
    before = net(x, torch.full((6,), 0.3, dtype=D)).detach()
    with torch.no_grad():
        for p in plain.parameters():
            p.add_(1.0)
    assert torch.equal(net(x, torch.full((6,), 0.3, dtype=D)), before)


def test_the_network_of_rows_alone_is_the_inner_product_that_it_says():
    start, timed = denoiser()
    net, x = timed.frozen(0.7), points()
    assert isinstance(net, InnerProduct)
    y = x - start.mean
    near = y / (1 + (y**2).sum(1, keepdim=True) / (10 * 1.6)).sqrt()
    torch.testing.assert_close(net(x), (y * net.net(near + start.mean)).sum(1))


def test_an_untrained_network_with_time_has_the_same_size_and_centre():
    start, _ = denoiser()
    net = centred(InnerProduct(2, 12, 3).to(D), start)
    timed = net.timed(gain=2.0, dropout=0.25).to(D)
    assert timed.dropout == 0.25
    torch.testing.assert_close(timed.mean, start.mean)  # by way of single precision
    assert float(timed.reach) == pytest.approx(16.0)
    again = timed.frozen(1.0).state_dict()
    assert {k: v.shape for k, v in again.items()} == {
        k: v.shape for k, v in net.state_dict().items()
    }
    assert not timed(points(), torch.ones(6, dtype=D)).detach().any()


def test_images_and_single_precision():
    rows = torch.randn(40, 1, 2, 3, generator=seeded(0))
    start = Gaussian.fit(rows, noise=0.2)
    net = centred(TimedInnerProduct((1, 2, 3), 8), start)
    energy = TimedEnergy(start, net, 0.2, Linear())
    assert energy.score_loss(rows, seeded(1)).dtype == torch.float32
    assert EnergyPath(energy).drift(rows, 0.5).shape == rows.shape


# -- dropout


def test_dropout_is_unbiased_in_a_linear_network_and_has_its_variance():
    # units a_i are kept with probability 1 - p: the sum has the variance sum a_i^2 p / (1 - p)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = TimedMLP(2, 8, 1, dropout=0.3).double()
        torch.nn.init.normal_(net.net[2].weight)
    x, n = points(1).expand(40_000, 2), 40_000
    t = torch.full((n,), 0.3, dtype=D)
    found = net(x, t, seeded(0)).detach()
    with torch.no_grad():
        units = net.net[1](net.net[0](torch.cat([x[:1], time_features(t[:1])], 1)))
        a = (units * net.net[2].weight)[0]
        exact = net(x[:1], t[:1])
    variance = float((a**2).sum()) * 0.3 / 0.7
    assert abs(float(found.mean() - exact)) < 4 * math.sqrt(variance / n)
    assert float(found.var()) == pytest.approx(variance, rel=0.05)


def test_only_score_matching_drops_units():
    start, net = denoiser()
    energy, x = TimedEnergy(start, net, NOISE), points()
    for mode in (True, False):
        energy.train(mode)
        check_energy(energy, x)
        assert torch.equal(energy(x), energy(x))
    kept = copy.deepcopy(energy)
    kept.net.net.dropout = 0.0
    assert torch.equal(energy(x), kept(x))
    dropped, whole, same = (
        e.score_loss(x, seeded(0), **how)
        for e, how in ((energy, {}), (energy, {"dropout": False}), (kept, {}))
    )
    assert torch.equal(whole, same)
    assert not torch.equal(dropped, whole)
    assert torch.equal(dropped, energy.score_loss(x, seeded(0)))  # the generator decides


def test_a_network_of_ones_own_needs_no_third_argument():
    start, _ = denoiser()

    class Own(torch.nn.Module):
        def forward(self, x, t):
            return x.square().sum(1) * t

    assert TimedEnergy(start, Own(), NOISE).score_loss(points(), seeded(0)).isfinite()


def test_a_dropout_that_is_no_probability_is_refused():
    for p in (-0.1, 1.0, math.nan):
        with pytest.raises(ValueError, match="`dropout` is a probability"):
            TimedMLP(2, dropout=p)
