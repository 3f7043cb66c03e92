"""Equal rows: on one side of the split, and told; where few rows are different, told."""

import numpy as np
import pandas
import pytest
from test_dataset import sizes, whole, write_idx

from noneq.data import load
from noneq.data.repeats import first_of

RNG = np.random.default_rng(0)
ROWS = RNG.normal(3.0, 5.0, (200, 3))
BITS = RNG.integers(0, 2, (200, 30))


def keys(data) -> list[list[bytes]]:
    """The rows of each split, in a form that compares."""
    parts = zip((data.train, data.validation, data.test), data.sizes, strict=True)
    return [[row.numpy().tobytes() for row in data.scaling.undo(part[:n])] for part, n in parts]


def across(data) -> int:
    """Rows that another split before theirs has, too."""
    train, validation, test = keys(data)
    before = {*train, *validation}
    return sum(row in {*train} for row in validation) + sum(row in before for row in test)


def saved(tmp_path, values):
    np.save(tmp_path / "a.npy", values)
    return tmp_path / "a.npy"


COPIES = {
    "two": np.concatenate([ROWS, ROWS]),
    "fifty": np.repeat(ROWS, 50, 0),
    "some": np.concatenate([ROWS, ROWS[:20], ROWS[:5]]),
    "one of many": np.concatenate([ROWS, np.repeat(ROWS[:1], 40, 0)]),
    "bits": np.concatenate([BITS, BITS, BITS]),
    "bits, some more often": np.concatenate([BITS, BITS[:9], BITS, BITS[:9]]),
    "signs of zero": np.concatenate([ROWS * [1, 1, 0], ROWS * [1, 1, -0.0]]),
    "a column": np.concatenate([ROWS[:, 0]] * 4),
    "drawn again": ROWS[RNG.integers(0, 200, 300)],
    "images": np.concatenate([RNG.integers(0, 255, (60, 4, 4)).astype(np.uint8)] * 2),
}


@pytest.mark.parametrize("name", COPIES)
def test_equal_rows_are_on_one_side_of_the_split(tmp_path, name):
    values = COPIES[name]
    data = load(saved(tmp_path, values))
    assert across(data) == 0
    n = len(values)
    assert sum(sizes(data)) == n
    assert sorted(whole(data).flatten(1)[:, 0].tolist()) == pytest.approx(
        sorted(values.reshape(n, -1)[:, 0].tolist()), abs=1e-4
    )
    most = np.unique(values + 0.0, axis=0, return_counts=True)[1].max()
    for found, share in zip(sizes(data), (0.7, 0.1, 0.2), strict=True):
        assert abs(found - share * n) <= most
    distinct = len(np.unique(values + 0.0, axis=0))
    assert data.repeats == (n - distinct, 0)
    assert data.summary().endswith(
        f"; {n - distinct:,} rows repeat others, and equal rows are in one split"
    )
    assert data.plain()["repeats"] == [n - distinct, 0]


def test_without_equal_rows_nothing_is_told_and_the_split_is_what_it_was(tmp_path):
    data = load(saved(tmp_path, ROWS))
    assert data.repeats == (0, 0)
    assert "repeat" not in data.summary()
    # the split of before equal rows were looked for
    assert data.digest.startswith("62587c12e4b6a9c0")


NATURAL = {
    # few rows are different because few can be: a split by rows, as of any sample
    "bits": RNG.integers(0, 2, (400, 4)),
    "dice": RNG.integers(1, 7, 400),
    "heights": RNG.normal(170, 10, 400).round(),
}


@pytest.mark.parametrize("name", NATURAL)
def test_rows_that_are_equal_by_nature_are_split_one_by_one(tmp_path, name):
    values = NATURAL[name]
    data = load(saved(tmp_path, values))
    assert sizes(data) == (280, 40, 80)
    repeats = 400 - len(np.unique(values, axis=0))
    assert data.repeats == (repeats, across(data))
    assert across(data) > 100
    assert data.summary().endswith(
        f"; {repeats} rows repeat others, and {across(data)} to validate or test with equal rows "
        "to train on"
    )


@pytest.mark.parametrize("values", [np.ones((50, 4, 4)), np.repeat(ROWS[:2], 9, 0)])
def test_rows_that_cannot_be_parted_are_split_one_by_one(tmp_path, values):
    data = load(saved(tmp_path, values))
    assert min(sizes(data)) >= 1
    assert data.repeats[0] == len(values) - len(np.unique(values, axis=0))
    assert data.repeats[1] == across(data) > 0


def test_a_published_test_file_stays_as_it_is_and_what_it_shares_is_told(tmp_path):
    images = RNG.integers(0, 255, (40, 4, 4)).astype(np.uint8)
    write_idx(tmp_path / "train-images-idx3-ubyte", np.concatenate([images, images]))
    write_idx(tmp_path / "t10k-images-idx3-ubyte", np.concatenate([images[:3], 255 - images[:7]]))
    data = load(tmp_path)
    assert sizes(data) == (70, 10, 10)
    train, validation, test = keys(data)
    assert not set(train) & set(validation)
    assert sum(row in train + validation for row in test) == 3
    assert data.repeats == (43, 3)
    assert "43 rows repeat others, and 3 to validate or test with equal rows" in data.summary()


def test_labels_count_only_where_they_are_a_column():
    frame = pandas.DataFrame({"a": np.tile(ROWS[:, 0], 2), "y": np.repeat([0, 1], 200)})
    assert load(frame).repeats == (0, 0)
    assert load(frame, classes=[0, 1]).repeats == (200, 0)


def test_the_first_of_equal_rows():
    x = np.array([[1, 2], [3, 4], [1, 2], [1, 3], [3, 4.0]])
    assert first_of(x).tolist() == [0, 1, 0, 3, 1]
    x = RNG.integers(0, 4, (10_000, 5)).astype(np.float32)
    first = first_of(x)
    assert (x[first] == x).all()
    assert len(np.unique(first)) == len(np.unique(x, axis=0))


@pytest.mark.parametrize("kind", ["f8", "f4", "f2", "i8", "i2", "u1", "?"])
@pytest.mark.parametrize("width", [1, 3, 8])
def test_equal_rows_of_every_kind_of_number_are_found(kind, width):
    rows = np.random.default_rng(1).integers(0, 2 if width > 3 else 5, (9000, width)).astype(kind)
    if kind[0] == "f":
        rows[::3] *= -1  # -0 is 0
    known: dict[tuple, int] = {}
    expected = [known.setdefault(tuple(row), i) for i, row in enumerate(rows.tolist())]
    assert first_of(rows).tolist() == expected
    assert first_of(rows[:40, ::-1], rows[40:, ::-1]).tolist() == expected
    if kind == "f8":  # rows of the same values in another order are others, as are near ones
        near = np.stack([rows[0] + 1, np.nextafter(rows[0] + 1, 9)])
        assert first_of(near).tolist() == [0, 1]
        assert len(np.unique(first_of(np.eye(500)))) == 500
