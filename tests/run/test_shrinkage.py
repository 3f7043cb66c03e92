"""Shrinkage: one factor of the network's energy, chosen by rows that it was not trained on.

Closed form: a Gaussian base N(m, C) tilted by ``f(x) = a.x`` is ``N(m - s C a, C)`` at the factor
s, so that for rows of mean ``m - r C a`` the NLL is ``(s - r)^2 a.C a / 2`` above its lowest.
"""

import math

import known
import pytest
import torch
from targets import seeded

from noneq import MLP, Gaussian, Tilted
from noneq.models import Averaged, ConvNet, InnerProduct, ResNet, Whitened, scale_outputs
from noneq.run.shrinkage import choose_shrinkage, shrink
from noneq.walkers import Walkers

A = [0.9, -0.5]
BASE = Gaussian.fit(
    torch.randn(300, 2, generator=seeded(0)) @ torch.tensor([[1.0, 0.4], [0, 0.6]])
)


def tilted():
    energy = Tilted(BASE, MLP(2, width=2, depth=1))
    with torch.no_grad():
        known.tilt(energy, A)
    mean, cov, log_z = known.exact(energy, A)
    return energy, mean, cov, log_z


def drawn(mean, cov, n, seed):
    z = torch.randn(n, 2, generator=seeded(seed), dtype=torch.float64)
    return (z @ torch.linalg.cholesky(cov).T + mean).float()


def centred(rows, mean):
    return rows - rows.mean(0) + mean.float()


@pytest.mark.parametrize("r", [0.85, 0.75, 1.0, 1.2])
def test_it_is_the_factor_of_the_rows(r):
    energy, mean, cov, log_z = tilted()
    a = torch.tensor(A).double()
    walkers = Walkers.at(centred(drawn(mean, cov, 20_000, 1), mean), energy, log_z=log_z)
    rows = centred(drawn(mean, cov, 500, 2), BASE.mean.double() - r * (cov @ a))
    found = choose_shrinkage(energy, rows, walkers)
    assert found.factor == min(1.0, r)
    exact = (1 - min(1.0, r)) ** 2 * float(a @ cov @ a) / 2
    # the error of log Z: a standard deviation of the weights of exp((1 - s) f) over sqrt(20,000)
    error = math.sqrt(math.expm1((1 - found.factor) ** 2 * float(a @ cov @ a)) / 20_000)
    assert abs(found.gain - exact) <= 4 * error + 1e-5


def test_weights_count():
    # samples of the base with weights exp(-f) are samples of the model
    energy, mean, cov, _ = tilted()
    a = torch.tensor(A).double()
    walkers = Walkers.sample(BASE, 20_000, seeded(3)).reweight(energy)
    rows = centred(drawn(mean, cov, 500, 2), BASE.mean.double() - 0.85 * (cov @ a))
    found = choose_shrinkage(energy, rows, walkers)
    assert found.factor == 0.85
    assert found.gain == pytest.approx(0.15**2 * float(a @ cov @ a) / 2, abs=0.01)


def test_walkers_must_tell_log_z():
    energy, mean, cov, log_z = tilted()
    with torch.no_grad():
        known.tilt(energy, [9.0, -5.0])
    mean, cov, log_z = known.exact(energy, [9.0, -5.0])
    walkers = Walkers.at(drawn(mean, cov, 200, 1), energy, log_z=log_z)
    rows = drawn(BASE.mean.double(), cov, 500, 2)  # for which the best factor is 0
    factor = choose_shrinkage(energy, rows, walkers).factor
    assert 0.7 < factor < 1


def test_networks_of_the_users_own_stay():
    energy, mean, cov, log_z = tilted()
    walkers = Walkers.at(drawn(mean, cov, 500, 1), energy, log_z=log_z)
    rows = drawn(BASE.mean.double(), cov, 500, 2)
    assert choose_shrinkage(energy, rows, walkers).factor < 1
    own = Tilted(BASE, torch.nn.Sequential(energy.net))
    assert choose_shrinkage(own, rows, walkers).factor == 1
    with pytest.raises(TypeError, match="last layer of a Sequential"):
        shrink(own, 0.5)


NETS = {
    "mlp": MLP(4, width=8),
    "inner": InnerProduct(4, width=8),
    "average": Averaged([MLP(4, width=8), MLP(4, width=8)]),
    "whitened average": Whitened(
        Averaged([MLP(4, width=8), InnerProduct(4, width=8)]), torch.ones(4), torch.eye(4)
    ),
    "convnet": ConvNet((1, 8, 8), width=4, depth=1),
    "resnet": ResNet((1, 8, 8), width=4, stages=1),
}


@pytest.mark.parametrize("name", NETS)
def test_every_network_is_scaled(name):
    net = NETS[name]
    shape = (5, 1, 8, 8) if "net" in name else (5, 4)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(0.4 * torch.randn(p.shape, generator=seeded(4)))
    x = torch.randn(shape, generator=seeded(5))
    before = net(x).detach()
    assert bool((before.abs() > 1e-3).all())
    scale_outputs(net, 0.8)
    torch.testing.assert_close(net(x), 0.8 * before)


def test_a_model_is_shrunk_towards_its_base():
    energy, *_ = tilted()
    x = drawn(BASE.mean.double(), torch.eye(2).double(), 9, 6)
    f = energy(x) - BASE(x)
    shrink(energy, 0.75)
    torch.testing.assert_close(energy(x), BASE(x) + 0.75 * f)
