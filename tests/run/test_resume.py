"""A run whose last checkpoint is damaged goes on from its last good state; damage is told."""

import importlib
import re

import known
import numpy as np
import pytest

from noneq import Run
from noneq.cli.main import main
from noneq.run import checkpoint

OPTIONS = known.options()

supervising = importlib.import_module("noneq.run.supervise")  # whose function has its name


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A finished run of 8 iterations whose last good state is of iteration 6."""
    monkeypatch.setattr(supervising, "GOOD", 3)
    np.save(tmp_path / "x.npy", known.rows())
    folder = tmp_path / "r"
    assert main(["train", str(tmp_path / "x.npy"), "--out", str(folder), *OPTIONS]) == 0
    assert checkpoint.load(folder / "good")["trained"]["iteration"] == 6
    return folder


def refused(args, capsys):
    capsys.readouterr()
    assert main(list(map(str, args))) == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    return told


def flipped(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def damaged(folder, how):
    (tensors,) = folder.glob("tensors-*")
    if how == "cut short":
        tensors.write_bytes(tensors.read_bytes()[:-9])
    elif how == "missing":
        tensors.unlink()
    elif how == "gone":
        (folder / "state.json").unlink()
    else:
        flipped(tensors if how == "a bit" else folder / "state.json")


@pytest.mark.parametrize("how", ["a bit", "a bit of json", "cut short", "missing", "gone"])
def test_a_damaged_state_is_told_with_the_way_out(run, capsys, how):
    whole = known.bits(run)
    damaged(run / "state", how)
    told = refused(["train", "--out", run, "--resume"], capsys)
    assert "holds no checkpoint" in told if how == "gone" else "damaged" in told
    (again,) = re.findall(r"noneq (train .*) goes on from its last good state, iteration 6", told)
    assert again == f"train --out {run} --resume --from good"
    assert main(again.split()) == 0
    assert "going on at iteration 6" in capsys.readouterr().out
    assert known.bits(run) == whole


def test_a_run_from_its_good_state_is_saved_at_once(run, monkeypatch):
    # so that whatever comes next, --resume goes on from there
    def stopped(*_, **__):
        raise KeyboardInterrupt
        yield

    damaged(run / "state", "a bit")
    with monkeypatch.context() as patch:
        patch.setattr(importlib.import_module("noneq.cli.train"), "supervise", stopped)
        assert main(["train", "--out", str(run), "--resume", "--from", "good"]) == 130
    assert checkpoint.load(run / "state")["trained"]["iteration"] == 6
    assert main(["train", "--out", str(run), "--resume"]) == 0


def test_a_good_state_that_is_damaged_is_no_way_out(run, capsys):
    damaged(run / "good", "a bit")
    told = refused(["train", "--out", run, "--resume", "--from", "good"], capsys)
    assert f"noneq train --out {run} --resume goes on from its last checkpoint, iter" in told
    damaged(run / "state", "a bit")
    told = refused(["train", "--out", run, "--resume"], capsys)
    assert "its other checkpoint cannot be read either: train a new run" in told


def test_to_go_on_from_somewhere_is_to_resume(tmp_path, capsys):
    told = refused(["train", "digits", "--out", tmp_path / "r", "--from", "good"], capsys)
    assert "--from good is what to go on from: give --resume, too" in told
    assert not (tmp_path / "r").exists()


def test_damaged_metrics_are_told_and_cost_a_line(run, capsys):
    path = run / "metrics.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) == 2
    path.write_bytes(b"\xff" + lines[0] + lines[1])
    capsys.readouterr()
    assert main(["report", str(run)]) == 0
    assert "metrics.jsonl: 1 damaged, left out: line 1" in capsys.readouterr().out
    assert main(["train", "--out", str(run), "--resume", "--iterations", "11"]) == 0
    assert "metrics.jsonl: 1 damaged, left out: line 1" in capsys.readouterr().out
    assert [row["iteration"] for row in Run(run).metrics.rows()] == [8, 11]
    assert main(["report", str(run)]) == 0
    assert "left out" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "command", "mends"),
    [
        ("likelihood.json", ["score", "{}", "{}/../x.npy"], "noneq logz {} makes it anew"),
        ("population.safetensors", ["report", "{}"], "noneq logz {} makes it anew"),
        ("model.safetensors", ["sample", "{}"], "noneq train --out {} --resume writes it anew"),
    ],
)
def test_the_file_that_is_damaged_is_told_with_what_mends_it(run, capsys, name, command, mends):
    args = [word.format(run) for word in command]
    flipped(run / name)
    told = refused(args, capsys)
    assert f"{name}: damaged" in told
    assert mends.format(run) in told
    again = re.findall(r"noneq (\S.*) (?:makes|writes) it anew", told)[-1]
    assert main(again.split()) == 0
    assert main(args + (["--out", f"{run}.npz"] if command[0] == "sample" else [])) == 0


def test_a_config_that_is_damaged_is_told(run, capsys):
    flipped(run / "config.json")
    for args in (["report", run], ["train", "--out", run, "--resume"], ["sample", run]):
        told = refused(args, capsys)
        assert "config.json: damaged" in told
        assert "restore it from a copy" in told
