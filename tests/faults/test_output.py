"""An output that nobody reads any more neither stops a run nor its saving."""

import os
import signal

import known
import pytest
from children import child, finished, rows_file, train

from noneq import Run


@pytest.mark.parametrize("how", ["pipe", "terminal", "full", "closed"])
def test_a_run_goes_on_when_its_output_is_lost(tmp_path, how):
    data, log = rows_file(tmp_path), tmp_path / "err"
    command = train(data, tmp_path / how, "--iterations", 8)
    if how == "closed":
        code = finished(command, err=str(log), close=True)
    elif how == "full":
        code = finished(command, out="/dev/full", err=str(log))
    else:
        code = read_two_lines(command, log, os.pipe if how == "pipe" else os.openpty)
    told = log.read_text()
    assert code == 0, told
    assert Run(tmp_path / how).bracketed
    assert Run(tmp_path / how).metrics.rows()[-1]["iteration"] == 8
    assert told.count("noneq: the output is lost") == (how != "closed"), told
    assert len(told.splitlines()) <= 1, told  # no traceback, nothing at exit


def read_two_lines(command, log, opened):
    """The exit code; the reader of the output goes after two lines, as head -2 does."""
    ours, theirs = opened()
    log.touch()
    from multiprocessing.reduction import DupFd

    with child(command, out=DupFd(theirs), err=str(log)) as process:
        os.close(theirs)
        seen = b""
        while seen.count(b"\n") < 2:
            seen += os.read(ours, 1)
        os.close(ours)
        process.join(120)
        return process.exitcode


def test_a_terminal_that_closes_saves_the_run(tmp_path):
    # the kernel sends SIGHUP, and nothing can be written any more
    data, folder = rows_file(tmp_path), tmp_path / "r"
    assert finished(train(data, tmp_path / "whole", "--iterations", 40)) == 0
    ours, theirs = os.openpty()
    from multiprocessing.reduction import DupFd

    with child(train(data, folder, "--iterations", 40), out=DupFd(theirs)) as process:
        os.close(theirs)
        while b"iteration" not in os.read(ours, 1000):
            pass
        os.close(ours)
        os.kill(process.pid, signal.SIGHUP)
        process.join(60)
        assert process.exitcode == 128 + signal.SIGHUP
    assert finished(["train", "--out", folder, "--resume"]) == 0
    assert known.bits(folder) == known.bits(tmp_path / "whole")
