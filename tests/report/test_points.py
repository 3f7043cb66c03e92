"""A run of which one iteration was logged: curves of a single point are seen."""

import numpy as np
from plotly.graph_objects import Figure

from noneq.report.html.curves import training_sections
from noneq.report.html.figures import curve
from noneq.report.html.page import Plot

ROW = {
    "iteration": 7, "seconds": 1.0, "nll": 3.0, "ess": 0.9, "effective_ancestors": 50.0,
    "acceptance": 0.6, "step_size": 0.3, "cost": 0.01, "tau": 0.02, "log_z": 0.5,
    "log_z_held_out": 0.4, "log_z_held_out_stderr": 0.1, "data_energy": 1.0,
    "walker_energy": 1.1, "validation_nll": 3.5,
}  # fmt: skip


def shown(trace):
    """The number of points of a trace that are drawn, on a line or as markers."""
    y = np.asarray(trace.y, dtype=float)
    known = np.pad(np.isfinite(y), 1)
    size = np.broadcast_to(trace.marker.size if trace.marker.size is not None else 6.0, y.shape)
    marked = "markers" in trace.mode and (size > 0)
    joined = "lines" in trace.mode and (known[:-2] | known[2:])
    return int((known[1:-1] & (marked | joined)).sum())


def test_a_single_logged_iteration_is_drawn_and_told():
    for metrics in ([ROW], [{**ROW, "rate": 0.1, "loss": 2.0}]):
        for section in training_sections(metrics, None):
            (plot,) = section.parts
            assert isinstance(plot, Plot)
            assert all(shown(trace) == len(trace.y) == 1 for trace in plot.figure.data)
            assert "a single point, as no other iteration was logged with it." in plot.alt


def test_its_error_is_a_bar():
    section = next(s for s in training_sections([ROW], None) if s.title.startswith("log Z"))
    bars = [trace for trace in section.parts[0].figure.data if trace.error_y.array is not None]
    assert [float(trace.error_y.array[0]) for trace in bars] == [0.1]


def test_a_value_alone_between_gaps_has_a_marker_and_others_have_none():
    figure, gap = Figure(), np.nan
    y = np.array([1.0, gap, 2.0, 3.0, gap, 4.0])
    curve(figure, np.arange(6.0), y, "red", "y")
    curve(figure, np.arange(2.0), np.array([1.0, 2.0]), "red", "joined")
    alone, joined = figure.data
    assert (np.asarray(alone.marker.size) > 0).tolist() == [True, False, False, False, False, True]
    assert shown(alone) == 4
    assert joined.mode == "lines"
