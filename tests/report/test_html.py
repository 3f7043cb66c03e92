"""The report as a page: its words, its numbers, and what a browser makes of it."""

import json
import math
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from types import SimpleNamespace

import known
import numpy as np
import pytest
import torch

from noneq import Run, Session
from noneq.data import load
from noneq.report.distributions import Samples
from noneq.report.html import comparison, write_comparison, write_report
from noneq.report.html.page import Page, Pairs, Picture, Section, Table, write_page
from noneq.report.html.run_page import headline
from noneq.report.html.samples import samples_section
from noneq.run import choose
from noneq.run.differences import Difference
from noneq.run.evaluation import evaluate_run
from noneq.run.likelihoods import nll_of_splits, splits_of
from noneq.run.verdict import Mean
from noneq.run.verdict_file import read_verdict

NAMES = ["</script ><b>BaNaNa", "-Infinity & b", "ärger $x$", 'q"uote']


class Reader(HTMLParser):
    """Tables by their captions, contents of scripts, and everything that has an address."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.scripts, self.addresses, self.words = {}, [], [], ""
        self.inside, self.caption, self.row = [], "", []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        own = dict(attributes)
        self.addresses += [own[k] for k in ("src", "href", "data", "action") if own.get(k)]
        if tag not in ("meta", "link", "img", "br"):
            self.inside.append(tag)
        if tag == "table":
            self.caption = f"table {len(self.tables)}"
            self.tables[self.caption] = []
        if tag == "script":
            self.scripts.append("")
        if tag == "tr":
            self.tables[self.caption].append([])
        if tag in ("td", "th"):
            self.tables[self.caption][-1].append("")

    def handle_endtag(self, tag):
        if tag in self.inside:
            while self.inside.pop() != tag:
                pass

    def handle_data(self, data):
        now = self.inside[-1] if self.inside else ""
        if now == "script":
            self.scripts[-1] += data
        elif now == "caption":
            self.tables[data] = self.tables.pop(self.caption)
            self.caption = data
        elif now in ("td", "th"):
            self.tables[self.caption][-1][-1] += data
        if "script" not in self.inside and "style" not in self.inside:
            self.words += data


def nlls(run, data):
    """The NLL of every row, as the verdict has them."""
    energy = run.model()[0]
    z = read_verdict(run, energy).log_z
    return nll_of_splits(energy, z, splits_of(run, data), run.recipe.train.noise)


def read(path):
    return Reader(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """A finished run with noise, and its verdict."""
    run, data, session = known.begun(tmp_path_factory.mktemp("page"), noise=0.5)
    for record in session:
        run.metrics.add({"iteration": record.iteration, "seconds": 1.0, "loss": 0.0,
                         **session.learner.metrics(record)})  # fmt: skip
        if record.iteration == 5:
            break
    known.tilt(session.average, [0.6, -0.4])
    run.save(session)
    return run, data, evaluate_run(run, data)


def pixels(folder):
    """A finished run on small pictures, which are discrete."""
    x = np.random.default_rng(0).integers(0, 256, (200, 4, 3)).astype(np.uint8)
    np.save(folder / "x.npy", x)
    data = load(folder / "x.npy")
    recipe = choose(data.shape, len(data.train), data.kind, **{**known.SMALL, "noise": 0.1})
    session = Session(recipe, data.train)
    run = Run.create(folder / "p", data, session, classes=None, subset=None, binary=False)
    run.metrics.add({"iteration": 1, "seconds": 1.0, "nll": 3.0, "ess": 1.0})
    run.save(session)
    return run, data, evaluate_run(run, data)


def test_the_page_has_the_verdicts_numbers_and_fetches_nothing(judged, tmp_path):
    run, data, verdict = judged
    path = tmp_path / "r.html"
    write_report(run, path, commands=[("noneq sample r", "draws")], words=str.upper)
    page = read(path)
    table = page.tables["NLL in nats a row, of standardised values"]
    assert table[0][1:] == ["train", "validation", "test"]
    assert table[1][1:] == [str(m) for m in verdict.base.values()]
    assert table[2][1:] == [str(m) for m in verdict.nll.values()]
    units = float(run.scaling.log_units(data.test).mean())
    own = Mean(verdict.nll["test"].value - units, verdict.nll["test"].stderr)
    assert page.tables["NLL in nats a row, in the units of the file"][2][3] == str(own)
    for sentence in verdict.summary():
        assert sentence.upper().strip() in page.words
    assert "noneq sample r" in page.words
    assert [a for a in page.addresses if not a.startswith(("#", "data:"))] == []
    assert not re.search(r"@import|url\(", path.read_text(encoding="utf-8").split("</style>")[0])


def test_the_least_likely_row_comes_first(judged, tmp_path):
    run, data, _ = judged
    write_report(run, tmp_path / "r.html")
    nll = torch.cat([*nlls(run, data).values()])
    rows = torch.cat([data.train, data.validation, data.test])
    table = next(t for t in read(tmp_path / "r.html").tables.values() if "NLL, nats" in t[0][0])
    first = data.scaling.undo(rows[[int(nll.argmax())]])[0]
    assert table[1][0].startswith(f"{float(nll.max()):.1f}")
    assert [float(v) for v in table[1][1:]] == pytest.approx(first.tolist(), rel=1e-4)
    heights = [float(line[0].split(",")[0]) for line in table[1:]]
    assert heights == sorted(heights, reverse=True)


def test_bits_of_a_picture(tmp_path):
    run, _, verdict = pixels(tmp_path)
    write_report(run, tmp_path / "r.html")
    found = read(tmp_path / "r.html").tables["bits a dimension, in the units of the file"][2][3]
    # a grey level is 2 / 255 wide in the model's units
    exact = (verdict.nll["test"].value - 12 * math.log(2 / 255)) / (12 * math.log(2))
    assert float(found.split(" ")[0]) == pytest.approx(exact, abs=2e-3)


def test_the_headline_says_whether_to_believe(judged):
    *_, verdict = judged
    plain = replace(verdict, alarms=(), nll=verdict.base, gain=Mean(3.0, 0.1), differences=())
    apart = Difference("ward is child", "age is 17 or less", 1.0, 0.6, 0.1)
    assert headline(replace(plain, differences=(apart,))) == (
        "unknown", "Its likelihoods hold, but its samples differ from the data.",
    )  # fmt: skip
    assert headline(None) == ("unknown", "No likelihood yet: log Z has not been estimated.")
    assert headline(plain)[0] == "good"
    assert headline(replace(plain, alarms=("a", "b"))) == (
        "bad", "Do not quote its likelihoods: 2 alarms.",
    )  # fmt: skip
    assert headline(replace(plain, kept="base"))[0] == "unknown"
    assert "not better than" in headline(replace(plain, gain=Mean(0.1, 0.1)))[1]
    apart = {"train": Mean(0.0, 0.1), "validation": Mean(5.0, 0.1), "test": Mean(5.0, 0.1)}
    assert "memorised" in headline(replace(plain, nll=apart))[1]


def test_a_run_without_a_bracket_shows_its_training(tmp_path):
    run, _, _ = known.begun(tmp_path)
    with pytest.raises(ValueError, match="no metrics"):
        write_report(run, tmp_path / "r.html")
    run.metrics.add({"iteration": 1, "seconds": 1.0, "nll": 3.0, "ess": 1.0})
    write_report(run, tmp_path / "r.html")
    page = read(tmp_path / "r.html")
    assert "No likelihood yet" in page.words
    assert "Likelihood while training" in page.words


def test_runs_are_compared_row_by_row(judged, tmp_path):
    run, data, verdict = judged
    shutil.copytree(run.folder, tmp_path / "worse")
    other = Run(tmp_path / "worse")
    _, _, session = known.begun(tmp_path, noise=0.5)  # at its start: the base
    known.tilt(session.average, [0.0, 0.0])
    other.save(session)
    after = evaluate_run(other, data)
    write_comparison([run, other], tmp_path / "c.html")
    words = read(tmp_path / "c.html").words
    gap = [nlls(one, data)["test"] for one in (run, other)]
    exact = Mean.of(gap[1] - gap[0])
    error = math.hypot(exact.stderr, verdict.stderr, after.stderr)
    better = run.folder.name if exact.value > 0 else "worse"
    assert abs(exact.value) > 3 * error
    # under the same noise for both: the gap is that of the verdict's means
    both = [read_verdict(one, one.model()[0]).nll["test"].value for one in (run, other)]
    assert exact.value == pytest.approx(both[1] - both[0], abs=1e-9)
    size = Mean(abs(exact.value), error)
    assert f"{better} has the lower NLL, by {size} nats a row (paired over" in words
    assert f"{better} has the lowest NLL of the test rows, by {size} nats a row; " in words
    assert "worse is not better than its base" in words or "neither is better" in words


def test_a_gap_has_the_errors_of_both_log_z():
    rows = torch.tensor([1.0, 2.0, 4.0, 3.0])
    one, other = (
        SimpleNamespace(nll=nll, observations=torch.eye(4), verdict=SimpleNamespace(stderr=e))
        for nll, e in ((rows, 0.3), (rows + torch.tensor([0.0, 1.0, 1.0, 2.0]), 0.4))
    )
    gap, alone = comparison._gap(one, other), Mean.of(other.nll - one.nll, torch.eye(4))
    assert gap.value == alone.value == 1.0
    assert gap.stderr == pytest.approx(math.hypot(alone.stderr, 0.5))


def odd(path):
    """A page whose names try to leave their places."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 4))
    x[3, 2], x[4, 2] = np.nan, -np.inf
    x[:, 3] = rng.integers(0, 2, 50)
    pairs = Pairs(NAMES, x, x + 0.1, {3: ["</script>", "<i>two</i>"]})
    table = Table(["", *NAMES], [["<img src=x onerror=alert(1)>", *NAMES]], "<u>")
    picture = Picture(b"\x89PNG", "<s>", '" onload="')
    section = Section("<script>", "& good", [pairs, table, picture], ["</p>"])
    write_page(Page("<title>", "bad", "</h1>", NAMES, [("a & b", "c")], [section]), path)


def test_no_text_leaves_its_place(tmp_path):
    odd(tmp_path / "odd.html")
    page = read(tmp_path / "odd.html")
    # a browser ends a script at "</script " too: nothing in it may begin or end a tag
    text = (tmp_path / "odd.html").read_text(encoding="utf-8")
    assert len(re.findall(r'<script type="application/json">[^<>&]*</script>', text)) == 1
    content = json.loads(page.scripts[0])
    assert content["names"] == NAMES
    assert content["data"][2][3] is content["data"][2][4] is None
    assert page.tables["<u>"][1] == ["<img src=x onerror=alert(1)>", *NAMES]
    assert len(page.scripts) == 3  # what is drawn, plotly, the page's own
    assert all(name in page.words for name in NAMES)


def test_errors_of_a_models_means_are_by_its_effective_samples():
    x = torch.randn(1000, 2, generator=torch.Generator().manual_seed(0)).double()
    data = SimpleNamespace(
        kind="table", columns=("a", "b"), shape=(2,), scaling=SimpleNamespace(cells=None)
    )
    section = samples_section(Samples(x, x, None, ("a", "b")), data, effective=40.0)
    table = next(part for part in section.parts if isinstance(part, Table))
    own, model = (float(table.rows[0][k].split("± ")[1]) for k in (1, 2))
    assert model / own == pytest.approx(5, rel=0.1)


def test_many_rows_are_thinned_with_all_of_their_draws(judged):
    run, data, _ = judged
    others = {name: getattr(data, name).repeat(2, 1) for name in ("validation", "test")}
    both = torch.cat([data.train, data.train + 1])
    twice = replace(data, train=both, draws=2, **others)
    few = splits_of(run, twice, most=10)["train"].x
    torch.testing.assert_close(few, torch.cat([data.train[:10], data.train[:10] + 1]))


# -- in a browser

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--hide-scrollbars", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--allow-file-access-from-files", "--enable-logging=stderr",
    "--virtual-time-budget=20000",
]  # fmt: skip
FRAME = """<body><iframe src="r.html" style="width:{width}px;height:900px;border:0"></iframe>
<script>
addEventListener("load", () => {{
  const page = document.querySelector("iframe").contentDocument;
  const wide = [page.documentElement.scrollWidth, page.documentElement.clientWidth];
  const drawn = page.querySelectorAll(".plot .main-svg").length;
  const tables = [...page.querySelectorAll(".tabular")].map((one) => {{
    const place = one.querySelector(".scroll"), columns = one.querySelectorAll("thead th").length;
    const cut = place.scrollWidth > place.clientWidth + 1;
    return [columns, cut, !one.querySelector(".hint").hidden];
  }});
  const plots = page.querySelectorAll(".plot").length;
  document.title = JSON.stringify({{ wide, drawn, tables, plots }});
}});
</script>"""


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("page", ["run", "odd"])
def test_a_browser_draws_every_plot_without_an_error(judged, tmp_path, width, page):
    run, *_ = judged
    write_report(run, tmp_path / "r.html") if page == "run" else odd(tmp_path / "r.html")
    (tmp_path / "frame.html").write_text(FRAME.format(width=width))
    how = [BROWSER, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1400,1000"]
    found = subprocess.run(
        [*how, "--dump-dom", (tmp_path / "frame.html").as_uri()],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    title = re.search(r"<title>(.*?)</title>", found.stdout)
    assert title, found.stderr
    seen = json.loads(title[1])
    assert seen["plots"] >= 1
    assert seen["drawn"] >= seen["plots"]
    assert seen["wide"] == [width, width]
    for columns, cut, told in seen["tables"]:
        assert told == cut  # a table that goes on beyond the edge says so
        assert columns > 4 or not cut
    assert page == "run" or any(columns > 4 for columns, *_ in seen["tables"])
    assert not re.search(r"CONSOLE.*", found.stderr), found.stderr
