"""Rows with weights, sparse rows, and wide rows that are nearly always 0."""

import numpy as np
import pytest
import torch
from scipy.sparse import csc_array, csr_array, csr_matrix
from test_estimators import CLUSTERS, STATES, quick, two_clusters

from noneq.estimators import arrays
from noneq.estimators import passes as windows
from noneq.estimators.arrays import extremes, parts
from noneq.estimators.passes import Passes
from noneq.estimators.priors import PriorAdam, strengths

COMMON, RARE = 200, 800


def topics(n, seed, boost=10.0, length=30.0, kinds=10):
    """A bag of words: rows of one of ten topics, a tenth of a thousand words in each; log p."""
    rate = 1 / np.arange(1, COMMON + RARE + 1) ** 0.8
    own = np.random.default_rng(99).random((kinds, len(rate))) < 1 / kinds
    p = rate * np.where(own, boost, 1)
    p = np.minimum(length * p / p.sum(1, keepdims=True), 0.6)
    rng = np.random.default_rng(seed)
    return (rng.random((n, len(rate))) < p[rng.integers(kinds, size=n)]).astype(float)


def above_independent(model, x, fresh):
    """Mean gain over independent columns in nats a fresh row, and its standard error."""
    q = (x.sum(0) + 0.5) / (len(x) + 1)
    gain = model.score_samples(fresh) - fresh @ np.log(q) - (1 - fresh) @ np.log1p(-q)
    return gain.mean(), gain.std() / np.sqrt(len(gain))


# -- weights


def in_first(model):
    """Mass of the states that are nearer to the first cluster."""
    p = np.exp(model.score_samples(STATES))
    each = STATES @ np.log(CLUSTERS).T + (1 - STATES) @ np.log1p(-CLUSTERS).T
    return p[each[:, 0] > each[:, 1]].sum()


def test_a_weight_counts_as_rows_that_come_again():
    # in law: the means over seeds of two masses that differ by 0.25 without weights
    x = two_clusters(300, 0)
    weight = np.where(x[:, 0] > 0, 1.0, 3.0)
    again = np.repeat(x, weight.astype(int), axis=0)
    masses = {"weights": [], "again": [], "neither": []}
    for seed in range(5):
        how = {"n_iter": 20, "batch_size": 32, "random_state": seed}
        masses["weights"].append(in_first(quick(**how).fit(x, sample_weight=weight)))
        masses["again"].append(in_first(quick(**how).fit(again)))
        masses["neither"].append(in_first(quick(**how).fit(x)))
    mean = {name: np.mean(found) for name, found in masses.items()}
    error = {name: np.std(found, ddof=1) / np.sqrt(5) for name, found in masses.items()}
    assert abs(mean["weights"] - mean["again"]) < 4 * np.hypot(error["weights"], error["again"])
    assert abs(mean["weights"] - mean["again"]) < 0.05
    assert mean["neither"] - mean["weights"] > 0.15


def test_only_ratios_of_weights_count_and_rows_of_weight_0_not_at_all():
    x = two_clusters(200, 1)
    plain = quick().fit(x)
    for weight in (np.ones(200), np.full(200, 1e-3), np.full(200, 7.0)):
        found = quick().fit(x, sample_weight=weight)
        assert np.array_equal(found.components_, plain.components_)
    odd = np.concatenate([x, np.ones((50, 6))])
    weight = np.r_[np.ones(200), np.zeros(50)]
    assert np.array_equal(quick().fit(odd, None, weight).components_, plain.components_)
    score = plain.score_samples(odd)
    assert plain.score(odd, sample_weight=weight) == pytest.approx(score[:200].mean())
    assert plain.score(odd) == pytest.approx(score.mean())
    with pytest.raises(ValueError, match=r"(?i)sample.weight"):
        quick().fit(x, sample_weight=np.zeros(200))
    with pytest.raises(ValueError, match=r"[Nn]egative"):
        quick().fit(x, sample_weight=np.r_[-1.0, np.ones(199)])


def test_base_and_sample_of_weighted_rows_are_weighted():
    x = two_clusters(400, 2)
    weight = np.random.default_rng(3).exponential(size=400)
    model = quick(n_iter=1).fit(x, sample_weight=weight)
    n = weight.sum() ** 2 / (weight @ weight)
    p = (np.average(x, axis=0, weights=weight) * n + 0.5) / (n + 1)
    assert np.allclose(1 / (1 + np.exp(-model.rbm_.base.logits.numpy())), p, atol=1e-6)
    stream = quick(n_components=2)
    for part in range(4):
        rows = slice(100 * part, 100 * part + 100)
        stream.partial_fit(x[rows], sample_weight=weight[rows])
    assert np.allclose(stream.rbm_.base.logits.numpy(), model.rbm_.base.logits.numpy(), atol=1e-5)


def made(x, weight, batch=4, bits="given"):
    rng = torch.Generator().manual_seed(0)
    return Passes(x, weight, lambda rows: torch.from_numpy(rows), bits, batch, rng)


def test_a_pass_takes_each_row_as_often_as_it_weighs():
    x, weight = np.arange(10.0)[:, None], np.r_[np.full(5, 2.0), np.full(4, 0.5), 8.0]
    passes, seen = made(x, weight), []
    for _ in range(400):
        for batches in passes:
            assert batches == 3
            seen.append(passes.window[:, 0].numpy().copy())
    count = np.stack([np.bincount(window.astype(int), minlength=10) for window in seen])
    expected = 10 * weight / weight.sum()
    assert (np.abs(count - expected) < 1).all()  # systematic: its floor or its ceiling
    assert np.abs(count.mean(0) - expected).max() < 4 * 0.5 / np.sqrt(400)


def test_sparse_rows_are_made_dense_a_window_at_a_time(monkeypatch):
    monkeypatch.setattr(windows, "PART", 6 * 25)
    x = two_clusters(103, 4)
    passes, seen = made(csr_array(x), np.ones(103)), []
    for batches in passes:
        assert batches == 6
        assert passes.window.shape == (21, 6)
        seen.append(passes.window.numpy().copy())
    # each row once, and two again to fill the last window
    assert len(seen) == 5
    rows, whole = np.concatenate(seen), x.copy()
    assert np.array_equal(np.sort(rows[:103].sum(1)), np.sort(whole.sum(1)))
    assert not np.array_equal(rows[:103], whole)  # in an order of their own


# -- sparse rows


@pytest.mark.parametrize("kind", [csr_matrix, csr_array, csc_array])
def test_sparse_rows_are_learned_and_scored_as_dense_ones(kind):
    x = two_clusters(300, 5)
    dense, sparse = quick().fit(x), quick().fit(kind(x))
    assert np.array_equal(sparse.components_, dense.components_)
    assert np.array_equal(sparse.score_samples(kind(x)), dense.score_samples(x))
    assert np.array_equal(sparse.transform(kind(x)), dense.transform(x))
    assert np.array_equal(sparse.gibbs(kind(x)), dense.gibbs(x))
    numbers = np.where(np.random.default_rng(6).random((300, 6)) < 0.5, 0, 3 * x + 1)
    one, two = quick().fit(numbers), quick().fit(kind(numbers))
    assert one.visible_ == two.visible_ == "gaussian"
    assert np.allclose(two.score_samples(kind(numbers)), one.score_samples(numbers), atol=1e-3)
    for part in (slice(0, 100), slice(100, 300)):
        one.partial_fit(numbers[part])
        two.partial_fit(kind(numbers)[part] if kind is not csc_array else numbers[part])
    assert np.allclose(two.mean_, one.mean_)
    assert np.allclose(two.scale_, one.scale_)


def test_extremes_and_parts_of_sparse_rows_are_those_of_dense_ones(monkeypatch):
    x = np.array([[0, -2, 3.0], [0, -1, 0], [0, -3, 1]])
    for rows in (x, csr_array(x)):
        np.testing.assert_array_equal(extremes(rows), [[0, -3, 0], [0, -1, 3]])
    monkeypatch.setattr(arrays, "PART", 6)
    for rows in (x, csr_array(x)):
        assert [len(part) for part in parts(rows)] == [2, 1]
        np.testing.assert_array_equal(np.concatenate(list(parts(rows))), x)


# -- wide rows that are nearly always 0


def test_a_prior_pulls_to_its_centre_by_its_strength():
    p = torch.nn.Parameter(torch.tensor([5.0, -5.0]))
    optimizer = PriorAdam([{"params": [p], "centre": torch.tensor([1.0, 2.0]), "strength": 0.5}])
    for group in optimizer.param_groups:
        group["lr"] = 0.05
    for _ in range(2000):
        optimizer.zero_grad()
        (2 * p.sum()).backward()  # the least of 2 p + (p - centre)^2 / 4 is at centre - 4
        optimizer.step()
    assert torch.allclose(p.detach(), torch.tensor([-3.0, -2.0]), atol=1e-3)
    assert strengths(1000.0, 12, None) == (1e-3, 1e-3)
    assert strengths(1000.0, 256, None) == (pytest.approx(256 / 36_000), 1e-3)
    assert strengths(50.0, 256, 0.3) == (0.3, 0.02)


def test_words_are_learned_and_their_biases_do_not_run_away():
    # the truth is 9 nats better than independent columns; training rows alone: 1,000
    x, fresh = topics(1000, 1), topics(1000, 2)
    model = quick(n_components=32, batch_size=16, n_iter=12, n_temperatures=300).fit(csr_array(x))
    gain, error = above_independent(model, x, fresh)
    assert gain - 4 * error > 2
    assert model.alarms_ == ()
    values = np.linalg.svd(model.components_, compute_uv=False)
    assert values[5] > 0.2 * values[0]  # units that differ


def test_weak_topics_leave_independent_columns_and_not_less():
    # once: weights all equal, a bias of -20, 0.6 nats worse than independent columns
    x, fresh = (topics(1000, seed, boost=4, length=15) for seed in (1, 2))
    model = quick(n_components=64, batch_size=16, n_iter=8, n_temperatures=200).fit(x)
    gain, error = above_independent(model, x, fresh)
    assert gain + 4 * error > -0.4
    never = x.sum(0) == 0
    assert never.sum() >= 5
    on = model.gibbs(model.gibbs(fresh))[:, never].mean()
    logits = model.intercept_visible_[never]
    assert on < 5 / 1000
    assert logits.min() > -np.log(2 * len(x)) - 4
    assert np.abs(model.intercept_hidden_).max() < 6


def test_rows_learned_by_heart_ring():
    rng = np.random.default_rng(7)
    x, fresh = (rng.random((2, 300, 150)) < 0.2).astype(float)  # independent columns
    how = {"batch_size": 32, "n_moves": 1, "n_temperatures": 100}
    heart = quick(n_components=60, n_iter=40, weight_decay=1e-5, **how).fit(x)
    gain, error = above_independent(heart, x, fresh)
    assert gain + 4 * error < -1
    assert any("knows those by heart" in alarm for alarm in heart.alarms_)
    calm = quick(n_components=4, n_iter=5, **how).fit(x)
    calm.score(fresh)
    assert not any("by heart" in alarm for alarm in calm.alarms_)


def test_each_pass_and_each_alarm_is_told_where_that_is_asked_for(capsys):
    quick(n_iter=3).fit(two_clusters(100, 8))
    assert capsys.readouterr().out == ""
    model = quick(n_iter=3, verbose=1).fit(two_clusters(100, 8))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [f"[RBM] pass {k} of 3" for k in (1, 2, 3)]
    model.alarms_ = ()
    model._ring(["first"])
    model._ring(["first"])
    assert capsys.readouterr().out == "[RBM] alarm: first\n"
