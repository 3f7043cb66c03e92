"""`benchmarks.gpu`, the program for a GPU, runs on a processor; a failure hides no other."""

import json
import time
import warnings

import pytest
import torch

from benchmarks.device_report import Outcome, Report, close, near
from benchmarks.device_waits import synchronisations
from benchmarks.gpu import main
from noneq.energies import evaluate


def test_it_runs_on_a_processor_and_finds_nothing_wrong(tmp_path, capsys):
    out = tmp_path / "gpu.json"
    assert main("cpu", small=True, out=out, seconds=3000.0) == 0, capsys.readouterr().out
    found = json.loads(out.read_text(encoding="utf-8"))
    assert found["device"] == "processor"
    assert {entry["status"] for entry in found["entries"]} == {"ok"}
    assert {entry["part"] for entry in found["entries"]} == {"checks", "waits", "speed"}
    assert len(found["entries"]) > 35
    assert main("cpu", small=True, out=out, seconds=0.0) == 0  # nothing is done, all is named
    again = json.loads(out.read_text(encoding="utf-8"))
    assert {entry["status"] for entry in again["entries"]} == {"skipped"}
    assert len(again["entries"]) == len(found["entries"])


def test_a_failure_hides_no_other(tmp_path, capsys):
    def raises():
        raise RuntimeError("some tensors are elsewhere")

    def hangs():
        while True:
            time.sleep(0.01)

    report = Report(tmp_path / "r.json", 60.0, {"device": "none"})
    found = [
        report.check("a", "raises", raises, 5.0),
        report.check("a", "hangs", hangs, 0.1),
        report.check("a", "off", lambda: near(1.0, 2.0, 0.2), 5.0),
        report.check("a", "right", lambda: near(1.0, 1.7, 0.2), 5.0),
        report.check("a", "measures", lambda: Outcome(None, "3 ms"), 5.0),
    ]
    assert [entry.status for entry in found] == ["error", "error", "FAILED", "ok", "ok"]
    assert report.counts() == {"ok": 2, "FAILED": 1, "error": 2, "skipped": 0}
    saved = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert "some tensors are elsewhere" in saved["entries"][0]["text"]
    assert "in raises" in saved["entries"][0]["traceback"]
    assert "TimeoutError" in saved["entries"][1]["text"]
    assert "some tensors are elsewhere" in capsys.readouterr().out


@pytest.mark.parametrize(("value", "ok"), [(0.5e-3, True), (2e-3, False), (float("nan"), False)])
def test_rounding(value, ok):
    assert close(value, 1e-3, "difference").ok is ok


def test_waits_are_named_by_the_line_of_the_library(monkeypatch):
    """Torch's debug mode warns; which it does here by the energy itself."""
    modes = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: 0)
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)

    def energy(x):
        warnings.warn("called a synchronizing CUDA operation (of line 9)", stacklevel=1)
        warnings.warn("something else", stacklevel=1)
        return x.square().sum(1)

    with synchronisations() as found:
        for _ in range(3):
            evaluate(energy, torch.ones(2, 2))
        energy(torch.ones(2, 2))
    assert modes == ["warn", 0]
    own = {line: count for line, count in found.items() if line.startswith("energies/base.py:")}
    assert sum(own.values()) == 3
    assert all(line.endswith(" evaluate") for line in own)
    assert found["outside"] == 1
