"""Networks made of networks."""

import torch
from torch import nn

from noneq.models import TimedMLP, Whitened

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
