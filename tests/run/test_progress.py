"""A progress bar passes the steps of a loop on, and shows how many were done."""

import itertools
import re
import sys
from types import SimpleNamespace

import pytest
import rich
import torch
from rich.console import Console

import noneq
from noneq.run import progress, show_progress


class Page:
    """What a notebook shows: outputs by their number, each as it was shown last."""

    def __init__(self):
        self.outputs, self.updates = [], 0

    def display(self, shown, *, display_id):
        assert display_id
        at = len(self.outputs)
        self.outputs.append(self.html(shown))

        def update(shown):
            self.outputs[at] = self.html(shown)
            self.updates += 1

        return SimpleNamespace(update=update)

    @staticmethod
    def html(shown):
        return re.sub("<.*?>", "", shown._repr_mimebundle_([], [])["text/html"])


@pytest.fixture
def page(monkeypatch):
    found = Page()
    monkeypatch.setattr(rich, "_console", Console(force_jupyter=True))
    monkeypatch.setitem(sys.modules, "IPython.display", found)
    return found


def training():
    data = torch.randn(64, 2, generator=torch.Generator().manual_seed(0))
    energy = noneq.Tilted(noneq.Gaussian.fit(data), noneq.MLP(2, width=8))
    settings = noneq.Settings(walkers=32, held_out=16, moves=1)
    return energy, data, noneq.train(energy, data, settings)


def test_the_steps_are_those_of_the_loop(capsys):
    assert list(show_progress([3, 1, 2], "counting [x]")) == [3, 1, 2]
    assert re.search(r"counting \[x\] .* 3/3", capsys.readouterr().out)
    assert list(show_progress(iter("ab"))) == ["a", "b"]
    # no step is asked for that is not shown
    counted = itertools.count()
    assert list(show_progress(counted, total=2)) == [0, 1]
    assert next(counted) == 2


def test_a_notebook_shows_one_bar_with_the_numbers_of_the_training(page):
    *_, records = training()
    *_, last = show_progress(records, "training", total=3)
    assert last.iteration == 3
    (shown,) = page.outputs
    assert shown.startswith("training ")
    assert " 3/3 " in shown
    assert f"NLL {last.nll:.2f}, ESS {last.ess:.2f}" in shown.replace("\n", " ")


def test_a_loop_that_is_left_is_shown_as_far_as_it_came(page):
    for step in show_progress(range(10)):
        if step == 4:
            break
    assert " 5/10 " in page.outputs[0]


def test_a_notebook_is_not_written_to_at_every_step(page, monkeypatch):
    now = itertools.count()
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now) / 50)
    assert len(list(show_progress(range(100)))) == 100
    assert 10 < page.updates < 60


def test_a_bracket_takes_it_for_track(page):
    energy, data, _ = training()
    how = {"data": data, "n": 32, "temperatures": 5, "equilibrate": 5}
    z = noneq.log_z(energy, track=show_progress, **how)
    assert z.value == noneq.log_z(energy, **how).value
    names = [one.split("━")[0].strip() for one in page.outputs]
    assert names[:3] == ["forward: pilot", "forward", "equilibrating"]


def test_a_fit_shows_what_it_does_if_it_is_verbose(page):
    x = torch.randn(100, 2, generator=torch.Generator().manual_seed(0)).numpy()
    bracket = {"walkers": 32, "temperatures": 5, "equilibrate": 5}
    how = {"max_iter": 4, "n_walkers": 32, "random_state": 0}
    quick = {"base": "full", "score_matching": None, "bracket": bracket}
    noneq.estimators.EnergyDensity(**how, settings=quick).fit(x)
    assert not page.outputs
    noneq.estimators.EnergyDensity(**how, settings=quick, verbose=4).fit(x)
    assert any("equilibrating" in one for one in page.outputs)
