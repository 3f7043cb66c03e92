"""Networks made of networks."""

import torch
from torch import nn

import noneq
from noneq.models import PerLabel, TimedMLP, Whitened

ROWS = torch.randn(500, 3, generator=torch.Generator().manual_seed(0)) @ torch.tensor(
    [[1.0, 0.9, 0.2], [0.0, 0.05, 0.1], [0.0, 0.0, 2.0]]
) + torch.tensor([1.0, -2.0, 5.0])


def test_the_network_sees_rows_of_mean_0_and_covariance_1():
    z = Whitened.of(nn.Flatten(), ROWS.mean(0), torch.cov(ROWS.T))(ROWS)
    torch.testing.assert_close(z.mean(0), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(torch.cov(z.T), torch.eye(3), atol=1e-3, rtol=0)


def test_the_same_map_around_another_network():
    first = Whitened.of(TimedMLP(3, 8, 1, dropout=0.3), ROWS.mean(0), torch.cov(ROWS.T))
    nn.init.normal_(first.net.net[-1].weight)
    second = first.around(first.net.frozen(0.5))
    torch.testing.assert_close(second(ROWS), first(ROWS, torch.full((500,), 0.5)))
    assert first.dropout == 0.3
    assert second.dropout == 0.0
    assert {name for name, _ in second.named_buffers()} == {"mean", "whiten"}


def test_each_label_has_an_output_of_its_own():
    net = noneq.MLP(3, width=8, outputs=4)
    f = PerLabel(net, 4)
    x, c = torch.randn(10, 3), torch.eye(4)[torch.arange(10) % 4]
    rows = noneq.energies.with_context(x, c)
    assert torch.equal(f(rows), torch.zeros(10))  # before training
    torch.nn.init.normal_(net.net[-1].weight)
    assert torch.allclose(f(rows), net(x)[torch.arange(10), torch.arange(10) % 4])
    weights = torch.rand(10, 4)
    mixed = f(noneq.energies.with_context(x, weights))
    assert torch.allclose(mixed, (net(x) * weights).sum(1), atol=1e-6)


def test_a_network_of_images_sees_their_shape():
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 4), torch.nn.Flatten())
    f = PerLabel(net, 2, shape=(1, 4, 4))
    x = torch.randn(5, 1, 4, 4)
    rows = noneq.energies.with_context(x, torch.tensor([0.0, 1.0]))
    assert torch.allclose(f(rows), net(x)[:, 1], atol=1e-6)
