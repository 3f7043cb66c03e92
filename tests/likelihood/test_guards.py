"""What keeps a number from being silently wrong: owners of log Z, equal rows, units, files."""

import math

import pytest
import torch
from torch import nn

import noneq
from noneq import MLP, Gaussian, GaussianMixture, Tilted, Walkers
from noneq.cli.logz import _without_training
from noneq.energies import Cholesky, LowRank, fingerprint
from noneq.energies.checks import resolution
from noneq.energies.determinism import unsteady
from noneq.likelihood.bracket import OFTEN, _of_the_energy
from noneq.likelihood.integrability import Tails
from noneq.likelihood.score import grouped_stderr


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=seeded(seed))


# -- units ---------------------------------------------------------------------------------------


def test_a_mixture_is_fitted_in_any_units():
    x = normal(400, 3)
    x[:250] += 4
    scale = torch.tensor([1e-3, 1.0, 1e3])
    plain, scaled = (GaussianMixture.fit(rows, 2) for rows in (x, x * scale))
    shift = float(scale.log().sum())
    torch.testing.assert_close(scaled(x * scale), plain(x) + shift, rtol=1e-3, atol=1e-3)
    # noise is in the columns' own units
    noisy = GaussianMixture.fit(x * scale, 2, noise=0.5)
    covariance = noisy.roots @ noisy.roots.mT
    assert float(covariance[:, 0, 0].min()) > 0.25
    assert float(covariance[:, 2, 2].max()) < 1.2e6
    with pytest.raises(ValueError, match="all rows are equal"):
        GaussianMixture.fit(torch.ones(9, 2), 2)


# -- whose log Z it is ---------------------------------------------------------------------------


def bracket(energy, rows):
    return noneq.log_z(energy, data=rows, n=32, temperatures=10, equilibrate=5, rng=seeded(0))


def closure(c):
    return lambda x: (x - c).square().sum(1) / 2 + c


def test_a_log_z_is_refused_for_another_closure():
    rows = normal(50, 2)
    z = bracket(closure(0.0), rows)
    assert math.isfinite(noneq.nll(closure(0.0), rows, z).value)  # the same function, made anew
    with pytest.raises(ValueError, match=r"another energy .* differ by up to"):
        noneq.nll(closure(2.0), rows, z)


class Holder(nn.Module):
    """An energy whose numbers are in none of the places that modules register."""

    def __init__(self):
        super().__init__()
        self.plain = torch.tensor(1.0)
        self.listed = [torch.zeros(2), {"c": torch.tensor(1.0)}]
        self.hidden = [nn.Linear(2, 1)]
        c = torch.tensor(1.0)
        self.closed = lambda x: c * x  # held by nothing else

    def forward(self, x):
        tilt = self.hidden[0](x)[:, 0] + self.listed[1]["c"] * x[:, 0]
        return self.closed(self.plain * (x - self.listed[0]).square().sum(1)) + tilt


@pytest.mark.parametrize("change", [
    lambda e: e.plain.mul_(2), lambda e: e.listed[0].add_(1), lambda e: e.listed[1]["c"].add_(1),
    lambda e: e.hidden[0].weight.add_(1), lambda e: e.closed.__closure__[0].cell_contents.mul_(2),
    lambda e: setattr(e, "plain", torch.tensor(3.0)),
])  # fmt: skip
@torch.no_grad()
def test_a_tensor_that_is_not_registered_is_seen_to_change(change):
    energy, rows = Holder(), normal(50, 2)
    mark, walkers = fingerprint(energy), Walkers.at(rows, energy)
    assert bool(fingerprint(energy) == mark)
    assert walkers.reweight(energy) is walkers
    before = energy(rows).double()
    change(energy)
    assert bool(fingerprint(energy) != mark)
    found = walkers.reweight(energy).log_w
    torch.testing.assert_close(found, before - energy(rows).double(), rtol=1e-5, atol=1e-5)


def test_an_attribute_that_every_call_changes_is_no_parameter():
    class Caching(nn.Module):
        def forward(self, x):
            self.last = x.detach()
            return x.square().sum(1) / 2

    energy, rows = Caching(), normal(50, 2)
    z = bracket(energy, rows)
    assert math.isfinite(noneq.nll(energy, rows, z).value)


# -- equal rows ----------------------------------------------------------------------------------


def test_copies_of_rows_tell_nothing_new():
    energy, rows = closure(0.0), normal(40, 2)
    z = bracket(energy, rows)
    once, often = (noneq.nll(energy, x, z) for x in (rows, rows.repeat(50, 1)))
    assert often.value == pytest.approx(once.value, abs=1e-6)
    assert often.stderr_data == pytest.approx(once.stderr_data, rel=1e-6)
    assert once.stderr_data == pytest.approx(float(energy(rows).std()) / math.sqrt(40), rel=1e-5)


def test_the_error_of_unequal_groups_covers_the_mean():
    # 4,000 sets of 12 draws, each repeated 1, 2 or 3 times: the spread of their means is known
    times = torch.arange(12) % 3 + 1
    rows = torch.arange(12.0).repeat_interleave(times)[:, None]
    sets = normal(4000, 12, seed=3).double().repeat_interleave(times, 1)
    stated = torch.tensor([grouped_stderr(values, rows) for values in sets]).square().mean().sqrt()
    true = float(times.double().square().sum().sqrt() / times.sum())
    # squares of the stated errors have a relative standard deviation of .45 a set: .4 % of 4,000
    assert float(stated) == pytest.approx(true, rel=0.06)
    assert math.isnan(grouped_stderr(torch.ones(3), torch.ones(3, 2)))


# -- files ---------------------------------------------------------------------------------------


def test_a_state_dict_is_what_safetensors_stores(tmp_path):
    from safetensors.torch import load_file, save_file

    rows = normal(60, 5)
    for kind in ("full", "low-rank", "diagonal"):
        model = Tilted(Gaussian.fit(rows, kind, rank=2), MLP(5, width=8))
        save_file(model.state_dict(), tmp_path / "model.safetensors")
        other = Tilted(Gaussian.fit(2 * rows, kind, rank=2), MLP(5, width=8))
        other.load_state_dict(load_file(tmp_path / "model.safetensors"))
        assert torch.equal(model(rows), other(rows))
    for module in (
        Cholesky(torch.eye(3) + 1), LowRank(torch.ones(4), normal(4, 2)),
        GaussianMixture.fit(rows, 2), noneq.BernoulliRBM.from_data((rows > 0).float(), 2),
        noneq.PottsRBM(torch.zeros(6, 2), torch.zeros(2, 3), torch.zeros(2)),
        noneq.GaussianRBM.from_data(rows, 2),
    ):  # fmt: skip
        save_file(module.state_dict(), tmp_path / "module.safetensors")


def test_a_compiled_network_is_trained():
    rows = normal(64, 2)
    net = MLP(2, width=8)
    # what is behind inductor, too, without a compiler for C++
    energy = Tilted(Gaussian.fit(rows), torch.compile(net, backend="aot_eager"))
    settings = noneq.Settings(
        walkers=16, held_out=16, moves=1, batch=16, renew=2, temperatures=4
    )  # fmt: skip
    before = fingerprint(net)
    for _, record in zip(range(3), noneq.train(energy, rows, settings), strict=False):
        assert 0 < record.ess <= 1
    assert bool(fingerprint(net) != before)
    assert bool(torch.isfinite(energy(rows)).all())


# -- energies that are none ----------------------------------------------------------------------


def refused(energy, match, rows=None):
    with pytest.raises(ValueError, match=match):
        noneq.check_energy(energy, normal(16, 2) if rows is None else rows)


class Inside(nn.Module):
    """A network with autocast in its forward."""

    def __init__(self):
        super().__init__()
        self.net = nn.Linear(2, 1)

    def forward(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return self.net(x).squeeze(1).float()


def test_low_precision_inside_is_refused():
    base = Gaussian.fit(normal(50, 2))
    refused(Tilted(base, Inside()), "computes in torch.bfloat16 inside")
    refused(lambda x: x.half().square().sum(1).float(), "computes in torch.float16 inside")
    noneq.check_energy(Tilted(base, MLP(2, width=4)), normal(16, 2))


def test_labels_bound_to_places_are_refused():
    labels = normal(16, seed=1)
    refused(lambda x: x.square().sum(1) + labels[: len(x)], "in another order of the rows")

    class Zero(nn.Module):  # as networks begin
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.zeros(()))

        def forward(self, x):
            return x.square().sum(1) + self.w * labels[: len(x)] * x[:, 0]

    refused(Zero(), "another gradient to its parameters in another order")


def test_an_energy_that_writes_into_its_rows_is_refused():
    def energy(x):
        u = x.square().sum(1)
        x.data.neg_()  # of which the energies tell nothing
        return u

    refused(energy, "changes x in place")


def test_an_energy_that_counts_its_calls_is_refused():
    calls = []

    def energy(x):
        calls.append(1)
        return x.square().sum(1) + (len(calls) > 4)

    refused(energy, "when asked often")


@pytest.mark.parametrize("every", ["call", "row"])
def test_a_rare_infinity_is_seen_when_it_is_asked_for_often(every):
    # 1 % of the calls: 257 of them miss it with a probability of .076; seeds are fixed
    rng = seeded(0)

    def energy(x):
        u = x.square().sum(1) / 2
        shape = (1,) if every == "call" else u.shape
        return torch.where(torch.rand(shape, generator=rng) < 0.01, math.inf, u)

    rows = normal(300, 2)
    found = unsteady(energy, rows, rows.square().sum(1) / 2)
    assert found is not None
    assert "another number when asked again" in found
    assert unsteady(closure(0.0), rows, closure(0.0)(rows)) is None
    walled = noneq.energies.Boxed(closure(0.0), -1.0, 1.0)
    assert unsteady(walled, rows, walled(rows)) is None


@torch.no_grad()
def test_a_walker_whose_energy_is_none_is_shown():
    rows = normal(8, 5)
    walkers = Walkers.at(rows, lambda x: x.square().sum(1))
    broken = walkers.reweight(lambda x: torch.where(x[:, 0] == rows[3, 0], math.nan, x[:, 0]))
    with pytest.raises(FloatingPointError, match="NaN or -inf at 1 of 8 walkers") as caught:
        _ = broken.p
    first = ", ".join(f"{float(v):.4g}" for v in rows[3, :4])
    assert f"the first at x = ({first}, ...)" in str(caught.value)
    # an audit trains nothing
    said = _without_training(str(caught.value))
    assert "learning rate" not in said
    assert "use float64" in said
    assert _without_training("anything else") == "anything else"


def test_walkers_that_have_arrived_are_evaluated_once_more_and_often_by_twos():
    calls = []

    def energy(x):
        calls.append(len(x))
        return x.square().sum(1) / 2

    walkers = Walkers.at(torch.linspace(-1, 1, 32)[:, None], energy, islands=1)
    calls.clear()
    assert list(_of_the_energy(energy, Tails("far out"), walkers)) == ["far out"]
    assert calls == [32, *[2] * OFTEN]
    (alarm,) = _of_the_energy(lambda x: energy(x) + 1, Tails(), walkers)
    assert "another number when asked again" in alarm


def test_the_resolution_of_large_energies_is_told():
    assert resolution(torch.tensor([1e4, math.inf, -1e5])) is None
    found = resolution(torch.tensor([0.0, -1e6, math.inf]))
    assert "energies reach 1e+06" in found
    assert "no less than 0.06 nat" in found
    assert "float64" in found
    assert resolution(torch.tensor([1e6], dtype=torch.float64)) is None
    assert resolution(torch.tensor([math.inf])) is None
