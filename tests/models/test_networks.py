import pytest
import torch
from torch import Tensor, nn

from noneq import MLP, check_energy
from noneq.energies import evaluate
from noneq.models import ConvNet, ResNet

NETS = {
    "MLP": ((6,), lambda: MLP(6, 16)),
    "MLP, linear": ((6,), lambda: MLP((6,), 16, 0)),
    "MLP of images": ((2, 5, 3), lambda: MLP((2, 5, 3), 16, 3)),
    "ConvNet": ((1, 8, 8), lambda: ConvNet((1, 8, 8), 4)),
    "ConvNet, odd sides": ((3, 9, 13), lambda: ConvNet((3, 9, 13), 4, 2)),
    "ConvNet, shallow": ((2, 4, 4), lambda: ConvNet((2, 4, 4), 4, 0)),
    "ResNet": ((1, 8, 8), lambda: ResNet((1, 8, 8), 4)),
    "ResNet, odd sides": ((3, 9, 13), lambda: ResNet((3, 9, 13), 4, stages=3, blocks=1)),
    "ResNet, one stage": ((2, 4, 4), lambda: ResNet((2, 4, 4), 4, stages=0, blocks=3)),
}
every_net = pytest.mark.parametrize("name", NETS)


def make(name: str) -> tuple[nn.Module, Tensor]:
    """The network (torch's seed 0) and ten rows for it (seed 1)."""
    shape, build = NETS[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = build()
    return net, torch.randn(10, *shape, generator=torch.Generator().manual_seed(1))


def fit_once(net: nn.Module, x: Tensor) -> None:
    """One step of plain gradient descent towards unequal targets: the last layer leaves zero."""
    loss = (net(x) - torch.linspace(-1, 2, len(x))).square().mean()
    net.zero_grad()
    loss.backward()
    torch.optim.SGD(net.parameters(), lr=0.5).step()


@every_net
def test_nothing_at_first(name) -> None:
    net, x = make(name)
    u, cache = evaluate(net, 100 * x)
    assert torch.equal(u, torch.zeros(10))
    assert torch.equal(cache["g"], torch.zeros_like(x))


@every_net
def test_one_scalar_a_row(name) -> None:
    net, x = make(name)
    fit_once(net, x)
    for n in (1, 2, 10):
        assert net(x[:n]).shape == (n,)
    assert net(x[:0]).shape == (0,)
    check_energy(net, x)


@every_net
def test_every_parameter_learns_after_one_step(name) -> None:
    net, x = make(name)
    fit_once(net, x)
    fit_once(net, x)
    for key, parameter in net.named_parameters():
        assert float(parameter.grad.abs().max()) > 0, key
    _, cache = evaluate(net, x)
    # every input matters to some row
    assert bool((cache["g"].abs().amax(0) > 0).all())


@every_net
def test_a_row_knows_nothing_of_the_others(name) -> None:
    net, x = make(name)
    fit_once(net, x)
    together = net(x).detach()
    order = torch.randperm(10, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(net(x[order]), together[order], rtol=1e-5, atol=1e-6)
    alone = torch.cat([net(row[None]) for row in x])
    torch.testing.assert_close(alone, together, rtol=1e-5, atol=1e-6)
    spoiled = x.clone()
    spoiled[1:] = 1e6
    torch.testing.assert_close(net(spoiled)[0], together[0], rtol=1e-5, atol=1e-6)
    # nor of the mode: there is nothing to switch off
    assert torch.equal(net.eval()(x), together)


def roughness(net: nn.Module, x: Tensor, v: Tensor, ends: tuple[float, float]) -> Tensor:
    """Changes of the slope along x + t v over 256 intervals, each divided by its length."""
    t = torch.linspace(*ends, 257, dtype=torch.float64)
    line = x + t.view(-1, *[1] * x.dim()) * v
    slope = (evaluate(net, line)[1]["g"] * v).flatten(1).sum(1)
    return slope.diff().abs() / (t[1] - t[0])


@every_net
def test_networks_are_smooth(name) -> None:
    # Zoom three times into where the slope changes fastest, float64: a bounded second derivative
    # stays what it is; the jump of a kink, divided by ever shorter lengths, grows 256-fold.
    net, x = make(name)
    fit_once(net, x)
    net, x = net.double(), x.double()
    low, high = -1.0, 1.0
    first = roughness(net, x[0], x[1], (low, high))
    rough = first
    for _ in range(3):
        width, worst = (high - low) / 256, int(rough.argmax())
        low, high = low + worst * width, low + (worst + 1) * width
        rough = roughness(net, x[0], x[1], (low, high))
    assert float(rough.max()) <= 2 * float(first.max()) + 1e-6


def test_shapes_that_do_not_fit_are_refused() -> None:
    for net in (ConvNet, ResNet):
        for shape in ((64,), (8, 8), (1, 1, 8, 8)):
            with pytest.raises(ValueError, match=r"shape \(channels, height, width\), got \("):
                net(shape)
    for shape in ((1, 4, 8), (1, 8, 4)):
        with pytest.raises(ValueError, match="3 halvings are too many for images of shape"):
            ConvNet(shape, 4, 3)
        with pytest.raises(ValueError, match="3 halvings are too many for images of shape"):
            ResNet(shape, 4, stages=3)


@every_net
def test_rows_of_another_shape_are_refused(name) -> None:
    net, x = make(name)
    more = torch.cat([x, x], -1)
    if isinstance(net, ResNet):  # the mean over pixels: any size will do, any channels will not
        assert net(more).shape == (10,)
        more = torch.cat([x, x], 1)
    with pytest.raises(RuntimeError, match=r"shapes cannot be multiplied|expected input"):
        net(more)


def test_the_gain_is_of_the_first_layer() -> None:
    nets = []
    for gain in (1.0, 2.5):
        with torch.random.fork_rng():
            torch.manual_seed(4)
            nets.append(MLP(6, 16, gain=gain))
    (first, *rest), (scaled, *others) = (list(net.parameters()) for net in nets)
    torch.testing.assert_close(scaled, 2.5 * first)
    assert (
        float(first.detach().abs().max()) <= 6**-0.5
    )  # torch's default, uniform within 1/sqrt(fan-in)
    assert all(torch.equal(a, b) for a, b in zip(rest, others, strict=True))
