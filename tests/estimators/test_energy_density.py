"""The density estimator: scikit-learn's checks, quadrature, closed forms, and hostile rows.

Seeds are written in the tests; what is estimated is judged at 4 standard errors.
"""

import math
import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from noneq.annealing import TooFarError
from noneq.data import Scaling
from noneq.data.cells import Cells
from noneq.data.kinds import Column
from noneq.energies import Diagonal, Gaussian, GaussianMixture
from noneq.estimators import EnergyDensity, learning
from noneq.estimators.learning import rows_to_hold
from noneq.estimators.spreading import places
from noneq.likelihood.score import exact_log_z
from noneq.walkers import LogZ

QUICK = {"width": 16, "bracket": {"walkers": 256, "temperatures": 100, "equilibrate": 100}}
COVARIANCE = np.array([[4.0, 0.06], [0.06, 0.0025]])  # of columns of unequal units
NORMAL = np.linalg.cholesky(COVARIANCE)


def normal(n, seed):
    return np.random.default_rng(seed).normal(size=(n, 2)) @ NORMAL.T + [10.0, -1.0]


def log_normal(x):
    off = np.linalg.solve(NORMAL, (np.asarray(x) - [10.0, -1.0]).T)
    return -(off**2).sum(0) / 2 - math.log(2 * math.pi) - np.log(np.diag(NORMAL)).sum()


def ring(n, seed):
    """Points near a circle in units of 3 and 20, with more of them on the right."""
    rng = np.random.default_rng(seed)
    angle = rng.vonmises(0.0, 0.5, n)
    r = 1 + 0.12 * rng.normal(size=n)
    return np.stack([3 * r * np.cos(angle), 40 + 20 * r * np.sin(angle)], 1)


def grid(points=241):
    axes = np.linspace(-6, 6, points), np.linspace(0, 80, points)
    area = (axes[0][1] - axes[0][0]) * (axes[1][1] - axes[1][0])
    return np.stack(np.meshgrid(*axes), -1).reshape(-1, 2), area


@pytest.fixture(scope="module")
def of_ring():
    settings = {**QUICK, "base": "full"}  # on one Gaussian, so that much is left to learn
    rows = pd.DataFrame(ring(1200, 0), columns=["width", "mass"])
    return EnergyDensity(max_iter=200, tau=0.2, settings=settings, random_state=0).fit(rows)


@parametrize_with_checks([EnergyDensity()])
def test_scikit_learn_has_no_complaint(estimator, check):
    check(estimator)


def test_a_normal_variable_is_its_base_with_an_exact_density():
    # 2,000 rows: of the Kullback-Leibler divergence 5 / (2 n) is to be expected
    model = EnergyDensity(max_iter=0, random_state=1).fit(normal(2000, 0))
    fresh = normal(4000, 1)
    assert model.energy_ is model.base_
    assert isinstance(model.base_, Gaussian | GaussianMixture)
    assert (model.log_z_stderr_, model.alarms_, model.n_iter_) == (0.0, (), 0)
    lost = log_normal(fresh) - model.score_samples(fresh)
    assert -4 * lost.std() / math.sqrt(4000) < lost.mean() < 0.02
    assert model.score(fresh) == pytest.approx(model.score_samples(fresh).mean())
    weight = np.arange(4000.0)
    expected = (weight * model.score_samples(fresh)).sum() / weight.sum()
    assert model.score(fresh, sample_weight=weight) == pytest.approx(expected)


def test_a_ring_is_learned_and_its_density_is_normalised(of_ring):
    assert of_ring.energy_ is not of_ring.base_
    assert 0 < of_ring.best_iter_ <= of_ring.n_iter_ <= 200
    assert of_ring.base_name_ == "one Gaussian"
    points, area = grid()
    density = np.exp(of_ring.score_samples(pd.DataFrame(points, columns=["width", "mass"])))
    assert density.sum() * area == pytest.approx(1, abs=0.02 + 4 * of_ring.log_z_stderr_)
    fresh = pd.DataFrame(ring(2000, 1), columns=["width", "mass"])
    one = EnergyDensity(max_iter=0, settings={"base": "full"}, random_state=0)
    one.fit(pd.DataFrame(ring(1200, 0), columns=["width", "mass"]))
    assert of_ring.score(fresh) > one.score(fresh) + 0.3


def test_rows_score_alike_alone_and_together(of_ring):
    rows = pd.DataFrame(ring(200, 4), columns=["width", "mass"])
    together = of_ring.score_samples(rows)
    alone = [of_ring.score_samples(rows[i : i + 1])[0] for i in range(200)]
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-9)


@pytest.mark.parametrize("n", [100, 3000])
def test_samples_are_of_the_model_whose_density_is_told(of_ring, n):
    # moments by quadrature of the model's own density; samples are one walker each, or annealed
    points, area = grid()
    frame = pd.DataFrame(points, columns=["width", "mass"])
    p = np.exp(of_ring.score_samples(frame)) * area
    drawn = of_ring.sample(n, random_state=0)
    assert drawn.columns.tolist() == ["width", "mass"]
    x = drawn.to_numpy()
    assert x.shape == (n, 2)
    assert len(np.unique(x, axis=0)) == n

    def hole(y):  # which the base does not have
        return (y[:, 0] / 3) ** 2 + (y[:, 1] / 20 - 2) ** 2 < 0.5

    for f in (lambda y: y[:, 0], lambda y: y[:, 1], lambda y: y[:, 0] ** 2, hole):
        mean = (p * f(points)).sum() / p.sum()
        sd = math.sqrt((p * (f(points) - mean) ** 2).sum() / p.sum())
        assert abs(f(x).mean() - mean) < 4.5 * sd / math.sqrt(min(n, 250))
    again, other = (of_ring.sample(n, random_state=s) for s in (0, 1))
    assert np.array_equal(x, again)
    assert not np.array_equal(x, other)


def test_missing_values_are_drawn_given_the_others(of_ring):
    # quadrature along the line of the missing value
    nan = math.nan
    rows = pd.DataFrame({"width": [0.0, 2.9, nan], "mass": [nan, nan, 40.0]})
    x = of_ring.sample_conditional(rows, 60, random_state=0)
    assert x.shape == (3, 60, 2)
    line = np.linspace(0, 1, 4001)
    for i, (j, values) in enumerate([(1, 80 * line), (1, 80 * line), (0, 12 * line - 6)]):
        along = np.repeat(rows.to_numpy()[i : i + 1], len(values), 0)
        assert np.array_equal(x[i, :, 1 - j], np.full(60, along[0, 1 - j])), "given as they are"
        along[:, j] = values
        p = np.exp(of_ring.score_samples(pd.DataFrame(along, columns=["width", "mass"])))
        mean = (p * values).sum() / p.sum()
        sd = math.sqrt((p * (values - mean) ** 2).sum() / p.sum())
        assert abs(x[i, :, j].mean() - mean) < 4.5 * sd / math.sqrt(60)
        far = abs(values - mean)  # of two sides of the ring, further than one Gaussian goes
        own = (p * far).sum() / p.sum()
        spread = math.sqrt((p * (far - own) ** 2).sum() / p.sum())
        assert abs(abs(x[i, :, j] - mean).mean() - own) < 4.5 * spread / math.sqrt(60)
    assert np.array_equal(x, of_ring.sample_conditional(rows, 60, random_state=0))


def test_missing_values_of_a_base_are_exact():
    # seed 2; the conditional of a normal variable is known
    model = EnergyDensity(max_iter=0, settings={"base": "full"}, random_state=0)
    model.fit(normal(20_000, 0))
    x = model.sample_conditional([[12.0, math.nan]], 4000, random_state=2)[0]
    slope = COVARIANCE[0, 1] / COVARIANCE[0, 0]
    sd = math.sqrt(COVARIANCE[1, 1] - slope * COVARIANCE[0, 1])
    assert np.array_equal(x[:, 0], np.full(4000, 12.0))
    assert x[:, 1].mean() == pytest.approx(-1 + 2 * slope, abs=5 * sd / math.sqrt(4000))
    assert x[:, 1].std() == pytest.approx(sd, rel=0.06)


def test_skewed_columns_are_mapped_and_densities_are_in_their_units():
    x = np.exp(normal(3000, 0) / [2.0, 0.05])
    model = EnergyDensity(max_iter=0, random_state=0).fit(x)
    assert model.base_name_.endswith("of mapped columns")
    fresh = normal(3000, 1) / [2.0, 0.05]
    exact = log_normal(fresh * [2.0, 0.05]) + math.log(2.0 * 0.05) - fresh.sum(1)
    lost = exact - model.score_samples(np.exp(fresh))
    assert -4 * lost.std() / math.sqrt(3000) < lost.mean() < 0.1
    filled = model.sample_conditional([[math.exp(5), math.nan]], 500, random_state=0)[0]
    assert np.array_equal(filled[:, 0], np.full(500, math.exp(5)))
    sd = math.sqrt(1 - COVARIANCE[0, 1] ** 2 / COVARIANCE[0, 0] / COVARIANCE[1, 1])
    positive = filled[filled[:, 1] > 0, 1]  # a margin's tail reaches beyond 0
    assert len(positive) >= 495
    assert np.log(positive).mean() == pytest.approx(-20, abs=5 * sd / math.sqrt(500) + 0.15)


def mixed(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of a bit, a count and a number, and the exact logarithm of their distribution.

    P(bit = 1) = .3; the count is binomial, of 12 and .25 or .6 by the bit; the number is normal,
    of mean bit and sd 2, and 0 with probability .2.
    """
    rng = np.random.default_rng(seed)
    bit = rng.random(n) < 0.3
    p = np.where(bit, 0.6, 0.25)
    count = rng.binomial(12, p)
    zero = rng.random(n) < 0.2
    number = np.where(zero, 0.0, bit + 2 * rng.normal(size=n))
    exact = np.log(np.where(bit, 0.3, 0.7)) + stats.binom.logpmf(count, 12, p)
    exact += np.log(np.where(zero, 0.2, 0.8 * stats.norm.pdf(number, bit, 2)))
    return np.stack([bit, count, number], 1), exact


def test_integers_atoms_and_few_values_have_probabilities():
    model = EnergyDensity(max_iter=0, random_state=0).fit(mixed(4000, 0)[0])
    assert model.kinds_ == ("category", "grid", "atoms")
    fresh, exact = mixed(4000, 1)
    found = model.score_samples(fresh)
    lost = exact - found  # at most the gap of the bound and of a mixture, seeds 0 and 1
    assert -4 * lost.std() / math.sqrt(4000) < lost.mean() < 0.12
    # probabilities: their sum over all bits and counts, where the number is an atom, is at most .2
    cells = np.array([[b, c, 0.0] for b in (0, 1) for c in range(13)])
    assert 0.15 < np.exp(model.score_samples(cells)).sum() < 0.21
    alone = [model.score_samples(fresh[i : i + 1])[0] for i in range(5)]
    np.testing.assert_allclose(alone, found[:5], rtol=0, atol=1e-9)
    x = model.sample(2000, random_state=0)
    assert {*x[:, 0]} == {0.0, 1.0}
    assert (x[:, 1] == x[:, 1].round()).all()
    assert x[:, 1].min() >= 0
    assert (x[:, 2] == 0).mean() == pytest.approx(0.2, abs=0.06)  # of a mixture of Gaussians
    bits = model.sample_conditional([[np.nan, 8.0, 0.0]], 1000, random_state=0)[0]
    assert (bits[:, 1:] == [8.0, 0.0]).all()
    odds = 0.3 * stats.binom.pmf(8, 12, 0.6) / (0.7 * stats.binom.pmf(8, 12, 0.25))
    assert bits[:, 0].mean() == pytest.approx(odds / (1 + odds), abs=0.08)
    with pytest.raises(ValueError, match="3 is none of its categories"):
        model.score_samples([[3.0, 1.0, 0.5]])


def test_repeated_values_are_drawn_once_in_each_eighth_of_their_interval():
    cells = Cells((Column("", 1, "grid", step=1.0, counted=True),) * 3)
    scaling = Scaling(torch.zeros(3).double(), torch.ones(3).double(), cells=cells)
    u = places(scaling, 3)
    expected = (torch.arange(8.0).double() + 0.5) / 8
    assert torch.equal(u.sort(0).values, expected[:, None].expand(8, 3))
    assert len({tuple(column) for column in u.T.tolist()}) == 3
    assert places(Scaling(torch.zeros(3), torch.ones(3)), 3).shape == (1, 3)


def test_ties_have_a_bounded_score():
    pool = np.random.default_rng(2).lognormal(size=40)
    rows = np.stack([np.random.default_rng(3).choice(pool, 800), normal(800, 4)[:, 0]], 1)
    model = EnergyDensity(max_iter=0, random_state=0).fit(rows)
    assert model.kinds_ == ("rounded", "continuous")
    gap = float(np.median(np.diff(np.sort(pool))))
    assert model.score(rows[:, :]) < math.log(1 / gap)


def test_anomalies_are_ranked_among_the_training_rows(of_ring):
    rows = pd.DataFrame(ring(1200, 0), columns=["width", "mass"])
    scores = of_ring.score_samples(rows)
    assert (of_ring.predict(rows) == -1).mean() == pytest.approx(0.05, abs=1 / 1200)
    assert of_ring.anomaly_threshold_ == pytest.approx(np.quantile(scores, 0.05))
    assert of_ring.anomaly_threshold(0.3) == pytest.approx(np.quantile(scores, 0.3))
    rank = of_ring.anomaly_rank(rows)
    assert np.array_equal(np.argsort(rank, kind="stable"), np.argsort(scores, kind="stable"))
    assert (rank.min(), rank.max()) == (0, 1199 / 1200)
    middle = pd.DataFrame({"width": [0.0, 3.0], "mass": [40.0, 40.0]})
    assert of_ring.predict(middle).tolist() == [-1, 1], "nothing is in the middle of a ring"
    decided = of_ring.decision_function(middle)
    np.testing.assert_allclose(decided, of_ring.score_samples(middle) - of_ring.anomaly_threshold_)
    with pytest.raises(ValueError, match="quantile must be a number from 0 to 1, got 2"):
        of_ring.anomaly_threshold(2)


def test_names_of_columns_are_kept(of_ring):
    assert of_ring.feature_names_in_.tolist() == ["width", "mass"]
    swapped = pd.DataFrame({"mass": [40.0], "width": [3.0]})
    with pytest.raises(ValueError, match="feature names"):
        of_ring.score_samples(swapped)


def test_an_estimator_survives_pickling_and_cloning(of_ring):
    rows = pd.DataFrame(ring(50, 3), columns=["width", "mass"])
    again = pickle.loads(pickle.dumps(of_ring))
    assert len(pickle.dumps(of_ring)) < 200_000
    assert np.array_equal(again.score_samples(rows), of_ring.score_samples(rows))
    for n in (9, 1000):
        assert np.array_equal(again.sample(n, random_state=5), of_ring.sample(n, random_state=5))
    fresh = clone(of_ring)
    assert fresh.get_params() == of_ring.get_params()
    with pytest.raises(NotFittedError):
        fresh.sample(3)
    with pytest.raises(NotFittedError):
        fresh.anomaly_threshold(0.1)


def test_it_is_a_part_of_scikit_learn():
    x = normal(60, 0)
    pipeline = make_pipeline(StandardScaler(), EnergyDensity(max_iter=0, random_state=0))
    scores = cross_val_score(pipeline, x, cv=3)
    # the density of standardised rows: the scale of the columns is left out
    assert scores.mean() == pytest.approx(log_normal(x).mean() + math.log(2 * 0.05), abs=0.5)
    bases = [{"base": "full"}, {"base": "diagonal"}]
    search = GridSearchCV(pipeline, {"energydensity__settings": bases}, cv=3).fit(x)
    assert search.best_params_ == {"energydensity__settings": {"base": "full"}}
    assert search.best_estimator_.score(x) > scores.mean() - 0.5


def test_a_model_that_validation_rows_lose_by_is_its_base(monkeypatch):
    rows = ring(300, 0)
    how = {"max_iter": 3, "settings": {**QUICK, "base": "full", "early_stopping": False}}
    kept = EnergyDensity(random_state=0, **how).fit(rows)
    assert kept.best_iter_ == 3
    assert kept.energy_ is not kept.base_
    real = learning.log_z

    def too_high(energy, **how):
        z = real(energy, **how)
        return replace(z, backward=LogZ(z.value + 9, 0.1))

    monkeypatch.setattr(learning, "log_z", too_high)
    model = EnergyDensity(random_state=0, **how).fit(rows)
    assert model.energy_ is model.base_
    assert (model.n_iter_, model.best_iter_, model.log_z_stderr_) == (3, 0, 0.0)

    def too_far(energy, **how):
        raise TooFarError("no way there")

    monkeypatch.setattr(learning, "log_z", too_far)
    model = EnergyDensity(random_state=0, **how).fit(rows)
    assert model.energy_ is model.base_
    assert model.alarms_ == ("the base is kept, as log Z of the model is not known: no way there",)


def test_the_loss_is_that_of_normalised_densities():
    # of an energy that is a Gaussian of other normalisation: the Kullback-Leibler divergence
    one = learning.Learning(ring(200, 0), settings=QUICK)
    rows = one.data.validation
    base = Gaussian.fit(one.data.train)
    other = Gaussian(base.mean, Diagonal(torch.tensor([0.5, 2.0])))
    z = exact_log_z(other, rng=torch.Generator().manual_seed(0))
    expected = (other(rows) + other.log_z() - base(rows) - base.log_z()).mean()
    assert one._loss(other, base, z) == pytest.approx(float(expected), abs=1e-5)
    assert abs(base.log_z()) > 0.1


def test_alarms_of_the_bracket_are_told(monkeypatch):
    real = learning.log_z
    ringing = ("two modes do not mix",)
    monkeypatch.setattr(
        learning, "log_z", lambda *a, **how: replace(real(*a, **how), alarms=ringing)
    )
    how = {"max_iter": 3, "settings": {**QUICK, "base": "full", "early_stopping": False}}
    assert EnergyDensity(random_state=0, **how).fit(ring(300, 0)).alarms_ == ringing


def test_a_training_that_fails_keeps_what_validation_chose(monkeypatch, capsys):
    real = learning.Session.__iter__

    def failing(self):
        yield next(real(self))
        raise FloatingPointError("the energy is NaN")

    monkeypatch.setattr(learning.Session, "__iter__", failing)
    own = {**QUICK, "base": "full", "score_matching": None}
    how = {"max_iter": 5, "settings": own, "verbose": 1}
    model = EnergyDensity(random_state=0, **how).fit(ring(100, 0))
    assert model.energy_ is model.base_
    assert model.alarms_ == ("training ended at iteration 1: the energy is NaN",)
    told = capsys.readouterr().out
    assert "[EnergyDensity] iteration 1, NLL" in told
    assert "; at most 5 iterations" in told
    assert "[EnergyDensity] alarm: training ended at iteration 1: the energy is NaN" in told


def test_a_fit_is_repeated_by_its_seed_and_leaves_the_global_generator():
    rows, how = ring(80, 0), {"max_iter": 3, "settings": {**QUICK, "base": "full"}}
    before = torch.get_rng_state()
    one, two, other = (EnergyDensity(random_state=s, **how).fit(rows) for s in (0, 0, 1))
    one.sample(3, random_state=0)
    assert torch.equal(before, torch.get_rng_state())
    assert np.array_equal(one.score_samples(rows), two.score_samples(rows))
    assert not np.array_equal(one.score_samples(rows), other.score_samples(rows))


@pytest.mark.parametrize(
    ("rows", "fraction", "held"),
    [(29, 0.1, 0), (30, 0.1, 10), (40, 0.1, 10), (1000, 0.1, 100), (1000, 0.0, 0), (40, 0.9, 30)],
)
def test_ten_rows_or_more_are_set_aside(rows, fraction, held):
    assert rows_to_hold(rows, fraction) == held


def test_few_rows_are_not_trained_on():
    for rows, given in ((20, 50), (20, None), (55, None)):
        model = EnergyDensity(max_iter=given, random_state=0).fit(normal(rows, 0))
        assert model.n_iter_ == 0
        assert model.base_name_.startswith("one Gaussian")
        assert np.isfinite(model.score(normal(rows, 1)))
    wide = np.random.default_rng(0).normal(size=(60, 300))
    model = EnergyDensity(random_state=0).fit(wide)
    assert model.n_iter_ == 0
    assert np.isfinite(model.score(wide))


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([[1.0, 2.0]], "1 sample"),
        ([[1.0, math.nan], [2.0, 3.0]], "Leave rows with missing values out"),
        ([[1.0, math.inf], [2.0, 3.0]], "infinity"),
        (np.array([["x", 1], ["y", 2]], object), "could not convert string to float: 'x'"),
        (pd.DataFrame({"a": ["x", "y"], "b": [1, 2]}), "column a: text, different in every row"),
        (pd.DataFrame({"age": [1.0] * 3, "b": [1.0, 2.0, 4.0]}), "column 'age' is constant"),
        (np.ones((100_000, 3)), "all 100,000 rows are equal"),
        (normal(200, 0) @ [[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]], "linear combination"),
    ],
)
def test_rows_without_a_density_are_refused_in_one_line(rows, told):
    with pytest.raises(ValueError, match=told) as caught:
        EnergyDensity().fit(rows)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"max_iter": -1}, "max_iter must be a whole number >= 0"),
        ({"n_walkers": 3}, "n_walkers must be a whole number >= 16"),
        ({"validation_fraction": 1}, "validation_fraction must be a number, 0 or more"),
        ({"contamination": "auto"}, "contamination must be a number, 0 or more"),
        ({"tau": -1.0}, "tau must be positive"),
        ({"noise": -1.0}, "noise"),
        ({"settings": {"model": "rbm"}}, "model"),
        ({"settings": {"widht": 3}}, "did you mean width"),
    ],
)
def test_parameters_that_cannot_be(parameters, told):
    with pytest.raises((ValueError, TypeError), match=told):
        EnergyDensity(**parameters).fit(normal(70, 0))
