import math

import numpy as np
import pandas
import pytest
import torch

from noneq.data import check_data, digits


def test_digits_are_split_once_and_for_all() -> None:
    split, again = digits(), digits()
    for part, other, rows in zip(split, again, (1257, 180, 360), strict=True):
        assert part.shape == (rows, 64)
        assert part.dtype == torch.float32
        assert torch.equal(part, other)
    # the numbers themselves: a changed split would make every published likelihood incomparable
    pixels = [int(((part + 1) * 8).double().sum()) for part in split]
    assert sum(pixels) == 561_718  # of scikit-learn's file, whatever the split
    assert pixels == [392_318, 56_340, 113_060]


def test_digits_use_every_row_once() -> None:
    from sklearn.datasets import load_digits

    rows = torch.cat(list(digits()))
    expected = torch.from_numpy(load_digits().data).float() / 8 - 1
    # no two of scikit-learn's digits are equal, so the union of the parts shows that they do not
    # overlap
    assert len(expected.unique(dim=0)) == len(expected) == 1797
    assert torch.equal(rows.unique(dim=0), expected.unique(dim=0))
    assert len(rows) == 1797


def test_digits_are_in_range() -> None:
    for part in digits():
        assert float(part.min()) == -1
        assert float(part.max()) == 1
        assert torch.equal((part + 1) * 8, ((part + 1) * 8).round())


def test_digits_do_not_touch_the_global_generators() -> None:
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    digits()
    assert torch.equal(torch.get_rng_state(), before)
    assert (np.random.get_state()[1] == numpy_before).all()  # noqa: NPY002


def good(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_good_data_pass() -> None:
    for data in (good(2, 1), good(50, 3), good(10, 1, 8, 8), good(5, 3).double()):
        kept = data.clone()
        check_data(data)
        assert torch.equal(data, kept)
    check_data(digits().train, noise=0.15)


NOT_DATA = {
    "array": (good(5, 3).numpy(), TypeError, r"got ndarray; torch\.as_tensor"),
    "frame": (
        pandas.DataFrame({"a": [1.0]}),
        TypeError,
        r"got DataFrame; noneq\.data\.read\(\.\.\.\)\.x converts",
    ),
    "list": ([[1.0, 2.0]], TypeError, r"got list; torch\.as_tensor"),
    "int": (good(5, 3).long(), TypeError, r"floating point, got torch\.int64; data\.float\(\)"),
    "bool": (good(5, 3) > 0, TypeError, r"got torch\.bool"),
    "complex": (good(5, 3) * 1j, TypeError, r"got torch\.complex64"),
    "number": (torch.tensor(1.0), ValueError, r"\(rows, \*shape of one row\), got \(\)"),
    "vector": (good(5), ValueError, r"got \(5,\); a single column is data\[:, None\]"),
    "empty": (good(0, 3), ValueError, r"two or more rows with values, got \(0, 3\)"),
    "one row": (good(1, 3), ValueError, r"two or more rows with values, got \(1, 3\)"),
    "no columns": (good(5, 0), ValueError, r"two or more rows with values, got \(5, 0\)"),
}


@pytest.mark.parametrize("name", NOT_DATA)
def test_what_is_not_data(name) -> None:
    data, error, text = NOT_DATA[name]
    for noise in (0.0, 0.1):
        with pytest.raises(error, match=text):
            check_data(data, noise=noise)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("shape", [(9, 3), (9, 1, 2, 2)])
def test_holes_are_counted_and_located(shape, bad) -> None:
    data = good(*shape)
    data[4].view(-1)[1] = bad
    data[7] = bad
    with pytest.raises(ValueError, match=r"infinite values in 2 of 9 rows \(the first: row 4\)"):
        check_data(data, noise=0.1)


def test_constant_columns_need_noise() -> None:
    data = good(9, 12)
    data[:, 3] = 1.5
    with pytest.raises(ValueError, match=r"1 column.* \(3\): no density.*noise=0\.1"):
        check_data(data)
    check_data(data, noise=0.1)
    data[:, 5:] = 0.0
    with pytest.raises(ValueError, match=r"8 columns never change \(3, 5, 6, 7, 8, \.\.\.\)"):
        check_data(data)
    check_data(data, noise=1e-3)
    images = good(9, 1, 2, 2)
    images[:, 0, 1, 1] = 0.0
    with pytest.raises(ValueError, match=r"\(3\)"):
        check_data(images)
    almost = good(9, 2)
    almost[:, 1] = 0.0
    almost[8, 1] = 1e-30
    check_data(almost)  # it changes


def test_rows_that_are_all_equal_are_constant_columns() -> None:
    with pytest.raises(ValueError, match="3 columns never change"):
        check_data(torch.ones(5, 3))


def test_columns_that_others_determine_have_no_density() -> None:
    x = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    check_data(x)
    for last in (x[:, :1], 2 * x[:, :1] - 0.5 * x[:, 1:2] + 3):
        twin = torch.cat([x, last], 1)
        with pytest.raises(ValueError, match=r"linear combination of others.*add noise"):
            check_data(twin)
        check_data(twin, noise=0.1)
    check_data(torch.cat([x, x[:, :1] + 1e-3 * x[:, 1:2].square()], 1))  # near, not equal
    check_data(torch.randn(3, 5, generator=torch.Generator().manual_seed(0)))  # too few to tell
