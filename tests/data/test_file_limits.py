"""Files that hold more, or less, than they tell: one line says so, no memory is taken first."""

import gzip
import os
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from noneq import numerics as devices
from noneq.data import load, read

GB = 10**9


def header(shape, kind="<f8"):
    """Of an .npy file, whatever it may tell."""
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def packed(folder: Path, content: bytes, *, told: int | None = None) -> Path:
    """An .npz file of one array; ``told`` is the size that its directory claims."""
    path = folder / "a.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", content)
    if told is not None:
        raw = path.read_bytes()
        at = raw.index(b"PK\x01\x02") + 24
        path.write_bytes(raw[:at] + struct.pack("<I", told) + raw[at + 4 :])
    return path


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


LYING = {
    "npy": lambda at: write(at / "a.npy", header("(1000000000000, 3)") + bytes(80)),
    "npy, negative": lambda at: write(at / "a.npy", header("(-1, 3)") + bytes(80)),
    "npy, wrapped": lambda at: write(at / "a.npy", header(f"({2**32}, {2**32})") + bytes(80)),
    "npy, short": lambda at: write(at / "a.npy", header("(4, 3)") + bytes(80)),
    "npz": lambda at: packed(at, header("(1000000000000, 3)") + bytes(80)),
    "npz, told": lambda at: packed(at, header("(100000000, 5)") + bytes(80), told=4 * GB + 500),
    "idx": lambda at: write(
        at / "a-idx3", struct.pack(">HBBIII", 0, 8, 3, *(3 * [2**32 - 1])) + bytes(80)
    ),
    "idx, packed": lambda at: write(
        at / "a-idx3.gz",
        gzip.compress(struct.pack(">HBBIII", 0, 8, 3, *(3 * [2**20])) + bytes(80)),
    ),
    "idx, long": lambda at: write(at / "a-idx1", struct.pack(">HBBI", 0, 8, 1, 3) + bytes(4)),
    "cifar": lambda at: write(at / "data_batch_1.bin", bytes(2 * 3073 - 5)),
    "cifar, folder": lambda at: write(at / "data_batch_1.bin", bytes(3074)).parent,
    "idx, packed short": lambda at: write(
        at / "a-idx1.gz", gzip.compress(struct.pack(">HBBI", 0, 8, 1, 300) + bytes(299))
    ),
}


@pytest.mark.parametrize("name", LYING)
def test_a_header_that_lies_is_found_before_memory_is_taken(tmp_path, name, monkeypatch):
    path = LYING[name](tmp_path)
    taken = []
    for maker in ("empty", "ndarray"):
        made = getattr(np, maker)
        if maker == "empty":
            monkeypatch.setattr(np, maker, lambda n, *a: (taken.append(n), made(n, *a))[1])
    with pytest.raises(ValueError, match=rf"{path.name}: .*(cut short|damaged)") as caught:
        read(path)
    assert "\n" not in str(caught.value)
    assert all(np.prod(n) <= 10**6 for n in taken)


@pytest.mark.parametrize("end", ["npy", "npz", "idx3-ubyte.gz", "parquet", "csv"])
def test_an_array_that_this_machine_cannot_hold_is_refused(tmp_path, end, monkeypatch):
    import pyarrow as pa
    import pyarrow.parquet

    path, x = tmp_path / f"a.{end}", np.zeros((1000, 50))
    if end == "npy":
        np.save(path, x)
    elif end == "npz":
        np.savez_compressed(path, x=x)
    elif end == "csv":
        np.savetxt(path, x, delimiter=",")
    elif end == "parquet":
        pa.parquet.write_table(pa.table({str(i): c for i, c in enumerate(x.T)}), path)
    else:
        content = struct.pack(">HBBIII", 0, 0x0E, 3, 1000, 10, 5) + bytes(x.nbytes)
        path.write_bytes(gzip.compress(content))
    assert len(read(path).x) == 1000
    monkeypatch.setattr(devices, "memory", lambda device: 10**6)
    with pytest.raises(
        ValueError,
        match=rf"{path.name}: 50,000 values, which take 0\.0012 GB of memory, and there are "
        r"0\.001: take fewer rows or columns",
    ):
        read(path)


def test_memory_is_that_of_the_machine_or_of_its_container(monkeypatch, tmp_path):
    total = devices.memory()
    assert 2**28 < total < 2**46
    (tmp_path / "max").write_text("1000000\n")
    monkeypatch.setattr(devices, "_LIMITS", (str(tmp_path / "max"), str(tmp_path / "none")))
    assert devices.memory() == 1_000_000
    (tmp_path / "max").write_text("max\n")
    assert devices.memory() > 2**28


@pytest.mark.parametrize(
    "name", ["a.csv", "a.npy", "a.npz", "a.parquet", "a-idx3-ubyte.gz", "a.bin"]
)
def test_pipes_and_devices_are_no_files(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(ValueError, match=rf"{name}: is no file but a pipe or a device: save"):
        load(tmp_path / name)
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to("/dev/zero")
    with pytest.raises(ValueError, match=rf"{name}: is no file but a pipe or a device: save"):
        load(tmp_path / name)
    with pytest.raises(ValueError, match="/dev/zero: is no file but a pipe or a device"):
        load("/dev/zero")


def test_a_line_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("noneq.data.lines.LONGEST", 3000)
    monkeypatch.setattr("noneq.data.lines.BLOCK", 1000)
    (tmp_path / "a.csv").write_text("1,2,3\n" + "1," * 1400 + "1\n")
    with pytest.raises(ValueError, match="line 1 has 3 columns, line 2 has 1401"):
        read(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_text("1,2,3\n" + "1," * 4000 + "1\n")
    with pytest.raises(ValueError, match=r"a\.csv: line 2 is longer than 3,000 characters: a tab"):
        read(tmp_path / "a.csv")


MEASURED = """
import os, resource, sys
import torch, pyarrow.compute, pyarrow.parquet
from noneq.data import load

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

for path in sys.argv[1:]:
    if os.fork():  # whose child is small again
        os.wait()
        continue
    before = peak()
    try:
        load(path)
    except ValueError as error:
        assert len(str(error).splitlines()) == 1
    print(peak() - before, flush=True)
    os._exit(0)
"""


def line_of_200_megabytes(path: Path) -> int:
    with path.open("wb") as file:
        for _ in range(100):
            file.write(b"1.5," * 500_000)
    return 0


def npz_bomb(path: Path) -> int:
    """400 MB of zeros in 0.4 MB, in a file that tells four bytes less."""
    packed(path.parent, header("(50000000,)") + bytes(4 * 10**8), told=4 * 10**8)
    return 0


def gz_bomb(path: Path) -> int:
    path.write_bytes(gzip.compress(struct.pack(">HBBI", 0, 8, 1, 1000) + bytes(10**9), 1))
    return 0


def wide(path: Path) -> int:
    np.savetxt(path, np.ones((10, 200_000)), fmt="%d", delimiter=",")
    return 10 * 200_000 * 8


def long(path: Path) -> int:
    rows = np.random.default_rng(0).normal(size=(10**5, 20)).round(3)
    text = "\n".join(",".join(map(str, row)) for row in rows.tolist()) + "\n"
    with path.open("w") as file:
        for _ in range(5):
            file.write(text)
    return 5 * rows.nbytes


def words(path: Path) -> int:
    path.write_text("a,b\n" + "1,otter\n" * 10**6)
    return 10**6 * 16


def pixels(path: Path) -> int:
    rng = np.random.default_rng(0)
    np.save(path, rng.integers(0, 255, (40_000, 28, 28)).astype(np.uint8))
    return 40_000 * 784 * 4  # as float32


LARGE = {
    "line.csv": line_of_200_megabytes,
    "a.npz": npz_bomb,
    "bomb-idx1-ubyte.gz": gz_bomb,
    "wide.csv": wide,
    "long.csv": long,
    "words.csv": words,
    "pixels.npy": pixels,
}


def test_memory_stays_within_four_arrays_and_half_a_gigabyte(tmp_path):
    arrays = {name: make(tmp_path / name) for name, make in LARGE.items()}
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *(str(tmp_path / name) for name in arrays)],
        cwd=root, capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    )  # fmt: skip
    peaks = dict(zip(arrays, map(int, done.stdout.split()), strict=True))
    print(peaks, arrays)
    for name, array in arrays.items():
        assert peaks[name] < 4 * array + 500 * 10**6, (name, peaks[name], array)
