"""Rows are checked once, where they enter, and again only after a change in place."""

import pytest
import torch

from noneq.energies import Bernoulli, checks
from noneq.energies.checks import check_fit, check_states


@pytest.fixture
def looks(monkeypatch):
    seen = []
    for name in ("check_rows", "check_data"):
        whole = getattr(checks, name)
        monkeypatch.setattr(checks, name, lambda *a, f=whole, **k: (seen.append(1), f(*a, **k))[1])
    return seen


def energy(x):
    return x.square().sum(1)


def test_rows_that_have_passed_are_not_looked_at_again(looks):
    rows = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    check_fit(energy, rows)
    assert len(looks) == 1
    check_fit(energy, rows)
    check_states(energy, rows)
    assert len(looks) == 1
    check_fit(energy, rows.clone())
    check_fit(energy, rows, noise=0.1)
    assert len(looks) == 3


def test_a_change_in_place_is_seen():
    rows = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    check_fit(energy, rows)
    rows[3, 1] = torch.nan
    with pytest.raises(ValueError, match="NaN or infinite values in 1 of 20"):
        check_states(energy, rows)


def test_rows_of_another_space_are_looked_at():
    rows = torch.tensor([[0.0, 0.5], [1.0, 0.2], [1.0, 1.0]])
    check_fit(energy, rows)
    with pytest.raises(ValueError, match="not made of 0 and 1"):
        check_fit(Bernoulli(torch.zeros(2)), rows)


def test_rows_that_failed_fail_again():
    rows = torch.ones(20, 3)
    for _ in range(2):
        with pytest.raises(ValueError, match="never change"):
            check_fit(energy, rows)
