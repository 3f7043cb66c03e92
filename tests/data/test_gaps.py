"""Rows with blank cells are read as they are, and nothing but a blank cell is missing."""

import math

import numpy as np
import pytest
import torch

from noneq.data import Scaling
from noneq.data.gaps import rows_with_gaps
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
    ],
)
def test_blank_cells_are_missing(tmp_path, name, text):
    values, x = read(tmp_path, text, name)
    expected = np.array([[3.0, NAN], [NAN, 20.0], [-1000.0, 0.1]])
    np.testing.assert_array_equal(values, expected)
    scaled = torch.from_numpy((expected - [1.0, 10.0]) / [2.0, 5.0]).float()
    torch.testing.assert_close(x, scaled, equal_nan=True)


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
        ('a,"b, c"\n1,NA\n', r"row 1, column b, c: 'NA' is not a number; leave the cell"),
        ("1,2\n3,nan\n", "column b|names|nan|is not a number"),
        ("1,2\n3,inf\n", "is not a number"),
        ("1,2\n3\n", "row 2 has 1 cells, others 2"),
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
    (tmp_path / "y.csv").write_bytes(b"\xff\xfe1,2")
    np.save(tmp_path / "z.npy", np.array([["a", "b"]]))
    np.save(tmp_path / "w.npy", np.array([[math.inf, 1.0]]))
    for name, told in (
        ("x.parquet", "read from .csv"), ("y.csv", "UTF-8"), ("z.npy", "not numbers"),
        ("w.npy", "infinite"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=told):
            rows_with_gaps(tmp_path / name, (2,), SCALING)
    with pytest.raises(FileNotFoundError):
        rows_with_gaps(tmp_path / "none.csv", (2,), SCALING)
