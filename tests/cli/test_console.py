"""The terminal: narrow, closed, or of an encoding that lacks a sign."""

import io
import re
import sys

import pytest

from noneq.cli import console
from noneq.cli.console import echo, show_table, training_bar

LONG = (
    "iteration 123456, NLL ~ 1234.56, ESS 0.65, accept 0.60, tau 0.123 of 0.200, renewals 123, "
    "resampled 1234"
)


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


def narrow(monkeypatch):
    """A terminal of 80 columns, for a test to call: before it pytest changes sys.stdout."""
    out = Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setenv("TERM", "xterm")
    own = console.Console(file=console._Output(), highlight=False, soft_wrap=True, width=80)
    monkeypatch.setattr(console, "console", own)
    return out


def shown(text):
    """The lines of a terminal without the codes that move its cursor."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "\n").split("\n")


def test_progress_fits_in_80_columns(monkeypatch):
    terminal = narrow(monkeypatch)
    with training_bar() as show:
        show(0.37, 700.0, LONG)
    lines = shown(terminal.getvalue())
    assert max(map(len, lines)) <= 80
    words = " ".join(" ".join(lines).split())
    assert "37% 20 min left" in words
    assert LONG in words  # nothing of it is cut off


def test_a_notebook_gets_lines_that_are_not_drawn_anew(monkeypatch):
    terminal = narrow(monkeypatch)
    monkeypatch.setenv("JPY_PARENT_PID", "1")
    with training_bar() as show:
        show(0.371, 700.0, "iteration 1")
        show(0.372, 700.0, "iteration 2")
    assert list(console.tracked([1, 2], "forward")) == [1, 2]
    told = terminal.getvalue()
    assert not re.search(r"\x1b\[[0-9?]*[A-KShl]", told)  # of the cursor
    assert re.findall("iteration 1|iteration 2|forward: 2 steps", told) == [
        "iteration 1", "forward: 2 steps",
    ]  # fmt: skip


def test_the_table_of_likelihoods_fits_in_80_columns(monkeypatch):
    terminal = narrow(monkeypatch)
    means = ["-1234.56 ± 12.34"] * 3
    rows = [["Independent base", *means], ["model (NOT bracketed)", *means]]
    show_table("Nats a row", ["", "train", "validation", "test"], rows)
    lines = terminal.getvalue().splitlines()
    assert max(map(len, shown(terminal.getvalue()))) <= 80
    assert sum("1234.56 ± 12.34" in line for line in lines) == 2  # none is broken


class Broken(Terminal):
    """A stream whose reader has gone after a number of lines."""

    def __init__(self, error, lines):
        super().__init__()
        self.error, self.lines = error, lines

    def isatty(self):
        return False

    def write(self, text):
        self.lines -= 1
        if self.lines < 0:
            raise self.error
        return super().write(text)

    def fileno(self):
        raise OSError("none")


@pytest.mark.parametrize(
    "error", [BrokenPipeError(32, "Broken pipe"), OSError(5, "EIO"), ValueError]
)
def test_an_output_that_is_lost_is_told_once_and_stops_nothing(monkeypatch, capsys, error):
    out = Broken(error, 1)
    monkeypatch.setattr(sys, "stdout", out)
    for i in range(4):
        echo(f"line {i}")
    assert out.getvalue() == "line 0\n"
    told = capsys.readouterr().err
    assert told.count("noneq: the output is lost") == 1
    assert "kill -TERM" in told
    monkeypatch.setattr(sys, "stdout", io.StringIO())  # another is not lost
    echo("again")
    assert sys.stdout.getvalue() == "again\n"


def test_a_program_without_an_output_goes_on(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    echo("nobody hears it")


@pytest.mark.parametrize(
    ("encoding", "told"), [("ascii", "1 \\xb1 2 \\xff\n"), ("utf-8", "1 ± 2 \\xff\n")]
)
def test_what_the_encoding_lacks_is_escaped(monkeypatch, encoding, told):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    echo("1 ± 2 \udcff")  # as of a folder whose name is not UTF-8
    assert raw.getvalue().decode(encoding) == told
