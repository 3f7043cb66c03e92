"""Parts of a report's figures: colours, empty figures, curves, final values, markers of events."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from plotly.graph_objects import Figure, Scatter

from noneq.report.axes import Array, limits, smooth, widened
from noneq.report.series import Series
from noneq.run.verdict import Mean

__all__ = [
    "BLUE", "GREEN", "GREY", "ORANGE", "PURPLE", "RED", "blank", "curve", "end", "escaped",
    "events", "fit", "level", "trend",
]  # fmt: skip

# light enough for a dark page and dark enough for a white one, and told apart by the colour-blind
BLUE, ORANGE, GREEN = "#3b82c4", "#d9722b", "#159a72"
PURPLE, RED, GREY = "#b5679a", "#d1495b", "#8a949e"
POINTS = 1500  # of a curve, at most


def blank(x: str, y: str, **layout: Any) -> Figure:
    """Make an empty figure, without colours of text and lines, which the page sets.

    Arguments:
        x: title of the horizontal axis.
        y: title of the vertical axis, with its unit.
        layout: further settings of plotly's layout.

    Returns:
        The figure.
    """
    axis = {"automargin": True, "showline": True, "zeroline": False}
    own = {
        "template": None,
        "margin": {"l": 60, "r": 15, "t": 10, "b": 45},
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom"},
        "xaxis": {**axis, "title": {"text": x}},
        "yaxis": {**axis, "title": {"text": y}},
        "hovermode": "closest",
    }
    figure = Figure(layout=own)
    return figure.update_layout(**layout)


def escaped(name: str) -> str:
    """Escape a name for plotly, which reads a few of HTML's tags.

    Arguments:
        name: any text.

    Returns:
        The text, which plotly shows as it is.
    """
    return name.replace("&", "&amp;").replace("<", "&lt;")


def curve(figure: Figure, x: Array, y: Array, color: str, name: str, **how: Any) -> None:
    """Draw a curve, of at most 1,500 points, with gaps where y is NaN.

    A value alone between two gaps, through which no line goes, gets a marker.

    Arguments:
        figure: figure to draw on.
        x: horizontal positions (M,).
        y: values (M,).
        color: colour of the line and of markers.
        name: name in the legend.
        how: further arguments of plotly's `Scatter`.
    """
    if len(x) > POINTS:
        chosen = np.linspace(0, len(x) - 1, POINTS).round().astype(int)
        x, y = x[chosen], y[chosen]
    own: dict[str, Any] = {"mode": "lines", "line_color": color, "marker_color": color}
    if "marker" in how:
        del own["marker_color"]
    known = np.pad(np.isfinite(y), 1)
    alone = known[1:-1] & ~known[:-2] & ~known[2:]
    if "mode" not in how and alone.any():
        own |= {"mode": "lines+markers", "marker_size": np.where(alone, 7, 0)}
    figure.add_trace(Scatter(x=x, y=y, name=name, **{**own, **how}))


def trend(figure: Figure, run: Series, key: str, color: str, name: str) -> None:
    """Draw values as a thin line, and their running mean over 2 % of the run; nothing without any.

    Arguments:
        figure: figure to draw on.
        run: metrics as arrays.
        key: name of the metric.
        color: colour of both lines.
        name: name in the legend.
    """
    if not np.isfinite(run[key]).any():
        return
    x, y = run["iteration"], run[key]
    thin = {"line_width": 0.7, "opacity": 0.4, "showlegend": False, "hoverinfo": "skip"}
    curve(figure, x, y, color, name, **thin)
    curve(figure, x, smooth(y, 1 + len(y) // 50), color, name)


def end(
    figure: Figure, run: Series, name: str, mean: Mean, color: str, symbol: str = "circle"
) -> None:
    """Draw a final value with its error at the right end of the iterations.

    Arguments:
        figure: figure to draw on.
        run: metrics as arrays.
        name: name in the legend.
        mean: the value with its standard error; nothing is drawn unless it is finite.
        color: colour of the marker.
        symbol: shape of the marker.
    """
    if not math.isfinite(mean.value):
        return
    last, first = run["iteration"].max(), run["iteration"].min()
    x = np.array([last + 0.03 * (last - first or max(last, 1.0))])
    error = {"type": "data", "array": [np.nan_to_num(mean.stderr)]}
    mark = {"size": 9, "color": color, "symbol": symbol}
    y = np.array([mean.value])
    curve(figure, x, y, color, name, mode="markers", error_y=error, marker=mark)


def level(figure: Figure, y: float, name: str) -> None:
    """Draw a horizontal line with its name; nothing unless its height is finite.

    Arguments:
        figure: figure to draw on.
        y: height.
        name: what it is.
    """
    if math.isfinite(y):
        label = {"text": name, "textposition": "start"}
        figure.add_hline(y=y, line_dash="dash", line_width=1, label=label)


def events(figure: Figure, run: Series) -> None:
    """Draw a marker at the top for every renewal, refused renewal and rollback.

    Arguments:
        figure: figure to draw on.
        run: metrics as arrays.
    """
    for event, value, symbol, name in (
        ("renewed", 1, "triangle-down", "renewed"),
        ("renewed", 0, "triangle-down-open", "renewal refused"),
        ("rollback", 1, "x", "rolled back"),
    ):
        at = run["iteration"][run[event] == value]
        if len(at):
            figure.update_layout(
                yaxis3={"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True}
            )
            color = RED if event == "rollback" else GREY
            mark = {"symbol": symbol, "size": 8, "color": color}
            top = np.full(len(at), 0.98)
            curve(figure, at, top, color, name, mode="markers", marker=mark, yaxis="y3",
                   hovertemplate=f"{name}, iteration %{{x}}")  # fmt: skip


def fit(figure: Figure, *lines: Array) -> None:
    """Set limits of the vertical axis that leave out outliers, such as those of the start.

    Arguments:
        figure: figure whose axis it is.
        lines: values of the curves; all values but those of the first curve are shown.
    """
    y = np.concatenate(lines)
    low, high = limits(y, tail=0.0, far=1.0, margin=0.0)
    ends = [v for one in lines[1:] for v in one if math.isfinite(v)]  # these are always shown
    figure.update_layout(yaxis_range=widened(min([low, *ends]), max([high, *ends]), 0.08))
