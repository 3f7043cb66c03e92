"""Every format that a set of rows comes in, and every way a file can be wrong."""

import gzip
import struct
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from noneq.data import read

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
    "a.npy": (b"not an array", "a.npy: "),
    "empty.npy": (b"", "empty.npy: "),
    "a.npz": (b"PK\x03\x04 cut short", "a.npz: "),
    "words.csv": (b"a,b\n1,2\nx,y\n", "words.csv: .*x"),
    "ragged.csv": (b"1,2\n3\n", "ragged.csv: "),
    "a-idx3-ubyte": (b"\x00\x00\x08\x03\x00\x00", "idx3-ubyte: "),
    "b-idx3-ubyte": (idx(IMAGES)[:-5], "cut short"),
    "c-idx1-ubyte": (b"GIF89a..", "not an IDX file"),
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
    with pytest.raises(ValueError, match="allow_pickle"):  # nothing is ever unpickled
        read(tmp_path / "objects.npy")
    np.save(tmp_path / "words.npy", np.array([["a", "b"]]))
    with pytest.raises(ValueError, match="not numbers"):
        read(tmp_path / "words.npy")
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


def test_parquet(tmp_path, monkeypatch):
    # pandas is no dependency: what is used of it, by its documentation
    class Table:
        def __init__(self, kinds):
            self.dtypes = {name: np.dtype(kind) for name, kind in kinds.items()}

        def to_numpy(self):
            return X

    tables = iter([Table({"a": "f8", "b": "i4", "c": "?"}), Table({"a": "f8", "name": "O"})])
    pandas = SimpleNamespace(read_parquet=lambda _: next(tables))
    monkeypatch.setitem(sys.modules, "pandas", pandas)
    (tmp_path / "a.parquet").write_bytes(b"")
    assert torch.equal(read(tmp_path / "a.parquet").x, torch.from_numpy(X).float())
    with pytest.raises(ValueError, match="not numbers: name"):
        read(tmp_path / "a.parquet")


def test_parquet_without_pandas_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    (tmp_path / "a.parquet").write_bytes(b"")
    with pytest.raises(ImportError, match="needs pandas"):
        read(tmp_path / "a.parquet")
