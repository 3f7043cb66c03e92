"""Every format that a set of rows comes in, and every way a file can be wrong."""

import gzip
import struct

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
        r"'sex' holds text .*'age' have 2 missing values, 1 in 'id', 1 in 'age' \(the first",
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
    assert values.dtype == np.uint16  # in the RBM's byte order
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


DOUBTFUL = {
    # what was read in silence, and wrong
    "id.csv": (
        "id,a\n1,2\n9007199254740993,3\n",
        r"column 'id' holds integers beyond 2\^53 \(9007199254740993, line 3\), which "
        r"floating-point numbers do not tell apart: subtract an offset or drop it",
    ),
    "ids.csv": (
        "1.5,18446744073709551617\n2.5,-9223372036854775809\n",
        r"column 2 holds integers beyond 2\^53 \(18446744073709551617, line 1\)",
    ),
    "years.csv": (
        "2019,2020,2021\n1.5,2.5,3\n4,5,6\n",
        r"line 1 \(2019, 2020, 2021\) looks like names of columns, all numbers: put a letter in "
        r"each \(c2019\); or, if it is a row, a line of names above it",
    ),
    "two years.csv": ("2019;2020\n700;800\n750;850\n", r"line 1 \(2019, 2020\) looks like names"),
    "decades.csv": ("1990\t2000\t2010\n1\t2\t3\n7\t5\t6\n", "line 1 .* looks like names"),
    "pandas.csv": ("0,1,2\n0.5,0.25,1\n1.5,0,7.5\n", "line 1 .* looks like names"),
    "few.csv": ("0,1\n0.5,0.25\n1.5,7.5\n", "line 1 .* looks like names"),
    "counted.txt": ("1 2 3 4\n8 6 7 5\n3 0 9 1\n", "line 1 .* looks like names"),
    "german.csv": (
        "1,05\n2,75\n",
        r"line 1 \(1,05\) looks like one number with a decimal comma: write decimal points",
    ),
    "later.csv": ("1,5\n2,75\n3,007\n", r"line 3 \(3,007\) looks like one number"),
    "french.csv": ("a;b\n1,5;2\n", r"column 'a' holds text \('1,5', line 2\).* decimal point"),
    "italian.txt": ("1,5 2,5\n3,5 4,5\n", r"column 2 holds text \('5 2', line 1\)"),
    "thousands.csv": ('a,b\n"1,234",2\n', r"column 'a' holds text \('1,234', line 2\)"),
    "nul.csv": ("a,b\n1,2\x003\n", r"column 'b' holds text \('2\\x003', line 2\)"),
}


@pytest.mark.parametrize("name", DOUBTFUL)
def test_what_could_be_read_wrong_is_refused(tmp_path, name):
    content, message = DOUBTFUL[name]
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=message) as caught:
        read(tmp_path / name)
    assert str(caught.value).startswith(str(tmp_path / name) + ": ")
    assert "\n" not in str(caught.value)


ROWS = {
    # first lines that count up and are rows all the same
    "bits.csv": "0,1\n1,0\n1,1\n",
    "counts.csv": "1,2\n5,9\n7,3\n",
    "ladder.csv": "0,1,2,3\n4,5,6,7\n8,9,10,11\n",
    "school years.csv": "2019,2020\n2020,2021\n2023,2024\n",
    "births.csv": "1900,1950,1955\n1910,1980,1990\n1930,1990,1999\n",
    "time.csv": "0\n0.5\n1.5\n",
    "points.csv": "2019.0,2020.0\n1.5,2.5\n",
    "large.csv": "9007199254740992,1e300\n-100000000000000000000,+1\n",
    "cents.csv": "1,05.5\n2,06.5\n",
    "mac.csv": "5,9\r7,8\r",
    "dos.csv": "5,9\r\n7,8\r\n",
    "spaced.txt": "  5   9 \n 7 8",
    "quoted.csv": '"5", "9"\n7, 8\n',
}


@pytest.mark.parametrize("name", ROWS)
def test_first_rows_that_count_up_are_rows(tmp_path, name):
    (tmp_path / name).write_text(ROWS[name], encoding="utf-8", newline="")
    lines = [line for line in ROWS[name].replace("\r", "\n").split("\n") if line.strip()]
    fields = [line.replace(",", " ").replace('"', "").split() for line in lines]
    rows = read_raw(tmp_path / name)
    assert rows.columns == ()
    assert rows.values.tolist() == [[float(word) for word in line] for line in fields]


def test_whole_numbers_of_arrays_are_held_exactly_or_refused(tmp_path):
    for kind, value in (("i8", 2**53 + 1), ("u8", 2**64 - 1), ("i8", -(2**53) - 1)):
        np.save(tmp_path / "a.npy", np.array([[1, 2], [value, 3]], dtype=kind))
        with pytest.raises(ValueError, match=rf"a\.npy: holds integers beyond 2\^53 \({value}\)"):
            read(tmp_path / "a.npy")
    np.save(tmp_path / "a.npy", np.array([[2**60, 3]]))
    assert read(tmp_path / "a.npy").x.tolist() == [[2.0**60, 3.0]]


def test_what_float32_cannot_hold_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[1e300, 3.0]]))
    with pytest.raises(ValueError, match=r"a\.npy: 1e\+300 is too large for float32: scale"):
        read(tmp_path / "a.npy")


def test_a_header_of_two_lines_and_quotes_that_hold_a_line_s_end(tmp_path):
    (tmp_path / "a.csv").write_text('"the\nwidth",b\n1,2\n3,4\n')
    assert read(tmp_path / "a.csv").columns == ("the\nwidth", "b")
    assert read(tmp_path / "a.csv").x.tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_a_file_that_is_longer_than_a_block(tmp_path, monkeypatch):
    monkeypatch.setattr("noneq.data.lines.BLOCK", 50)
    rows = np.arange(3000).reshape(1000, 3)[:, ::-1]
    lines = [f"{a},{b},{c}" for a, b, c in rows]
    lines.insert(500, "# a rest")
    (tmp_path / "a.csv").write_text("the first,second,third\n" + "\n".join(lines))
    assert (read_raw(tmp_path / "a.csv").values == rows).all()
    lines[700] = "1,x,"
    lines[720] = "1,2,?"
    (tmp_path / "a.csv").write_text("the first,second,third\n" + "\n".join(lines))
    with pytest.raises(
        ValueError,
        match=r"column 'second' holds text \('x', line 702\).*; column 'third' has 2 missing "
        r"values \(the first in line 702\)",
    ):
        read(tmp_path / "a.csv")
    lines[900] = "1"
    (tmp_path / "a.csv").write_text("the first,second,third\n" + "\n".join(lines))
    with pytest.raises(ValueError, match="line 1 names 3 columns, line 902 has 1"):
        read(tmp_path / "a.csv")


def test_a_name_that_begins_as_a_home_folder_does(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "~data.csv").write_text("5,1\n3,4\n")
    assert read("~data.csv").x.tolist() == [[5.0, 1.0], [3.0, 4.0]]
    (tmp_path / "~root").mkdir()  # a folder here, not the home of root
    (tmp_path / "~root" / "a.csv").write_text("5,1\n3,4\n")
    assert len(read("~root/a.csv").x) == 2
    with pytest.raises(FileNotFoundError, match="~nobody here: no such file"):
        read("~nobody here")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "b.csv").write_text("5,1\n3,4\n")
    assert len(read("~/b.csv").x) == 2


def test_labels_that_are_damaged_are_named(tmp_path):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(IMAGES))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(LABELS)[:-1])
    with pytest.raises(ValueError, match=r"images-idx3-ubyte: train-labels-idx1-ubyte: cut short"):
        read(tmp_path)
