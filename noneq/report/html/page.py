"""The parts of a report, and how they become one HTML file.

A page has a headline, sentences, commands to type, and sections. A section has plots, pictures,
tables or a view of pairs of columns, and one line that says what good looks like.
"""

from __future__ import annotations

import base64
import html
import json
import math
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import jinja2
from markupsafe import Markup
from plotly.graph_objects import Figure
from plotly.io.json import to_json_plotly
from plotly.offline import get_plotlyjs

from noneq.run.atomic import write

__all__ = [
    "Page", "Pairs", "Part", "Picture", "Plot", "Section", "Table", "check_replaceable",
    "write_page",
]  # fmt: skip


class Plot(NamedTuple):
    """A figure that the reader can zoom and point at.

    Attributes:
        figure: figure of plotly, without colours of text and lines, which the page sets.
        alt: what the figure shows, in a sentence, for readers who do not see it.
    """

    figure: Figure
    alt: str


class Picture(NamedTuple):
    """A picture of pixels, shown without smoothing.

    Attributes:
        png: content of a PNG file.
        title: words above the picture.
        alt: what it shows, in a sentence, for readers who do not see it.
        small: whether it is one of many that stand side by side.
    """

    png: bytes
    title: str
    alt: str
    small: bool = False


class Table(NamedTuple):
    """A table of texts, whose first column names the rows.

    Attributes:
        columns: headings.
        rows: rows of as many texts.
        caption: words above the table.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""


class Pairs(NamedTuple):
    """Rows of data and samples of a model, of which any two columns can be chosen to be drawn.

    Attributes:
        names: names of the columns.
        data: rows (M, D).
        samples: samples (N, D).
        texts: for columns of texts, by the number of the column from 0, those texts.
    """

    names: Sequence[str]
    data: Any
    samples: Any
    texts: dict[int, Sequence[str]]


Part: TypeAlias = Plot | Picture | Table | Pairs
"""The type of what a section shows."""


@dataclass(frozen=True)
class Section:
    """A section of a page.

    Attributes:
        title: heading.
        good: what good looks like, in one line; empty: nothing is said.
        parts: what is shown, in this order.
        text: paragraphs below the heading.
    """

    title: str
    good: str = ""
    parts: Sequence[Part] = ()
    text: Sequence[str] = ()


@dataclass(frozen=True)
class Page:
    """A report before it is written to a file.

    Attributes:
        title: name of the run or runs.
        state: "good" if the likelihoods can be believed, "bad" if not, else "unknown".
        headline: the verdict in a few words.
        summary: sentences below the headline.
        commands: commands to type next, each with what it does.
        sections: the sections.
        mark: kind of page, and of what it is, in the head of the file: a page replaces no other.
    """

    title: str
    state: Literal["good", "bad", "unknown"]
    headline: str
    summary: Sequence[str]
    commands: Sequence[tuple[str, str]]
    sections: Sequence[Section]
    mark: str = "report"


def check_replaceable(path: Path, mark: str) -> None:
    """Check that a page may be written: that it replaces nothing, or a page of the same mark.

    Arguments:
        path: file that is to be written.
        mark: the mark of the page, see `Page`.

    Raises:
        FileExistsError: the file is none of noneq, or a page with another mark.
        OSError: the file cannot be read.
    """
    if not path.is_file() or not path.stat().st_size:
        return
    with path.open("rb") as file:
        head = file.read(HEAD).decode("utf-8", "replace")
    found = re.search('<meta name="noneq-page" content="([^"]*)">', head)
    title = re.search("<title>(.*): noneq report</title>", head)
    if found:
        there = html.unescape(found[1])
    elif title:  # a page of an earlier version
        there = "comparison" if title[1].startswith("Comparison of ") else "report"
    else:
        raise FileExistsError(
            f"{path}: is there already, and is no page of noneq report, which would replace it: "
            "name another file (`out`)"
        )
    if there != mark:
        raise FileExistsError(
            f"{path}: holds a {_told(there)}, which a {_told(mark)} does not replace: name "
            "another file (`out`)"
        )


def _told(mark: str) -> str:
    return "report of one run" if mark == "report" else mark


def write_page(page: Page, path: Path) -> None:
    """Write a page to an HTML file, with all that it needs: nothing is fetched when it is read.

    The file has the script of plotly in it, about 5 MB.

    Arguments:
        page: page to write.
        path: file to write; it is replaced in one piece.

    Raises:
        FileExistsError: there is a file that is no page of the same mark.
        OSError: the file cannot be written.
    """
    check_replaceable(path, page.mark)
    folder = jinja2.FileSystemLoader(Path(__file__).parent)
    templates = jinja2.Environment(
        loader=folder, autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    templates.tests["plot"] = lambda part: isinstance(part, Plot)
    templates.tests["picture"] = lambda part: isinstance(part, Picture)
    templates.tests["table"] = lambda part: isinstance(part, Table)
    templates.filters["figure"] = lambda plot: _script(to_json_plotly(plot.figure))
    templates.filters["pairs"] = _pairs
    templates.filters["base64"] = lambda png: base64.b64encode(png).decode("ascii")
    # a template would be searched for what to escape, and plotly's script is long
    marks = {name: secrets.token_hex(16) for name in ("style", "plotly", "script")}
    text = templates.get_template("page.html").render(page=page, **marks)
    own = {name: Path(__file__).parent / file for name, file in _FILES.items()}
    texts = {name: file.read_text(encoding="utf-8") for name, file in own.items()}
    texts["plotly"] = get_plotlyjs()
    for name, mark in marks.items():
        text = text.replace(mark, texts[name], 1)
    write(path, text.encode("utf-8", "backslashreplace"))


HEAD = 100_000  # bytes that a page's mark and title are looked for in

_FILES = {"style": "page.css", "script": "page.js"}


def _script(text: str) -> Markup:
    """Escape JSON so that nothing in it can end the element of a script."""
    return Markup(text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026"))


def _pairs(pairs: Pairs) -> Markup:
    plain = {
        "names": list(pairs.names),
        "data": [list(map(_number, column)) for column in pairs.data.T],
        "samples": [list(map(_number, column)) for column in pairs.samples.T],
        "texts": {str(j): list(words) for j, words in pairs.texts.items()},
    }
    return _script(json.dumps(plain, allow_nan=False))


def _number(value: float) -> float | None:
    """Return a number with five digits; None, which JSON has, where it is not finite."""
    return float(f"{value:.5g}") if math.isfinite(value) else None
