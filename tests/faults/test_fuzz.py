"""Files that are damaged in every way: nothing but rows, or an error of one line.

A few hundred files, seeded, in every run of the tests; NONEQ_FAULTS=long reads 20,000:

    NONEQ_FAULTS=long python -m pytest tests/faults/test_fuzz.py -rP
"""

import gzip
import io
import os
import struct
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from noneq.data import load, read

FILES = 20_000 if os.environ.get("NONEQ_FAULTS") == "long" else 400
RNG = np.random.default_rng(0)
ROWS = RNG.normal(3.0, 5.0, (40, 3)).round(4)
IMAGES = RNG.integers(0, 255, (12, 5, 4))


def saved(save, *args, **kwargs) -> bytes:
    file = io.BytesIO()
    save(file, *args, **kwargs)
    return file.getvalue()


def idx(array: np.ndarray, code: int) -> bytes:
    head = struct.pack(">HBB", 0, code, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.tobytes()


def text(separator: str, header: str = "") -> bytes:
    lines = [separator.join(map(str, row)) for row in ROWS.tolist()]
    return "\n".join([*([header] if header else []), *lines, ""]).encode()


def parquet() -> bytes:
    table = pa.table({**dict(zip("abc", ROWS.T, strict=True)), "n": np.arange(40)})
    return saved(lambda file: pa.parquet.write_table(table, file))


SOUND = {
    "plain.npy": saved(np.save, ROWS),
    "bytes.npy": saved(np.save, IMAGES.astype(np.uint8)),
    "long.npy": saved(np.save, IMAGES.astype(np.int64)),
    "plain.npz": saved(np.savez, x=ROWS, y=np.arange(40)),
    "packed.npz": saved(np.savez_compressed, data=IMAGES, labels=np.arange(12)),
    "commas.csv": text(",", "width,height,mass"),
    "quoted.csv": text(";", '"a;b";c;"d"'),
    "tabs.tsv": text("\t"),
    "spaces.txt": text(" ", "# from a machine\na b c"),
    "table.parquet": parquet(),
    "train-images-idx3-ubyte": idx(IMAGES.astype(np.uint8), 0x08),
    "floats-idx3": idx(IMAGES.astype(">f4"), 0x0D),
    "data_batch_1.bin": RNG.integers(0, 10, (12, 3073), np.uint8).tobytes(),  # CIFAR-10
    "train-images-idx3-ubyte.gz": gzip.compress(idx(IMAGES.astype(np.uint8), 0x08), mtime=0),
}

WORDS = (
    b"nan", b"inf", b"-", b"", b'"', b"#", b"1e999", b"9007199254740993", b"1,5", b"\x00", b"\xff",
    b"\xef\xbb\xbf", b"\r", b"\n\n", b"None", b"0x1p3", b"1_0", "é".encode(), b"'", b",", b";",
    b"99999999999999999999999", b"True", b"\x1b[31m", b"2019", b"(", b"-1", b"{", b"9" * 5000,
)  # fmt: skip


def flipped(content: bytearray, rng: np.random.Generator, first: int) -> None:
    """Some bytes, of the header or of all, become others."""
    for at in rng.integers(0, min(first, len(content)), rng.integers(1, 6)):
        content[at] = rng.integers(256)


def large(content: bytearray, rng: np.random.Generator) -> None:
    """Four or eight bytes of the beginning or the end become a number that is far too large."""
    size = int(rng.choice([4, 8]))
    at = int(rng.integers(0, max(1, min(128, len(content) - size))))
    at = at if rng.random() < 0.5 else max(0, len(content) - size - at)
    number = int(rng.choice([2**31 - 1, 2**31, 2**32 - 1, 10**9, 0]))
    content[at : at + size] = number.to_bytes(size, str(rng.choice(["little", "big"])))


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """One damage or two: bytes flipped, cut, repeated, words put in."""
    found = bytearray(content)
    for _ in range(rng.integers(1, 3)):
        n = len(found)
        if n < 4:
            break
        at, to = sorted(int(i) for i in rng.integers(0, n, 2))
        kind = rng.integers(9)
        if kind == 8:
            found[at] = rng.integers(32, 127)  # a printable one
        elif kind == 0:
            flipped(found, rng, n)
        elif kind == 1:
            flipped(found, rng, 130)
        elif kind == 2:
            del found[at:]
        elif kind == 3:
            del found[at : min(to, at + 40)]
        elif kind == 4:
            found[at:at] = found[at : min(to, at + 200)]
        elif kind == 5:
            found[at:at] = WORDS[rng.integers(len(WORDS))]
        elif kind == 6:
            large(found, rng)
        else:
            found[at : at + 20] = rng.bytes(int(rng.integers(0, 40)))
    return bytes(found)


def files(number: int):
    """Names and contents, seeded: each name in turn; two files of ten are random."""
    names = list(SOUND)
    for i in range(number):
        rng, name = np.random.default_rng((7, i)), names[i % len(names)]
        kind = i // len(names) % 10
        if kind == 0:
            yield name, rng.bytes(int(rng.integers(0, 300)))
        elif kind == 1:
            chosen = rng.choice(len(WORDS) + 12, int(rng.integers(0, 60)))
            more = [str(v).encode() for v in range(10)] + [b",", b"\n"]
            yield name, b"".join([*WORDS, *more][k] for k in chosen)
        else:
            yield name, damaged(SOUND[name], rng)


@pytest.mark.parametrize("name", SOUND)
def test_what_is_damaged_is_sound_before(tmp_path, name):
    (tmp_path / name).write_bytes(SOUND[name])
    assert len(read(tmp_path / name).x) in (len(ROWS), len(IMAGES))


def test_nothing_but_rows_or_an_error_of_one_line(tmp_path):
    counts: Counter[str] = Counter()
    for i, (name, content) in enumerate(files(FILES)):
        path = tmp_path / name
        path.write_bytes(content)
        told = outcome(path, load if i % 2 else read)
        assert told in ("rows", "error") or not keep(path, i), f"file {i}, {name}: {told}"
        counts[told] += 1
        path.unlink()
    print(f"{FILES:,} files: {counts['rows']:,} gave rows, {counts['error']:,} an error of a line")
    assert counts["rows"] > FILES / 50  # the damage is not so great that nothing is tried
    assert counts["error"] > FILES / 4


def outcome(path: Path, reader) -> str:
    """ "rows", "error", or what must not be."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = reader(path)
    except (ValueError, FileNotFoundError) as error:
        lines = str(error).splitlines()
        fine = len(lines) == 1 and len(lines[0]) < 2000 and str(path) in lines[0]
        return "error" if fine else f"an error of {len(lines)} lines: {error!r}"
    except BaseException as error:  # whatever else is a fault
        return repr(error)
    x = found.x if reader is read else found.train
    return "rows" if x.numel() or reader is read else "no rows, and no error"


def keep(path: Path, i: int) -> bool:
    """The file that shows a fault stays for a look at it."""
    kept = path.with_name(f"fault-{i}-{path.name}")
    path.rename(kept)
    return bool(print(f"kept: {kept}")) or True
