"""Models with a background are densities, and make no row nearly impossible."""

import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import noneq
from noneq import Run, Session
from noneq.data import Margins, load
from noneq.energies import Foreground, Gaussian, GaussianMixture, Tilted, moments, with_background
from noneq.energies.base import evaluate
from noneq.estimators import EnergyDensity
from noneq.run import choose, supervise
from noneq.run.background import finished_base, finished_model, plain_model
from noneq.run.evaluation import evaluate_run
from noneq.run.samples import draw_walkers
from noneq.walkers import LogZ


def mixture():
    means = torch.tensor([[-1.0, 0.5], [2.0, -1.0], [0.5, 3.0]])
    covariances = torch.tensor([[[1.0, 0.3], [0.3, 0.4]], [[0.2, 0.0], [0.0, 1.5]]])
    covariances = torch.cat([covariances, 0.6 * torch.eye(2)[None]])
    return GaussianMixture(means, covariances, torch.tensor([0.5, 0.3, 0.2]))


class Slope(nn.Module):
    """f(x) = 0.7 x - 2."""

    def forward(self, x):
        return 0.7 * x[:, 0] - 2.0


class Wave(nn.Module):
    """A network that is large, of both signs, and falls far out."""

    def __init__(self, size=1.0):
        super().__init__()
        self.size = nn.Parameter(torch.tensor(size))

    def forward(self, x):
        return self.size * (30 * torch.sin(3 * x[:, 0]) - 20 * x[:, 1].square())


def wide(base, x):
    """Log-density of the background."""
    mean, covariance = moments(base)
    normal = torch.distributions.MultivariateNormal(mean.double(), 25 * covariance.double())
    return normal.log_prob(x.double())


def points(scale=3.0):
    rng = torch.Generator().manual_seed(0)
    return scale * torch.randn(400, 2, generator=rng) * torch.logspace(-1, 1.5, 400)[:, None]


@pytest.mark.parametrize("kind", ["mixture", "one"])
def test_the_density_is_the_mixture_of_both(kind):
    rng = torch.Generator().manual_seed(1)
    own = mixture() if kind == "mixture" else Gaussian.fit(mixture().sample(300, rng))
    new = with_background(own, 0.1)
    x = points()
    expected = torch.logaddexp(
        math.log(0.9) - own(x).double() - own.log_z(), math.log(0.1) + wide(own, x)
    )
    assert torch.allclose((-new(x)).double(), expected, rtol=1e-5, atol=1e-4)
    assert new.log_z() == 0.0
    assert new.factor is own.factor  # moves are as long as without it
    middle, covariance = moments(new)
    assert torch.allclose(middle, moments(own)[0], atol=1e-5)
    assert torch.allclose(covariance, (1 + 24 * 0.1) * moments(own)[1], rtol=1e-4)


@pytest.mark.parametrize("shift", [0.0, 4.0, -7.0, 60.0])
def test_the_network_tilts_all_but_the_background(shift):
    own, net, x = mixture(), Wave(), points()
    base = with_background(own, 0.01)
    model = Foreground.model(net, base, shift)
    front = math.log(0.99) - own(x).double() - net(x).double() - shift
    expected = -torch.logaddexp(front, math.log(0.01) + wide(own, x))
    u = model(x).double()
    assert torch.isfinite(u).all()
    assert torch.allclose(u, expected, rtol=1e-5, atol=1e-3)
    leaf = x.double().requires_grad_(True)
    exact = -torch.logaddexp(
        math.log(0.99) - own.double()(leaf) - net(leaf) - shift, math.log(0.01) + wide(own, leaf)
    )
    (wanted,) = torch.autograd.grad(exact.sum(), leaf)
    _, cache = evaluate(model, x)
    assert torch.allclose(cache["g"].double(), wanted, rtol=1e-3, atol=1e-2)


def test_a_network_of_zeros_changes_no_bit():
    base = with_background(mixture(), 0.01)
    x = points(10.0)
    assert torch.equal(Foreground.model(Wave(0.0), base)(x), base(x))


@pytest.mark.parametrize("mass", [0.0, 1.0])
def test_a_mass_is_between_0_and_1(mass):
    with pytest.raises(ValueError, match="masses are K positive numbers"):
        with_background(mixture(), mass)


def test_a_base_gets_one_where_its_settings_ask_for_it():
    rows = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    of_table = choose((3,), 50, "table").model
    assert len(finished_base(of_table, Gaussian.fit(rows), 400).means) == 2
    few = finished_base(of_table, Gaussian.fit(rows), 20)
    assert float(few.log_masses[-1].exp()) == pytest.approx(0.01)  # at most
    assert float(finished_base(of_table, mixture(), 400).log_masses[-1].exp()) == pytest.approx(
        1 / 400
    )
    for mapped in (False, True):
        roots = finished_base(of_table, Gaussian.fit(rows), 400, mapped=mapped).roots.double()
        own, wide = roots @ roots.mT
        exact = 2 * own + own.diag().diag() / 2 if mapped else 25 * own
        torch.testing.assert_close(wide, exact, rtol=1e-4, atol=1e-4)
    for kind in ("diagonal", "low-rank"):
        base = Gaussian.fit(rows, kind)
        assert finished_base(choose((3,), 50, "table", base=kind).model, base, 50) is base
    image = choose((1, 8, 8), 500, "image").model
    assert not image.background
    own = mixture()
    assert finished_base(image, own, 50) is own


def test_samples_of_a_background_of_mapped_columns_are_no_fantasies():
    # Cauchy tails of mass 1 / 1000 and a background five times as wide meant values of 1e20
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(1000, 2, generator=rng)
    margins = Margins.fit(x)
    base = Gaussian.fit(margins.apply(x)[0].float())
    model = choose((2,), 1000, "table").model
    shares = []
    for mapped in (False, True):
        wide = finished_base(model, base, 1000, mapped=mapped)
        z = wide.means[1] + torch.randn(1000, 2, generator=rng) @ wide.roots[1].T
        shares.append(float((margins.undo(z).abs() > 50).any(1).double().mean()))
    assert shares[0] > 0.3
    assert shares[1] < 0.03


def plane(n=400):
    """Two columns that agree but for noise of 0.02, bent a little."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=n)
    return np.stack([x, x + 0.02 * x**2 + 0.02 * rng.normal(size=n)], 1)


SMALL = {
    "walkers": 64, "held_out": 16, "moves": 2, "renew": None, "width": 16, "iterations": 40,
    "score_matching": 20, "bracket": {"walkers": 64, "temperatures": 60, "equilibrate": 30},
}  # fmt: skip


def test_a_run_gets_its_background_when_training_is_over(tmp_path):
    """A row off the plane costs tens of nats instead of thousands."""
    np.save(tmp_path / "rows.npy", plane())
    data = load(tmp_path / "rows.npy")
    recipe = choose(data.shape, len(data.train), "table", base="full", ridge=1e-6, **SMALL)
    session = Session(recipe, data.train, validation=data.validation)
    run = Run.create(tmp_path / "run", data, session)
    list(supervise(run, session))
    with torch.no_grad():  # a tilt that changes log Z by about 5 nats
        for net in (session.model.net, session.average.net):
            net.net.net[-1].bias.fill_(-5.0)
    run.save(session)
    plain, _ = run.model()
    assert isinstance(plain, Tilted)
    assert not isinstance(plain.net, Foreground)
    found = evaluate_run(run, data)
    model, _ = run.model()
    assert isinstance(model.net, Foreground)
    far = torch.tensor([[1.0, -1.0]])
    mass = 1 / len(data.train)
    # the background has its share of what is there: log Z is about 0
    assert found.kept == "model"
    assert found.log_z == pytest.approx(0.0, abs=0.3)
    assert 2 < float(model.net.shift) < 8
    cost = float(model(far).detach()) + found.log_z
    background = math.log(1 / mass) - float(wide(plain.base, far))
    assert cost == pytest.approx(background, abs=0.3)
    assert float(plain(far).detach()) > 500
    # samples of the model in its folder come from foreground and background
    walkers = draw_walkers(run, 10, "population").walkers
    mean = float(walkers.weights.log_w.logsumexp(0)) - math.log(len(walkers))
    assert mean == pytest.approx(found.forward.value, abs=1e-5)
    r = model.base.responsibilities(walkers.x)[:, -1]
    assert int((r > 0.5).sum()) >= 1
    assert float(walkers.p[r > 0.5].sum()) == pytest.approx(mass, rel=0.5)
    # evaluated again, it has one background still
    again = evaluate_run(run, data)
    assert again.mark == found.mark
    assert again.log_z == pytest.approx(found.log_z, abs=0.2)
    assert len(run.model()[0].base.means) == 2


def test_log_z_of_the_whole_is_that_of_its_parts():
    """By quadrature: a known tilt, an estimate that is off, and the errors carried over."""
    base = Gaussian(torch.tensor([0.5]), noneq.energies.Identity(1.3))
    net = Slope()
    plain = Tilted(base, net)
    exact = base.log_z() + 0.5 * 0.7**2 * 1.3**2 - 0.7 * 0.5 + 2.0  # of exp(-U - 0.7 x + 2)
    rng = torch.Generator().manual_seed(0)
    given = noneq.log_z(plain, base, n=64, temperatures=40, rng=rng)
    assert given.value == pytest.approx(exact, abs=0.1)
    z = replace(given, forward=LogZ(exact, 0.1), backward=LogZ(exact + 0.5, 0.2))
    model, found = finished_model(plain, z, with_background(base, 0.01), rng)
    assert isinstance(model.net, Foreground)
    grid = torch.linspace(-60, 60, 200_001, dtype=torch.double)[:, None]
    cell = float(grid[1] - grid[0])
    of_whole = float((-model.double()(grid)).logsumexp(0)) + math.log(cell)
    assert found.forward.value == pytest.approx(of_whole, abs=1e-4)
    assert found.backward.value == pytest.approx(0.0, abs=1e-6)
    assert found.backward.stderr == pytest.approx(0.99 * 0.2)
    assert found.forward.stderr < 0.1
    unknown = replace(given, forward=LogZ(math.nan, 0.1), backward=LogZ(math.nan, 0.1))
    assert finished_model(plain, unknown, with_background(base, 0.01), rng)[0] is plain
    assert isinstance(plain_model(model).base, Gaussian)
    assert torch.allclose(plain_model(model)(grid[:10]), plain.double()(grid[:10]), atol=1e-3)


def test_a_model_that_validation_rows_lose_by_goes_back_to_its_base(tmp_path, monkeypatch):
    np.save(tmp_path / "rows.npy", plane())
    data = load(tmp_path / "rows.npy")
    recipe = choose(data.shape, len(data.train), "table", base="full", ridge=1e-6, **SMALL)
    session = Session(recipe, data.train, validation=data.validation)
    run = Run.create(tmp_path / "run", data, session)
    with torch.no_grad():
        for own in (session.model, session.average):
            own.net.net.net[-1].weight.normal_(0.0, 3.0)
    run.save(session)
    first = evaluate_run(run, data)
    assert first.kept == "base"
    assert first.lost is not None
    assert first.exact
    model, _ = run.model()
    x = torch.tensor(plane(50), dtype=torch.float32)
    assert torch.equal(model(x), model.base(x))
    assert len(model.base.means) == 2
    again = evaluate_run(run, data)
    assert (again.kept, again.mark) == ("base", first.mark)
    # and a training that goes on is of the model without it
    run.save(session)
    assert not isinstance(run.model()[0].net, Foreground)


def test_a_trained_estimator_has_one_too():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 2)) * [1.0, 0.3] + np.where(rng.random(300) < 0.4, 2.5, 0.0)[:, None]
    how = {"base": "full", "score_matching": 30, "width": 16, "walkers": 64, "background": True}
    own = EnergyDensity(max_iter=60, random_state=0, settings=how).fit(x)
    if own._learned.best:
        assert isinstance(own.energy_.net, Foreground)
        assert own.energy_.base is own._learned.base
        assert abs(own.log_z_) < 0.5
    grid = np.stack(np.meshgrid(*[np.linspace(-30, 30, 601)] * 2), -1).reshape(-1, 2)
    mass = np.exp(own.score_samples(grid)).sum() * 0.1**2
    assert mass == pytest.approx(1.0, abs=0.05)
    drawn = own.sample(2000, random_state=1)  # annealed anew
    assert np.abs(drawn.mean(0) - x.mean(0)).max() < 0.3
    assert own.sample_conditional([[0.5, np.nan]], 5).shape == (1, 5, 2)
    assert pickle.loads(pickle.dumps(own)).score(x) == own.score(x)


def test_an_estimator_has_one_too():
    rows = plane()
    plain, own = (
        EnergyDensity(max_iter=0, random_state=0, settings={"background": on}).fit(rows)
        for on in (False, True)
    )
    off = np.array([[1.0, -1.0]])
    assert plain.score_samples(off)[0] < -300
    assert own.score_samples(off)[0] > -100
    assert plain.score(rows) - own.score(rows) < 1 / 300
    assert own.sample(50, random_state=1).shape == (50, 2)
