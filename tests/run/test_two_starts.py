"""Where a training starts: a mixture, or one Gaussian from which a network learns more."""

import numpy as np
import pytest
import torch

from noneq import Session
from noneq.data import load
from noneq.run import choose, starts
from noneq.run.candidates import compared
from noneq.run.choosing import with_changes
from noneq.run.coordinates import propose
from noneq.run.starts import choose_start

HOW = {"iterations": 260, "score_matching": 190, "walkers": 64, "held_out": 32, "width": 32}


def table(folder, rows):
    np.save(folder / "rows.npy", rows)
    return load(folder / "rows.npy")


def ring(n=400):
    """A ring, beside which mixtures are poor, and a skewed third column."""
    rng = np.random.default_rng(0)
    angle, radius = rng.uniform(0, 2 * np.pi, n), 1 + 0.1 * rng.normal(size=n)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), rng.lognormal(size=n)], 1)


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    data = table(tmp_path_factory.mktemp("ring"), ring())
    recipe = choose(data.shape, len(data.train), data.kind, **HOW)
    return recipe, data, choose_start(recipe, data, 3)


def test_a_mixture_is_proposed_beside_the_best_gaussian(begun):
    recipe, data, _ = begun
    proposals, candidates = propose(recipe, data, 3)
    assert [own.recipe.model.base for own in proposals] == ["mixture", "full"]
    single = [one for one in candidates if one.base != "mixture"]
    assert proposals[1].base == min(single, key=lambda one: one.nll)
    assert proposals[0].base in candidates  # a simpler one may be as good as the lowest
    for own in proposals:
        assert own.data.scaling.columns == own.base.columns


def test_the_lower_nll_after_score_matching_decides(begun):
    _, _, start = begun
    tried = [one for one in start.candidates if one.network]
    assert len(tried) == 2
    best = min(tried, key=lambda one: one.nll)
    model = start.session.recipe.model
    assert (best.base, best.components, best.ridge) == (model.base, model.components, model.ridge)
    looked = start.session.validation
    volume = float(start.data.scaling.log_volume(start.data.validation).mean())
    assert best.nll == pytest.approx(looked.lowest.nll - volume)
    assert best.nll <= min(one.nll for one in start.candidates if not one.network) + 0.2
    said = compared(model, start.candidates, start.data.scaling.columns)
    assert said.count("with a network") == 2


def test_the_training_goes_on_as_it_would_alone(begun):
    _, _, start = begun
    alone = Session(start.session.recipe, start.data.train, 3, validation=start.data.validation)
    for record in alone:
        if record.iteration == start.session.iteration:
            break
    found, wanted = start.session.average.state_dict(), alone.average.state_dict()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    assert torch.equal(start.session.rng.get_state(), alone.rng.get_state())


def test_of_two_that_are_as_good_both_go_on(begun, monkeypatch):
    recipe, data, start = begun
    apart = [one.nll for one in start.candidates if one.network]
    monkeypatch.setattr(starts, "TIE", abs(apart[0] - apart[1]) * 1.01)
    longer = with_changes(recipe, {"iterations": 2000})
    farther = choose_start(longer, data, 3)
    looked = farther.session.validation
    assert len(looked.looks) == 1 + 1 + starts.FURTHER
    assert farther.session.progress < 1
    tried = [one for one in farther.candidates if one.network]
    assert len(tried) == 2
    assert all(a.nll <= b for a, b in zip(tried, apart, strict=True))  # the lowest of more looks
    volume = float(farther.data.scaling.log_volume(farther.data.validation).mean())
    assert min(one.nll for one in tried) == pytest.approx(looked.lowest.nll - volume)
    alone = Session(
        farther.session.recipe, farther.data.train, 3, validation=farther.data.validation
    )
    for record in alone:
        if record.iteration == farther.session.iteration:
            break
    found, wanted = farther.session.average.state_dict(), alone.average.state_dict()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    monkeypatch.setattr(starts, "TIE", abs(apart[0] - apart[1]) * 0.99)
    assert choose_start(longer, data, 3).session.iteration == start.session.iteration


def test_a_tie_leaves_the_last_iteration_to_the_caller(begun, monkeypatch):
    recipe, data, _ = begun
    monkeypatch.setattr(starts, "TIE", np.inf)
    session = choose_start(recipe, data, 3).session
    assert session.iteration == 259
    assert [record.iteration for record in session] == [260]


def test_of_one_gaussian_nothing_is_tried(tmp_path):
    rows = np.random.default_rng(1).normal(size=(200, 2)) @ np.array([[1.0, 0.5], [0.0, 0.3]])
    data = table(tmp_path, rows)
    start = choose_start(choose(data.shape, len(data.train), data.kind, **HOW), data)
    assert start.session.iteration == 0
    assert not [one for one in start.candidates if one.network]


def test_what_takes_long_with_many_rows_is_shown(begun, monkeypatch):
    recipe, data, _ = begun
    shown = []

    def track(steps, label):
        shown.append((label, len(steps)))
        return steps

    monkeypatch.setattr(starts, "_trained", lambda *_: 0.0)
    choose_start(recipe, data, 3, track=track)
    monkeypatch.setattr(starts, "MANY", len(data.train) - 1)
    choose_start(recipe, data, 3, track=track)
    assert shown == [("fitting base and kernel", 2)]


def test_where_the_budget_is_a_time_the_mixture_is_taken(begun):
    _, data, _ = begun
    start = choose_start(choose(data.shape, len(data.train), data.kind, seconds=5.0), data)
    assert start.session.iteration == 0
    assert start.session.recipe.model.base == "mixture"
