"""HTML by which notebooks show walkers, records of training, and estimates of log Z.

Colours and fonts are those of the page, so that it is readable in light and in dark themes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

__all__ = ["html_table"]


def html_table(title: str, rows: Mapping[str, str], alarms: Sequence[str] = ()) -> str:
    """Write a title, a table of two columns, and a list of alarms as HTML.

    Arguments:
        title: the line above the table, without markup, as are all other texts.
        rows: the name of a quantity and its value, for each row of the table.
        alarms: sentences that say what may be wrong, listed below the table.

    Returns:
        The HTML, in which no text is taken for markup.

    >>> html_table("NLL < 6", {}, ["too few walkers"])
    '<p><b>NLL &lt; 6</b></p><ul><li>too few walkers</li></ul>'
    """
    left = 'style="text-align: left"'  # a notebook aligns cells right
    cells = "".join(
        f"<tr><th {left}>{escape(name)}</th><td {left}>{escape(value)}</td></tr>"
        for name, value in rows.items()
    )
    table = f"<table>{cells}</table>" if cells else ""
    listed = "".join(f"<li>{escape(alarm)}</li>" for alarm in alarms)
    return f"<p><b>{escape(title)}</b></p>{table}" + (f"<ul>{listed}</ul>" if listed else "")
