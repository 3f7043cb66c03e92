"""Columns mapped to normal variables: inverse, slope, densities, and a run in such coordinates."""

import math

import numpy as np
import pytest
import torch

from noneq import Run, Session
from noneq.cli.main import main
from noneq.data import load
from noneq.data.coordinates import mapped
from noneq.data.margins import Margins
from noneq.data.peaks import has_peaks
from noneq.data.scaling import Scaling
from noneq.run import checkpoint, choose
from noneq.run.candidates import named
from noneq.run.coordinates import propose
from noneq.run.evaluation import evaluate_run


def skewed(n=600, seed=0):
    """Three columns: lognormal, two far modes of unequal mass, and heavy-tailed."""
    rng = np.random.default_rng(seed)
    modes = np.where(rng.random(n) < 0.3, rng.normal(5.0, 0.2, n), rng.normal(0.0, 1.0, n))
    x = np.stack([rng.lognormal(0.0, 0.8, n), modes, rng.standard_t(2.0, n)], 1)
    return torch.from_numpy((x - [1.4, 1.5, 0.0]) / [1.3, 2.5, 3.0])  # the same for any seed


@pytest.fixture(scope="module")
def margins():
    return Margins.fit(skewed())


def test_mapped_columns_are_normal(margins):
    z, _ = margins.apply(skewed(4000, seed=1))
    for column in z.T:
        assert abs(float(column.mean())) < 0.1
        assert float(column.std()) == pytest.approx(1.0, abs=0.1)
        assert abs(float((column**3).mean())) < 0.6  # that of the lognormal is 4
    assert float((z.T**4).mean()) == pytest.approx(3.0, abs=0.6)


def test_the_inverse_undoes_the_map_from_end_to_end(margins):
    x = torch.cat([skewed(200, seed=2), torch.linspace(-1e6, 1e6, 101)[:, None].repeat(1, 3)])
    z, _ = margins.apply(x)
    assert z.isfinite().all()
    torch.testing.assert_close(margins.undo(z), x, rtol=1e-6, atol=1e-6)
    line, _ = margins.apply(torch.linspace(-40.0, 40.0, 4001)[:, None].repeat(1, 3).double())
    assert bool((line.diff(dim=0) > 0).all()), "strictly increasing"


def test_the_slope_is_that_of_the_map(margins):
    x, e = skewed(100, seed=3), 1e-5
    _, log_slope = margins.apply(x)
    ratio = (margins.apply(x + e)[0] - margins.apply(x - e)[0]) / (2 * e)
    torch.testing.assert_close(log_slope, ratio.log().sum(1), rtol=1e-5, atol=1e-5)


def test_a_normal_density_of_mapped_rows_is_a_density(margins):
    # the integral over x of phi(m(x)) m'(x), a column at a time
    s = torch.linspace(-14.0, 14.0, 200_001).double()
    x = s.sinh()[:, None].repeat(1, 3)
    for j in range(3):
        one = Margins(
            *(t[j : j + 1] for t in (margins.weights, margins.means, margins.sds)),
            margins.centre[j : j + 1], margins.spread[j : j + 1], margins.tail,
        )  # fmt: skip
        z, log_slope = one.apply(x[:, j : j + 1])
        density = (log_slope - z[:, 0].square() / 2 - math.log(2 * math.pi) / 2).exp()
        total = float(torch.trapezoid(density * s.cosh(), s))
        assert total == pytest.approx(1.0, abs=1e-4)


def test_few_rows_take_few_gaussians_and_a_heavier_tail():
    few, many = Margins.fit(skewed(20)), Margins.fit(skewed(5000))
    assert few.weights.shape[1] == 1
    assert many.weights.shape[1] > 1
    assert (few.tail, many.tail) == (0.03, 0.001)
    assert Margins.fit(skewed(200)).tail == 1 / 200


def test_a_scaling_keeps_its_margins_in_a_file(tmp_path, margins):
    one, two = torch.tensor([1.0, 2.0, 3.0]).double(), torch.tensor([2.0, 0.5, 1.0]).double()
    scaling = Scaling(one, two, margins=margins)
    checkpoint.save_json(tmp_path / "s.json", scaling.plain())
    again = Scaling.from_plain(checkpoint.load_json(tmp_path / "s.json"))
    rows = skewed(50, seed=4) * two + one
    x = scaling.apply(rows)
    assert torch.equal(again.apply(rows), x)
    torch.testing.assert_close(again.undo(x), rows, rtol=1e-4, atol=1e-4)
    expected = margins.apply((rows - one) / two)[1]
    torch.testing.assert_close(again.log_volume(x), expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(Scaling(one, two).log_volume(x), torch.zeros(50).double())
    assert "mapped to a normal variable" in str(again)


QUICK = {
    "background": False,
    "walkers": 64, "held_out": 16, "moves": 1, "renew": None, "width": 8, "iterations": 4,
    "bracket": {"walkers": 64, "temperatures": 20, "equilibrate": 20},
}  # fmt: skip


def lognormal(path, n=400, columns=1):
    rng = np.random.default_rng(0)
    np.save(path, 10 * rng.lognormal(0.0, 1.0, (n, columns)))
    return path


def test_skewed_columns_are_mapped_and_normal_ones_are_not(tmp_path):
    data = load(lognormal(tmp_path / "rows.npy", columns=3))
    (best, *_), candidates = propose(choose((3,), 280, "table"), data)
    recipe, new = best.recipe, best.data
    assert new.scaling.margins is not None
    assert recipe.model.base in {"full", "mixture"}
    best = min(candidates, key=lambda one: one.nll)
    assert best.columns == "mapped"
    np.save(tmp_path / "normal.npy", np.random.default_rng(1).normal(size=(2000, 3)))
    data = load(tmp_path / "normal.npy")
    (best, *_), candidates = propose(choose((3,), 1400, "table"), data)
    same = best.data
    assert {one.columns for one in candidates} == {"standardised", "mapped"}
    lowest = min(one.nll for one in candidates if one.columns == "mapped")
    assert same is data or lowest - min(one.nll for one in candidates) < 0.02


def clustered(path, n=1500):
    """Rows of three clusters in two correlated columns; a third column is lognormal."""
    rng = np.random.default_rng(2)
    group, u, v = rng.choice(3, n, p=[0.5, 0.3, 0.2]), *rng.normal(size=(2, n))
    columns = [5 * group + u, -2 * group + 0.9 * u + 0.4 * v, rng.lognormal(size=n)]
    np.save(path, np.stack(columns, 1))
    return path


def test_peaks_stay_apart_where_each_is_normal(tmp_path):
    data = load(clustered(tmp_path / "rows.npy"))
    (best, *_), candidates = propose(choose((3,), data.sizes[0], "table"), data)
    lowest = {c: min(o.nll for o in candidates if o.columns == c) for c in
              ("standardised", "mapped", "apart")}  # fmt: skip
    assert lowest["apart"] < lowest["mapped"] - 0.05
    assert best.data.scaling.columns == best.base.columns == "apart"
    assert named(best.base).endswith("of mapped columns with peaks apart")
    margins = best.data.scaling.margins
    assert (margins.weights > 0).sum(1).tolist()[0] == 1
    assert (margins.weights > 0).sum(1).tolist()[2] > 1
    again = Scaling.from_plain(best.data.scaling.plain())
    assert again.columns == "apart"
    # a column without peaks is mapped as before, and the maps are then tried once
    data = load(lognormal(tmp_path / "one.npy", columns=2))
    _, candidates = propose(choose((2,), data.sizes[0], "table"), data)
    assert {one.columns for one in candidates} == {"standardised", "mapped"}


def test_a_dip_is_between_two_peaks_of_some_mass():
    # the density between the peaks, in units of the lower peak's, is 0.97 and 0.73
    def two(weight, mean):
        return has_peaks(np.array([[1 - weight, 0.0, 1.0], [weight, mean, 1.0]]))

    assert not two(0.5, 2.2)
    assert two(0.5, 2.8)
    assert not two(0.04, 8.0)
    assert two(0.06, 8.0)
    assert not has_peaks(np.array([[1.0, 3.0, 2.0]]))


@pytest.mark.parametrize("changes", [{"base": "full"}, {"noise": 0.1}])
def test_where_nothing_is_mapped(tmp_path, changes):
    data = load(lognormal(tmp_path / "rows.npy", columns=2))
    (best, *_), _ = propose(choose((2,), 280, "table", **changes), data)
    same = best.data
    assert same is data


def test_a_run_in_mapped_coordinates(tmp_path):
    # trained, scored, sampled by the program; its density integrates to 1 in the file's units
    rows, run = lognormal(tmp_path / "rows.npy"), tmp_path / "r"
    options = [
        "--iterations=4", "--walkers=64", "--held-out=16", "--moves=1", "--renew=off",
        "--width=8", "--bracket.walkers=64", "--bracket.temperatures=20",
        "--bracket.equilibrate=20",
    ]  # fmt: skip
    assert main(["train", str(rows), "--out", str(run), *options]) == 0
    opened = Run(run)
    assert opened.scaling.margins is not None
    assert torch.equal(opened.data().train, mapped(load(rows), opened.scaling).train)
    s = np.linspace(-12.0, 12.0, 20_001)
    np.save(tmp_path / "line.npy", (10 * np.exp(s / 2))[:, None])
    assert (
        main(["score", str(run), str(tmp_path / "line.npy"), "--out", str(tmp_path / "s.npz")])
        == 0
    )
    found = np.load(tmp_path / "s.npz")
    density = np.exp(found["log_density"])
    total = np.trapezoid(density * 5 * np.exp(s / 2), s)
    error = 4 * float(found["log_z_stderr"]) + 0.03  # a part of the mass is at negative values
    assert total == pytest.approx(1.0, abs=error)
    assert main(["sample", str(run), "-n", "400", "--out", str(tmp_path / "x.npz")]) == 0
    x = np.load(tmp_path / "x.npz")["x"]
    assert np.median(x) == pytest.approx(10.0, rel=0.25)
    assert main(["train", "--out", str(run), "--resume", "--iterations=6"]) == 0
    assert main(["report", str(run)]) == 0


def test_the_likelihoods_of_a_run_are_those_of_the_standardised_rows(tmp_path):
    plain = load(lognormal(tmp_path / "rows.npy", columns=2))
    data = mapped(plain)
    recipe = choose((2,), len(data.train), "table", base="full", **QUICK)
    session = Session(recipe, data.train, validation=data.validation)
    run = Run.create(tmp_path / "r", data, session, classes=None, subset=None, binary=False)
    found = evaluate_run(run, data)
    z, log_slope = data.scaling.margins.apply(plain.test)
    normal = torch.distributions.MultivariateNormal(
        session.energy.base.mean.double(), session.energy.base.factor.root.double()
        @ session.energy.base.factor.root.double().T,
    )  # fmt: skip
    expected = -(normal.log_prob(z) + log_slope).mean()
    assert found.base["test"].value == pytest.approx(float(expected), abs=1e-3)
    assert found.nll["test"].value == found.base["test"].value
