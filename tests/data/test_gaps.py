"""Rows with blank cells are read as they are, and nothing but a blank cell is missing."""

import math

import numpy as np
import pandas
import pytest
import torch

from noneq.data import Scaling
from noneq.data.cells import Cells
from noneq.data.gaps import rows_with_gaps
from noneq.data.kinds import Column
from noneq.data.margins import Margins

NAN = math.nan
SCALING = Scaling(torch.tensor([1.0, 10.0]).double(), torch.tensor([2.0, 5.0]).double())
NAMES = ("a", "b, c")


def read(tmp_path, text, name="x.csv", columns=NAMES, scaling=SCALING):
    (tmp_path / name).write_text(text, encoding="utf-8")
    return rows_with_gaps(tmp_path / name, (2,), scaling, columns=columns)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.csv", 'a,"b, c"\n3,\n,20\n-1e3,0.1\n'),
        ("x.csv", '# a comment\n"b, c",other,a\n,99,3\n20,,\n\n0.1,7,-1e3\n'),
        ("x.txt", "3;\n ;20\n-1e3; 0.1\n"),
        ("x.tsv", "a\tb, c\n3\t\n\t20\n-1e3\t0.1"),
        ("x.csv", 'a,"b, c"\n3,NA\n?,20\n-1e3,0.1\n'),
    ],
)
def test_blank_cells_are_missing(tmp_path, name, text):
    values, x = read(tmp_path, text, name)
    expected = np.array([[3.0, NAN], [NAN, 20.0], [-1000.0, 0.1]])
    np.testing.assert_array_equal(values, expected)
    scaled = torch.from_numpy((expected - [1.0, 10.0]) / [2.0, 5.0]).float()
    torch.testing.assert_close(x, scaled, equal_nan=True)


def test_a_first_row_that_begins_with_a_gap_is_no_header(tmp_path):
    expected = [[NAN, 20.0], [-1000.0, 0.1]]
    for columns in ((), NAMES):
        values, _ = read(tmp_path, ",20\n-1e3,0.1\n", columns=columns)
        np.testing.assert_array_equal(values, expected)
    one = ("1", "20")  # a header, as the model has these names
    np.testing.assert_array_equal(read(tmp_path, ",20\n-1e3,0.1\n", columns=one)[0], expected[1:])


def test_repeated_values_are_drawn_from_their_cells(tmp_path):
    kinds = (
        Column("a", 1, "grid", step=2.0, counted=True),
        Column("b, c", 2, "category", levels=(5.0, 9.0)),
    )
    scaling = Scaling(SCALING.shift, SCALING.scale, None, None, Cells(kinds))
    values, x = read(tmp_path, 'a,"b, c"\n' + "4,\n,9\n" * 200, scaling=scaling)
    assert values[:2].tolist()[0][0] == 4
    assert values[1, 1] == 9
    y = x.double() * SCALING.scale + SCALING.shift
    four, nine = y[::2, 0], y[1::2, 1]
    assert bool(y[::2, 1].isnan().all())
    assert bool(y[1::2, 0].isnan().all())
    assert 3 <= float(four.min()) < 3.1 < 4.9 < float(four.max()) <= 5  # uniform in a cell of 2
    assert 1 <= float(nine.min()) < 1.35 < 1.65 < float(nine.max()) <= 2  # the second category
    other = rows_with_gaps(tmp_path / "x.csv", (2,), scaling, columns=NAMES, seed=1).x
    assert not torch.equal(x[::2, 0], other[::2, 0])


def test_mapped_columns_keep_their_gaps(tmp_path):
    rows = torch.randn(200, 2, generator=torch.Generator().manual_seed(0)).exp()
    mapped = Scaling(SCALING.shift, SCALING.scale, None, Margins.fit(rows))
    _, x = read(tmp_path, "3,\n,20\n3,20\n", scaling=mapped)
    assert x.isnan().tolist() == [[False, True], [True, False], [False, False]]
    assert float(x[0, 0]) == float(x[2, 0])
    assert float(x[1, 1]) == float(x[2, 1])


def test_arrays_have_nan(tmp_path):
    images = np.zeros((3, 4, 4), np.float32)
    images[1, 2:] = NAN
    np.save(tmp_path / "x.npy", images)
    one = Scaling(torch.tensor(0.5).double(), torch.tensor(0.5).double())
    values, x = rows_with_gaps(tmp_path / "x.npy", (1, 4, 4), one)
    assert values.shape == x.shape == (3, 1, 4, 4)
    assert int(x.isnan().sum()) == 8
    assert bool(x[1, 0, 2:].isnan().all())
    assert float(x[0, 0, 0, 0]) == -1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('a,"b, c"\n1,x\n', r"column 'b, c' holds text \('x', line 2\), and the model takes n"),
        ("1,2\n3,inf\n", "holds infinite values"),
        ("1,2\n3\n", "line 1 has 2 columns, line 2 has 1"),
        ("a,c\n1,2\n", r"no column 'b, c', which the model takes"),
        ("1,2,3\n", r"rows of shape \(3,\), the model takes \(2,\)"),
        ("a,b\n", "a header, and no rows below it"),
        ("# nothing\n", "holds no rows"),
        ("1,1e300\n", "too far from the training rows"),
    ],
)
def test_anything_else_is_refused_in_one_line(tmp_path, text, told):
    with pytest.raises(ValueError, match=told) as caught:
        read(tmp_path, text)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "x.csv"))


def test_files_of_other_kinds(tmp_path):
    (tmp_path / "x.parquet").write_bytes(b"")
    pandas.DataFrame({"a": [1.0, None]}).to_parquet(tmp_path / "v.parquet")
    one = Scaling(torch.zeros(1).double(), torch.ones(1).double())
    found = rows_with_gaps(tmp_path / "v.parquet", (1,), one).x
    assert found.isnan().tolist() == [[False], [True]]
    (tmp_path / "y.csv").write_bytes(b"\xff\xfe1,2")
    np.save(tmp_path / "z.npy", np.array([["a", "b"]]))
    np.save(tmp_path / "w.npy", np.array([[math.inf, 1.0]]))
    for name, told in (
        ("x.parquet", "0 bytes"), ("y.csv", "UTF-8"), ("z.npy", "not numbers"),
        ("w.npy", "infinite"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=told):
            rows_with_gaps(tmp_path / name, (2,), SCALING)
    with pytest.raises(FileNotFoundError):
        rows_with_gaps(tmp_path / "none.csv", (2,), SCALING)
