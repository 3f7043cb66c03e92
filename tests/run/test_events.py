"""Metrics as events of TensorBoard: the numbers of the file, and nothing twice after a resume."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import QUICK, refused, rows
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from noneq.cli.main import main
from noneq.run.events import tensorboard_events


def scalars(folder, name):
    """The events of a metric: value by iteration."""
    read = EventAccumulator(str(folder))
    read.Reload()
    return [(event.step, event.value) for event in read.Scalars(name)]


def test_a_training_is_shown_while_it_goes_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", rows())
    args = ["train", "x.npy", "--out", "runs/a", "--tensorboard", "board", *QUICK]
    assert main([*args, "--iterations", "11"]) == 0
    lines = [json.loads(line) for line in Path("runs/a/metrics.jsonl").read_text().splitlines()]
    wanted = [(row["iteration"], row["ess"]) for row in lines if "ess" in row]
    assert len(wanted) >= 2
    found = scalars("board/a", "ess")
    assert [step for step, _ in found] == [step for step, _ in wanted]
    np.testing.assert_allclose([v for _, v in found], [v for _, v in wanted], rtol=1e-6)
    again = ["train", "--out", "runs/a", "--resume", "--iterations", "21"]
    assert main([*again, "--tensorboard", "board"]) == 0
    steps = [step for step, _ in scalars("board/a", "ess")]
    assert steps == sorted(set(steps))
    assert steps[-1] == 21


def test_what_is_missing_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ImportError, match=r"noneq\[tensorboard\]"):
        tensorboard_events(tmp_path)
    np.save(tmp_path / "x.npy", rows())
    args = ["train", tmp_path / "x.npy", "--out", tmp_path / "r", "--iterations", "2", *QUICK]
    assert "noneq[tensorboard]" in refused([*args, "--tensorboard", tmp_path / "b"], capsys)
