"""Pictures: what is drawn is what was given, whatever is given."""

import io
import math
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import noneq
from noneq.report import (
    Energies,
    Filters,
    Samples,
    crooks_figure,
    energies_figure,
    filters_figure,
    report_figure,
    samples_figure,
    training_figure,
)
from noneq.report.axes import histogram, limits, smooth, tiles


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def rows(*shape, seed=0):
    return torch.randn(*shape, generator=rng(seed))


def metrics(n=40):
    """A run of n iterations; renewed twice, of which once refused."""
    return [
        {
            "iteration": i,
            "seconds": 0.1 * i,
            "loss": 0.1,
            "data_energy": 3.0 - i / n,
            "walker_energy": 2.9 - i / n,
            "nll": 5.0 + 3.0 / i,
            "ess": 0.7 + 0.2 * math.sin(i),
            "effective_ancestors": 50.0,
            "resampled": i // 5,
            "acceptance": 0.6,
            "step_size": 0.1,
            "faults": 0.0,
            "log_z": 2.0 - i / n,
            "log_z_held_out": 2.1 - i / n,
            "log_z_held_out_stderr": 0.1,
            "scale": 2.0,
            "cost": 0.08,
            "tau": 0.1,
            "renewed": {10: True, 20: False}.get(i),
        }
        for i in range(1, n + 1)
    ]


def nll(value):
    return {"value": value, "stderr_z": 0.3, "stderr_data": 0.4}


ESTIMATE = {
    "forward": 1.0,
    "forward_stderr": 0.05,
    "backward": 1.1,
    "backward_stderr": 0.04,
    "alarms": [],
    "nll": {"train": nll(5.0), "validation": nll(5.5), "test": nll(5.6), "base": nll(9.0)},
}


def shown(figure):
    """What a reader sees: PNG bytes."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=50)
    assert file.getvalue().startswith(b"\x89PNG")
    return file.getvalue()


def panel(figure, title):
    found = [ax for ax in figure.axes if ax.get_title(loc="left").startswith(title)]
    assert len(found) == 1, [ax.get_title(loc="left") for ax in figure.axes]
    return found[0]


def drawn(ax, label):
    found = [line for line in ax.lines if line.get_label() == label]
    assert len(found) == 1, [line.get_label() for line in ax.lines]
    return found[0].get_data()


# -- arithmetic


@pytest.mark.parametrize(("n", "columns"), [(1, 1), (5, 3), (20, 5), (64, 8), (70, 8)])
@pytest.mark.parametrize("scale", [1, 3])
def test_every_pixel_of_every_image_is_where_it_belongs(n, columns, scale):
    high, wide = 4, 3
    x = torch.rand(n, 3, high, wide, generator=rng()) * 2 - 1
    grid = tiles(x, scale=scale)
    many = min(n, 64)
    lines = math.ceil(many / columns)
    assert grid.shape == (lines * (scale * high + 1) + 1, columns * (scale * wide + 1) + 1, 3)
    for k in range(many):
        r, c = divmod(k, columns)
        for i in range(high):
            for j in range(wide):
                top = 1 + r * (scale * high + 1) + i * scale
                left = 1 + c * (scale * wide + 1) + j * scale
                square = grid[top : top + scale, left : left + scale]
                np.testing.assert_allclose(
                    square, np.broadcast_to((1 + x[k, :, i, j]) / 2, square.shape)
                )


def test_tiles_of_one_two_and_four_channels():
    x = torch.rand(2, 4, 3, 3, generator=rng()) * 2 - 1
    np.testing.assert_array_equal(tiles(x), tiles(x[:, :3]))
    np.testing.assert_array_equal(tiles(x[:, :2]), tiles(x[:, :1]))
    ink = tiles(torch.tensor([1.0, -1.0, 7.0]).view(1, 1, 1, 3))
    np.testing.assert_array_equal(ink[1, 1:4, 0], [0.0, 1.0, 0.0])  # 1 is black, -1 paper


def test_a_histogram_integrates_to_one():
    x, p = rows(500).numpy().astype(float), torch.rand(500, generator=rng(1)).double().numpy()
    x[:3] = math.inf, -math.inf, 1e9
    edges = np.linspace(-2, 2, 12)
    for weight in (None, p, 1e-3 * p):
        assert np.diff(edges) @ histogram(x, edges, weight) == pytest.approx(1, abs=1e-12)
    # a weight k counts as k copies; NaN as nothing; what is outside as the last bin
    heavy = histogram(
        np.array([0.0, 1.0, math.nan]), np.array([-0.5, 0.5, 1.5]), np.array([3.0, 1, 9])
    )
    np.testing.assert_allclose(heavy, [0.75, 0.25])
    np.testing.assert_allclose(
        histogram(np.array([-9.0, 9, 9, 9]), np.array([0.0, 1, 2])), [0.25, 0.75]
    )


def test_a_few_wild_values_do_not_move_the_limits():
    for n in (50, 5000):
        x = rows(n).double().numpy()
        calm = limits(x)
        assert calm[0] < np.quantile(x, 0.01)
        assert calm[1] > np.quantile(x, 0.99)
        x[:2] = 1e9, -1e9
        wild = limits(x)
        assert wild[1] - wild[0] < 1.5 * (calm[1] - calm[0])
    # weights count as copies
    x = rows(300).double().numpy()
    k = np.arange(300) % 3
    assert limits(x, k.astype(float)) == limits(np.repeat(x, k))
    x = np.arange(99.0, -1.0, -1.0)
    k = np.where(x < 50, 9, 1)
    assert limits(x, k.astype(float)) == limits(np.repeat(x, k))


@pytest.mark.parametrize("x", [[], [math.nan, math.inf], [3.0], [2.0] * 9, [0.0, 0.0, 1.0]])
def test_limits_always_span_something(x):
    low, high = limits(np.array(x, dtype=float))
    assert -math.inf < low < high < math.inf


def test_smoothing_keeps_constants_and_gaps():
    y = np.full(50, 3.0)
    y[[0, 7, 8, 30]] = math.nan
    for width in (1, 2, 9, 50):
        np.testing.assert_allclose(smooth(y, width), y, atol=1e-12)
    # away from the ends an odd window leaves a straight line
    line = np.arange(20.0)
    np.testing.assert_allclose(smooth(line, 5)[2:-2], line[2:-2])


# -- training


def test_a_run_is_drawn_as_it_was():
    figure = training_figure(metrics(), ESTIMATE)
    shown(figure)
    x, y = drawn(panel(figure, "log Z"), "held out ± 1 s.e.")
    np.testing.assert_array_equal(x, range(1, 41))
    np.testing.assert_allclose(y, [row["log_z_held_out"] for row in metrics()])
    # the band of one standard error, 0.1, around it
    (band,) = panel(figure, "log Z").collections[0].get_paths()
    low, high = band.vertices[:, 1].min(), band.vertices[:, 1].max()
    assert (low, high) == pytest.approx((min(y) - 0.1, max(y) + 0.1))
    ess = panel(figure, "ESS")
    assert [text.get_text() for text in ess.get_legend().get_texts()] == [
        "ESS", "resampled", "renewed", "refused", "ancestors left",
    ]  # fmt: skip
    # the count rises at every fifth iteration, renewals are at 10 and, refused, at 20
    np.testing.assert_array_equal(drawn(ess, "resampled")[0], range(5, 41, 5))
    assert drawn(ess, "renewed")[0].tolist() == [10]
    assert drawn(ess, "refused")[0].tolist() == [20]


def test_a_count_that_begins_again_is_a_renewal_not_a_resampling():
    run = metrics(8)
    for row, count in zip(run, [0, 1, 1, 0, 0, 2, None, 1], strict=True):
        row["resampled"] = count
    x, _ = drawn(panel(training_figure(run), "ESS"), "resampled")
    assert x.tolist() == [2, 6, 8]  # the last fell back, and resampled since


def test_the_strip_shows_the_bracket_with_its_errors():
    (strip,) = panel(training_figure(metrics(), ESTIMATE), "NLL").child_axes
    assert [label.get_text() for label in strip.get_xticklabels()] == [
        "train",
        "validation",
        "test",
    ]
    for bars, value in zip(strip.containers, (5.0, 5.5, 5.6), strict=True):
        (segment,) = bars[2][0].get_segments()
        np.testing.assert_allclose(segment[:, 1], [value - 0.5, value + 0.5])  # hypot(.3, .4)
        low, high = strip.get_ylim()
        assert low < value - 0.5 < value + 0.5 < high
    (strip,) = panel(training_figure(metrics(), {**ESTIMATE, "nll": None}), "log Z").child_axes
    assert [bars[0].get_ydata()[0] for bars in strip.containers] == [1.0, 1.1]
    for bars, (value, stderr) in zip(strip.containers, ((1.0, 0.05), (1.1, 0.04)), strict=True):
        (segment,) = bars[2][0].get_segments()
        np.testing.assert_allclose(segment[:, 1], [value - stderr, value + stderr])
        assert bars[0].get_markerfacecolor() == "0.2"
    alarmed = training_figure(metrics(), {**ESTIMATE, "alarms": ["the estimates cross"]})
    (strip,) = panel(alarmed, "log Z").child_axes
    assert [bars[0].get_markerfacecolor() for bars in strip.containers] == ["white"] * 2


def test_gaps_stay_gaps():
    run = metrics()
    run[10]["log_z"], run[11]["log_z"] = None, math.nan
    run[12]["log_z"] = -math.inf
    del run[20]["log_z"]
    figure = training_figure(run)
    shown(figure)
    _, y = drawn(panel(figure, "log Z"), "gradient walkers")
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(y)), [10, 11, 12, 20])


def test_a_value_alone_between_gaps_is_seen():
    run = [
        dict(row, nll=row["nll"] if row["iteration"] % 7 == 0 else None) for row in metrics(300)
    ]
    ax = panel(training_figure(run), "NLL")
    dots = [line for line in ax.lines if line.get_marker() == "."]
    assert dots
    for line in dots:
        np.testing.assert_array_equal(line.get_xdata(), range(7, 301, 7))


def test_no_line_joins_what_a_rollback_parts():
    run = metrics(30) + [dict(row, rollback=row["iteration"] == 21) for row in metrics(40)[20:]]
    figure = training_figure(run)
    shown(figure)
    x, y = drawn(panel(figure, "log Z"), "gradient walkers")
    back = np.flatnonzero(np.diff(x) < 0)
    assert len(back) == 1
    assert np.isnan(y[back + 1])
    assert drawn(panel(figure, "ESS"), "rolled back")[0].tolist() == [21]


@pytest.mark.parametrize("n", [1, 5, 5000])
def test_runs_of_any_length(n):
    shown(training_figure(metrics(n), ESTIMATE))


def test_what_was_not_recorded_is_said():
    bare = [{"iteration": i, "data_energy": 1.0, "walker_energy": 1.0} for i in range(1, 9)]
    nothing = {
        "forward": None,
        "backward": math.nan,
        "alarms": ["a side is not finite"],
        "nll": None,
    }
    for estimate in (None, nothing, {**nothing, "nll": {"base": nll(3.0), "test": None}}):
        figure = training_figure(bare, estimate)
        shown(figure)
        for title in ("ESS", "trust region", "moves", "log Z"):
            assert "not recorded" in [text.get_text() for text in panel(figure, title).texts]
        assert not panel(figure, "mean energy").texts


def test_no_metrics_is_an_error():
    with pytest.raises(ValueError, match="needs metrics, got none"):
        training_figure([])


# -- samples and energies


@pytest.mark.parametrize(
    "shape", [(1,), (2,), (3,), (3, 4), (1, 8, 8), (3, 8, 8), (4, 5, 6), (2, 5, 6)]
)
def test_samples_of_every_shape(shape):
    data, model = rows(40, *shape), rows(30, *shape, seed=1)
    images = len(shape) == 3
    columns = min(5, math.prod(shape))
    figure = samples_figure(data.numpy(), model.requires_grad_(), model / 2, columns=("a",))
    shown(figure)
    assert len(figure.axes) == (
        3 if images else {1: 1, 2: 2}.get(columns, columns * (columns + 1) // 2)
    )


def test_outliers_are_told_not_shown():
    data, model = rows(1000, 2), rows(500, 2, seed=1)
    data[:4] = 1e6
    figure = samples_figure(data, model)
    left, right = figure.axes
    assert left.get_xlim() == right.get_xlim()
    assert left.get_ylim() == right.get_ylim()
    inside = np.ones(1000, dtype=bool)
    for column, (low, high) in zip(
        data.T.numpy(), (left.get_xlim(), left.get_ylim()), strict=True
    ):
        assert high - low < 15
        inside &= (column >= low) & (column <= high)
    assert left.get_title(loc="left") == f"data: 1000, {(~inside).sum()} outside"


def test_dots_are_as_many_of_either():
    left, right = samples_figure(rows(9000, 2), rows(700, 2)).axes
    counts = [len(ax.collections[0].get_offsets()) for ax in (left, right)]
    assert counts == [700, 700]


def test_columns_are_named():
    figure = samples_figure(rows(20, 3), rows(20, 3), columns=("mass", "charge"))
    assert {ax.get_xlabel() for ax in figure.axes} == {"", "mass", "charge", "x3"}


def test_samples_of_another_shape_or_none_are_errors():
    with pytest.raises(ValueError, match=r"one shape, got \(3,\) and \(2,\)"):
        samples_figure(rows(5, 2), rows(5, 3))
    for shape in ((0, 2), (0, 1, 4, 4)):
        with pytest.raises(ValueError, match="needs rows, got none"):
            samples_figure(rows(*shape), rows(*shape))


def test_a_spurious_mode_is_a_bump_to_the_left_of_its_weight():
    walkers, p = torch.cat([rows(90), rows(10, seed=1) - 40]), torch.ones(100).double()
    p[90:] = 3.0  # the mode has 30 of 120
    (ax,) = energies_figure(rows(400, seed=2), walkers, p, rows(100, seed=3)).axes
    (steps,) = [patch for patch in ax.patches if patch.get_label() == "walkers, by weight"]
    heights, edges, _ = steps.get_data()
    mass = heights * np.diff(edges)
    assert mass.sum() == pytest.approx(1)
    assert mass[edges[1:] < -20].sum() == pytest.approx(30 / 120)


def test_energies_may_be_infinite_or_alike():
    u = torch.tensor([1.0, 2.0, math.inf])
    shown(energies_figure(u, u, torch.tensor([0.5, 0.5, 0.0])))
    shown(energies_figure(torch.ones(9), torch.ones(4), torch.ones(4)))


# -- the page


@pytest.mark.parametrize("shape", [None, (2,), (6,), (1, 4, 4)])
def test_the_page_has_everything(shape, tmp_path):
    verdict = "bracketed\n" + "alarm: " + 60 * "word "
    more = {}
    if shape is not None:
        more["samples"] = Samples(rows(30, *shape), rows(30, *shape))
        more["energies"] = Energies(rows(30), rows(20), torch.ones(20))
        more["filters"] = Filters(rows(math.prod(shape), 5), shape)
    figure = report_figure("runs/a", verdict, metrics(), estimate=ESTIMATE, **more)
    assert figure.get_figwidth() == 14
    figure.savefig(tmp_path / "report.png", dpi=40)
    assert (tmp_path / "report.png").stat().st_size > 10_000
    titles = {ax.get_title(loc="left").split(":")[0] for ax in figure.axes}
    assert {"NLL, nats a row", "ESS", "log Z", "mean energy"} < titles
    assert ("energies" in titles) == (shape is not None)
    assert any(title.startswith("weights of") for title in titles) == (shape is not None)
    assert len(panel(figure, "log Z").child_axes) == 1  # the bracket
    title, text = (text.get_text() for text in figure.subfigs[0].texts)
    assert title == "runs/a"
    assert text.split() == verdict.split()
    assert max(map(len, text.split("\n"))) < 200


def test_nothing_outside_the_figure_changes(tmp_path):
    code = f"""
import sys, torch, matplotlib
before = dict(matplotlib.rcParams.copy())
from noneq.report import *
x = torch.randn(20, 3)
run = [dict(iteration=i, nll=1.0 / i, ess=0.5) for i in range(1, 9)]
energies = Energies(x[:, 0], x[:, 1], x[:, 2].exp())
page = report_figure("a", "b", run, samples=Samples(x, x), energies=energies)
page.savefig({str(tmp_path / "a.png")!r})
assert dict(matplotlib.rcParams.copy()) == before
print(*[m for m in sys.modules if m.endswith("pyplot")], "done")
"""
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(noneq.__file__).parent.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.split() == ["done"]


def works(n_f=6000, n_b=3000, df=-1.5, sd=1.2):
    """Gaussian work there and back, by Crooks' relation."""
    there = df + sd**2 / 2 + sd * rows(n_f, seed=1)
    return there, -(df - sd**2 / 2 + sd * rows(n_b, seed=2))


def test_the_log_ratio_of_work_is_the_line_of_slope_one():
    there, back = works()
    figure = crooks_figure(there, back, 1.5)
    assert shown(figure)
    ax = panel(figure, "log ratio")
    points, _, (bars,) = ax.containers[0]
    x, y = points.get_data()
    error = np.array([(bar[1, 1] - bar[0, 1]) / 2 for bar in bars.get_segments()])
    assert len(x) > 8
    assert np.all(np.abs(y - (x + 1.5)) < 4 * error + 0.02), "0.02: a bin is not a point"
    (line,) = (one for one in ax.lines if one.get_label() == "W - dF")
    assert np.allclose(np.subtract(*line.get_data()), -1.5)
    left = panel(figure, "work")
    (mark,) = (one for one in left.lines if one.get_label() == "dF = -1.50")
    assert list(mark.get_xdata()) == [-1.5, -1.5]
    for stairs, values in zip(left.patches, (there, -back), strict=True):
        heights, edges, _ = stairs.get_data()
        assert np.sum(heights * np.diff(edges)) == pytest.approx(1.0)
        centre = np.sum(heights * (edges[1:] + edges[:-1]) / 2) / heights.sum()
        assert centre == pytest.approx(float(values.mean()), abs=0.05)


def test_work_is_drawn_whatever_it_is():
    there, back = works(200, 100)
    assert shown(crooks_figure(there, back))
    walkers = [SimpleNamespace(log_w=-work) for work in (there, back)]  # work is -log w
    one, same = (panel(f, "work") for f in (crooks_figure(there, back), crooks_figure(*walkers)))
    for a, b in zip(one.patches, same.patches, strict=True):
        assert np.array_equal(a.get_data()[0], b.get_data()[0])
    far = crooks_figure(there, back - 50.0)
    assert any(text.get_text() == "no overlap" for text in panel(far, "log ratio").texts)
    assert shown(far)
    dead = torch.cat([there, torch.full((50,), math.inf)])
    figure = crooks_figure(dead, back, 1.5)
    assert shown(figure)
    stairs = panel(figure, "work").patches[0]
    assert stairs.get_label() == "W, forward: 250, 50 of weight zero"
    heights, edges, _ = stairs.get_data()
    assert np.sum(heights * np.diff(edges)) == pytest.approx(200 / 250)
    for wrong in (torch.tensor([math.nan, 1.0]), torch.tensor([-math.inf, 1.0]), dead[-2:]):
        with pytest.raises(ValueError, match="the forward work must be numbers"):
            crooks_figure(wrong, back)
        with pytest.raises(ValueError, match="the backward work must be numbers"):
            crooks_figure(there, wrong)


def test_filters_are_the_strongest_columns_in_order():
    w = rows(12, 70, seed=3) * torch.linspace(2.0, 0.1, 70)
    figure = filters_figure(w, (1, 3, 4))
    ax = figure.axes[0]
    assert ax.get_title(loc="left") == "weights of the 64 strongest of the 70 hidden units"
    picture = np.asarray(ax.images[0].get_array())
    assert picture.shape == (8 * 4 + 1, 8 * 5 + 1)
    strongest = w[:, w.square().sum(0).argmax()].view(3, 4)
    np.testing.assert_allclose(picture[1:4, 1:5], strongest, rtol=1e-6)
    assert shown(figure)
    table = filters_figure(w[:, :5], (12,), [f"gene {i}" for i in range(12)])
    assert table.axes[0].images[0].get_array().shape == (5, 12)
    assert shown(table)
    with pytest.raises(ValueError, match="do not fit rows of shape"):
        filters_figure(w, (1, 3, 5))
