"""Rows in memory are split so that no validation row is a training row."""

import numpy as np
import pytest

from noneq.data.arrays import of_array


@pytest.mark.parametrize("seed", [0, 1])
def test_rows_are_split_once_and_standardised(seed):
    rows = np.random.default_rng(seed).normal(size=(100, 3)) * [1.0, 9.0, 0.1] + 5
    data = of_array(rows, 20, seed=seed, columns=("a", "b", "c"))
    assert (len(data.train), len(data.validation), data.columns) == (80, 20, ("a", "b", "c"))
    train, validation = (data.scaling.undo(x).numpy() for x in (data.train, data.validation))
    found = np.concatenate([train, validation])
    np.testing.assert_allclose(np.sort(found, 0), np.sort(rows, 0), rtol=1e-5)
    assert float(data.train.mean(0).abs().max()) < 1e-5
    assert not np.array_equal(of_array(rows, 20, seed=seed + 7).train, data.train)
    assert np.array_equal(of_array(rows, 20, seed=seed).train, data.train)


def test_copies_of_a_row_stay_together():
    rows = np.repeat(np.random.default_rng(0).normal(size=(40, 2)), 3, 0)
    data = of_array(rows, 30)
    train, validation = (
        {tuple(x) for x in part.tolist()} for part in (data.train, data.validation)
    )
    assert not train & validation
    assert len(data.train) + len(data.validation) == 120


def test_without_validation_rows_all_are_both():
    rows = np.random.default_rng(0).normal(size=(9, 2))
    data = of_array(rows, 0)
    assert len(data.train) == len(data.validation) == 9


def test_values_that_repeat_are_spread_and_no_column_is_left_out():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(700, 5))
    assert of_array(rows, 70).scaling.cells is None
    rows[rng.random(700) < 0.25, 2] = 0.0
    rows[:, 4] = np.round(rows[:, 4])
    rows[:, 0] = np.arange(700)
    data = of_array(rows, 70)
    cells = data.scaling.cells
    assert cells is not None
    kinds = ["continuous", "continuous", "atoms", "continuous", "grid"]
    assert [column.kind for column in cells.columns] == kinds
    assert not data.discrete
    assert data.sizes == (630, 70, 70)
    back = data.scaling.undo(data.train[:630]).numpy()
    assert {*back[:, 4]} <= {*rows[:, 4]}
    assert 0.2 < (back[:, 2] == 0).mean() < 0.3
