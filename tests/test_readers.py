"""Every format that a set of rows comes in, and every way a file can be wrong."""

import gzip
import math
import struct
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from noneq.data import read
from noneq.data.readers import read_raw

X = np.array([[0.5, -1.0, 3.0], [2.0, 0.25, -7.0]])
IMAGES = np.arange(2 * 4 * 3, dtype=np.uint8).reshape(2, 4, 3)
LABELS = np.array([7, 2], dtype=np.uint8)


def idx(array):
    """Big-endian: two zero bytes, a type, a rank, sizes, values (Le Cun, Cortes, Burges)."""
    kind = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}
    code = kind[array.dtype.str[1:]]
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    return (
        struct.pack(">HBB", 0, code, array.ndim)
        + sizes
        + array.astype(array.dtype.newbyteorder(">")).tobytes()
    )


def test_npy(tmp_path):
    np.save(tmp_path / "a.npy", IMAGES)
    rows = read(tmp_path / "a.npy")
    assert rows.x.dtype == torch.float32
    assert torch.equal(rows.x, torch.from_numpy(IMAGES).float())
    assert rows.labels is None
    np.save(tmp_path / "b.npy", X[:, 0])  # a single column
    assert read(str(tmp_path / "b.npy")).x.shape == (2, 1)


@pytest.mark.parametrize("names", [("x", "y"), ("images", "labels"), ("data", "targets")])
def test_npz(tmp_path, names):
    np.savez(tmp_path / "a.npz", **{names[0]: IMAGES, names[1]: LABELS, "mean": X})
    rows = read(tmp_path / "a.npz")
    assert torch.equal(rows.x, torch.from_numpy(IMAGES).float())
    assert rows.labels.tolist() == [7, 2]
    np.savez(tmp_path / "b.npz", anything=X)
    assert torch.equal(read(tmp_path / "b.npz").x, torch.from_numpy(X).float())


@pytest.mark.parametrize("separator", [",", "\t", ";", " "])
@pytest.mark.parametrize("header", [True, False])
def test_text(tmp_path, separator, header):
    lines = [separator.join(map(str, row)) for row in X]
    lines = [separator.join(("width", "2nd", "mass"))] * header + lines
    for name, encoding in (("a.csv", "utf-8"), ("b.tsv", "utf-8-sig"), ("c.TXT", "utf-8")):
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding=encoding)
        assert torch.equal(read(tmp_path / name).x, torch.from_numpy(X).float())


@pytest.mark.parametrize("packed", [False, True])
def test_idx(tmp_path, packed):
    write, end = (gzip.open, ".gz") if packed else (open, "")
    for name, array in (("images-idx3", IMAGES), ("labels-idx1", LABELS)):
        for part, rows in (("t10k", array[:1]), ("train", array)):
            with write(tmp_path / f"{part}-{name}-ubyte{end}", "wb") as file:
                file.write(idx(rows))
    for path in (tmp_path, tmp_path / f"train-images-idx3-ubyte{end}"):
        rows = read(path)
        assert torch.equal(rows.x, torch.from_numpy(IMAGES).float())
        assert rows.labels.tolist() == [7, 2]
    assert len(read(tmp_path / f"t10k-images-idx3-ubyte{end}").x) == 1
    labels = read(tmp_path / f"train-labels-idx1-ubyte{end}")
    assert labels.x.flatten().tolist() == [7, 2]
    assert labels.labels is None


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "i4", "f4", "f8"])
def test_every_type_of_idx(tmp_path, dtype):
    array = np.array([[-3, 2], [100, 7]]).astype(dtype)
    (tmp_path / "some-idx2").write_bytes(idx(array))
    assert torch.equal(read(tmp_path / "some-idx2").x, torch.from_numpy(array.astype("f4")))


WRONG = {
    "a.npy": (b"not an array", r"a.npy: not an .npy file: numpy\.save writes one"),
    "empty.npy": (b"", "empty.npy: not an .npy file"),
    "a.npz": (b"PK\x03\x04 cut short", "a.npz: not an .npz file, or cut short"),
    "b.npz": (b"\x93NUMPY", "b.npz: not an .npz file"),
    "a-idx3-ubyte": (b"\x00\x00\x08\x03\x00\x00", "idx3-ubyte: cut short: it ends before"),
    "b-idx3-ubyte": (idx(IMAGES)[:-5], "cut short"),
    "c-idx1-ubyte": (b"GIF89a..", "not an IDX file"),
    "empty-idx3-ubyte": (b"", "empty-idx3-ubyte: not an IDX file"),
    "d-idx3-ubyte.gz": (b"not packed", "gz: Not a gzipped file"),
    "a.jpeg": (b"", r"unknown format: \.npy"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_file_that_is_wrong_is_named(tmp_path, name):
    content, message = WRONG[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


def test_arrays_that_are_no_rows_of_numbers(tmp_path):
    np.save(tmp_path / "objects.npy", np.array([{}, []], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="never unpickled"):  # nothing is ever unpickled
        read(tmp_path / "objects.npy")
    np.save(tmp_path / "words.npy", np.array([["a", "b"]]))
    with pytest.raises(ValueError, match="not numbers"):
        read(tmp_path / "words.npy")
    np.save(tmp_path / "one.npy", np.array(3.0))
    with pytest.raises(ValueError, match="a single number, not rows"):
        read(tmp_path / "one.npy")
    np.savez(tmp_path / "two.npz", a=X, b=X)
    with pytest.raises(ValueError, match="holds a, b: name the array of rows x"):
        read(tmp_path / "two.npz")
    np.savez(tmp_path / "labels.npz", x=X, y=LABELS[:1])
    with pytest.raises(ValueError, match="labels of shape"):
        read(tmp_path / "labels.npz")
    with pytest.raises(FileNotFoundError, match="no such file"):
        read(tmp_path / "nowhere.npy")
    with pytest.raises(FileNotFoundError, match="holds no IDX file"):
        read(tmp_path)


TABLES = {
    # text, then what is said of it (None: it is read) and the columns' names
    "names.csv": ("sepal, petal\n1,2\n3,4\n", None, ("sepal", "petal")),
    "plain.csv": ("1,2\n3,4\n", None, ()),
    "quoted.csv": ('"a, b";"c"\n"1";2\n3;4\n', None, ("a, b", "c")),
    "spaces.txt": ("the only\n1\n2\n", None, ("the only",)),
    "years.csv": ("name,2019\n1,2\n3,4\n", None, ("name", "2019")),
    "comments.csv": ("# who, when\n\na,b\n1,2\n# a rest\n3,4\n", None, ("a", "b")),
    "tail.csv": ("a,b\n1,2\n3,4\n   \n\n", None, ("a", "b")),
    "unnamed.csv": (",b\n1,2\n3,4\n", None, ("1", "b")),
    "index.csv": (",b\n0,2\n1,4\n", r"column 1 has no name and numbers the rows: leave it", ()),
    "frame.csv": (",0,1\n0,2,5\n1,4,5\n", "column 1 has no name and numbers the rows", ()),
    "hole.csv": (",1,2\n,2,5\n", r"column 1 has 2 missing values \(the first in line 1\)", ()),
    "empty.csv": ("", "the file holds no rows", ()),
    "blank.csv": ("\n \n", "the file holds no rows", ()),
    "header.csv": ("a,b\n", "a header, and no rows below it", ()),
    "iris.csv": (
        "width,species\n1,setosa\n2,other\n",
        r"column 'species' holds text \('setosa', line 2\): drop it or encode it as numbers",
        (),
    ),
    "bare.csv": (
        "5.1,setosa\n4.9,setosa\n",
        r"column 2 holds text \('setosa', line 1\): drop it or encode it as numbers",
        (),
    ),
    "two.csv": (
        "a,b,c\n1,2,3\nu,2,3\nv,w,3\n",
        r"columns 'a', 'b' hold text \(the first: 'u', line 3\): drop them or encode them",
        (),
    ),
    "many.csv": (
        "a,b,c,d,e,f,g\n" + "x,x,x,x,x,x,x\n",
        "columns 'a', 'b', 'c', 'd', 'e' and 2 more hold text",
        (),
    ),
    "gaps.csv": (
        "id,age\n1,2\n2,\n3,NA\n4,nan\n",
        r"column 'age' has 3 missing values \(the first in line 3\): fill or drop them",
        (),
    ),
    "gap.csv": (
        "id,age\n1,2\n2,nan\n",
        r"column 'age' has 1 missing value \(in line 3\): fill or drop it",
        (),
    ),
    "both.csv": (
        "id,age,sex\n1,,f\n,3,m\n",
        r"'sex' holds text .*; columns 'id', 'age' have 2 missing values \(the first in line 2\)",
        (),
    ),
    "commas.csv": ("a;b\n1,5;2\n", r"column 'a' holds text \('1,5', line 2\)", ()),
    "grouped.csv": ("a,b\n1_000,2\n", r"column 'a' holds text \('1_000', line 2\)", ()),
    "ragged.csv": ("1,2\n\n3\n", "line 1 has 2 columns, line 3 has 1: every line needs as", ()),
    "wide.csv": ("a,b\n1,2,3\n4,5,6\n", "line 1 names 2 columns, line 2 has 3", ()),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_text(tmp_path, name):
    content, message, columns = TABLES[name]
    (tmp_path / name).write_text(content, encoding="utf-8")
    if message is None:
        rows = read(tmp_path / name)
        assert rows.columns == columns
        assert rows.x.flatten().tolist() == list(range(1, 1 + rows.x.numel()))
        return
    with pytest.raises(ValueError, match=message) as caught:
        read(tmp_path / name)
    assert str(caught.value).startswith(str(tmp_path / name) + ": ")
    assert "\n" not in str(caught.value)


def test_text_in_another_encoding(tmp_path):
    for text in ("größe,b\n1,2\n", "a,b\n" + 9999 * "1,2\n" + "größe,2\n"):
        (tmp_path / "a.csv").write_bytes(text.encode("latin-1"))
        with pytest.raises(ValueError, match="not text in UTF-8: save it with that encoding"):
            read(tmp_path / "a.csv")


def test_no_digit_is_lost_in_the_file_s_own_type(tmp_path):
    # float32 tells times apart by 128 s only
    (tmp_path / "a.csv").write_text("time\n1700000001\n1700000002\n")
    assert np.diff(read_raw(tmp_path / "a.csv").values[:, 0]) == 1
    np.save(tmp_path / "a.npy", IMAGES.astype(">u2"))
    values = read_raw(tmp_path / "a.npy").values
    assert values.dtype == np.uint16  # in the machine's byte order
    assert (values == IMAGES).all()


def test_labels(tmp_path):
    np.savez(tmp_path / "a.npz", x=X, target=LABELS[:, None])
    assert read(tmp_path / "a.npz").labels.tolist() == [7, 2]
    np.savez(tmp_path / "b.npz", x=X, y=np.array([0.3, 2.0]))
    assert read(tmp_path / "b.npz").labels is None  # not cut to integers


def test_packed_and_unpacked_files_side_by_side(tmp_path):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(IMAGES))
    with gzip.open(tmp_path / "train-labels-idx1-ubyte.gz", "wb") as file:
        file.write(idx(LABELS))
    assert read(tmp_path).labels.tolist() == [7, 2]


class Column:
    """What is used of a pandas Series, by its documentation: pandas is no dependency."""

    def __init__(self, *values):
        self.iloc, self.dtype = values, np.asarray(values).dtype

    def isna(self):
        values = [value is None or value != value for value in self.iloc]
        return SimpleNamespace(to_numpy=lambda: np.array(values))

    def to_numpy(self, dtype, na_value):
        return np.array(self.iloc, dtype)


PARQUET = {
    "read": ({"a": Column(0.5, 2.0), "b": Column(-1, 4), "c": Column(False, True)}, None),
    "text": (
        {"a": Column(0.5, 2.0), "name": Column(None, "otter")},
        r"column 'name' holds text \('otter', row 1\): drop it or encode it as numbers",
    ),
    "things": (
        {"a": Column({}, {}), "b": Column("x", "y")},
        r"columns 'a', 'b' hold values that are not numbers \(the first: {}, row 0\)",
    ),
    "gaps": (
        {"a": Column(0.5, math.nan), "b": Column(None, None)},
        r"columns 'a', 'b' have 3 missing values \(the first in row 0\): fill or drop them",
    ),
}


@pytest.mark.parametrize("name", PARQUET)
def test_parquet(tmp_path, monkeypatch, name):
    table, message = PARQUET[name]
    table = SimpleNamespace(columns=list(table), items=table.items)
    monkeypatch.setitem(sys.modules, "pandas", SimpleNamespace(read_parquet=lambda _: table))
    (tmp_path / "a.parquet").write_bytes(b"")
    if message is None:
        rows = read(tmp_path / "a.parquet")
        assert rows.x.tolist() == [[0.5, -1.0, 0.0], [2.0, 4.0, 1.0]]
        assert rows.columns == ("a", "b", "c")
        return
    with pytest.raises(ValueError, match="a.parquet: " + message):
        read(tmp_path / "a.parquet")


def test_parquet_without_pandas_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    (tmp_path / "a.parquet").write_bytes(b"")
    with pytest.raises(ImportError, match="needs pandas"):
        read(tmp_path / "a.parquet")
