"""What guards a run: signals are noted once and handlers restored, a lock is always released."""

import errno
import fcntl
import os
import signal
import subprocess
import sys

import known
import numpy as np
import pytest

from noneq.cli.main import main
from noneq.cli.signals import STOPPING, interrupts, stoppable
from noneq.run import checkpoint
from noneq.run.learners import LikelihoodLearner
from noneq.run.lock import BusyError, locked

INSISTENT = (signal.SIGINT, signal.SIGTERM)
OTHERS = (signal.SIGHUP, signal.SIGUSR1, signal.SIGXCPU)
ALL = INSISTENT + OTHERS


def handlers():
    return [signal.getsignal(number) for number in ALL]


def send(number):
    os.kill(os.getpid(), number)


def test_the_signals_are_these():
    assert set(STOPPING) == set(ALL)


@pytest.mark.parametrize("number", INSISTENT)
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


@pytest.mark.parametrize("number", OTHERS)
def test_what_comes_again_by_itself_does_not_stop_the_saving(number):
    # a shell sends SIGHUP on, and SIGXCPU comes every second
    with interrupts(lambda: None) as interrupted:
        for _ in range(3):
            send(number)
        assert interrupted() == number
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)


@pytest.mark.parametrize("number", ALL)
def test_a_signal_that_is_ignored_stays_ignored(number):
    # as under nohup, or SIGINT in the background of a script
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with interrupts(lambda: None) as interrupted, stoppable():
            send(number)
            assert interrupted() == 0
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize("error", [BrokenPipeError, RuntimeError("reentrant call")])
def test_a_signal_is_noted_though_nothing_can_be_said(error):
    def echo():
        raise error

    with interrupts(echo) as interrupted:
        send(signal.SIGHUP)
        assert interrupted() == signal.SIGHUP


@pytest.mark.parametrize("number", ALL)
def test_outside_of_training_a_signal_stops_with_its_exit_code(tmp_path, monkeypatch, number):
    def bracket(*_):
        send(number)
        send(number if number in OTHERS else 0)  # as it may come again
        raise AssertionError

    monkeypatch.setattr("noneq.cli.logz.bracket", bracket)
    before = handlers()
    assert main(["logz", str(tmp_path)]) == 128 + number
    assert handlers() == before


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


@pytest.mark.parametrize(("number", "at"), [*((number, 2) for number in ALL), (signal.SIGTERM, 8)])
def test_the_exit_code_is_that_of_the_signal(tmp_path, monkeypatch, number, at):
    # in the last of the iterations, too: what is left to do would take minutes
    np.save(tmp_path / "x.npy", known.rows())
    real, lines = LikelihoodLearner.progress_line, []

    def noted(self, record, volume):
        lines.append(record.iteration)
        if record.iteration == at:
            send(number)
        return real(self, record, volume)

    monkeypatch.setattr(LikelihoodLearner, "progress_line", noted)
    options = known.options()
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
            "import sys; from pathlib import Path; from noneq.run.lock import BusyError, locked\n"
            "try: locked(Path(sys.argv[1])).__enter__()\n"
            "except BusyError: sys.exit(7)"
        )
        other = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
        assert other.returncode == 7
    with locked(tmp_path):
        pass


def test_a_lock_file_removed_by_hand_admits_nobody(tmp_path):
    with locked(tmp_path):
        (tmp_path / "lock").unlink()
        with pytest.raises(BusyError):
            locked(tmp_path).__enter__()
    with locked(tmp_path):
        pass


def test_a_folder_that_cannot_be_locked_has_its_lock_file(tmp_path, monkeypatch):
    # as on some file systems of a network
    def flock(handle, how):
        if os.path.isdir(f"/proc/self/fd/{handle}"):  # noqa: PTH112
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return real(handle, how)

    real = fcntl.flock
    monkeypatch.setattr(fcntl, "flock", flock)
    with locked(tmp_path), pytest.raises(BusyError):
        locked(tmp_path).__enter__()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_lock_is_released_after_an_error(tmp_path, error):
    with pytest.raises(error), locked(tmp_path):
        raise error
    with locked(tmp_path):
        pass
