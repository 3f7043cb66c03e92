"""Which runs are compared, what is said of those that are not, and where a comparison goes."""

import shutil
from dataclasses import replace
from types import SimpleNamespace

import known
import numpy as np
import pytest
import torch

from noneq import Run, Session
from noneq.data import load
from noneq.report.html import comparison, place_of_comparison, write_comparison
from noneq.report.html.differences import check_comparable
from noneq.report.html.page import Page, Section, check_replaceable, write_page
from noneq.run import checkpoint, choose
from noneq.run.evaluation import evaluate_run
from noneq.run.verdict import Mean


def table(folder, name, rows=120, **choices):
    """A new run on a table of stays in a hospital, on nothing of which it is trained."""
    rng = np.random.default_rng(rows)
    lines = ["stay_days,ward,cost"]
    wards = rng.choice(["maternity", "surgery"], rows)
    days, costs = rng.integers(1, 12, rows), rng.lognormal(7.0, 1.0, rows)
    for day, ward, cost in zip(days, wards, costs, strict=True):
        lines.append(f"{day},{ward},{cost:.6f}")
    path = folder / f"stays{rows}.csv"
    path.write_text("\n".join(lines) + "\n")
    data = load(path, **choices)
    recipe = choose(data.shape, len(data.train), data.kind, **known.SMALL)
    session = Session(recipe, data.train)
    about = {"classes": None, "subset": None, "binary": False, "table": choices}
    return Run.create(folder / name, data, session, **about)


def changed(run, folder, change):
    """A copy of a run whose config.json was changed."""
    shutil.copytree(run.folder, folder)
    config = checkpoint.load_json(folder / "config.json")
    change(config)
    checkpoint.save_json(folder / "config.json", config)
    return Run(folder)


@pytest.fixture(scope="module")
def stays(tmp_path_factory):
    return table(tmp_path_factory.mktemp("stays"), "a")


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """A run at its start, i.e. its base, whose log Z was estimated."""
    run, data, session = known.begun(tmp_path_factory.mktemp("judged"), noise=0.5)
    run.metrics.add({"iteration": 1, "seconds": 1.0, "nll": 3.0, "ess": 1.0})
    run.save(session)
    evaluate_run(run, data)
    return run


def test_columns_that_differ_are_named(stays, tmp_path):
    a = str(stays.folder)
    for name, choices, told in (
        ("cat", {"categories": ["stay_days"]},
         f"stay_days: whole numbers in {a}, category in {tmp_path / 'cat'}"),
        ("drop", {"drop": ["cost"]}, f"{tmp_path / 'drop'} has no column cost"),
        ("two", {"drop": ["cost", "ward"]}, f"{tmp_path / 'two'} has no columns ward, cost"),
    ):  # fmt: skip
        other = table(tmp_path, name, **choices)
        with pytest.raises(ValueError, match="train one of them again") as caught:
            check_comparable([stays, other])
        assert f"{told}; " in str(caught.value)
        assert "other values" not in str(caught.value)
        with pytest.raises(ValueError, match=r"has no column|stay_days: category in"):
            check_comparable([other, stays])


def test_rows_that_differ_are_counted(stays, tmp_path):
    more = table(tmp_path, "more", rows=150)
    with pytest.raises(ValueError, match="do not compare") as caught:
        check_comparable([stays, more])
    told = str(caught.value)
    sizes = [" / ".join(map(str, one.config["data"]["rows"])) for one in (stays, more)]
    assert f"{stays.folder} has {sizes[0]} rows (train / validation / test), " in told
    assert f"{more.folder} has {sizes[1]}" in told
    other = changed(stays, tmp_path / "other", lambda c: c["data"].update(digest="0"))
    with pytest.raises(ValueError, match="as many rows, but with other values or split") as caught:
        check_comparable([stays, other])
    assert "both read a file stays120.csv" in str(caught.value)


def test_runs_that_do_not_compare_are_refused(judged, tmp_path):
    with pytest.raises(ValueError, match="two runs or more"):
        write_comparison([judged], tmp_path / "c.html")
    fresh, _, _ = known.begun(tmp_path, noise=0.5)
    with pytest.raises(FileNotFoundError, match="log Z is not known yet"):
        write_comparison([judged, fresh], tmp_path / "c.html")

    def noisy(config):
        config["recipe"]["train"]["noise"] = 0.3

    def bits(config):
        config["data"]["scaling"]["threshold"] = 0.5

    def scaled(config):
        config["data"]["scaling"]["shift"][0] += 1.0

    def pictures(config):
        config["data"]["kind"] = "image"

    for change, why in (
        (noisy, f"was trained with noise 0.5, and {tmp_path / 'noisy'} with noise 0.3"),
        (bits, f"continuous in {judged.folder}, bits, 1 above 0.5 in {tmp_path / 'bits'}"),
        (scaled, "or standardise them in another way"),
        (pictures, f"{judged.folder} is of a table, {tmp_path / 'pictures'} of images of 2"),
    ):
        other = changed(judged, tmp_path / change.__name__, change)
        with pytest.raises(ValueError, match="do not compare: ") as caught:
            write_comparison([judged, other], tmp_path / "c.html")
        assert why in str(caught.value)
    assert not (tmp_path / "c.html").exists()


def test_a_run_is_not_compared_with_itself(judged, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(judged.folder)
    with pytest.raises(ValueError, match="r: is given twice"):
        check_comparable([judged, Run(judged.folder)])
    with pytest.raises(ValueError, match="link are the same run"):
        check_comparable([judged, Run(link)])


# -- the headline
def compared(name, shift, *, gain=3.0, alarms=(), kept="model"):
    """What the headline is made of: the NLL of four rows, and a verdict."""
    verdict = SimpleNamespace(
        gain=Mean(gain, 0.1), stderr=0.01, alarms=alarms, bracketed=not alarms, kept=kept
    )
    nll = torch.tensor([1.0, 2.0, 4.0, 3.0]) + torch.tensor([0.9, 1.1, 1.0, 1.0]) * shift
    return SimpleNamespace(name=name, nll=nll, observations=torch.eye(4), verdict=verdict)


def test_the_headline_names_the_lowest_and_those_no_better_than_their_bases():
    a, b, same = compared("a", 0.0), compared("b", 1.0), compared("same", 0.01)
    poor, poorer = compared("poor", 1.0, gain=0.1), compared("poorer", 2.0, gain=-3.0)
    base = compared("base", -1.0, kept="base")

    def said(*own):
        return comparison._headline(own)

    assert said(b, a) == (
        "good", "a has the lowest NLL of the test rows, by 1.00 ± 0.04 nats a row.",
    )  # fmt: skip
    state, head = said(poor, a)
    assert head.endswith(" nats a row; poor is not better than its base.")
    assert state == "good"
    state, head = said(poorer, poor)
    assert head.startswith("poor has the lowest NLL of the test rows, by 1.00 ± ")
    assert head.endswith("; neither is better than its base.")
    assert state == "unknown"
    assert said(a, poor, poorer)[1].endswith("; poor and poorer are not better than their bases.")
    assert " nats a row (poor is next); " in said(a, poorer, poor)[1]
    assert said(base, poor, poorer)[1].endswith("; none is better than its base.")
    assert said(a, base)[0] == "unknown"
    assert said(a, same) == ("good", "a and same cannot be told apart on the test rows.")
    assert "(the two lowest NLLs)" in said(b, a, same)[1]
    assert said(a, compared("c", 0.0, alarms=("x",)))[0] == "bad"


# -- where it goes
def test_a_comparison_goes_beside_the_first_run(tmp_path, monkeypatch):
    def runs(*folders):
        return [SimpleNamespace(folder=folder) for folder in folders]

    a, b, far = tmp_path / "runs" / "a", tmp_path / "runs" / "b", tmp_path / "old" / "b"
    assert place_of_comparison(runs(a, b)) == tmp_path / "runs" / "comparison_a_b.html"
    assert place_of_comparison(runs(b, far)).name == "comparison_runs-b_old-b.html"
    monkeypatch.chdir(tmp_path)
    first = type(tmp_path)()  # the folder of work
    assert place_of_comparison(runs(first, a)).parent == tmp_path.parent
    long = runs(*(tmp_path / f"{k}{'ü' * 90}" for k in range(3)))
    assert len(place_of_comparison(long).name.encode()) <= 160


def test_only_a_page_of_the_same_runs_is_replaced(judged, tmp_path):
    other, third = tmp_path / "other", tmp_path / "third"
    shutil.copytree(judged.folder, other)
    shutil.copytree(judged.folder, third)
    path = tmp_path / "c.html"
    path.touch()  # an empty file, as of mktemp
    for _ in range(2):  # the second replaces the first
        write_comparison([Run(other), Run(third)], path)
    write_comparison([Run(third), Run(other)], path)
    before = path.read_bytes()
    told = "holds a comparison of other, third, which a comparison of .* does not replace"
    with pytest.raises(FileExistsError, match=told):
        write_comparison([Run(other), judged], path)
    with pytest.raises(FileExistsError, match="which a report of one run does not replace"):
        write_page(Page("r", "good", "", [], [], []), path)
    assert path.read_bytes() == before
    for text in ("<title>my page</title>", "%PDF", "\xff\0"):
        path.write_text(text)
        with pytest.raises(FileExistsError, match="is no page of noneq report"):
            write_comparison([Run(other), Run(third)], path)
        assert path.read_text() == text


def test_pages_of_earlier_versions_are_known_by_their_titles(tmp_path):
    path = tmp_path / "r.html"
    path.write_text("<html><title>a: noneq report</title>")
    check_replaceable(path, "report")
    path.write_text("<html><title>Comparison of a, b: noneq report</title>")
    with pytest.raises(FileExistsError, match="holds a comparison, which a report"):
        check_replaceable(path, "report")


def test_a_mark_is_escaped(tmp_path):
    mark = 'comparison of "<&>", b'
    page = Page("t", "good", "", [], [], [Section("s")], mark)
    write_page(page, tmp_path / "c.html")
    write_page(replace(page, title="again"), tmp_path / "c.html")
    assert "again" in (tmp_path / "c.html").read_text(encoding="utf-8")
