"""The scikit-learn estimators: their checks, and likelihoods against sums over all states."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from noneq import Walkers
from noneq.estimators import RBM, arrays, density
from noneq.estimators import passes as windows
from noneq.likelihood import exact_log_z
from noneq.random import draw_bits
from noneq.walkers import LogZ

STATES = np.array([[k >> i & 1 for i in range(6)] for k in range(64)], dtype=np.float64)
CLUSTERS = np.array([[0.9, 0.9, 0.8, 0.2, 0.1, 0.1], [0.1, 0.2, 0.1, 0.9, 0.3, 0.9]])
MASS = np.array([0.7, 0.3])


def two_clusters(n, seed):
    rng = np.random.default_rng(seed)
    p = CLUSTERS[rng.choice(2, n, p=MASS)]
    return (rng.random(p.shape) < p).astype(np.float64)


def truth(v):
    each = v @ np.log(CLUSTERS).T + (1 - v) @ np.log1p(-CLUSTERS).T
    return np.log(np.exp(each) @ MASS)


def quick(**changes):
    return RBM(**{"n_components": 3, "n_iter": 5, "random_state": 0, **changes})


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def too_many(*args, **kwargs):
    raise ValueError("too many states")


def far_clusters(n, seed):
    """A row of ones (four of five) or of zeros, 3 % flipped."""
    rng = np.random.default_rng(seed)
    one = rng.random((n, 1)) < 0.8
    return np.abs(one * np.ones((1, 16)) - (rng.random((n, 16)) < 0.03))


@pytest.fixture(scope="module")
def of_bits():
    return quick(n_iter=40).fit(two_clusters(1000, 0))


def only_in_law(estimator):
    """Minibatches take a row of weight 2 as often as one that is there twice, not as one bit."""
    why = "the same in law alone: test_a_weight_counts_as_rows_that_come_again"
    name = "check_sample_weight_equivalence_on_{}_data"
    return {name.format(kind): why for kind in ("dense", "sparse")}


@parametrize_with_checks([RBM()], expected_failed_checks=only_in_law)
def test_scikit_learn_has_no_complaint(estimator, check):
    check(estimator)


def test_bits_have_a_likelihood_that_is_normalised_and_near_the_truth(of_bits):
    score = of_bits.score_samples(STATES)
    assert abs(np.exp(score).sum() - 1) < 1e-6
    # of the Kullback-Leibler divergence p / 2n = 27 / 2000 is to be expected
    p = np.exp(truth(STATES))
    assert (p * (truth(STATES) - score)).sum() < 0.03
    alone = p @ STATES
    apart = STATES @ np.log(alone) + (1 - STATES) @ np.log1p(-alone)
    assert (p * (truth(STATES) - apart)).sum() > 0.5
    assert of_bits.log_z_stderr_ == 0
    assert of_bits.alarms_ == ()


def test_numbers_have_a_density_in_their_own_units():
    rng = np.random.default_rng(1)
    group = rng.random(400) < 0.3
    x = np.where(group[:, None], [1000.0, 0.02], [1300.0, -0.01])
    x += rng.normal(size=x.shape) * [40, 0.004]
    found = quick(n_iter=100).fit(x)
    assert found.visible_ == "gaussian"
    near = np.linspace(-7, 7, 281)
    a, b = (found.mean_[i] + found.scale_[i] * near for i in range(2))
    grid = np.stack(np.meshgrid(a, b, indexing="ij"), -1).reshape(-1, 2)
    cell = (a[1] - a[0]) * (b[1] - b[0])
    assert abs(np.exp(found.score_samples(grid)).sum() * cell - 1) < 1e-4
    one = -np.log(found.scale_).sum() - 1 - np.log(2 * np.pi)  # the best of a single Gaussian
    assert found.score(x) > one + 0.3
    drawn = found.sample(4000)
    density = np.exp(found.score_samples(grid)) * cell
    for y in (drawn, found.gibbs(drawn)):
        for i in range(2):
            mean, square = density @ grid[:, i], density @ grid[:, i] ** 2
            stderr = np.sqrt((square - mean**2) / 4000)
            assert abs(y[:, i].mean() - mean) < 4 * stderr


def test_annealing_agrees_with_enumeration(of_bits, monkeypatch):
    # one model, two ways; standard errors of log Z here are 0.01 and less
    other = pickle.loads(pickle.dumps(of_bits))
    other._z = None
    monkeypatch.setattr(density, "exact_log_z", too_many)
    found = other.score_samples(STATES)
    of_bits.score(STATES)
    assert 0 < other.log_z_stderr_ < 0.05
    assert abs(other.log_z_ - of_bits.log_z_) < 4 * other.log_z_stderr_
    assert np.allclose(found, of_bits.score_samples(STATES) + of_bits.log_z_ - other.log_z_)
    drawn = other.sample(2000)
    p = np.exp(of_bits.score_samples(STATES))
    stderr = np.sqrt(p @ STATES * (1 - p @ STATES) / 2000)
    assert (np.abs(drawn.mean(0) - p @ STATES) < 5 * stderr).all()  # lines of descent


def test_walkers_that_have_other_masses_than_the_model_ring():
    # exact weights keep the masses of clusters that do not mix, PCD and fading weights do not
    x, how = far_clusters(600, 0), {"n_components": 4, "n_iter": 40, "batch_size": 64}
    for seed in (0, 1, 2):
        exact = RBM(**how, random_state=seed).fit(x)
        assert abs((exact.sample(2000).mean(1) > 0.5).mean() - 0.8) < 0.15
        assert exact.alarms_ == ()
    for changes in ({"weighted": False}, {"forgetting_factor": 0.5}):
        lost = RBM(**how, **changes, random_state=0).fit(x)
        share = (lost.sample(2000).mean(1) > 0.5).mean()
        assert abs(share - 0.8) > 0.1
        (alarm,) = [a for a in lost.alarms_ if "among the walkers" in a]
        column, mean = alarm.split()[1], float(alarm.split()[5])
        assert abs(lost.sample(4000)[:, int(column)].mean() - mean) < 0.08
        assert "take exact weights (weighted=True, forgetting_factor=1)" in alarm


def test_a_bit_that_is_rare_does_not_ring():
    # on in 4 of 512 walkers, in no sample: 1.7 standard errors; 8, if its variance were 0
    found = quick(n_iter=40).fit(two_clusters(1000, 0))
    found.score(STATES)
    never = torch.from_numpy(found.sample(512)).float()
    never[:, 0] = 0
    rare, often = never.clone(), never.clone()
    rare[:4, 0] = 1
    often[:40, 0] = 1
    z, training = replace(found._z, walkers=Walkers.at(never, found.rbm_)), found._training
    for x, rings in ((rare, False), (often, True)):
        training.walkers = Walkers.at(x, found.rbm_)
        assert [a.startswith("column 0 ") for a in found._doubts(z)] == [True] * rings


def test_an_rbm_that_is_worse_than_independent_units_rings():
    lost = quick(learning_rate=1e6, tau=None).fit(two_clusters(300, 0))
    assert lost.score(two_clusters(300, 0)) < -1000
    assert any("less likely than under independent units" in alarm for alarm in lost.alarms_)


def test_the_larger_side_of_log_z_counts_and_its_alarms_are_told(of_bits, monkeypatch):
    def bracketed(*args, **kwargs):
        low, high = LogZ(1.0, 0.1), LogZ(2.0, 0.2)
        return replace(
            exact_log_z(*args[:1], rng=seeded(0)), forward=low, backward=high, alarms=("x",)
        )

    other = pickle.loads(pickle.dumps(of_bits))
    other._z = None
    monkeypatch.setattr(density, "exact_log_z", too_many)
    monkeypatch.setattr(density, "log_z", bracketed)
    other.score(STATES)
    assert (other.log_z_, other.log_z_stderr_) == (2.0, 0.2)
    assert "x" in other.alarms_


def test_what_is_asked_for_reaches_training():
    asked = quick(
        n_walkers=24, n_moves=3, tau=0.02, forgetting_factor=0.7, weight_decay=0.5, n_iter=4
    )
    found = asked.fit(two_clusters(300, 0))
    training = found._training
    settings, state = training.recipe.train, training.state
    assert (settings.walkers, settings.moves, settings.tau) == (24, 3, 0.02)
    assert settings.forgetting_factor == 0.7
    assert len(training.walkers) == 24
    first = state["optimizer"]["param_groups"][0]
    assert (first["strength"], first["centre"]) == (0.5, 0)
    assert first["lr"] == 0.03
    assert state["trained"]["trust"]["tau"] == pytest.approx(0.02 / 4)  # of the last of four
    speeds = [settings.speed(k / 12) for k in range(12)]  # of three batches each
    assert speeds == [1] * 9 + [0.25] * 3
    assert torch.equal(found.rbm_.w, state["average"]["module.w"])
    assert not torch.equal(found.rbm_.w, state["energy"]["w"])


def test_bits_of_probabilities_are_drawn_afresh_in_every_pass(monkeypatch):
    drawn = []

    def counted(logits, rng):
        drawn.append(draw_bits(logits, rng))
        return drawn[-1].clone()

    monkeypatch.setattr(windows, "draw_bits", counted)
    quick(n_iter=4).fit(np.full((40, 6), 0.5))
    passes = [x for x in drawn if x.shape == (40, 6)][-4:]
    assert len({x.numpy().tobytes() for x in passes}) == 4


def test_samples_and_sweeps_have_the_law_of_the_scores(of_bits):
    p = np.exp(of_bits.score_samples(STATES))
    n = 20_000
    drawn = of_bits.sample(n)
    swept = of_bits.gibbs(drawn)
    assert (drawn != swept).any(0).all()
    for x in (drawn, swept):
        share = np.array([(x == state).all(1).mean() for state in STATES])
        assert (np.abs(share - p) < 4.5 * np.sqrt(p * (1 - p) / n) + 1e-4).all()


def test_rows_of_probabilities_score_the_mean_over_their_bits(of_bits):
    rng = np.random.default_rng(3)
    x = rng.random((200, 6))
    found = of_bits.score_samples(x)
    p = np.exp(np.log(x) @ STATES.T + np.log1p(-x) @ (1 - STATES).T)  # (200, 64)
    each = of_bits.score_samples(STATES)
    mean = p @ each
    stderr = np.sqrt((p @ each**2 - mean**2) / 20)
    z = (found - mean) / stderr
    assert np.abs(z).max() < 5
    assert abs(z.mean()) < 4 / np.sqrt(200)
    # a row's draws are its own
    assert np.array_equal(found[[7, 3]], of_bits.score_samples(x[[7, 3]]))


def test_a_transform_is_the_probability_of_the_hidden_units(of_bits):
    logits = STATES @ of_bits.components_.T + of_bits.intercept_hidden_
    found = of_bits.transform(STATES)
    assert np.allclose(found, 1 / (1 + np.exp(-logits)), atol=1e-6)
    assert of_bits.transform(STATES.astype(np.float32)).dtype == np.float32
    assert list(of_bits.get_feature_names_out()) == ["rbm0", "rbm1", "rbm2"]


def test_the_same_seed_gives_the_same_bits_also_from_probabilities():
    x = np.random.default_rng(4).random((50, 6))
    first, again, other = (quick(random_state=seed).fit(x) for seed in (1, 1, 2))
    assert np.array_equal(first.components_, again.components_)
    assert np.array_equal(first.sample(9), again.sample(9))
    assert np.array_equal(first.gibbs(STATES), again.gibbs(STATES))
    assert not np.array_equal(first.components_, other.components_)


@pytest.mark.parametrize("noise", [0.0, 0.3])  # bits, numbers
def test_partial_fit_goes_on_where_it_stopped(noise):
    x = two_clusters(600, 5)
    x = x + noise * np.random.default_rng(6).normal(size=x.shape)
    model, scores = quick(), []
    for _ in range(4):
        for part in np.split(x, 3):
            model.partial_fit(part)
        scores.append(model.score(x))
        assert model.log_z_ == pytest.approx(model.rbm_.log_z(), abs=1e-6)
        assert model.log_z_stderr_ == 0
    assert scores[0] < scores[-1]
    model.partial_fit(x[:1])  # one row, all of its columns constant
    assert not hasattr(model, "log_z_")
    assert model._training.iteration == 4 * 3 * 2 + 1
    with pytest.raises(ValueError, match="has 5 features"):
        model.partial_fit(x[:, :5])


def test_a_model_without_weights_is_persistent_contrastive_divergence():
    model = quick(weighted=False, learning_rate=0.01).fit(two_clusters(200, 7))
    assert model._training.state["trained"]["trust"] is None
    assert np.isnan(model._training.walkers.log_z.value)
    assert np.isfinite(model.score(STATES))


def test_parameters_may_change_from_call_to_call():
    x = two_clusters(200, 7)
    model = quick(learning_rate=0.02).partial_fit(x)
    model.set_params(learning_rate=0.015).partial_fit(x)
    assert model._training.state["optimizer"]["param_groups"][0]["lr"] == 0.015
    model.set_params(weighted=False, learning_rate=0.01, n_components=9, device="nowhere")
    model.partial_fit(x)
    assert model._training.state["trained"]["trust"] is None
    assert model._training.state["optimizer"]["param_groups"][0]["lr"] == 0.01
    assert len(model.components_) == 3  # of the first call
    model.set_params(weighted=True).partial_fit(x)
    assert model._training.state["trained"]["trust"]["tau"] == 0.1
    assert np.isfinite(model.score(x))


def test_weights_may_fade():
    model = quick(forgetting_factor=0.5).fit(two_clusters(200, 7))
    assert np.isnan(model._training.walkers.log_z.value)
    assert model.score(STATES) != quick().fit(two_clusters(200, 7)).score(STATES)


def test_it_works_in_a_pipeline_of_labels():
    rng = np.random.default_rng(8)
    label = rng.choice(2, 400, p=MASS)
    x = (rng.random((400, 6)) < CLUSTERS[label]).astype(float)
    found = make_pipeline(quick(n_iter=30), LogisticRegression()).fit(x[:300], label[:300])
    assert found.score(x[300:], label[300:]) > 0.9


def test_what_it_cannot_have_is_one_clear_error():
    x = np.random.default_rng(9).normal(size=(30, 4))
    for estimator, rows, match in (
        (quick(visible="bernoulli"), x, r"lie in \[0, 1\], these values from -.*Binarizer"),
        (quick(visible="bits"), x, "visible is 'auto', 'bernoulli' or 'gaussian', got 'bits'"),
        (quick(), np.c_[x, np.ones(30)], r"1 columns never change \(the first: 4\)"),
        (quick(), np.where(x > 2, np.nan, x), "contains NaN"),
        (quick(n_components=0), x, "n_components must be a whole number >= 1, got 0"),
        (quick(n_components=2.5), x, "n_components must be a whole number >= 1, got 2.5"),
        (quick(n_iter="9"), x, "n_iter must be a whole number >= 1, got '9'"),
        (quick(n_walkers=0), x, "n_walkers must be a whole number >= 2, got 0"),
        (quick(n_temperatures=0), x, "n_temperatures must be a whole number >= 1, got 0"),
        (quick(n_components=True), x, "n_components must be a whole number >= 1, got True"),
        (quick(weight_decay=-0.1), x, "weight_decay must be a number, 0 or more, got -0.1"),
        (quick(learning_rate="a"), x, "learning_rate must be a number, 0 or more, got 'a'"),
        (quick(learning_rate=np.inf), x, "learning_rate must be a number, 0 or more, got inf"),
        (
            quick(forgetting_factor=None),
            x,
            "forgetting_factor must be a number, from 0 to 1, got None",
        ),
        (
            quick(forgetting_factor=1.5),
            x,
            "forgetting_factor must be a number, from 0 to 1, got 1.5",
        ),
        (quick(tau="x"), x, "tau must be a number, above 0, got 'x'"),
        (quick(tau=0), x, "tau must be a number, above 0, got 0"),
        (quick(validation_fraction=1), x, "0 or more and below 1, got 1"),
        (quick(device="nowhere"), x, "`device` nowhere: cannot be used here"),
    ):
        with pytest.raises(ValueError, match=match):
            estimator.fit(rows)
    fitted = quick().fit(STATES)
    with pytest.raises(ValueError, match=r"lie in \[0, 1\]"):
        fitted.score_samples(STATES * 2)
    for n in (0, 2.5):
        with pytest.raises(ValueError, match=f"n_samples must be a whole number >= 1, got {n}"):
            fitted.sample(n)


def test_after_a_fit_that_failed_nothing_is_scored_in_the_new_rows_units():
    model = quick().fit(STATES)
    with pytest.raises(ValueError, match="never change"):
        model.fit(np.c_[np.arange(9.0), np.full((9, 5), 3.0)])
    with pytest.raises(NotFittedError):
        model.score_samples(STATES)
    model.fit(STATES)
    with pytest.raises(ValueError, match="contains NaN"):  # before anything is begun
        model.fit(STATES * np.nan)
    assert np.isfinite(model.score(STATES))


def test_rows_may_lie_in_memory_column_by_column():
    x = np.random.default_rng(11).random((3000, 6))  # enough for a stream of numpy's
    found = [quick(n_iter=1).fit(np.array(x, order=order)).components_ for order in "CF"]
    assert np.array_equal(*found)


def test_draws_of_many_rows_of_probabilities_are_scored_in_parts(of_bits, monkeypatch):
    x = np.random.default_rng(12).random((50, 6))
    whole = of_bits.score_samples(x)
    monkeypatch.setattr(arrays, "PART", 20 * 6 * 7)  # seven rows
    sizes, real = [], density.energy_of
    monkeypatch.setattr(
        density, "energy_of", lambda model, v: (sizes.append(len(v)), real(model, v))[1]
    )
    np.testing.assert_allclose(of_bits.score_samples(x), whole, rtol=1e-12)
    assert sizes == [140] * 7 + [20]


def test_what_is_drawn_shares_no_random_numbers_with_what_was_learned(of_bits):
    own, training = of_bits._stream, of_bits._training
    seeds = {own.initial_seed(), training.rng.initial_seed(), training.seed}
    assert len(seeds) == 3


def test_constant_columns_of_bits_are_no_trouble():
    x = two_clusters(100, 10)
    x[:, 0], x[:, 5] = 0, 1
    model = quick(n_iter=20).fit(x)
    assert np.exp(model.score_samples(STATES)).sum() == pytest.approx(1, abs=1e-6)
    assert model.sample(200)[:, 0].mean() < 0.1


def test_showing_an_estimator_anneals_nothing(monkeypatch):
    model = quick().fit(STATES)
    monkeypatch.setattr(RBM, "_log_z", lambda self: 1 / 0)
    assert "RBM" in model._repr_html_()
    assert not hasattr(clone(model), "rbm_")
    assert torch.is_tensor(model.rbm_.w)
