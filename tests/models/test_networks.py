import pytest
import torch
from torch import Tensor, nn

from noneq import MLP, check_energy
from noneq.energies import evaluate
from noneq.models import ConvNet, ResNet, TimedResNet

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


def timed(dropout=0.0):
    """A network of random parameters (torch's seed 3), and images with times."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        net = ResNet((2, 8, 8), 4, stages=1, blocks=1).timed(dropout=dropout)
        for p in net.parameters():
            torch.nn.init.normal_(p, std=0.5)
    rng = torch.Generator().manual_seed(4)
    return net.double(), torch.randn(6, 2, 8, 8, generator=rng, dtype=torch.float64), rng


@torch.no_grad()
def test_a_residual_network_is_shifted_with_the_time() -> None:
    net, x, rng = timed()
    t = torch.rand(6, generator=rng, dtype=torch.float64)
    together = net(x, t)
    for row, at, value in zip(x, t, together, strict=True):
        frozen = net.frozen(float(at))
        assert isinstance(frozen, ResNet)
        torch.testing.assert_close(frozen(row[None])[0], value, rtol=0, atol=1e-10)
    assert float((net(x, t) - net(x, 1 - t)).abs().min()) > 1e-3
    # every shift matters: by the bias of the stem, two blocks and one halving
    assert len(net.times) == 4
    for own in net.times:
        kept = own.weight.detach().clone()
        torch.nn.init.zeros_(own.weight)
        assert float((net(x, t) - together).abs().max()) > 1e-6
        own.weight.data.copy_(kept)


def test_a_timed_residual_network_is_nothing_at_first_and_of_the_same_size() -> None:
    own = ResNet((3, 8, 8), 4, stages=1)
    net = own.timed(gain=2.0)
    assert isinstance(net, TimedResNet)
    x, t = torch.randn(5, 3, 8, 8), torch.rand(5)
    assert torch.equal(net(x, t), torch.zeros(5))
    own.load_state_dict(net.frozen(1.0).state_dict())
    with pytest.raises(ValueError, match="`dropout` is a probability"):
        own.timed(dropout=1.0)


@torch.no_grad()
def test_channels_are_dropped_only_with_a_generator_and_the_mean_stays() -> None:
    # seed 5; 4,000 draws: the mean within 4 standard errors
    net, x, _ = timed(dropout=0.3)
    t, rng = torch.full((4000,), 0.5, dtype=torch.float64), torch.Generator().manual_seed(5)
    many = x[:1].expand(4000, *x.shape[1:])
    whole = net(x[:1], t[:1])
    assert torch.equal(net(x[:1], t[:1]), whole)
    dropped = net(many, t, rng)
    error = float(dropped.std()) / 4000**0.5
    assert abs(float(dropped.mean() - whole[0])) < 4 * error
    assert len(torch.unique(dropped.round(decimals=8))) == 2**4
