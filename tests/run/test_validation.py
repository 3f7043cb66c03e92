"""Early stopping: the validation rows choose the parameters that are kept, and the end."""

import math
from dataclasses import replace

import known
import pytest
import torch

from noneq import Session
from noneq.annealing import population
from noneq.data import load
from noneq.energies import Gaussian
from noneq.likelihood import log_z
from noneq.run import choose, evaluation, supervise, validation
from noneq.run.evaluation import evaluate_run, is_its_base
from noneq.run.validation import Look, Validation, ended_early
from noneq.run.verdict_file import read_verdict
from noneq.walkers import Walkers

FAST = {"tau": 0.5, "width": 64, "lr": 1e-2}
CHANGES = {**known.SMALL, "early_stopping": True, "iterations": 60, "width": 16, "depth": 2}


@pytest.fixture(autouse=True)
def _often(monkeypatch):
    """Iterations are so short here that a look costs as much as many of them."""
    monkeypatch.setattr("noneq.run.validation.SHARE", 20.0)


def session_of(rows, validation, seed=0, **changes):
    recipe = choose((2,), len(rows), "table", **{**CHANGES, **changes})
    return Session(recipe, rows, seed, validation=validation)


def near(x, session):
    return Walkers.at(x[:64], session.energy)


def two(n, seed):
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 2, generator=rng) @ torch.tensor([[1.0, 0.6], [0.0, 0.5]])
    x[: n // 3] += torch.tensor([4.0, -3.0])
    x = x[torch.randperm(n, generator=rng)]
    return (x - torch.tensor([1.33, -1.0])) / 2


def watched(looks):
    """What is decided after looks of known NLL, the first of them at the base."""
    all_looks = [Look(i, nll, 0.0) for i, nll in looks]
    return Validation(torch.zeros(1, 2), torch.nn.Identity(), 5, 0, all_looks)


def test_training_ends_after_looks_and_iterations_without_anything_better():
    falling = [(0, 9.0), (10, 8.0), (20, 7.0), (30, 6.0)]
    assert not watched(falling).finished
    # four looks, but not yet as many iterations as the best took
    assert not watched([*falling, (36, 7.0), (42, 7.0), (48, 7.0), (54, 7.0)]).finished
    assert watched([*falling, (40, 7.0), (48, 7.0), (56, 7.0), (64, 7.0)]).finished
    # as many iterations, but three looks
    assert not watched([*falling, (40, 7.0), (60, 7.0), (80, 7.0)]).finished
    assert watched([(0, 9.0), (5, 9.5), (10, 9.6), (15, 9.7), (20, 9.8)]).finished


def test_only_a_training_with_budget_left_was_ended_by_the_validation_rows():
    falling = [(i, 9.0 - i / 32) for i in range(0, 33, 8)]
    level = [(40, 8.5), (48, 8.5), (56, 8.5), (64, 8.5)]
    for iterations, looks, early in (
        (100, [*falling, *level], True),
        (64, [*falling, *level], False),  # its budget ended at the same iteration
        (100, falling, False),
    ):
        recipe = choose((2,), 100, "table", iterations=iterations)
        saved = {"looks": [[i, nll, 0.0, 1.0] for i, nll in looks], "origin": 0}
        state = {"validation": saved, "trained": {}, "seconds": 1.0}
        assert ended_early(recipe, state) == early
    assert not ended_early(recipe, {"validation": None, "trained": {}, "seconds": 1.0})
    assert not ended_early(recipe, {"validation": saved, "trained": None, "seconds": 1.0})


def test_looks_come_ever_more_rarely():
    found = watched([(0, 9.0)])
    assert not found.due(4)
    assert found.due(5)
    late = watched([(0, 9.0), (800, 5.0)])
    assert not late.due(899)
    assert late.due(900)


def test_a_look_is_the_nll_of_the_averaged_model():
    # of a model whose log Z is known: a Gaussian tilted by a linear network
    rows = two(400, 1)
    session = session_of(rows, two(300, 2), width=2, depth=1)
    known.tilt(session.average, [0.7, -0.4])
    mean, cov, _ = known.exact(session.average, [0.7, -0.4])
    normal = torch.distributions.MultivariateNormal(mean, cov)
    x = normal.sample((64,)).float()
    found = session.validation.look(session.average, session.kernel, near(x, session), 7)
    assert found.factor == 0.7  # the rows are those of the base
    mean, cov, _ = known.exact(session.average, [0.7 * 0.7, 0.7 * -0.4])
    normal = torch.distributions.MultivariateNormal(mean, cov)
    truth = float(-normal.log_prob(two(300, 2).double()).mean())
    assert 0 < found.stderr < 0.1
    assert abs(found.nll - truth) < 4 * found.stderr
    assert session.validation.looks[0].nll == pytest.approx(
        float(session.energy.base(two(300, 2)).mean()) + session.energy.base.log_z(), abs=1e-5
    )


def test_the_model_that_is_kept_is_shrunk_as_the_rows_like_best():
    # they lie three quarters of the way from the base to the model
    rows, a = two(400, 1), [0.9, -0.6]
    begun = session_of(rows, two(300, 2), width=2, depth=1)
    mean, cov, _ = known.exact(begun.average, a)
    there = begun.average.base.mean.double() - 0.75 * (cov @ torch.tensor(a).double())
    held = torch.distributions.MultivariateNormal(there, cov).sample((4000,)).float()
    session = session_of(rows, held - held.mean(0) + there.float(), width=2, depth=1)
    known.tilt(session.average, a)
    x = torch.distributions.MultivariateNormal(mean, cov).sample((64,)).float()
    found = session.validation.look(session.average, session.kernel, near(x, session), 7)
    assert found.factor < 0.9
    assert session.validation.best is found
    f, kept = session.average(x) - session.average.base(x), session.model
    torch.testing.assert_close(kept(x), kept.base(x) + found.factor * f)


@pytest.mark.parametrize("shift", [-5.0, 5.0])
def test_the_larger_estimate_of_log_z_counts(shift, monkeypatch):
    # forward annealing that misses a mode, or overrates one: the backward estimate is right
    session = session_of(two(400, 1), two(300, 2), width=2, depth=1)
    known.tilt(session.average, [0.7, -0.4])
    mean, cov, _ = known.exact(session.average, [0.7, -0.4])
    x = torch.distributions.MultivariateNormal(mean, cov).sample((64,)).float()
    right = session.validation.look(session.average, session.kernel, near(x, session), 7)

    def wrong(*args, **how):
        walkers, schedule = population(*args, **how)
        walkers.log_w.add_(shift)  # before anything has been read of them
        return walkers, schedule

    monkeypatch.setattr(validation, "population", wrong)
    found = session.validation.look(session.average, session.kernel, near(x, session), 7)
    assert found.nll - right.nll == pytest.approx(max(shift, 0.0), abs=0.3)


def test_looks_do_not_change_the_training():
    rows = two(300, 1)
    with_looks, without = session_of(rows, two(100, 2)), session_of(rows, None)
    for session in (with_looks, without):
        for record in session:
            if record.iteration == 20:
                break
    assert with_looks.validation.looks[1:]
    for a, b in zip(with_looks.energy.parameters(), without.energy.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_best_parameters_are_kept():
    # 40 rows, of which a network soon learns too much
    session = session_of(two(40, 1), two(200, 2), **FAST, iterations=300)
    list(session)
    looks, best = session.validation.looks, session.validation.best
    assert session.progress == 1
    assert session.iteration < 300, "it ended early"
    assert best.nll - min(look.nll for look in looks) <= 3 * best.stderr
    assert best.iteration < session.iteration
    again = session.validation.look(
        session.model, session.kernel, session.trained.walkers, best.iteration
    )
    assert again.nll == pytest.approx(best.nll, abs=0.2)  # another step size: another log Z


def test_it_is_the_average_that_is_looked_at_and_kept():
    session = session_of(two(300, 1), two(200, 2), **FAST)
    for _ in session:
        if session.validation.best.iteration:
            break
    kept = list(session.model.parameters())
    for a, b in zip(kept, session.average.parameters(), strict=True):
        assert torch.equal(a, b)
    raw = zip(kept, session.energy.parameters(), strict=True)
    assert not all(torch.equal(a, b) for a, b in raw)


def test_a_session_that_is_resumed_goes_on_with_its_looks():
    rows, validation = two(300, 1), two(100, 2)
    whole = session_of(rows, validation)
    list(whole)
    first, second = session_of(rows, validation), session_of(rows, validation)
    for record in first:
        if record.iteration == 31:
            break
    second.load_state_dict(first.state_dict())
    assert second.validation.best == first.validation.best
    list(second)
    assert second.validation.looks == whole.validation.looks
    for a, b in zip(second.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_look_without_log_z_is_no_improvement():
    x = two(100, 1)
    session = session_of(x, two(50, 2))
    with torch.no_grad():
        for p in session.average.parameters():
            p.fill_(math.nan)
    found = session.validation.look(session.average, session.kernel, near(x, session), 3)
    assert found.nll == math.inf
    assert session.validation.best.iteration == 0
    assert is_its_base(session.model, two(50, 2))


def test_rows_of_a_gaussian_keep_the_base(tmp_path):
    run, data, session = known.begun(tmp_path, **{**CHANGES, "width": 2, "depth": 1})
    session = Session(session.recipe, data.train, validation=data.validation)
    known.tilt(session.average, [0.7, -0.4])  # worse than the base, whatever the looks say
    session.validation.model.load_state_dict(session.average.state_dict())
    run.save(session)
    found = evaluate_run(run, data)
    assert found.kept == "base"
    assert found.lost.value > 0
    assert found.exact
    assert found.nll == found.base
    assert "so that the base was kept" in found.summary()[0]
    energy, _ = run.model()
    assert is_its_base(energy, data.test)
    assert read_verdict(run, energy) == found


def test_a_supervised_run_ends_early_and_says_so_in_its_metrics(tmp_path):
    path = tmp_path / "rows.npy"
    known.np.save(path, two(60, 1).numpy())
    data = load(path)
    recipe = choose(data.shape, len(data.train), "table", **{**CHANGES, **FAST, "iterations": 800})
    session = Session(recipe, data.train, validation=data.validation)
    run = known.Run.create(tmp_path / "r", data, session)
    list(supervise(run, session))
    assert session.iteration < 800
    seen = [row["validation_nll"] for row in run.metrics.rows() if "validation_nll" in row]
    assert seen == [look.nll for look in session.validation.looks[1:]]
    energy, _ = run.model()
    assert torch.equal(energy(data.test), session.model(data.test))
    lowest = session.validation.lowest
    assert f"{lowest.nll - 1:.2f} at {lowest.iteration}" in session.validation.progress_line(1.0)


def test_without_validation_rows_the_average_is_kept():
    session = session_of(two(100, 1), None)
    assert session.validation is None
    assert session.model is session.average
    assert isinstance(session.energy.base, Gaussian)


def test_before_the_first_look_the_average_is_kept():
    session = session_of(two(100, 1), two(50, 2))
    next(iter(session))
    assert len(session.validation.looks) == 1
    assert session.model is session.average


def test_validation_rows_are_asked_for_where_a_training_had_them():
    rows, validation = two(300, 1), two(100, 2)
    begun, without = session_of(rows, validation), session_of(rows, None)
    with pytest.raises(ValueError, match="give the session its rows again"):
        without.load_state_dict(begun.state_dict())
    next(iter(without))
    begun.load_state_dict(without.state_dict())  # its looks begin anew
    assert len(begun.validation.looks) == 1


@pytest.mark.parametrize(("by", "kept"), [(1.0, "base"), (-3.0, "model")])
def test_of_a_doubtful_log_z_the_larger_one_decides(tmp_path, monkeypatch, by, kept):
    run, data, _ = known.begun(tmp_path, **{**CHANGES, "width": 2, "depth": 1})
    session = Session(run.recipe, data.train)
    known.tilt(session.average, [0.7, -0.4])
    run.save(session)

    def moved(estimate):
        return estimate._replace(value=estimate.value + by)

    def whole(*args, **kwargs):
        found = log_z(*args, **kwargs)
        return replace(found, forward=moved(found.forward), backward=moved(found.backward))

    monkeypatch.setattr(
        evaluation, "log_z", lambda *a, **k: replace(whole(*a, **k), alarms=("doubt",))
    )
    found = evaluate_run(run, data)
    assert found.kept == kept
    assert found.alarms == (("doubt",) if kept == "model" else ())
    assert is_its_base(run.model()[0], data.test) == (kept == "base")


def test_an_rbm_has_no_early_stopping():
    with pytest.raises(ValueError, match="does not apply to `model` rbm"):
        choose((6,), 100, "table", model="rbm", early_stopping=True)


def looked(*looks):
    """A validation that has seen these NLLs with these standard errors, ten iterations apart."""
    found = session_of(two(60, 1), two(50, 2)).validation
    found.looks = [Look(10 * i, nll, stderr) for i, (nll, stderr) in enumerate(looks)]
    return found


def test_the_last_look_as_good_as_the_lowest_is_kept():
    assert looked((9.0, 0.0), (5.0, 0.3), (5.2, 0.1), (6.0, 0.1)).best.iteration == 20
    assert looked((9.0, 0.0), (5.0, 0.1), (5.2, 0.1), (6.0, 0.1)).best.iteration == 10
    assert looked((9.0, 0.0), (5.0, 0.1), (5.5, 1.0)).best.iteration == 10  # doubtful, not as good
    assert looked((9.0, 0.0), (9.1, 0.5)).best.iteration == 0  # the base, unless one is lower
    assert looked((9.0, 0.0), (8.0, 0.1), (math.inf, math.nan)).best.iteration == 10


def test_score_matching_must_be_beaten_by_two_standard_errors():
    seen = looked((9.0, 0.0), (5.0, 0.3), (4.2, 0.3), (4.1, 0.3), (3.9, 0.3))
    assert seen.best.iteration == 40
    seen.origin = 9  # the look at 10 is at the model of score matching
    assert seen.best.iteration == 30 + 10
    seen.looks.pop()
    assert seen.best.iteration == 30
    seen.looks.pop()
    assert seen.best.iteration == 10
    seen.origin = 0
    assert seen.best.iteration == 20
    # that its own log Z is uncertain is no reason to keep it
    seen = looked((9.0, 0.0), (5.0, 0.9), (3.8, 0.1), (3.7, 0.1))
    seen.origin = 9
    assert seen.best.iteration == 30


def test_only_looks_that_are_surely_worse_end_a_training():
    level = [(5.2, 0.2)] * 11
    assert not looked((9.0, 0.0), (5.0, 0.2), *level).finished
    assert looked((9.0, 0.0), (5.0, 0.2), *level, (5.2, 0.2)).finished
    assert not looked((9.0, 0.0), (5.0, 0.2), *[(5.5, 0.2)] * 4).finished
    assert looked((9.0, 0.0), (5.0, 0.2), *[(5.6, 0.2)] * 4).finished
    assert looked((9.0, 0.0), (5.0, 0.05), *[(5.2, 0.05)] * 4).finished
    assert not looked((9.0, 0.0), (5.0, 0.05), *[(5.2, 0.05)] * 3).finished
    assert looked((9.0, 0.0), *[(math.inf, math.nan)] * 4).finished
