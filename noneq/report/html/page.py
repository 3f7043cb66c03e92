"""The parts of a report, and how they become one HTML file.

A page has a headline, sentences, commands to type, and sections. A section has plots, pictures,
tables or a view of pairs of columns, and one line that says what good looks like.
"""

from __future__ import annotations

import base64
import json
import math
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

__all__ = ["Page", "Pairs", "Part", "Picture", "Plot", "Section", "Table", "write_page"]


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
    """

    title: str
    state: Literal["good", "bad", "unknown"]
    headline: str
    summary: Sequence[str]
    commands: Sequence[tuple[str, str]]
    sections: Sequence[Section]


def write_page(page: Page, path: Path) -> None:
    """Write a page to an HTML file, with all that it needs: nothing is fetched when it is read.

    The file has the script of plotly in it, about 5 MB.

    Arguments:
        page: page to write.
        path: file to write; it is replaced in one piece.

    Raises:
        OSError: the file cannot be written.
    """
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
