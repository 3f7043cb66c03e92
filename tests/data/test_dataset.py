"""A data set by name or path: which rows, in which units, and every way to ask for what is not."""

import math
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from noneq.data import DataSet, Scaling, digits, is_discrete, load, rows_like
from noneq.data.classes import choose, count, share, thinned

RNG = np.random.default_rng(0)
TABLE = RNG.normal(3.0, 5.0, (50, 3))
PIXELS = RNG.integers(0, 200, (50, 6, 5)).astype(np.uint8)
PIXELS[:, 0, 0] = np.arange(50)  # no two rows are equal
PIXELS[:, 1, 1] = 130 + np.arange(50)  # wherever the split falls, the training rows reach 128


def save(folder: Path, array: np.ndarray, **more: np.ndarray) -> Path:
    if not more:
        np.save(folder / "a.npy", array)
        return folder / "a.npy"
    np.savez(folder / "a.npz", x=array, **more)
    return folder / "a.npz"


def whole(data: DataSet) -> torch.Tensor:
    """All rows of the three splits in the file's units."""
    splits = (data.train, data.validation, data.test)
    return data.scaling.undo(torch.cat([x[:n] for x, n in zip(splits, data.sizes, strict=True)]))


def sizes(data: DataSet) -> tuple[int, ...]:
    return data.sizes


def same_rows(a: torch.Tensor, b: np.ndarray) -> bool:
    a, b = (t.reshape(len(t), -1).double().numpy() for t in (a, torch.from_numpy(b)))
    a, b = (t[np.lexsort(t.T)] for t in (a, b))
    return a.shape == b.shape and np.allclose(a, b, atol=1e-5)


# -- units


@pytest.mark.parametrize("kind", ["scalar", "columns"])
def test_the_jacobian_is_that_of_a_change_of_variables(kind):
    # of a Gaussian, whose density is known in both units
    scale = torch.tensor(2.5) if kind == "scalar" else torch.tensor([0.2, 7.0, 3.0])
    scaling = Scaling(torch.tensor(-1.0).double(), scale.double())
    values = torch.from_numpy(TABLE)
    x = scaling.apply(values)
    normal = torch.distributions.Normal(0.3, 1.2)
    there = torch.distributions.Normal(-1 + 0.3 * scale.double(), 1.2 * scale.double())
    torch.testing.assert_close(
        normal.log_prob(x.double()).sum(1) + scaling.log_jacobian(3),
        there.log_prob(values).sum(1),
        rtol=1e-5,
        atol=1e-4,
    )
    torch.testing.assert_close(scaling.undo(x), values, rtol=1e-5, atol=1e-5)
    if kind == "columns":
        with pytest.raises(ValueError, match="rows have 3 values, not 4"):
            scaling.log_jacobian(4)


IMAGES = {
    # values of all rows -> shift, scale
    "bytes": (PIXELS, 127.5, 127.5),
    "bytes kept as floats": (PIXELS.astype(np.float32), 127.5, 127.5),
    "four bits": (np.minimum(PIXELS, 16), 8.0, 8.0),
    "127": (np.minimum(PIXELS, 127), 63.5, 63.5),
    "128": (np.minimum(PIXELS, 128), 127.5, 127.5),
    "two bytes": (PIXELS.astype(np.uint16).clip(150, 151) * 400, 151 * 200, 151 * 200),
    "bits": (PIXELS > 100, 0.5, 0.5),
    "fractions": (PIXELS / 255, 0.5, 0.5),
    "centred": (PIXELS / 127.5 - 1, 0.0, 1.0),
    "all zero": (np.zeros_like(PIXELS), 0.0, 1.0),
    "all 2.5": (np.full((50, 6, 5), 2.5), 2.5, 1.0),
}


@pytest.mark.parametrize("name", IMAGES)
def test_units_of_images(tmp_path, name):
    values, shift, scale = IMAGES[name]
    data = load(save(tmp_path, values))
    assert (float(data.scaling.shift), float(data.scaling.scale)) == (shift, scale)
    assert data.train.dtype == torch.float32
    assert data.kind == "image"
    assert data.shape == (1, 6, 5)
    assert same_rows(whole(data), values.astype(np.float64))


def test_units_of_other_images_are_mean_and_sd_of_the_training_rows(tmp_path):
    data = load(save(tmp_path, RNG.normal(3.0, 5.0, (50, 6, 5))))
    assert data.scaling.scale.shape == ()
    torch.testing.assert_close(float(data.train.mean()), 0.0, atol=1e-5, rtol=0)
    torch.testing.assert_close(float(data.train.std(correction=0)), 1.0, atol=1e-5, rtol=0)
    assert abs(float(data.test.mean())) > 1e-4  # not by the test's own


def test_units_of_tables_are_columns_of_the_training_rows(tmp_path):
    table = np.c_[TABLE, np.full(50, 0.1)]  # the last never changes
    data = load(save(tmp_path, table))
    assert data.kind == "table"
    assert data.shape == (3,)
    assert data.kinds() == "column 1, column 2, column 3: continuous; left out: 4 (constant)"
    torch.testing.assert_close(data.train.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(data.train.std(0, correction=0), torch.ones(3), atol=1e-5, rtol=0)
    assert same_rows(whole(data), TABLE)


def test_large_values_keep_their_digits(tmp_path):
    times = 1_700_000_000 + 2 * np.arange(50.0)  # float32 tells them apart by 128
    data = load(save(tmp_path, np.c_[times, TABLE]))
    assert len(whole(data)[:, 0].round().unique()) == 50


@pytest.mark.parametrize(
    ("shape", "row"),
    [
        ((20, 7), (7,)),
        ((20,), (1,)),
        ((20, 6, 5), (1, 6, 5)),
        ((20, 3, 6, 5), (3, 6, 5)),
        ((20, 6, 5, 3), (3, 6, 5)),
        ((20, 6, 5, 1), (1, 6, 5)),
        ((20, 4, 5, 3), (4, 5, 3)),  # both fit: channels are first
    ],
)
def test_layouts(tmp_path, shape, row):
    values = RNG.normal(size=shape)
    data = load(save(tmp_path, values))
    assert data.shape == row
    if len(shape) == 4 and row[0] == shape[3]:
        values = values.transpose(0, 3, 1, 2)
    assert same_rows(whole(data), values)


@pytest.mark.parametrize("kind", ["image", "table"])
def test_binary(tmp_path, kind):
    values = np.minimum(PIXELS, 100) if kind == "image" else np.minimum(PIXELS, 100)[:, 0]
    data = load(save(tmp_path, values), binary=True)
    assert data.scaling.threshold == 50
    assert set(data.train.unique().tolist()) == {-1.0, 1.0}
    assert data.discrete
    assert same_rows(whole(data), (values > 50).astype(float))
    assert data.summary().endswith("x = 1 where value > 50, else -1")
    with pytest.raises(ValueError, match=r"a\.npy: binary: every training value is 2,"):
        load(save(tmp_path, np.full((50, 3), 2)), binary=True)


# -- splits


def test_digits_by_name_are_the_digits():
    data = load("digits", seed=3)
    for part, expected in zip((data.train, data.validation, data.test), digits(), strict=True):
        assert part.shape[1:] == (1, 8, 8)
        assert torch.equal(part.flatten(1), expected)
    assert (data.scaling.shift, data.scaling.scale) == (8, 8)
    assert (data.kind, data.source, data.discrete) == ("image", "digits", True)
    assert data.summary() == (
        "1,257 / 180 / 360 images of shape (1, 8, 8) (train / validation / test): "
        "x = value / 8 - 1; discrete, so a density needs noise"
    )


@pytest.mark.parametrize("rows", [4, 5, 11, 50])
def test_every_row_is_in_one_split(tmp_path, rows):
    data = load(save(tmp_path, TABLE[:rows]))
    assert same_rows(whole(data), TABLE[:rows])
    for found, fraction in zip(sizes(data), (0.7, 0.1, 0.2), strict=True):
        assert abs(found - fraction * rows) <= 1
    assert min(sizes(data)) >= 1


def test_the_seed_draws_the_split_and_nothing_else_does(tmp_path):
    path = save(tmp_path, TABLE)
    before = torch.get_rng_state()
    data, again, other = load(path), load(path), load(path, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(data.train, again.train)
    assert data.digest == again.digest
    assert data.digest != other.digest
    assert not torch.equal(data.train, other.train)
    assert data.source == str(path.resolve())


def test_the_digest_is_of_values_not_of_formats(tmp_path):
    data = load(save(tmp_path, PIXELS[:, 0]))
    np.savetxt(tmp_path / "a.csv", PIXELS[:, 0], fmt="%d", delimiter=",")
    assert load(tmp_path / "a.csv").digest == data.digest
    changed = PIXELS[:, 0].copy()
    changed[7, 2] += 1
    assert load(save(tmp_path, changed)).digest != data.digest
    assert load(save(tmp_path, PIXELS[:, :1])).digest != data.digest  # another shape
    assert len(data.digest) == 64


@pytest.mark.parametrize("rows", [1, 3])
def test_too_few_rows(tmp_path, rows):
    with pytest.raises(ValueError, match=r"a\.npy: .* too few; at least 2, 1 and 1 are needed"):
        load(save(tmp_path, TABLE[:rows]))


# -- classes


LABELS = np.repeat([2, 5, 7], [30, 15, 5])


def test_classes(tmp_path):
    path = save(tmp_path, PIXELS, labels=LABELS)
    assert same_rows(whole(load(path, classes=[7, 2])), PIXELS[LABELS != 5].astype(float))
    data, other = (load(path, classes=[5, 2], subset=[3, 10], seed=seed) for seed in (0, 1))
    label = {tuple(x.flatten()): y for x, y in zip(PIXELS.astype(float), LABELS, strict=True)}
    found = [label[tuple(x)] for x in whole(data).flatten(1).round().numpy()]
    assert sorted(found) == [2] * 10 + [5] * 3
    assert data.digest != other.digest
    every = load(path, subset=[4, 3, 2])  # all classes, in order
    found = [label[tuple(x)] for x in whole(every).flatten(1).round().numpy()]
    assert sorted(found) == [2] * 4 + [5] * 3 + [7] * 2


def test_rows_of_a_class_are_drawn_at_random_and_in_order():
    rows = choose(LABELS, {7: 3, 2: 10}, torch.Generator().manual_seed(0))
    assert rows.tolist() == sorted(set(rows.tolist()))
    assert count(LABELS[rows]) == {2: 10, 7: 3}
    assert rows[:10].tolist() != list(range(10))


def test_classes_of_digits_come_from_each_split_in_proportion():
    from sklearn.datasets import load_digits

    found = load_digits()
    label = {tuple(x): y for x, y in zip(found.data, found.target, strict=True)}
    split = digits()
    parts = [[label[tuple((x + 1).mul(8).tolist())] for x in part] for part in split]
    asked = {2: 100, 6: 40}
    data = load("digits", classes=list(asked), subset=list(asked.values()))
    assert sum(sizes(data)) == 140
    chosen = (data.train, data.validation, data.test)
    for part, full, labels in zip(chosen, split, parts, strict=True):
        ours = [label[tuple(x.tolist())] for x in data.scaling.undo(part).flatten(1)]
        for c, number in asked.items():
            exact = number * labels.count(c) / (found.target == c).sum()
            assert abs(ours.count(c) - exact) < 1
        known = {tuple(x.tolist()) for x in full}
        assert all(tuple(x.tolist()) in known for x in part.flatten(1))
    all_twos = load("digits", classes=[2])
    assert [len(p) for p in (all_twos.train, all_twos.validation, all_twos.test)] == [
        labels.count(2) for labels in parts
    ]


@pytest.mark.parametrize("number", range(0, 61, 3))
def test_shares_sum_and_stay_within_what_there_is(number):
    there = [41, 6, 13]
    given = share(number, there)
    assert sum(given) == number
    for got, part in zip(given, there, strict=True):
        assert got <= part
        assert abs(got - number * part / 60) < 1


def test_thinning_keeps_proportions():
    assert thinned({2: 800, 3: 400, 6: 200}, {2: 1000, 3: 1000, 6: 1000, 9: 5}) == {
        2: 1000,
        3: 500,
        6: 250,
    }
    assert thinned({0: 10, 1: 10}, {0: 9, 1: 3}) == {0: 3, 1: 3}


@pytest.mark.parametrize("name", ["label", "Class", "y", "target"])
def test_a_table_s_column_of_labels_is_taken_where_classes_are_asked_for(tmp_path, name):
    path = tmp_path / "a.csv"
    np.savetxt(path, np.c_[TABLE[:, 0], LABELS, TABLE[:, 1]], delimiter=",", comments="",
               header=f"width,{name},mass")  # fmt: skip
    data = load(path)
    assert data.columns == ("width", name, "mass")
    assert data.shape == (3,)
    some = load(path, classes=[2])
    assert some.columns == ("width", "mass")
    assert same_rows(whole(some), TABLE[LABELS == 2][:, :2])
    assert "rows of 2 columns (width, mass)" in some.summary()


CHOICES = {
    "unknown": (
        {"classes": [3]},
        r"class 3 is not there; the classes and their rows: 2 \(30\), 5",
    ),
    "many": ({"classes": [2, 7], "subset": [9, 6]}, "class 7: 6 asked for, 5 there"),
    "lengths": (
        {"classes": [2, 7], "subset": [9]},
        r"2 classes \(2, 7\) and 1 in subset: give a number of rows for each class",
    ),
    "all": ({"subset": [9]}, r"3 classes \(2, 5, 7\) and 1 in subset"),
    "none": ({"classes": [2], "subset": [0]}, "class 2: 0 rows asked for; leave the class out"),
    "twice": ({"classes": [2, 2]}, "class 2 is asked for twice"),
    "empty": ({"classes": []}, "classes is empty: name one or more"),
    "few": ({"classes": [7], "subset": [3]}, "too few; at least 2, 1 and 1"),
}


@pytest.mark.parametrize("name", CHOICES)
def test_choices_that_cannot_be(tmp_path, name):
    asked, message = CHOICES[name]
    with pytest.raises(ValueError, match=r"a\.npz: .*" + message):
        load(save(tmp_path, PIXELS, y=LABELS), **asked)


def test_classes_need_labels_that_are_integers(tmp_path):
    with pytest.raises(
        ValueError,
        match=r"a\.npy: no labels: .* named y, labels, label, targets, target or class",
    ):
        load(save(tmp_path, PIXELS), subset=[3])
    with pytest.raises(ValueError, match=r"whole numbers, got 2\.5 \(row 1\): encode them"):
        load(save(tmp_path, TABLE[:2], y=np.array([1, 2.5])), classes=[1])
    with pytest.raises(ValueError, match=r"whole numbers, got inf \(row 1\)"):
        load(save(tmp_path, TABLE[:2], y=np.array([1, np.inf])), classes=[1])
    with pytest.raises(ValueError, match=r"whole numbers, got 'cat' \(row 0\)"):
        load(save(tmp_path, TABLE[:2], y=np.array(["cat", "dog"])), classes=[1])
    assert len(load(save(tmp_path, TABLE, y=TABLE[:, 0])).train)  # not asked for, not looked at
    assert sizes(load(save(tmp_path, TABLE, y=LABELS.astype(float)), classes=[7])) == (3, 1, 1)
    (tmp_path / "a.csv").write_text("a,y\n1,1\n2,1.5\n")
    with pytest.raises(ValueError, match=r"column 'y': labels are whole numbers, got 1\.5"):
        load(tmp_path / "a.csv", classes=[1])
    (tmp_path / "a.csv").write_text("y\n1\n2\n")
    with pytest.raises(ValueError, match="column 'y' holds the labels: no other is left"):
        load(tmp_path / "a.csv", classes=[1])


# -- published files


def write_idx(path: Path, array: np.ndarray) -> None:
    head = struct.pack(">HBB", 0, 0x08, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(head + array.astype(np.uint8).tobytes())


@pytest.fixture
def folder(tmp_path):
    """40 rows of class 0, 24 of class 1, 16 of class 2; the test file has 10, 12 and 3."""
    for part, numbers, first in (("train", (40, 24, 16), 0), ("t10k", (10, 12, 3), 100)):
        labels = np.repeat([0, 1, 2], numbers)
        images = np.zeros((len(labels), 4, 4), dtype=np.uint8)
        images[:, 0, 0] = first + np.arange(len(labels))
        images[:, 1, 1] = labels
        images[:, 2, 2] = 200
        write_idx(tmp_path / f"{part}-images-idx3-ubyte", images)
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte", labels)
    return tmp_path


def ids(x: torch.Tensor) -> list[int]:
    return sorted(((x[:, 0, 0, 0] + 1) * 127.5).round().int().tolist())


def classes_of(x: torch.Tensor) -> list[int]:
    return ((x[:, 0, 1, 1] + 1) * 127.5).round().int().bincount(minlength=3).tolist()


def test_published_files_keep_their_test_rows(folder):
    data = load(folder)
    assert sizes(data) == (70, 10, 25)
    assert sorted(ids(data.train) + ids(data.validation)) == list(range(80))
    assert ids(data.test) == list(range(100, 125))
    assert data.source == str(folder.resolve())
    assert sizes(load(folder / "train-images-idx3-ubyte")) == (56, 8, 16)  # a file like any other


def test_a_subset_thins_the_test_rows_to_its_proportions(folder):
    data = load(folder, classes=[0, 1], subset=[32, 16])
    assert sizes(data) == (42, 6, 15)
    assert classes_of(torch.cat([data.train, data.validation])) == [32, 16, 0]
    assert classes_of(data.test) == [10, 5, 0]
    assert set(ids(data.test)) < set(range(100, 125))
    data = load(folder, classes=[2, 0])
    assert classes_of(data.test) == [10, 0, 3]  # without a subset all there are
    data = load(folder, subset=[16, 16, 16])
    assert classes_of(data.test) == [3, 3, 3]


def test_published_files_that_do_not_fit(folder):
    with pytest.raises(ValueError, match="train-images-idx3-ubyte: class 1: 25 asked for, 24 the"):
        load(folder, classes=[1], subset=[25])
    write_idx(folder / "t10k-labels-idx1-ubyte", np.repeat([0, 1], [20, 5]))
    with pytest.raises(ValueError, match="t10k-images-idx3-ubyte: no rows of class 2 to test"):
        load(folder, classes=[1, 2])
    (folder / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(ValueError, match="t10k-images-idx3-ubyte: no labels:"):
        load(folder, classes=[1, 2])
    write_idx(folder / "t10k-images-idx3-ubyte", np.zeros((3, 5, 5)))
    with pytest.raises(
        ValueError, match=r"t10k.*rows of shape \(5, 5\), but those of train-i.* have \(4, 4\)"
    ):
        load(folder)
    (folder / "t10k-images-idx3-ubyte").unlink()
    assert sizes(load(folder)) == (56, 8, 16)  # no test file: split like any other


# -- discrete


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (torch.randn(100, 5, generator=torch.Generator().manual_seed(0)), False),
        (torch.randn(9, 1, 2, 2, generator=torch.Generator().manual_seed(0)), False),
        (torch.arange(300.0)[:, None].expand(300, 5), False),  # no value twice
        (torch.arange(300.0)[:, None].expand(300, 5) // 5, True),
        (torch.arange(4096.0).view(64, 1, 8, 8) % 256, True),  # bytes, on images of few rows
        (torch.arange(4096.0).view(64, 1, 8, 8) % 2048, False),
        (torch.arange(4096.0).view(64, 1, 8, 8) % 300, False),  # too many, though each comes often
        (torch.stack([torch.arange(300.0), torch.arange(300.0) // 30], 1), False),  # half of them
        (torch.stack([torch.arange(300.0), torch.zeros(300)], 1), True),  # constant
        (torch.stack([torch.arange(300.0), torch.arange(300.0) % 2], 1), True),  # yes and no
    ],
)
def test_discrete(data, found):
    assert is_discrete(data) is found


def test_discrete_sets(tmp_path):
    assert not load(save(tmp_path, TABLE)).discrete
    assert load(save(tmp_path, PIXELS)).discrete
    assert "noise" not in load(save(tmp_path, TABLE)).summary()


# -- what is not there, or no data


def test_names_and_paths_that_are_not_there(tmp_path, monkeypatch):
    known = r"\. Known by name: digits; else give a path to a file \(\.npy, .* folder of IDX"
    with pytest.raises(FileNotFoundError, match=r"digit: .*\(did you mean digits\?\)" + known):
        load("digit")
    with pytest.raises(
        FileNotFoundError, match="nothing of the kind: no such file .* name" + known
    ):
        load("nothing of the kind")
    path = save(tmp_path, TABLE)
    with pytest.raises(FileNotFoundError, match=r"did you mean .*/a\.npy\?"):
        load(tmp_path / "aa.npy")
    with pytest.raises(FileNotFoundError, match="no such file"):
        rows_like(tmp_path / "aa.npy", (3,), load(path).scaling)
    monkeypatch.chdir(tmp_path)
    path.rename("digits.npy")
    with pytest.raises(FileNotFoundError):
        load(Path("digits"))  # a path, never a name


BAD = {
    "no rows": (np.zeros((0, 3)), r"no values in it: an array of shape \(0, 3\)"),
    "no columns": (np.zeros((9, 0), int), r"no values in it: an array of shape \(9, 0\)"),
    "holes": (np.where(np.arange(27).reshape(9, 3) == 13, np.nan, 1.5),
              r"NaN or infinite values in 1 of 9 rows \(the first: row 4\); drop or fill"),
    "five axes": (np.zeros((9, 2, 2, 2, 2)), r"neither a table \(M, D\) nor images \(M, H, W\)"),
    "two channels": (np.zeros((9, 2, 5, 5)), "with C = 1, 3 or 4 channels"),
    "images too far": (1e300 * np.arange(-9.0, 9.0).reshape(9, 2, 1), "spread too far"),
    "too far": (1e300 * np.arange(-9.0, 9.0)[:, None], "spread too far"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_arrays_that_are_no_data(tmp_path, name):
    values, message = BAD[name]
    with pytest.raises(ValueError, match=r"a\.npy: .*" + message):
        load(save(tmp_path, values))


# -- rows to score


def test_rows_like_those_of_a_model(tmp_path):
    data = load(save(tmp_path, PIXELS))
    torch.testing.assert_close(
        data.scaling.undo(rows_like(tmp_path / "a.npy", data.shape, data.scaling)),
        torch.from_numpy(PIXELS[:, None]).double(),
        atol=1e-4,
        rtol=0,
    )
    found = rows_like(save(tmp_path, PIXELS[:1, ..., None]), data.shape, data.scaling)
    assert found.shape == (1, 1, 6, 5)
    assert found.dtype == torch.float32
    with pytest.raises(
        ValueError, match=r"npy: rows of shape \(30,\), the model takes \(1, 6, 5\); r"
    ):
        rows_like(save(tmp_path, PIXELS.reshape(50, 30)), data.shape, data.scaling)
    with pytest.raises(ValueError, match=r"shape \(1, 5, 5\), the model takes \(1, 6, 5\)$"):
        rows_like(save(tmp_path, PIXELS[:, 1:]), data.shape, data.scaling)
    with pytest.raises(ValueError, match="NaN or infinite values in 1 of 2 rows"):
        rows_like(save(tmp_path, np.array([[1.0], [math.nan]])), (1,), data.scaling)


def test_rows_of_a_binary_model_come_in_its_units(tmp_path):
    scaling = load(save(tmp_path, PIXELS), binary=True).scaling
    assert set(rows_like(tmp_path / "a.npy", (1, 6, 5), scaling).unique().tolist()) == {-1, 1}
    with pytest.raises(ValueError, match=r"no value is above .* \(the largest is 1\): give rows"):
        rows_like(save(tmp_path, PIXELS / PIXELS.max()), (1, 6, 5), scaling)


def test_rows_to_score_take_their_columns_by_name(tmp_path):
    path, other = tmp_path / "a.csv", tmp_path / "b.csv"
    header = {"delimiter": ",", "comments": ""}
    np.savetxt(path, TABLE, header="a,b,c", **header)
    np.savetxt(other, np.c_[TABLE[:, [2, 0, 1]], LABELS], header="c,a,b,label", **header)
    data = load(path)
    expected = data.scaling.apply(torch.from_numpy(TABLE))
    for source in (path, other, save(tmp_path, TABLE)):  # without names, by position
        found = rows_like(source, data.shape, data.scaling, columns=data.columns)
        torch.testing.assert_close(found, expected)
    np.savetxt(other, TABLE, header="a,b,d", **header)
    with pytest.raises(
        ValueError, match=r"b\.csv: no column 'c', which the model takes; .* are 'a', 'b', 'd'"
    ):
        rows_like(other, data.shape, data.scaling, columns=data.columns)
