"""Streams of rows: what an estimator knows after many calls belongs to all of them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from test_estimators import far_clusters, quick, too_many, two_clusters

from noneq.estimators import density
from noneq.estimators.arrays import hashes, rows_of_bits
from noneq.estimators.streams import KEPT, MOST, History, Moments, apart
from noneq.walkers import LogZ


def one_cluster(n, seed):
    x = far_clusters(4 * n, seed)
    return x[x.mean(1) > 0.5][:n]


def numbers(n, seed, width=1.0):
    """Two clusters of numbers, in units of their own."""
    rng = np.random.default_rng(seed)
    left = rng.random((n, 1)) < 0.4
    return 50 + width * (np.where(left, -20.0, 15.0) + rng.normal(size=(n, 4)) * [5, 6, 7, 8])


# -- the faults, end to end


@pytest.mark.parametrize("later", [far_clusters, lambda n, seed: 1 - one_cluster(n, seed)])
def test_log_z_is_right_or_alarmed_after_a_stream_that_begins_with_one_cluster(later, monkeypatch):
    monkeypatch.setattr(density, "exact_log_z", too_many)
    model = quick(n_components=8, batch_size=64)
    model.partial_fit(one_cluster(200, 0))
    for call in range(1, 25):
        model.partial_fit(later(200, call))
    fresh = np.concatenate([far_clusters(500, 99), later(500, 98)])
    score = model.score_samples(fresh)
    error = abs(model.log_z_ - model.rbm_.log_z())
    assert error < max(0.1, 4 * model.log_z_stderr_) or model.alarms_
    assert score.max() <= 0 or model.alarms_
    drifts = any("drift" in alarm for alarm in model.alarms_)
    if later is far_clusters:  # all that was amiss is long ago, and has been mended since
        assert error < max(0.1, 4 * model.log_z_stderr_)
        assert score.max() <= 0
        assert model.score(far_clusters(500, 99)) > -4.5  # the truth is -2.6, one cluster -10
    else:
        assert drifts


def test_a_narrow_first_call_does_not_set_the_units_for_good():
    model = quick(n_components=4)
    model.partial_fit(numbers(200, 0, width=1e-3))
    for call in range(1, 30):
        model.partial_fit(numbers(200, call))
    wide = quick(n_components=4)
    for call in range(30):
        wide.partial_fit(numbers(200, call))
    fresh = numbers(2000, 99)
    assert abs(model.score(fresh) - wide.score(fresh)) < 0.3  # 80,000 nats, once
    every = np.concatenate([numbers(200, 0, width=1e-3), *(numbers(200, k) for k in range(1, 30))])
    assert np.allclose(model.mean_, every.mean(0), rtol=0.01)
    assert np.allclose(model.scale_, every.std(0), rtol=0.05)  # some rows are set aside


def test_streams_that_drift_ring_and_shuffled_ones_do_not():
    rang = {"shuffled": 0, "sorted": 0, "bits sorted": 0, "bits shuffled": 0}
    for seed in range(3):
        x, y = numbers(1200, seed), far_clusters(1200, seed)
        for name, rows in (
            ("shuffled", x),
            ("sorted", x[x[:, 0].argsort()]),
            ("bits shuffled", y),
            ("bits sorted", y[y.mean(1).argsort()]),
        ):
            model = quick(n_components=4, random_state=seed)
            for part in np.split(rows, 6):
                model.partial_fit(part)
            model.score(rows)
            rang[name] += any("drift" in alarm for alarm in model.alarms_)
    assert rang == {"shuffled": 0, "sorted": 3, "bits sorted": 3, "bits shuffled": 0}


def test_rows_that_come_early_and_are_forgotten_ring():
    # the columns' means stay, what goes with what does not: equal neighbours, then unequal ones
    def pairs(n, seed, sign):
        rng = np.random.default_rng(seed)
        v = (rng.random((n, 3)) < 0.5).repeat(2, axis=1)
        v[:, 1::2] ^= (rng.random((n, 3)) < 0.05) ^ (sign < 0)
        return v.astype(float)

    def learned(signs):
        model = quick(n_components=8, batch_size=16, validation_fraction=0)
        for call, sign in enumerate(signs):
            model.partial_fit(pairs(320, call, sign))
        model.score(pairs(100, 0, 1))
        return [a for a in model.alarms_ if "rows from the first half" in a]

    (alarm,) = learned([1] * 12 + [-1] * 12)
    assert "less likely" in alarm
    assert learned([1, -1] * 12) == []


def test_a_log_probability_above_0_is_cut_or_rings():
    model = quick(n_iter=20).fit(two_clusters(500, 0))
    rows = two_clusters(200, 1)
    right = model.score_samples(rows)
    exact = model._z
    assert model.alarms_ == ()
    slightly = LogZ(exact.value + right.max() - 0.02, 0.01)  # too low by less than its error
    model._z = replace(exact, forward=slightly, backward=slightly)
    one = rows[[right.argmax()]]
    assert model.score_samples(one) == 0
    assert model.alarms_ == ()
    low = LogZ(exact.value - 7, 0.01)
    model._z = replace(exact, forward=low, backward=low)
    assert np.allclose(model.score_samples(rows), right + 7)
    (alarm,) = model.alarms_
    assert "times the mass of all states: log Z is too low" in alarm
    # each below 0, and all of them together above
    model.alarms_, high = (), LogZ(exact.value - 1.5, 0.01)
    model._z = replace(exact, forward=high, backward=high)
    assert right.max() + 1.5 < 0
    model.score_samples(rows)
    assert len(model.alarms_) == 1


def test_what_later_calls_contradict_is_told():
    bits, x = two_clusters(200, 0), numbers(200, 0)[:, [0, 1, 2, 3, 0, 1]]
    model = quick().partial_fit(bits)
    with pytest.raises(ValueError, match=r"lie in \[0, 1\] \(the rows of the first call did\)"):
        model.partial_fit(x)
    assert np.isfinite(model.score(bits))  # nothing has been spoilt
    odd = bits.copy()
    odd[0, 0] = -1  # a mark of what is missing, say
    found = quick().fit(odd)
    found.score(odd)
    assert found.visible_ == "gaussian"
    (alarm,) = [a for a in found.alarms_ if "made of 0 and 1" in a]
    assert alarm.startswith(("100% of the rows", "99% of the rows"))
    meant = quick(visible="gaussian").fit(odd)
    meant.score(odd)
    assert not any("made of 0 and 1" in a for a in meant.alarms_)


def test_base_and_prior_are_those_of_all_calls():
    calls = [far_clusters(150, seed) for seed in range(4)]
    model = quick(validation_fraction=0)
    for part in calls:
        model.partial_fit(part)
    every = np.concatenate(calls)
    p = (every.sum(0) + 0.5) / (len(every) + 1)
    assert np.allclose(1 / (1 + np.exp(-model.rbm_.base.logits.numpy())), p, atol=1e-6)
    prior = model._training.state["optimizer"]["param_groups"][1]
    assert torch.equal(prior["centre"], model.rbm_.base.logits)
    assert prior["strength"] == pytest.approx(1 / len(every))


# -- its parts


@pytest.mark.parametrize("sparse", [False, True])
def test_moments_are_those_of_all_rows(sparse):
    rng = np.random.default_rng(0)
    x, w = rng.normal(1e3, [1, 10, 1e-3], size=(300, 3)), rng.exponential(size=300)
    x[:, 2] *= rng.random(300) < 0.2
    parts = [slice(0, 7), slice(7, 150), slice(150, 300)]
    found = None
    for part in parts:
        rows = csr_array(x[part]) if sparse else x[part]
        now = Moments.of(rows, w[part])
        found = now if found is None else found.merged(now)
    mean = np.average(x, axis=0, weights=w)
    np.testing.assert_allclose(found.mean, mean, rtol=1e-12)
    np.testing.assert_allclose(found.var, np.average((x - mean) ** 2, axis=0, weights=w))
    np.testing.assert_array_equal([found.low, found.high], [x.min(0), x.max(0)])
    assert found.rows == pytest.approx(w.sum() ** 2 / (w @ w))


def test_the_sample_is_uniform_over_the_stream_and_by_weight():
    history = History(0.0, seed=0)
    for call in range(5):
        x = np.stack([np.full(800, call), np.arange(800) % 2, np.arange(800.0)], 1)
        history.add(x, np.where(np.arange(800) < 400, 1.0, 3.0))
    assert len(history.kept) == KEPT
    share = np.bincount(history.calls) / KEPT
    assert np.abs(share - 0.2).max() < 4 * np.sqrt(0.2 * 0.8 / KEPT)
    assert (history.kept[:, 0] == history.calls).all()
    heavy = (history.kept[:, 2] >= 400).mean()  # without replacement: below 3 / 4
    assert 0.6 < heavy < 0.75
    assert len(np.unique(history.kept, axis=0)) == KEPT


def test_rows_set_aside_are_the_same_in_every_pass_and_are_not_learned_from():
    x = np.random.default_rng(1).normal(size=(1000, 3))
    history, learned = History(0.1, seed=0), []
    for _ in range(3):
        for part in np.split(x, 10):
            learned.append(history.add(part, np.ones(len(part)))[0])
    held = history.held
    assert 70 < len(held) < 130
    seen = np.concatenate(learned)
    both = set(map(bytes, held)) & set(map(bytes, seen))
    assert len(both) < 12  # of the first 80 rows, before any is set aside
    assert len(np.unique(seen, axis=0)) == 1000 - len(held) + len(both)
    assert abs(history.distinct / 1000 - 1) < 4 / np.sqrt(MOST)
    assert abs(history.rows / 1000 - 1) < 0.3
    # at most MOST; the others are learned from after all
    long = History(0.1, seed=0)
    rows = np.random.default_rng(2).normal(size=(20_000, 2))
    seen = sum(len(long.add(part, np.ones(500))[0]) for part in np.split(rows, 40))
    assert len(long.held) == MOST
    assert seen == 20_000 - MOST
    place = np.flatnonzero(np.isin(rows[:, 0], long.held[:, 0]))
    assert abs(place.mean() / 20_000 - 0.5) < 4 / np.sqrt(12 * MOST)  # of the whole stream


def test_of_rows_that_repeat_none_is_set_aside():
    history = History(0.1, seed=0)
    x, _ = history.add(two_clusters(1000, 0), np.ones(1000))
    assert len(x) == 1000
    assert len(history.held) == len(history.held_weight) == 0
    assert history.rows == 1000


def test_a_rare_bit_does_not_make_a_drift_and_a_common_one_does():
    def moments(n, ones):
        x = np.zeros((n, 2))
        x[:ones, 0] = 1
        x[::2, 1] = 1
        return Moments.of(x, np.ones(n))

    # one row in ten thousand, then two in a hundred: the chance is 5e-5, 14 standard errors
    assert apart(moments(10_000, 1), moments(100, 2))[1] < 3
    column, z = apart(moments(10_000, 3000), moments(1000, 500))
    assert column == 0
    assert z > 8


def test_equal_rows_have_equal_hashes_wherever_they_stand():
    x = np.random.default_rng(3).integers(-1, 2, size=(50, 4)).astype(float)
    x[x == 0] *= -1.0  # minus zero
    same = np.asfortranarray(np.abs(x) * np.sign(x) + 0.0)[::-1]
    assert np.array_equal(hashes(x), hashes(same)[::-1])
    assert np.array_equal(hashes(csr_array(x)), hashes(x))
    assert np.array_equal(hashes(x.astype(np.float32)), hashes(x))
    many = hashes(np.random.default_rng(4).normal(size=(4000, 2)))
    assert abs(many.mean() - 0.5) < 4 / np.sqrt(12 * 4000)


def test_rows_of_bits_are_told_in_sparse_rows_too():
    x = np.array([[0, 1, 1], [0, 0.5, 0], [0, 0, 0], [2, 0, 1]])
    assert rows_of_bits(x).tolist() == [True, False, True, False]
    assert rows_of_bits(csr_array(x)).tolist() == [True, False, True, False]
