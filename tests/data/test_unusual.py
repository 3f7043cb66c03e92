"""Values that no training row had, and where the rows of a file are."""

import numpy as np
import pandas
import pytest

from noneq.data.identifiers import is_identifier
from noneq.data.kinds import Column, LeftOut
from noneq.data.origin import origin_of
from noneq.data.readers import read_raw
from noneq.data.unusual import unusual_values

LEFT_OUT = [
    LeftOut("id", "text, different in every row"),
    LeftOut("day", "text, 30 different ones"),
    LeftOut("one", "constant"),
]


def off(column, values):
    """The indices of unusual values of one column: outside its range, and off its grid."""
    found = []
    for kind in ("outside", "off_grid"):
        own = []
        for i, value in enumerate(values):
            for one in unusual_values([column], np.array([[value]])):
                own += [i] * (getattr(one, kind) is not None)
        found.append(own)
    return found


def test_what_is_outside_the_range_and_off_the_grid():
    whole = Column("a", 1, "grid", step=5.0, offset=21.0, counted=True, low=21.0, high=91.0)
    assert off(whole, [21, 91, 20.9999, 91.1, 23, 26, 96]) == [[2, 3, 6], [3, 4]]
    category = Column("b", 1, "category", levels=(0.0, 1.0))
    assert off(category, [0, 1, 7]) == [[], []]
    loose = Column("c", 1, "rounded", step=0.5, loose=True, low=0.0, high=9.0)
    assert off(loose, [0.7, 9.2]) == [[1], []]
    atoms = Column("d", 1, "atoms", step=2.0, atoms=(1.0,), width=3.0, counted=True)
    assert off(atoms, [1, 2, 3]) == [[], [2]]
    tenths = Column("e", 1, "rounded", step=0.1, offset=12.8)
    single = np.float32([12.8, 1234.5, 40.7]).astype(float)
    assert off(tenths, [*np.arange(128, 900) / 10, *single, 13.05]) == [[], [775]]


def test_a_rounded_column_has_exceptions():
    # up to 5 % of its training rows are off a grid that begins at 0
    rough = Column("a", 1, "rounded", step=1.0, low=0.0, high=99.0)
    values = np.arange(40.0)
    values[:2] += 0.5
    assert unusual_values([rough], values[:, None]) == []
    values[2] += 0.5
    (found,) = unusual_values([rough], values[:, None])
    assert tuple(found.off_grid) == (3, 0, 0.5)
    # but none off one of probabilities, nor off one that begins elsewhere
    values[1:3] -= 0.5
    for kind, offset, counted in (("rounded", 1.0, False), ("grid", 0.0, True)):
        exact = Column("a", 1, kind, step=1.0, offset=offset, counted=counted)
        assert tuple(unusual_values([exact], values[:, None])[0].off_grid) == (1, 0, 0.5)


def test_unusual_columns_come_in_their_order_and_the_first_row_is_told():
    columns = [Column(name, i + 1, low=0.0, high=1.0) for i, name in enumerate("abc")]
    found = unusual_values(columns, np.array([[0, 0, 0], [0, 0, 3], [2, 1, 9]]))
    assert [one.column.name for one in found] == ["a", "c"]
    assert [tuple(one.outside) for one in found] == [(1, 2, 2.0), (2, 1, 3.0)]


def test_what_identifies_rows():
    for why in (LEFT_OUT[0].why, "numbers the rows", "whole numbers, different in every row",
                "text, over 10,000 different ones"):  # fmt: skip
        assert is_identifier(why)
    for why in ("constant", "empty", "text, 30 different ones", "dates or times"):
        assert not is_identifier(why)


def test_the_line_of_a_fault_below_a_line_break_in_quotes(tmp_path):
    (tmp_path / "a.csv").write_text('a,b\n"x\ny",1\n\n"z",2\nw,three\n')
    with pytest.raises(ValueError, match="the first: 'xy', line 2"):
        read_raw(tmp_path / "a.csv")
    fault = read_raw(tmp_path / "a.csv", loose=True).faults.words[1]
    assert (fault.place, fault.example) == (6, "three")
    found = origin_of(tmp_path / "a.csv", 3, LEFT_OUT, 1)
    assert found.numbers.tolist() == [2, 5, 6]
    with pytest.raises(ValueError, match="another number of rows than a moment ago"):
        origin_of(tmp_path / "a.csv", 4, LEFT_OUT, 1)


def test_many_identifiers_are_read_as_they_are(tmp_path):
    # more than are kept as texts of a column
    names = [f"{i:06}" for i in range(12_000)]
    frame = pandas.DataFrame({"day": "x", "id": names, "a": np.arange(12_000.0)})
    left_out = [LeftOut("id", "text, over 10,000 different ones")]
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_parquet(tmp_path / "a.parquet")
    for name, unit, first in (("a.csv", "line", 2), ("a.parquet", "row", 1)):
        found = origin_of(tmp_path / name, 12_000, left_out, 1)
        assert found.unit == unit
        assert found.numbers.tolist() == list(range(first, first + 12_000))
        assert dict(found.identifiers) == {"id": names}


def test_identifiers_of_a_parquet_file_may_be_missing(tmp_path):
    frame = pandas.DataFrame({"id": ["p", None, "r"], "n": [2**60 + 1, 5, 6], "a": [1.0, 2, 3]})
    frame.to_parquet(tmp_path / "a.parquet")
    left_out = [*LEFT_OUT, LeftOut("n", "whole numbers, different in every row")]
    found = origin_of(tmp_path / "a.parquet", 3, left_out, 1)
    assert dict(found.identifiers) == {"id": ["p", "", "r"], "n": [str(2**60 + 1), "5", "6"]}


def test_identifiers_without_names_are_found_by_number(tmp_path):
    (tmp_path / "a.csv").write_text("7 1.5\n9 2.5\n")
    left_out = [LeftOut("1", "whole numbers, different in every row")]
    found = origin_of(tmp_path / "a.csv", 2, left_out, 1)  # a name of spaces: no csv of texts
    assert dict(found.identifiers) == {"column 1": ["7", "9"]}
    assert not origin_of(tmp_path / "a.csv", 2, left_out, 2).identifiers
    assert not origin_of(tmp_path / "a.csv", 2, [LeftOut("5", "numbers the rows")], 1).identifiers
