"""metrics.jsonl: whole lines, numbers that JSON has, nothing from after the checkpoint."""

import json
import math
from types import SimpleNamespace

import pytest

from noneq.run.json_numbers import without_nan
from noneq.run.learners import LikelihoodLearner
from noneq.run.metrics import Metrics, line
from noneq.training import Record, TrainState
from noneq.walkers import LogZ


@pytest.fixture
def metrics(tmp_path):
    found = Metrics(tmp_path / "metrics.jsonl")
    for i in (1, 11, 21):
        found.add({"iteration": i, "nll": i / 2})
    return found


def iterations(metrics):
    return [row["iteration"] for row in metrics.rows()]


def test_no_file_is_no_rows(tmp_path):
    metrics = Metrics(tmp_path / "metrics.jsonl")
    assert metrics.rows() == []
    metrics.trim(3)
    assert metrics.rows() == []


def test_rows_come_back(metrics):
    assert metrics.rows() == [{"iteration": i, "nll": i / 2} for i in (1, 11, 21)]


def test_what_json_lacks_is_null(metrics):
    metrics.add({"iteration": 22, "a": math.nan, "b": math.inf, "c": -math.inf, "d": None})
    metrics.add({"iteration": 23, "a": 1e308, "b": True, "c": -0.0, "d": "nan"})
    *_, first, second = metrics.rows()
    assert first == {"iteration": 22, "a": None, "b": None, "c": None, "d": None}
    assert second == {"iteration": 23, "a": 1e308, "b": True, "c": -0.0, "d": "nan"}

    def strict(name):
        raise AssertionError(name)

    for text in metrics.path.read_text().splitlines():
        json.loads(text, parse_constant=strict)
    nested = {"a": (1.0, math.inf), "b": {"c": math.nan}}
    assert without_nan(nested) == {"a": [1.0, None], "b": {"c": None}}
    assert without_nan(7) == 7
    assert without_nan(False) is False


@pytest.mark.parametrize("torn", ['{"iteration": 31, "n', "{", '{"iteration": 31, "nll": 1.5'])
def test_a_line_that_was_cut_short_is_left_out(metrics, torn):
    # a process was killed in the middle of it
    with metrics.path.open("a") as file:
        file.write(torn)
    assert iterations(metrics) == [1, 11, 21]
    metrics.trim(21)  # as a run does that goes on
    metrics.add({"iteration": 22})
    assert iterations(metrics) == [1, 11, 21, 22]


@pytest.mark.parametrize(
    "damage",
    [
        b'{"iteration": 11, "nl',
        b'{"iteration": 11, "nll": \xff}',
        b'{"iteration": "11"}',
        b'{"iteration": 11, "backoff": "half"}',
        b"[11]",
        b"11",
        b"",
        b"[" * 100_000,
    ],
)
def test_a_damaged_line_costs_that_line_and_is_told(metrics, damage):
    lines = metrics.path.read_bytes().split(b"\n")
    metrics.path.write_bytes(b"\n".join([lines[0], damage, *lines[2:]]))
    assert iterations(metrics) == [1, 21]
    assert metrics.damage() == f"{metrics.path}: 1 damaged, left out: line 2"
    metrics.trim(21)
    assert metrics.damage() == ""
    assert iterations(metrics) == [1, 21]


def test_of_many_damaged_lines_some_are_named(metrics):
    metrics.path.write_bytes(b"?\n" * 7 + metrics.path.read_bytes())
    assert metrics.damage().endswith("7 damaged, left out: line 1, 2, 3, 4, 5, ...")
    assert iterations(metrics) == [1, 11, 21]


def test_a_line_that_a_kill_cut_short_is_no_damage(metrics):
    with metrics.path.open("a") as file:
        file.write('{"iteration": 31, "n')
    assert metrics.damage() == ""


def test_a_rollback_that_the_checkpoint_knows_nothing_of_is_forgotten(metrics):
    # killed between the line and the checkpoint: it will be rolled back, and logged, again
    for backoff in (0.5, 0.25):
        metrics.add({"iteration": 15, "backoff": backoff, "reason": "?", "rollback": True})
    metrics.trim(15, backoff=0.5)
    assert metrics.rows()[-1] == {
        "iteration": 15, "backoff": 0.5, "reason": "?", "rollback": True,
    }  # fmt: skip
    metrics.trim(15, backoff=1.0)
    assert iterations(metrics) == [1, 11]


@pytest.mark.parametrize(("at", "kept"), [(0, []), (10, [1]), (11, [1, 11]), (99, [1, 11, 21])])
def test_what_came_after_a_checkpoint_is_forgotten(metrics, at, kept):
    metrics.trim(at)
    assert iterations(metrics) == kept
    assert [p.name for p in metrics.path.parent.iterdir()] == ["metrics.jsonl"]


def test_a_line_of_a_run_without_trust_region_or_log_z():
    walkers = SimpleNamespace(effective_ancestors=3.0, weights=SimpleNamespace(resampled=2))
    state = TrainState(4, walkers, None, SimpleNamespace(), None)
    unknown = LogZ(math.nan, math.nan)
    record = Record(
        iteration=4, seconds=9.0, loss=0.5, data_energy=3.0, nll=math.nan, ess=1.0,
        acceptance=math.nan, faults=0.0, log_z=unknown, log_z_held_out=unknown, scale=1.0,
        cost=math.nan, renewed=None, state=state,
    )  # fmt: skip
    session = SimpleNamespace(
        seconds=1.23456, learner=LikelihoodLearner(None), validation_metrics=dict
    )
    found = line(record, session)
    assert found["iteration"] == 4
    assert found["seconds"] == 1.235  # of the training, interruptions included
    assert found["walker_energy"] == 2.5
    assert (found["effective_ancestors"], found["resampled"], found["redone"]) == (3.0, 2, 0)
    for name in ("nll", "log_z", "log_z_held_out", "cost", "tau", "step_size", "acceptance"):
        assert math.isnan(found[name])
