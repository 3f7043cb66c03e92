"""A run that diverges goes back to its last good state, with half the tau; three times."""

import importlib
import math

import known
import numpy as np
import pytest
import torch
from known import differences

from noneq import Session
from noneq.run import DivergedError, RolledBack, Run, checkpoint, supervise
from noneq.run.choosing import with_changes
from noneq.run.divergence import DivergenceMonitor

supervising = importlib.import_module("noneq.run.supervise")  # whose function has its name


@pytest.fixture(autouse=True)
def good_states_after_every_iteration(monkeypatch):
    monkeypatch.setattr(supervising, "GOOD", 1)


def bits(tree):
    """All that a checkpoint holds but clocks and backoff."""
    return {key: value for key, value in tree.items() if key not in ("seconds", "backoff")}


def on_disk(run, which="state"):
    return checkpoint.load(run.folder / which)


def diverging(monkeypatch, session, at, times=1):
    """The watch calls out at iteration ``at`` of the session; returns the seconds of each time."""
    called, real = [], DivergenceMonitor.see

    def see(self, nll, *, renewed=False):
        real(self, nll, renewed=renewed)
        if session.iteration == at and len(called) < times:
            called.append(session.seconds)
            raise FloatingPointError("the watch called out")

    monkeypatch.setattr(DivergenceMonitor, "see", see)
    return called


def unhealthy(monkeypatch, session, iterations):
    monkeypatch.setattr(
        DivergenceMonitor, "healthy", property(lambda _: session.iteration not in iterations)
    )


def alone(run, data, tree, backoff):
    """A session that goes on from a checkpoint with that backoff, to its end."""
    other = Session(run.recipe, data.train, run.seed)
    other.load_state_dict(tree)
    other.backoff = backoff
    for _ in other:
        pass
    return other


def test_a_rollback_restores_the_last_checkpoint_with_half_the_tau(tmp_path, monkeypatch):
    run, data, session = known.begun(tmp_path, iterations=9, ess_min=0.97)
    called = diverging(monkeypatch, session, at=6)
    good, spent, after, taus = None, 0.0, [], []
    for event in supervise(run, session, every=0.0):
        if isinstance(event, RolledBack):
            assert event == (5, 0.5, "at iteration 6: the watch called out")
            for tree in (session.state_dict(), on_disk(run)):
                assert differences(bits(good), bits(tree)) == []
                # the time is gone, whatever came of it
                assert tree["seconds"] == called[0] > good["seconds"]
                assert tree["backoff"] == 0.5
            spent = session.seconds
        elif spent:
            after.append(event)
            taus.append(event.state.trust.tau)
        elif event.iteration == 5:
            good = on_disk(run)
            assert good["trained"]["iteration"] == 5
    assert [record.iteration for record in after] == [6, 7, 8, 9]
    falls = [run.recipe.train.speed(i / 9) for i in (5, 6, 7, 8)]
    assert taus == pytest.approx([run.recipe.train.tau * 0.5 * fall for fall in falls])
    assert all(record.cost <= 2 * tau for record, tau in zip(after, taus, strict=True))
    assert session.seconds > spent
    # and from there it is any run of that backoff
    other = alone(run, data, good, 0.5)
    assert differences(bits(other.state_dict()), bits(on_disk(run))) == []


def test_a_run_that_diverges_at_once_begins_again_with_half_the_tau(tmp_path, monkeypatch):
    monkeypatch.setattr(supervising, "GOOD", 100)
    run, data, session = known.begun(tmp_path, iterations=5)
    start = {**session.state_dict()}
    start = {**start, "energy": {k: v.clone() for k, v in start["energy"].items()}}
    start["average"] = {k: v.clone() for k, v in start["average"].items()}
    diverging(monkeypatch, session, at=3)
    events = list(supervise(run, session, every=math.inf))
    rolled = [event for event in events if isinstance(event, RolledBack)]
    assert rolled == [(0, 0.5, "at iteration 3: the watch called out")]
    other = alone(run, data, start, 0.5)
    assert differences(bits(other.state_dict()), bits(on_disk(run))) == []


def test_a_fault_of_the_training_itself_rolls_back_as_well(tmp_path):
    run, _, session = known.begun(tmp_path, iterations=4)
    events = supervise(run, session, every=0.0)
    next(events)
    with torch.no_grad():
        for p in session.energy.parameters():
            p.fill_(math.nan)
    event = next(events)
    assert isinstance(event, RolledBack)
    assert event.iteration == 1
    for record in events:
        assert math.isfinite(record.nll)
    assert session.iteration == 4
    assert all(bool(p.isfinite().all()) for p in session.average.parameters())


def test_it_gives_up_after_three_rollbacks_and_keeps_the_last_good_state(tmp_path, monkeypatch):
    run, _, session = known.begun(tmp_path)
    called = diverging(monkeypatch, session, at=4, times=9)
    backoffs, good, kept = [], None, None
    told = r"diverged at iteration 4 after 3 rollbacks.*the watch called out"
    with pytest.raises(DivergedError, match=told):  # noqa: PT012
        for event in supervise(run, session, every=0.0):
            if isinstance(event, RolledBack):
                backoffs.append(event.backoff)
                kept = event
            elif event.iteration == 3:
                good = on_disk(run)
    assert backoffs == [0.5, 0.25, 0.125]
    assert kept.iteration == 3
    assert len(called) == 4
    tree = on_disk(run)
    assert differences(bits(good), bits(tree)) == []
    assert tree["backoff"] == 0.125
    model, _ = run.model()
    average = {k.removeprefix("module."): v for k, v in tree["average"].items()}
    assert differences(dict(model.state_dict()), average) == []
    rollbacks = [row for row in run.metrics.rows() if row.get("rollback")]
    assert [row["backoff"] for row in rollbacks] == backoffs


def test_with_early_stopping_it_ends_and_keeps_what_was_chosen(tmp_path, monkeypatch):
    run, data, _ = known.begun(tmp_path, iterations=9)
    recipe = with_changes(run.recipe, {"early_stopping": True})
    session = Session(recipe, data.train, validation=data.validation)
    run = Run.create(tmp_path / "s", data, session, classes=None, subset=None, binary=False)
    session.validation.interval = 10**6
    for record in supervise(run, session, every=math.inf, stop=lambda: session.iteration == 2):
        pass
    state = session.learner.trained
    # a look that is far better than any other
    with torch.no_grad():
        session.average.net.net[-1].bias.fill_(7.0)
    session.validation.look(session.average, state.kernel, state.walkers, 3)
    session.validation.looks[-1] = session.validation.looks[-1]._replace(nll=-9.0)
    called = diverging(monkeypatch, session, at=4, times=9)
    events = list(supervise(run, session, every=math.inf))
    rolled = [event for event in events if isinstance(event, RolledBack)]
    assert [event.backoff for event in rolled] == [0.5, 0.25, 0.125, 0.125]
    assert len(called) == 4
    assert session.ended
    assert session.progress == 1.0
    assert session.validation.best.nll == -9.0
    assert run.model()[0].net.net[-1].bias.tolist() == [7.0]
    again = Session(recipe, data.train, validation=data.validation)
    run.restore(again)
    assert again.progress == 1.0
    assert list(again) == []


@pytest.mark.parametrize(
    ("changes", "advice"),
    [({}, "Try more moves"), ({"tau": None}, r"Try a trust region \(`tau` 0.1\) or a smaller")],
)
def test_what_it_gives_up_with_names_the_cause(tmp_path, monkeypatch, changes, advice):
    run, _, session = known.begun(tmp_path, **changes)
    diverging(monkeypatch, session, at=2, times=9)
    with pytest.raises(DivergedError, match=advice):
        list(supervise(run, session, every=0.0))


def test_backoff_outlasts_an_interruption(tmp_path, monkeypatch):
    # three rollbacks in all, not three a start
    run, data, session = known.begun(tmp_path)
    diverging(monkeypatch, session, at=4, times=9)
    for event in supervise(run, session, every=0.0):
        if isinstance(event, RolledBack) and event.backoff == 0.25:
            break
    session = Session(run.recipe, data.train, run.seed)
    run.restore(session)
    assert session.backoff == 0.25
    diverging(monkeypatch, session, at=4, times=9)
    rolled = []
    with pytest.raises(DivergedError):  # noqa: PT012
        for event in supervise(run, session, every=0.0):
            rolled += [event] if isinstance(event, RolledBack) else []
    assert [event.backoff for event in rolled] == [0.125]


def test_no_good_state_while_the_watch_is_unhealthy(tmp_path, monkeypatch):
    # what resuming needs is saved all the same
    run, _, session = known.begun(tmp_path)
    unhealthy(monkeypatch, session, {3, 4, 5})
    found, good = {}, {}
    for record in supervise(run, session, every=0.0):
        found[record.iteration] = on_disk(run)["trained"]["iteration"]
        good[record.iteration] = on_disk(run, "good")["trained"]["iteration"]
    assert found == {i: i for i in range(1, 9)}
    assert good == {1: 1, 2: 2, 3: 2, 4: 2, 5: 2, 6: 6, 7: 7, 8: 8}


def test_good_states_are_counted_in_iterations(tmp_path, monkeypatch):
    # so that a run that rolls back has the same bits however often it is saved
    monkeypatch.setattr(supervising, "GOOD", 3)
    ends = []
    for name, every in (("a", 0.0), ("b", math.inf)):
        (tmp_path / name).mkdir()
        run, _, session = known.begun(tmp_path / name, iterations=9)
        diverging(monkeypatch, session, at=8)
        for event in supervise(run, session, every=every):
            if isinstance(event, RolledBack):
                assert event.iteration == 6
        ends.append(bits(on_disk(run)))
    assert differences(*ends) == []


def test_metrics_of_what_was_rolled_back_are_forgotten(tmp_path, monkeypatch):
    run, _, session = known.begun(tmp_path, iterations=13)
    diverging(monkeypatch, session, at=12)
    unhealthy(monkeypatch, session, range(6, 13))  # the last checkpoint is of iteration 5
    before = []
    for event in supervise(run, session, every=0.0):
        if isinstance(event, RolledBack):
            assert event.iteration == 5
            last = run.metrics.rows()[-1]
            assert (last["iteration"], last["backoff"], last["rollback"]) == (5, 0.5, True)
        elif event.iteration == 11 and not before:
            before = run.metrics.rows()
    assert [row["iteration"] for row in before] == [1, 11]
    rows = run.metrics.rows()
    assert [row["iteration"] for row in rows] == [1, 5, 11, 13]
    assert rows[0] == before[0]
    assert rows[2]["tau"] == pytest.approx(before[1]["tau"] / 2)


def test_a_run_that_is_stopped_goes_on_where_it_was(tmp_path):
    run, _, session = known.begun(tmp_path)
    for _ in supervise(run, session, stop=lambda: session.iteration == 3, every=math.inf):
        pass
    tree = on_disk(run)
    assert tree["trained"]["iteration"] == session.iteration == 3
    assert differences(bits(session.state_dict()), bits(tree)) == []


def test_a_run_takes_no_other_data(tmp_path):
    run, data, _ = known.begun(tmp_path)
    assert torch.equal(run.data().train, data.train)
    elsewhere = tmp_path / "moved.npy"
    np.save(elsewhere, known.rows())
    assert torch.equal(run.data(str(elsewhere)).train, data.train)
    np.save(elsewhere, known.rows() + 1e-9)
    with pytest.raises(ValueError, match=r"is not what .* was trained on .*with other values"):
        run.data(str(elsewhere))
