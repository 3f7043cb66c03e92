"""What an object says of itself in a notebook: the numbers that matter, in a line or two."""

import math
from dataclasses import replace
from xml.etree import ElementTree

import pytest
import torch

import noneq
from noneq.likelihood import Estimate
from noneq.walkers import LogZ, Walkers
from noneq.walkers.notebook import html_table


@pytest.fixture(scope="module")
def trained():
    """A record after three iterations, the bracket of its model, and the digits."""
    data = noneq.data.digits()
    base = noneq.Gaussian.fit(data.train, noise=0.15)
    energy = noneq.Tilted(base, noneq.MLP(64, width=8))
    settings = noneq.Settings(walkers=32, held_out=16, moves=1, noise=0.15, renew=None)
    record = next(
        record for record in noneq.train(energy, data.train, settings) if record.iteration == 3
    )
    how = {"n": 32, "temperatures": 5, "equilibrate": 5, "noise": 0.15}
    return record, noneq.log_z(energy, data=data.train, **how), data


def test_nobody_says_more_than_two_lines(trained):
    record, z, data = trained
    own = (record, record.state, record.state.walkers, z, data, noneq.data.load("digits"))
    for one in own:
        assert len(repr(one)) < 240, repr(one)
        assert "tensor(" not in repr(one)
        assert repr(one).startswith(type(one).__name__ + "(")


def test_the_numbers_are_the_objects(trained):
    record, z, _ = trained
    held = record.log_z_held_out
    assert f"iteration 3, NLL {record.nll:.2f}, ESS {record.ess:.2f}" in repr(record)
    assert f"log Z {held.value:.2f} ± {held.stderr:.2f}" in repr(record)
    walkers = record.state.walkers
    assert repr(walkers).startswith("Walkers(32 of shape (64,), torch.float32 on cpu, ESS ")
    assert f"log Z {walkers.log_z.value:.2f})" in repr(walkers)
    low, high = z.interval
    assert f"between {low.value:.2f} ± {low.stderr:.2f} and {high.value:.2f} ±" in repr(z)
    assert "16 held out" in repr(record.state)


def test_a_bracket_says_whether_to_believe_it(trained):
    *_, z, _ = trained
    sure = replace(z, alarms=())
    doubtful = replace(z, alarms=("a <b>", "c"))
    exact = replace(sure, forward=LogZ(1.0, 0.0), backward=LogZ(1.0, 0.0), schedule=None)
    assert ", bracketed, " in repr(sure)
    assert "NOT bracketed, 2 alarms" in repr(doubtful)
    assert repr(exact) == "Estimate(log Z 1.00, exact)"
    assert isinstance(exact, Estimate)
    assert "<li>a &lt;b&gt;</li><li>c</li>" in doubtful._repr_html_()
    assert "NOT bracketed" in doubtful._repr_html_()
    assert "nats: bracketed</b>" in sure._repr_html_()
    assert "<ul>" not in sure._repr_html_()
    assert "log Z 1.00 nats, exact" in exact._repr_html_()


def test_an_invalid_weight_does_not_keep_walkers_from_being_shown():
    walkers = Walkers.at(torch.zeros(16, 2), lambda x: x.sum(1))
    assert "ESS 1.00" in repr(walkers)
    broken = replace(walkers, weights=walkers.weights.add(torch.full((16,), torch.nan)))
    assert "with an invalid weight" in repr(broken)


def test_what_is_not_known_is_left_out():
    walkers = Walkers.at(torch.zeros(16, 2), lambda x: x.sum(1))
    assert repr(walkers) == "Walkers(16 of shape (2,), torch.float32 on cpu, ESS 1.00)"
    base = noneq.Gaussian(torch.zeros(2), noneq.energies.Identity())
    one = noneq.Walkers.sample(base, 16, torch.Generator().manual_seed(0), islands=1)
    assert repr(one).endswith(f"log Z {one.log_z.value:.2f})")


def cells(text):
    """The rows of a table in HTML as a dictionary; what is no well-formed HTML is an error."""
    whole = ElementTree.fromstring(f"<div>{text}</div>")
    return {row.find("th").text: row.find("td").text for row in whole.iter("tr")}


def test_a_notebook_shows_the_same_numbers(trained):
    record, z, _ = trained
    held, walkers = record.log_z_held_out, record.state.walkers
    shown = cells(record._repr_html_())
    assert shown["log Z"] == f"{held.value:.2f} ± {held.stderr:.2f}"
    assert shown["NLL"] == f"{record.nll:.2f}"
    assert shown["cost of the step"] == f"{record.cost:.3f} nats"
    assert "faults" not in shown
    assert cells(replace(record, faults=0.25)._repr_html_())["faults"] == "25.0% of the moves"
    assert "ESS" not in cells(replace(record, ess=math.nan, cost=math.nan)._repr_html_())
    shown = cells(walkers._repr_html_())
    assert shown["ESS"] == f"{walkers.ess:.2f}"
    assert shown["effective ancestors"] == f"{walkers.effective_ancestors:.0f}"
    value, stderr, _ = z.off_support_mass
    shown = cells(z._repr_html_())
    assert shown["mass where there are no data"].startswith(f"{value:.2f} ± {stderr:.2f} (")
    assert ("what is known" in shown) == (not z.bracketed)
    shown = cells(replace(z, alarms=("a",), off_support_mass=None)._repr_html_())
    assert shown["mass where there are no data"] == "unknown: no data were given"
    assert shown["what is known"] == z.known


def test_what_a_notebook_shows_has_no_colours_and_no_markup_of_others(trained):
    record, z, _ = trained
    for one in (record, record.state.walkers, z, replace(z, alarms=("<script>",))):
        text = one._repr_html_()
        assert "color" not in text
        assert "<script>" not in text
    assert html_table("<a>", {"<b>": "<i>"}).count("&lt;") == 3


def test_a_notebook_shows_the_plain_text_of_walkers_with_an_invalid_weight():
    walkers = Walkers.at(torch.zeros(16, 2), lambda x: x.sum(1))
    broken = replace(walkers, weights=walkers.weights.add(torch.full((16,), torch.nan)))
    assert broken._repr_html_() is None
    assert "Walkers: 16 of shape (2,)" in walkers._repr_html_()
