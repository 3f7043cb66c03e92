"""The peers of the comparison of tables are densities, and the tables are without ties."""

import math

import numpy as np
import pytest
import torch

from experiments.tables import classical, compare, fields, neural, report, search, sets, standing
from experiments.tables.records import Records, paired
from experiments.tables.rows import Rows, Whitener, rows_of, scored
from experiments.tables.sets import cleaned

METHODS = {
    "gaussian mixture": classical.gaussian_mixture,
    "kernel density": classical.kernel_density,
    "vine copula": classical.vine_copula,
    "spline flow": neural.spline_flow,
    "flow matching": fields.flow_matching,
    "diffusion": fields.diffusion,
}
EXTRA = {"vine copula": "pyvinecopulib", "spline flow": "zuko"}


def banana(n, rng):
    """Skewed and curved rows in the plane."""
    a = torch.randn(n, generator=rng, dtype=torch.float64)
    b = 0.4 * torch.randn(n, generator=rng, dtype=torch.float64) + 0.5 * a.square() - 0.5
    return torch.stack([a, b], 1)


def toy(draw, noise=0.0, seconds=4.0):
    rng = torch.Generator().manual_seed(3)
    return Rows(draw(600, rng), draw(200, rng), draw(200, rng), noise, seconds)


def test_a_spline_flow_has_the_volume_of_its_coordinates():
    pytest.importorskip("zuko")
    rows, values = toy(banana), []
    for space in ("standardised", "whitened", "mapped"):
        one = neural.SplineTraining(rows, space=space, transforms=1, hidden=8, decay=0.0)
        across = torch.arange(-7, 7, 0.05, dtype=torch.float64)
        density = (-one.nll(torch.cartesian_prod(across, across + 2))).exp()
        values.append(float(density.sum()) * 0.05**2)
    assert values == pytest.approx([1, 1, 1], abs=0.02)


@pytest.mark.parametrize("method", METHODS)
def test_the_density_integrates_to_one(method):
    pytest.importorskip(EXTRA.get(method, "sklearn"))
    # a diffusion of noisy rows starts at their noise
    found = METHODS[method](toy(banana, 0.3 if method == "diffusion" else 0.0, seconds=1.0))
    # an evaluation of a flow takes a hundred of its network, which is smoother than kernels
    cell = 0.25 if method in ("flow matching", "diffusion") else 0.1
    across = torch.arange(-5, 5, cell, dtype=torch.float64)
    up = torch.arange(-4, 8, cell, dtype=torch.float64)
    mass = (-found.nll(torch.cartesian_prod(across, up))).exp().sum() * cell**2
    # margins of the vine have Cauchy tails of weight 1 / 602 (1 / 5,000 with noise)
    assert float(mass) == pytest.approx(1, abs=0.02 if method == "vine copula" else 5e-3)


@pytest.mark.parametrize("method", METHODS)
def test_it_comes_near_the_entropy_of_gaussian_rows(method):
    pytest.importorskip(EXTRA.get(method, "sklearn"))
    factor = torch.tensor([[1.0, 0, 0], [0.8, 0.6, 0], [0.2, -0.5, 0.3]], dtype=torch.float64)

    def draw(n, rng):
        return torch.randn(n, 3, generator=rng, dtype=torch.float64) @ factor.T

    rows = toy(draw, seconds=1.0)
    found = METHODS[method](rows)
    own = scored(found.nll, rows.test, 0.0)
    truth = torch.distributions.MultivariateNormal(
        torch.zeros(3, dtype=torch.float64), scale_tril=factor
    )
    # the excess, row by row: the Kullback-Leibler divergence
    excess = own + truth.log_prob(rows.test.float().double())
    error = float(excess.std()) / math.sqrt(len(excess))
    # kernels and vines of 600 rows lose more
    assert -3 * error < float(excess.mean()) < 0.3


@pytest.mark.parametrize("space", ["standardised", "whitened", "mapped"])
@pytest.mark.parametrize("matching", [False, True])
def test_without_a_network_a_flow_is_the_gaussian_of_its_variances(matching, space):
    rows = toy(banana)
    one = fields.FlowTraining(rows, matching=matching, space=space, drop=0.0, decay=0.0)
    one.start = 1e-3
    cov = one.whitener.q @ one.whitener.variances.diag() @ one.whitener.q.T
    truth = torch.distributions.MultivariateNormal(one.whitener.mean, cov)
    y, log_volume = one.coordinates.apply(rows.test)
    known = -truth.log_prob(y) - log_volume
    torch.testing.assert_close(one.nll(rows.test), known, rtol=0, atol=2e-4)
    if space == "mapped":
        jacobian = torch.autograd.functional.jacobian(
            lambda x: one.coordinates.apply(x[None])[0][0], rows.test[0]
        )
        assert float(log_volume[0]) == pytest.approx(float(jacobian.slogdet()[1]))


def test_the_trace_of_the_field_is_that_of_its_jacobian():
    torch.manual_seed(0)
    net = fields.FieldNet(3, 16).double()
    torch.nn.init.normal_(net.last.weight)
    g = torch.tensor([0.3, 1.0, 2.0], dtype=torch.float64)
    w, log_sigma = torch.randn(5, 3, dtype=torch.float64), torch.tensor([-0.7]).double()
    field, trace = net.with_trace(w, log_sigma, g)
    torch.testing.assert_close(field, net(w, log_sigma))
    for i in range(5):
        jacobian = torch.autograd.functional.jacobian(lambda x: net(x[None], log_sigma)[0], w[i])
        torch.testing.assert_close(trace[i], (g * jacobian.diagonal()).sum())


def test_twice_the_steps_give_the_same_likelihood():
    rows = toy(banana)
    one = fields.FlowTraining(rows, matching=True, space="whitened", drop=0.0, decay=0.01)
    one.advance(300)
    apart = one.nll(rows.test) - one.nll(rows.test, 2 * fields.STEPS)
    assert float(apart.abs().mean()) < 2e-3


def test_the_kernel_density_is_that_of_scikit_learn():
    from sklearn.neighbors import KernelDensity

    rows = toy(banana)
    for h in (0.1, 0.5):
        own = classical._kernels(classical._squares(rows.test, rows.train), h, 2)
        known = KernelDensity(bandwidth=h).fit(rows.train.numpy()).score_samples(rows.test.numpy())
        np.testing.assert_allclose(own, -known, rtol=1e-6)


def test_whitened_rows_have_the_volume_of_their_map():
    x = toy(banana).train
    whitener = Whitener(x, x)
    matrix = torch.autograd.functional.jacobian(lambda r: whitener.apply(r[None])[0], x[0])
    assert whitener.log_volume == pytest.approx(float(torch.linalg.slogdet(matrix)[1]))
    assert torch.cov(whitener.apply(x).T).diagonal().tolist() == pytest.approx([1, 1], abs=1e-3)


class Curve:
    """A training whose validation NLL is known."""

    def __init__(self, words, values):
        self.words, self.values, self.at = words, values, 0

    def advance(self, iterations, speed=1.0):
        self.at += iterations

    def check(self):
        return self.values(self.at)

    def state(self):
        return self.at

    def restore(self, state):
        self.at = state


def test_the_search_keeps_the_best_moment_of_the_best_candidate():
    good = Curve("good", lambda n: abs(n - 150) / 100)
    bad = Curve("bad", lambda n: 2.0)
    kept, words = search.best_of([bad, good], seconds=1.0)
    assert kept is good
    assert good.at == 150
    assert words.startswith("good")
    assert words.endswith("ended by the validation rows")


def test_columns_without_a_density_are_left_out_and_ties_are_spread():
    rng = np.random.default_rng(1)
    smooth = rng.normal(size=3000)
    columns = {
        "smooth": smooth,
        "hundredths": rng.normal(size=3000).round(2),
        "class": rng.integers(0, 5, 3000).astype(float),
        "atom": np.where(rng.random(3000) < 0.2, 0.0, smooth),
        "constant": np.ones(3000),
        "twice": 2 * smooth + 1,
    }
    found = cleaned(columns, seed=0)
    assert list(found) == ["smooth", "hundredths"]
    assert np.array_equal(found["smooth"], smooth)
    apart = found["hundredths"] - columns["hundredths"]
    assert len(np.unique(found["hundredths"])) == 3000
    assert np.abs(apart).max() <= 0.005 + 1e-12
    assert apart.std() == pytest.approx(0.01 / math.sqrt(12), rel=0.1)
    again = cleaned(columns, seed=0)
    assert np.array_equal(found["hundredths"], again["hundredths"])


def test_records_add_up_and_keep_what_another_process_wrote(tmp_path):
    one, other = Records(tmp_path), Records(tmp_path)
    assert one.read() == {}
    assert one.rows() == {}
    x, y = torch.tensor([1.0, 3.0]), torch.tensor([1.5, 4.5])
    one.add("wine | 0 | diffusion", {"rows": x, "validation": 2.0, "choice": "a"})
    other.add("wine | 0 | noneq", {"rows": y, "base rows": y + 1, "validation": 1.0})
    found = one.read()
    assert found["wine | 0 | diffusion"]["test"] == 2.0
    assert found["wine | 0 | noneq"]["base"] == 4.0
    assert torch.equal(one.rows()["wine | 0 | noneq | base"], (y + 1).double())
    other.add("wine | 0 | diffusion", {"rows": y, "validation": 0.0})
    assert one.read()["wine | 0 | diffusion"]["test"] == 3.0
    assert len(one.read()) == 2


def test_noneq_stands_against_the_peer_that_validation_chooses():
    results = {
        "wine | 0 | noneq": {"test": 2.0, "validation": 0.0, "seconds": 5.0, "alarms": ["a"]},
        "wine | 0 | noneq, flow": {"test": 1.5, "validation": -1.0, "seconds": 9.0},
        "wine | 0 | vine copula": {"test": 1.0, "validation": 3.0, "seconds": 1.0},
        "wine | 0 | diffusion": {"test": 4.0, "validation": 2.0, "seconds": 2.0},
        "wine | 0 | spline flow": {"test": None, "validation": None, "seconds": 2.0},
    }
    ours, theirs = torch.tensor([1.0, 2, 3]), torch.tensor([3.0, 5, 4])
    rows = {"wine | 0 | noneq": ours, "wine | 0 | diffusion": theirs}
    assert standing.best_peer(results, "wine", 0) == "diffusion"
    assert standing.best_peer(results, "wine", 1) is None
    gain, error = standing.standing(results, rows, "wine", 0)
    assert gain == pytest.approx(2.0)
    assert error == pytest.approx(1 / math.sqrt(3))
    assert paired(theirs, ours)[0] == pytest.approx(-2.0)
    (line,) = report.lines_of(results, rows)
    assert line == (
        "wine", "0", "2.00!", "1.50", "", "", "1.00", "-", "", "4.00", "diffusion", "+2.00 ± 0.58",
    )  # fmt: skip
    assert standing.standing(results, {}, "wine", 0) is None


def test_the_summary_counts_cells_and_tables():
    # wine: ahead by 2 on one split, behind by 1 on the other; iris: behind, and ahead with a flow
    def rows_of(mean):
        return mean + torch.tensor([0.0, 0.1, -0.1])

    tests = {
        "wine | 0": (2.0, None, 4.0), "wine | 1": (5.0, None, 4.0), "iris | 0": (3.0, 1.0, 2.0),
    }  # fmt: skip
    results, rows = {}, {}
    for cell, values in tests.items():
        for method, value in zip(("noneq", "noneq, flow", "diffusion"), values, strict=True):
            if value is not None:
                key = f"{cell} | {method}"
                alarms = ["a"] if cell == "wine | 1" else []
                results[key] = {
                    "test": value,
                    "validation": value,
                    "alarms": alarms,
                    "within": 0.1,
                }
                rows[key] = rows_of(value) + torch.tensor([0.01, 0.0, 0.0])
                rows[f"{key} | base"] = rows_of(4.5 if cell == "wine | 1" else 9.0)
    default, better, both = standing.summary(results, rows)
    assert "lowest of all methods in 1 of 3 cells" in default
    assert "ahead of the chosen peer by 2 errors in 1, behind in 2" in default
    assert "ahead on 1 of 2, by 2 errors on 1 (wine (+0.50" in default
    assert "behind by 2 errors on 1 (iris (-1.00" in default
    assert "lowest of all methods in 2 of 3 cells" in better
    assert "ahead on 2 of 2" in better
    assert "4 runs of both: 1 with an alarm, 1 above their base by 2 errors" in both


def test_a_killed_comparison_goes_on_where_it_was(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(compare, "Records", lambda: Records(tmp_path))
    wanted = {"methods": ("kernel density",), "tables": ("iris",), "seconds": 1.0}
    compare.main(splits=1, **wanted)
    compare.main(splits=2, **wanted)
    compare.main(splits=2, **wanted)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "iris | 0 | kernel density", "iris | 1 | kernel density",
    ]  # fmt: skip
    assert len(Records(tmp_path).rows()["iris | 1 | kernel density"]) == 30


def test_peers_read_the_rows_that_noneq_trains_on():
    data = sets.loaded("iris", 3)
    rows = rows_of(data, noise=0.0, seconds=1.0, seed=0)
    assert torch.equal(rows.test.float(), data.test)
    assert sets.splits_of("iris", data) == 5
    assert sets.splits_of("digits", sets.loaded("digits", 0)) == 1
    assert data.train.mean(0).abs().max() < 1e-5
    assert not data.discrete
    assert not torch.equal(data.test, sets.loaded("iris", 4).test)
