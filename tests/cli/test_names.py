"""Names that mean something to a terminal, to rich or to matplotlib: only ever shown."""

import io
import os
import shutil

import numpy as np
import pytest
from command_line import QUICK, rows
from matplotlib.figure import Figure
from rich.console import Console

from noneq import Run
from noneq.cli import console
from noneq.cli.main import main
from noneq.data import load
from noneq.data.plaintext import literal, visible
from noneq.report import filters_figure, report_figure, samples_figure

NAMES = ("$\\frac{", "a_b$_$", "\x1b[31mred\x07", "[bold]x[/nothing]", "_", "line\nend", "\u202ex")


def drawn(figure: Figure) -> list[str]:
    """Draw it, and return the texts of its axes."""
    figure.savefig(io.BytesIO(), dpi=20)
    found = [text.get_text() for text in figure.findobj(lambda a: hasattr(a, "get_text"))]
    assert not any(c in text for text in found for c in "\x1b\x07\u202e")
    return found


@pytest.mark.parametrize("width", [1, 2, 3, 5])
@pytest.mark.parametrize("first", NAMES)
def test_names_are_drawn_as_they_are(width, first):
    names = (first, *NAMES)[:width]
    x = rows()[:, [0, 1, 2, 0, 1]][:, :width]
    found = drawn(samples_figure(x, x, None, names))
    for name in names:
        assert literal(name) in found
    assert visible(first).count("$") == literal(first).count("\\$")


def test_weights_and_the_page_show_names_as_they_are():
    found = drawn(filters_figure(np.eye(7), (7,), NAMES))
    assert {literal(name) for name in NAMES} <= set(found)
    metrics = [{"iteration": i, "nll": 1.0} for i in (1, 2)]
    found = drawn(report_figure("run $\\frac{\x1b", "log Z of $\\frac{\x1b$\nnext", metrics))
    assert r"run \$\frac{\x1b" in found
    assert "log Z of \\$\\frac{\\x1b\\$\nnext" in found


def test_long_names_are_cut():
    x = rows()[:, :2]
    found = drawn(samples_figure(x, x, None, ("n" * 10_000, "b")))
    assert "n" * 37 + "..." in found
    assert visible("ab", 4) == "ab"


def test_a_terminal_gets_no_character_that_it_acts_on(monkeypatch):
    out = io.StringIO()
    shown = Console(file=out, force_terminal=True, color_system=None, width=200, soft_wrap=True)
    monkeypatch.setattr(console, "console", shown)
    console.echo("a \x1b[31m[bold]\x9b\udcff\nb")
    console.show_table("[bold]title\x1b", ["", "[x]"], [["\x1b[31m", "[/nothing]"]])
    told = out.getvalue()
    assert not set(told) & {"\x1b", "\x9b", "\udcff"}
    assert "a \\x1b[31m[bold]\\x9b\\xff\nb" in told
    for words in ("[bold]title\\x1b", "[x]", "\\x1b[31m", "[/nothing]"):
        assert words in told


@pytest.fixture
def odd(tmp_path, monkeypatch):
    """A table with odd names in a folder whose name is not UTF-8."""
    folder = tmp_path / os.fsdecode(b"d\xe9p\xf4t $\x1b[31m")
    folder.mkdir()
    monkeypatch.chdir(folder)
    x = np.c_[rows(), rows(seed=1), rows(seed=2)[:, 0]]
    header = ",".join(f'"{name}"' for name in NAMES)
    text = "\n".join(",".join(map(str, row)) for row in x)
    (folder / "~data.csv").write_text(f"{header}\n{text}\n", encoding="utf-8")
    return folder


def test_a_run_reaches_its_verdict_whatever_its_names(odd, capsys):
    out = os.fsdecode(b"r\xe9sult $\\frac{")
    assert main(["train", "~data.csv", "--out", out, "--iterations", "2", *QUICK]) == 0
    assert main(["train", "--out", out, "--iterations", "3", "--resume"]) == 0
    assert main(["report", out]) == 0
    assert main(["sample", out, "-n", "4", "--out", os.fsdecode(b"s\xe9.npz")]) == 0
    assert main(["score", out, "~data.csv"]) == 0
    assert main(["logz", out]) == 0
    told = capsys.readouterr().out
    assert not [c for c in told if c != "\n" and not c.isprintable()]
    assert "$\\frac{, a_b$_$, \\x1b[31mred\\x07, [bold]x[/nothing], _, line\\nend, ..." in told
    assert "r\\xe9sult $\\frac{" in told
    assert Run(out).config["data"]["columns"] == list(NAMES)
    assert (odd / out / "report.html").exists()


def test_errors_show_names_as_they_are(odd, capsys):
    assert main(["train", os.fsdecode(b"n\xe9\x1b[31m.csv")]) == 1
    told = capsys.readouterr().err
    assert told.startswith("noneq: error: n\\xe9\\x1b[31m.csv: no such file")
    assert told.count("\n") == 1


def test_a_file_named_as_a_home_folder_has_a_run_of_that_name(odd):
    assert load("~data.csv").source == str(odd.resolve() / "~data.csv")
    assert main(["train", "~data.csv", "--iterations", "1", *QUICK]) == 0
    assert (odd / "runs" / "~data" / "samples.png").exists()
    shutil.rmtree("runs")
