"""Spline flows as maps of rows: volume, inverse, densities, storage."""

import math
import pickle

import pytest
import torch

from noneq.data.flows import SplineFlow, spline_network
from noneq.data.maps import Chained
from noneq.data.margins import Margins
from noneq.data.scaling import Scaling
from noneq.run import checkpoint

pytest.importorskip("zuko")


def flow_of(columns, seed=0):
    """A flow far from the identity, of a shear and of random splines."""
    net = spline_network(columns, 2, 8, seed)
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.5 * torch.randn(p.shape, generator=rng))
    turn = torch.eye(columns).double() + 0.3 * torch.ones(columns, columns).double().tril(-1)
    turn[0] *= 1.5
    return SplineFlow(net, torch.arange(columns) / 4, turn, transforms=2, width=8)


def rows(n, columns, seed=0):
    return torch.randn(n, columns, generator=torch.Generator().manual_seed(seed)).double()


@pytest.mark.parametrize("columns", [1, 3])
def test_the_volume_is_that_of_the_map(columns):
    flow, y, e = flow_of(columns), rows(60, columns), 1e-5
    u, log_det = flow.apply(y)
    slopes = [
        (flow.apply(y + e * one)[0] - flow.apply(y - e * one)[0]) / (2 * e)
        for one in torch.eye(columns).double()
    ]
    expected = torch.stack(slopes, 1).slogdet()[1]
    torch.testing.assert_close(log_det, expected, rtol=1e-5, atol=1e-5)
    assert float((u - (y - flow.mean) @ flow.turn).abs().max()) > 0.5
    assert float(log_det.std()) > 0.1


def test_the_inverse_undoes_the_map_near_and_far():
    flow = flow_of(3)
    y = torch.cat([3 * rows(5000, 3, seed=1), 1e4 * rows(10, 3, seed=2)])
    u, log_det = flow.apply(y)
    torch.testing.assert_close(flow.undo(u), y, rtol=1e-6, atol=1e-5)
    far = ((y - flow.mean) @ flow.turn).abs().min(1).values > 5
    assert bool(far.any())
    torch.testing.assert_close(u[far], (y[far] - flow.mean) @ flow.turn)
    expected = flow.turn.slogdet()[1].expand(int(far.sum()))
    torch.testing.assert_close(log_det[far], expected)


def test_a_normal_density_of_mapped_rows_is_a_density():
    # by quadrature over the sinh of a grid, for the heavy tails that margins give
    skewed = (0.5 * rows(500, 2)).exp()
    chain = Chained([Margins.fit(skewed), flow_of(2, seed=1)])
    s = torch.linspace(-7.0, 7.0, 701).double()
    a, b = torch.meshgrid(s, s, indexing="ij")
    u, log_det = chain.apply(torch.stack([a.sinh(), b.sinh()], -1).reshape(-1, 2))
    density = (log_det - u.square().sum(1) / 2).exp() / (2 * math.pi)
    part = density.reshape(a.shape) * a.cosh() * b.cosh()
    total = float(torch.trapezoid(torch.trapezoid(part, s), s))
    assert total == pytest.approx(1.0, abs=5e-3)
    torch.testing.assert_close(chain.undo(u[::1000]), torch.stack([a.sinh(), b.sinh()], -1)
                               .reshape(-1, 2)[::1000], rtol=1e-4, atol=1e-4)  # fmt: skip


def test_a_scaling_keeps_its_flow_in_a_file(tmp_path):
    one, two = torch.tensor([1.0, 2.0]).double(), torch.tensor([2.0, 0.5]).double()
    flow, margins = flow_of(2), Margins.fit(rows(300, 2))
    scaling = Scaling(one, two, margins=margins, flow=flow)
    checkpoint.save_json(tmp_path / "s.json", scaling.plain())
    checkpoint.save_tensors(tmp_path / "f.safetensors", flow.tensors())
    plain = checkpoint.load_json(tmp_path / "s.json")
    again = Scaling.from_plain(plain, checkpoint.load_tensors(tmp_path / "f.safetensors"))
    values = rows(9000, 2, seed=4) * two + one
    x = scaling.apply(values)
    assert torch.equal(again.apply(values), x)
    # x has the precision of float32, and the inverse is steep in places
    torch.testing.assert_close(again.undo(x), values, rtol=2e-3, atol=1e-3)
    z, log_slope = margins.apply((values - one) / two)
    expected = flow.apply(z)[1] + log_slope
    torch.testing.assert_close(again.log_volume(x), expected, rtol=1e-3, atol=1e-3)
    assert "spline flow" in str(again)
    other = flow_of(3).tensors()
    with pytest.raises(ValueError, match="another flow"):
        SplineFlow.from_plain({"transforms": 3, "width": 8}, other)
    with pytest.raises(ValueError, match="another flow"):
        SplineFlow.from_plain({"transforms": 2, "width": 9}, other)


def test_equal_rows_stay_equal_wherever_they_stand():
    flow, y = flow_of(3), rows(5001, 3).float()
    y[4999], y[5000] = y[0], y[17]
    x = flow.apply(y)[0].float()
    back = flow.undo(x)
    assert torch.equal(back[[4999, 5000]], back[[0, 17]])


def test_a_flow_is_pickled():
    flow, y = flow_of(2), rows(10, 2)
    assert torch.equal(pickle.loads(pickle.dumps(flow)).apply(y)[0], flow.apply(y)[0])


def test_without_zuko_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "zuko", None)
    with pytest.raises(
        ImportError, match=r'`spline_flow` needs zuko.*pip install "noneq\[flow\]"'
    ):
        spline_network(2, 1, 8)
