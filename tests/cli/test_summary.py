"""The end of a training: what is said, and which commands are named, in each case."""

from dataclasses import replace

import known
import pytest

from noneq.annealing import TooFarError
from noneq.cli import summary
from noneq.cli.summary import summarise
from noneq.run.evaluation import evaluate_run


@pytest.fixture
def run(tmp_path):
    """A run that has been saved and not yet evaluated, and its data."""
    made, data, session = known.begun(tmp_path)
    made.save(session)
    return made, data


def ended(monkeypatch, error):
    def evaluated(*_, **__):
        raise error

    monkeypatch.setattr(summary, "evaluate_run", evaluated)


@pytest.mark.parametrize("error", [FloatingPointError("why"), TooFarError("why")])
def test_a_likelihood_that_cannot_be_bracketed_is_a_failure(run, monkeypatch, capsys, error):
    ended(monkeypatch, error)
    assert summarise(*run) == 1
    told = capsys.readouterr().out
    assert "NOT bracketed, and nothing can be said of it: why" in told
    assert "Train again with half the --tau or more --moves; or try noneq logz " in told
    assert f"noneq logz {run[0].folder} --bracket.temperatures 80" in told


def test_an_interrupted_bracket_is_told_and_not_swallowed(run, monkeypatch, capsys):
    ended(monkeypatch, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        summarise(*run)
    assert f"Bracket its likelihood: noneq logz {run[0].folder}\n" in capsys.readouterr().out


def test_a_full_disk_is_told_with_the_way_on(run, monkeypatch):
    ended(monkeypatch, OSError(28, "No space left on device"))
    with pytest.raises(OSError, match=rf"the model is kept.*noneq logz {run[0].folder} brackets"):
        summarise(*run)


def test_more_walkers_are_advised_only_where_alarms_were_raised(run, monkeypatch, capsys):
    verdict = evaluate_run(*run)
    more = f"noneq logz {run[0].folder} --bracket.walkers 128"
    for alarms in ((), ("the estimates cross",)):
        found = replace(verdict, alarms=alarms)
        monkeypatch.setattr(summary, "evaluate_run", lambda *_, found=found, **__: found)
        assert summarise(*run) == 0
        told = capsys.readouterr().out
        assert (more in told) == bool(alarms)
        assert ("model (NOT bracketed)" in told) == bool(alarms)
        assert f"noneq score {run[0].folder} rows.csv" in told
        assert (run[0].folder / "samples.png").exists()
