"""Mistakes in figures: what is drawn is another number, or stands in another place."""

from __future__ import annotations

__all__ = ["FIGURES"]

FIGURE = "test_figures.py::test_"
PIXELS = (FIGURE + "every_pixel_of_every_image_is_where_it_belongs",)
CHANNELS = (FIGURE + "tiles_of_one_two_and_four_channels",)
ONE = (FIGURE + "a_histogram_integrates_to_one",)
WILD = (FIGURE + "a_few_wild_values_do_not_move_the_limits",)
SPAN = (FIGURE + "limits_always_span_something",)
MEANS = (FIGURE + "smoothing_keeps_constants_and_gaps",)
RUN = (FIGURE + "a_run_is_drawn_as_it_was",)
COUNT = (FIGURE + "a_count_that_begins_again_is_a_renewal_not_a_resampling",)
STRIP = (FIGURE + "the_strip_shows_the_bracket_with_its_errors",)
GAPS = (FIGURE + "gaps_stay_gaps",)
ALONE = (FIGURE + "a_value_alone_between_gaps_is_seen",)
BACK = (FIGURE + "no_line_joins_what_a_rollback_parts",)
UNSAID = (FIGURE + "what_was_not_recorded_is_said",)
NOTHING = (FIGURE + "no_metrics_is_an_error",)
PAGE = (FIGURE + "the_page_has_everything",)
NAMES = ("test_names.py::test_weights_and_the_page_show_names_as_they_are",)
MATCHING = (
    "test_cli_interpolants.py::test_the_picture_of_score_matching_is_its_loss_and_what_it_came_to",
)

FIGURES = (
    # -- arithmetic
    ("tiles: white is black", "axes:tiles", "-x[..., [0, 0, 0]]", "x[..., [0, 0, 0]]", CHANNELS),
    ("tiles: colours beyond their range", "axes:tiles", ".clip(-1, 1)", "", CHANNELS),
    ("tiles: column by column", "axes:mosaic", "grid[k // columns, 1:, k % columns, 1:]",
     "grid[k % rows, 1:, k // rows, 1:]", PIXELS),
    ("histogram: what is outside is hidden", "axes:histogram",
     "np.clip(x[known], edges[0], edges[-1])", "x[known]", ONE),
    ("histogram: without weights", "axes:histogram", "None if p is None else p[known]", "None",
     ONE),
    ("limits: without weights", "axes:limits", "np.cumsum(p[order])", "np.cumsum(0 * p + 1)",
     WILD),
    ("limits: weights in another order", "axes:limits", "np.cumsum(p[order])", "np.cumsum(p)",
     WILD),
    ("limits: outliers are shown", "axes:limits", "(near >= x[low] - room)",
     "(near >= -math.inf)", WILD),
    ("limits: of nothing", "axes:widened", "if high - low > least else", "if True else", SPAN),
    ("means: gaps count as zeros", "axes:smooth", "np.maximum(count, 1.0)", "width", MEANS),
    ("means: gaps are filled", "axes:smooth",
     "np.where(known, total / np.maximum(count, 1.0), np.nan)",
     "total / np.maximum(count, 1.0)", MEANS),
    ("line: a value alone is not seen", "axes:line", "known & ~padded[:-2] & ~padded[2:]",
     "known & False", ALONE),
    ("legend: of the twin alone", "axes:finish", "handles += more[0]", "handles = more[0]", RUN),
    # -- metrics
    ("series: a line joins what a rollback parts", "series:series",
     'row["iteration"] <= rows[-1]["iteration"]', "False", BACK),
    ("series: infinity is drawn", "series:number", "math.isfinite(found)", "True", GAPS),
    ("series: a restart is a resampling", "series:rises", "(count[known] > 0)",
     "(count[known] >= 0)", COUNT),
    ("series: a resampling after a restart is missed", "series:rises",
     " | ((step < 0) & (count[known] > 0))", "", COUNT),
    ("series: of nothing", "series:series", "if not metrics:", "if False:", NOTHING),
    # -- panels
    ("training: errors are added", "report_training:_nll", "math.hypot(x.get", "max(x.get",
     STRIP),
    ("training: the base among the results", "report_training:_nll", 'known.pop("base", {})',
     'known.get("base", {})', STRIP),
    ("training: backward is forward", "report_training:_log_z",
     'for name in ("forward", "backward")', 'for name in ("forward", "forward ")', STRIP),
    ("training: log Z without its errors", "report_training:_log_z", 'f"{name}_stderr"',
     '"stderr"', STRIP),
    ("training: the band is one-sided", "report_training:_log_z", "held - stderr", "held", RUN),
    ("training: refused renewals look renewed", "report_training:_renewals",
     '("renewed", 0, "v"', '("renewed", 1, "v"', RUN),
    ("training: alarms are not shown", "report_training:_ends",
     '"white" if estimate.get("alarms")', '"0.2" if estimate.get("alarms")', STRIP),
    ("training: the bracket outside of the picture", "report_training:_reach",
     "for sign in (-1, 1)", "for sign in ()", STRIP),
    ("training: what is not recorded is blank", "report_training:draw_training",
     "if not ax.lines and not ax.child_axes:", "if False:", UNSAID),
    ("training: panels of another training", "report_training:_panels", 'if any("rate" in row',
     'if all("nll" in row', MATCHING),
    # -- the page
    ("page: long lines are cut", "page:report_figure", "textwrap.wrap(literal(one), 190)",
     "[literal(one)[:190]]", PAGE),
    ("page: lines run out of the page", "page:report_figure", "textwrap.wrap(literal(one), 190)",
     "[literal(one)]", PAGE),
    ("page: a title is mathematics", "page:report_figure", "literal(title)", "title", NAMES),
    ("page: without the bracket", "page:report_figure", "draw_training(middle, metrics, estimate)",
     "draw_training(middle, metrics)", PAGE),
    ("page: filters are left out", "page:report_figure", "if filters is not None:", "if False:",
     PAGE),
)  # fmt: skip
