"""Parquet files and the frames of other libraries: their columns are numbers, or are named."""

import datetime
import decimal

import numpy as np
import pandas
import polars
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch

import noneq
from noneq.data import load, read, rows_like
from noneq.data.readers import read_raw

GOOD = {"a": [0.5, 2.0], "b": [-1, 4], "c": [False, True]}
MADE = {
    "pandas": pandas.DataFrame,
    "polars": polars.DataFrame,
    "pyarrow": pa.table,
}


@pytest.mark.parametrize("maker", MADE)
def test_a_frame_is_taken_as_it_is(maker):
    rows = read(MADE[maker](GOOD))
    assert rows.x.tolist() == [[0.5, -1.0, 0.0], [2.0, 4.0, 1.0]]
    assert rows.columns == ("a", "b", "c")
    assert rows.labels is None


def test_parquet(tmp_path):
    pa.parquet.write_table(pa.table(GOOD), tmp_path / "a.parquet")
    rows = read(tmp_path / "a.parquet")
    assert rows.x.tolist() == [[0.5, -1.0, 0.0], [2.0, 4.0, 1.0]]
    assert rows.columns == ("a", "b", "c")


NUMBERS = {
    "nullable": pandas.DataFrame({"a": pandas.array([1, 2], dtype="Int64")}),
    "half": pa.table({"a": np.array([1, 2], np.float16)}),
    "unsigned": pa.table({"a": np.array([1, 2], np.uint64)}),
    "decimals": pa.table({"a": [decimal.Decimal("1"), decimal.Decimal("2.00")]}),
    "in pieces": pa.concat_tables([pa.table({"a": [1]}), pa.table({"a": [2]})]),
    "indexed": pandas.DataFrame({"a": [1, 2]}, index=["x", "y"]),
    "named index": pandas.DataFrame({"a": [1, 2]}, index=pandas.Index([5, 7], name="id")),
    "number for a name": pandas.DataFrame({0: [1, 2]}),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_every_kind_of_number_and_an_index_that_is_no_column(tmp_path, name):
    frame = NUMBERS[name]
    assert read(frame).x.tolist() == [[1.0], [2.0]]
    assert read(frame).columns == ("0" if name == "number for a name" else "a",)
    if isinstance(frame, pandas.DataFrame):
        frame.columns = frame.columns.astype(str)
        frame.to_parquet(tmp_path / "a.parquet")
        assert read(tmp_path / "a.parquet").x.tolist() == [[1.0], [2.0]]


WRONG = {
    "text": (
        {"a": [0.5, 2.0], "name": [None, "otter"]},
        r"column 'name' holds text \('otter', row 1\): drop it or encode it as numbers",
    ),
    "things": (
        {"a": [{"k": 1}, {"k": 2}], "b": ["x", "y"]},
        r"columns 'a', 'b' hold values that are not numbers \(the first: {'k': 1}, row 0\)",
    ),
    "dates": (
        {"a": [datetime.date(2020, 1, 2)]},
        r"column 'a' holds values that are not numbers \(datetime.date\(2020, 1, 2\), row 0\)",
    ),
    "gaps": (
        {"a": [0.5, float("nan")], "b": pa.array([None, None], pa.float64())},
        r"columns 'a', 'b' have 3 missing values, 2 in 'b', 1 in 'a' \(the first in row 0\): fill",
    ),
    "nothing": ({"a": pa.nulls(2)}, r"column 'a' has 2 missing values \(the first in row 0\)"),
    "long integers": (
        {"a": [1, 2], "id": [2, 2**53 + 1]},
        r"column 'id' holds integers beyond 2\^53 \(9007199254740993, row 1\)",
    ),
    "unsigned": (
        {"id": pa.array([2**64 - 1], pa.uint64())},
        r"column 'id' holds integers beyond 2\^53 \(18446744073709551615, row 0\)",
    ),
    "long decimals": (
        {"id": [decimal.Decimal(2**53 + 1)]},
        r"column 'id' holds integers beyond 2\^53 \(9007199254740993, row 0\)",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_columns_that_are_no_numbers(tmp_path, name):
    columns, message = WRONG[name]
    table = pa.table(columns)
    pa.parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"a\.parquet: " + message) as caught:
        read(tmp_path / "a.parquet")
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=r"^a pyarrow Table: " + message):
        read(table)


def test_the_row_that_is_named_counts_from_the_beginning(tmp_path):
    table = pa.table({"a": np.r_[np.zeros(200_000), np.nan]})
    pa.parquet.write_table(table, tmp_path / "a.parquet", row_group_size=1000)
    with pytest.raises(ValueError, match=r"1 missing value \(in row 200000\)"):
        read(tmp_path / "a.parquet")


def test_integers_that_are_held_exactly_pass():
    assert read(pa.table({"a": [2**53, -(2**60)]})).x.tolist() == [[2.0**53], [-(2.0**60)]]


def test_damaged_parquet_is_a_value_error(tmp_path):
    pa.parquet.write_table(pa.table(GOOD), tmp_path / "a.parquet")
    content = (tmp_path / "a.parquet").read_bytes()
    for damaged in (b"", b"PAR1", content[:-9], content.replace(b"PAR1", b"RAP1")):
        (tmp_path / "a.parquet").write_bytes(damaged)
        with pytest.raises(ValueError, match=r"a\.parquet: "):
            read(tmp_path / "a.parquet")


def table(rows: int = 60) -> np.ndarray:
    return np.random.default_rng(0).normal(3.0, 5.0, (rows, 3))


@pytest.mark.parametrize("maker", MADE)
def test_a_frame_is_loaded_as_its_file_is(tmp_path, maker):
    columns = dict(zip("abc", table().T, strict=True))
    frame = MADE[maker](columns)
    pandas.DataFrame(columns).to_csv(tmp_path / "a.csv", index=False, float_format="%.17g")
    data, file = load(frame), load(tmp_path / "a.csv")
    assert data.digest == file.digest
    assert torch.equal(data.train, file.train)
    assert data.columns == ("a", "b", "c")
    assert data.source == f"a {maker} {type(frame).__name__}"
    swapped = MADE[maker]({name: columns[name] for name in "cab"})
    x = rows_like(swapped, data.shape, data.scaling, columns=data.columns)
    assert torch.equal(x, rows_like(frame, data.shape, data.scaling))
    with pytest.raises(ValueError, match=rf"^a {maker} \w+: no labels:"):
        load(frame, classes=[1])


def test_a_frame_chooses_by_its_labels():
    frame = pandas.DataFrame({"a": table()[:, 0], "y": np.repeat([0, 1], 30)})
    data = load(frame, classes=[1], subset=[20])
    assert data.columns == ("a",)
    assert sum(map(len, (data.train, data.validation, data.test))) == 20


def test_a_frame_is_trained_on():
    frame = pandas.DataFrame(table(), columns=list("abc"))
    x = torch.from_numpy(table()).float()
    found = []
    for data in (frame, x):
        energy = noneq.Tilted(noneq.Gaussian.fit(x), noneq.MLP(3, 8, 1))
        with torch.no_grad():
            for p in energy.parameters():
                p.zero_()
        few = noneq.Settings(walkers=16, held_out=None, moves=1, renew=None, batch=8)
        record = next(iter(noneq.train(energy, data, few)))
        found.append(record.loss)
    assert found[0] == found[1]
    with pytest.raises(ValueError, match="column 'name' holds text"):
        next(iter(noneq.train(energy, pandas.DataFrame({"name": ["x", "y"]}))))


def test_no_digit_is_lost():
    values = read_raw(pandas.DataFrame({"t": [1700000001, 1700000002]})).values
    assert values.dtype == np.float64
    assert np.diff(values[:, 0]) == 1


@pytest.mark.parametrize("name", ["", "Unnamed: 0", "__index_level_0__"])
def test_a_column_that_numbers_the_rows_is_refused(tmp_path, name):
    frame = pandas.DataFrame({name: range(20), "a": table()[:20, 0]})
    message = "column 1 has no name and numbers the rows: leave it out"
    with pytest.raises(ValueError, match="a pandas DataFrame: " + message):
        read(frame)
    frame.to_csv(tmp_path / "a.csv", index=False)
    with pytest.raises(ValueError, match=r"a\.csv: " + message):
        read(tmp_path / "a.csv")
    frame.iloc[3, 0] = 7
    assert read(frame).x.shape == (20, 2)
