"""What an object says of itself in a notebook: the numbers that matter, in a line or two."""

from dataclasses import replace

import pytest
import torch

import noneq
from noneq.likelihood import Estimate
from noneq.walkers import LogZ, Walkers


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
    assert "<b>bracketed</b>" in sure._repr_html_()
    assert "exact" in exact._repr_html_()


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
