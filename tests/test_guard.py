"""What guards a run: signals are noted once and handlers restored, a lock is always released."""

import importlib
import os
import signal
import subprocess
import sys

import known
import numpy as np
import pytest

from noneq import checkpoint
from noneq.cli import main
from noneq.guard import BusyError, locked
from noneq.signals import interrupts

BOTH = (signal.SIGINT, signal.SIGTERM)


def handlers():
    return [signal.getsignal(number) for number in BOTH]


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", BOTH)
def test_the_first_signal_is_noted_and_the_second_stops(number):
    said = []
    with interrupts(lambda: said.append("once")) as interrupted:
        assert interrupted() == 0
        send(number)
        assert interrupted() == number
        assert said == ["once"]
        with pytest.raises(KeyboardInterrupt):
            send(number)
        assert said == ["once"]
        assert interrupted() == number


def test_a_second_signal_of_the_other_kind_stops_too():
    with interrupts(lambda: None) as interrupted:
        send(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)
        assert interrupted() == signal.SIGTERM


@pytest.mark.parametrize("how", ["calmly", "after a signal", "by an error"])
def test_handlers_are_restored(how):
    before = handlers()
    try:
        with interrupts(lambda: None):
            assert handlers() != before
            if how == "after a signal":
                send(signal.SIGTERM)
            if how == "by an error":
                raise RuntimeError
    except RuntimeError:
        assert how == "by an error"
    assert handlers() == before


@pytest.mark.parametrize(
    ("number", "at"), [(signal.SIGINT, 2), (signal.SIGTERM, 2), (signal.SIGTERM, 8)]
)
def test_the_exit_code_is_that_of_the_signal(tmp_path, monkeypatch, number, at):
    # in the last of the iterations, too: what is left to do would take minutes
    np.save(tmp_path / "x.npy", known.rows())
    train = importlib.import_module("noneq.commands.train")  # whose function has its name
    real, lines = train._line, []

    def noted(record, run):
        lines.append(record.iteration)
        if record.iteration == at:
            send(number)
        return real(record, run)

    monkeypatch.setattr(train, "_line", noted)
    options = [f"--{k.replace('_', '-')}={v}" for k, v in known.SMALL.items()]
    folder = tmp_path / "r"
    assert main(["train", str(tmp_path / "x.npy"), "--out", str(folder), *options]) == 128 + number
    assert lines == [*range(1, at + 1)]
    assert checkpoint.load(folder / "state")["trained"]["iteration"] == at
    assert not (folder / "likelihood.json").exists()
    with locked(folder):  # nobody has it any more
        pass
    at = 0
    assert main(["train", "--out", str(folder), "--resume"]) == 0
    assert checkpoint.load(folder / "state")["trained"]["iteration"] == 8
    assert (folder / "likelihood.json").exists()


# -- the lock


def test_a_lock_is_for_one(tmp_path):
    with locked(tmp_path):
        with pytest.raises(BusyError, match="another process is working on this run"):
            locked(tmp_path).__enter__()
        code = (
            "import sys; from pathlib import Path; from noneq.guard import BusyError, locked\n"
            "try: locked(Path(sys.argv[1])).__enter__()\n"
            "except BusyError: sys.exit(7)"
        )
        other = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
        assert other.returncode == 7
    with locked(tmp_path):
        pass


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_lock_is_released_after_an_error(tmp_path, error):
    with pytest.raises(error), locked(tmp_path):
        raise error
    with locked(tmp_path):
        pass
