"""Rows that stay on disk: every row once in a pass, the same order again, and little memory."""

import math
import subprocess
import sys
from itertools import islice

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet

import noneq
from noneq.data import StoredRows


@pytest.fixture(params=["npy", "parquet"])
def file(request, tmp_path):
    """700 rows, of which the second column numbers them; the third is far from 0."""
    rng = np.random.default_rng(0)
    x = np.stack([rng.normal(2.0, 3.0, 700), np.arange(700.0), 1.7e9 + rng.normal(size=700)], 1)
    path = tmp_path / f"rows.{request.param}"
    if request.param == "npy":
        np.save(path, x)
    else:
        table = pa.table(dict(zip("abc", x.T, strict=True)))
        parquet.write_table(table, path, row_group_size=64)
    return path, x


def numbers(rows):
    """The numbers of the rows of a pass, in their order."""
    return [round(float(v)) for batch in rows for v in batch[:, 1]]


def test_each_row_comes_once_in_a_pass_and_none_that_is_held_out(file, monkeypatch):
    monkeypatch.setattr("noneq.data.blocks.BYTES", 64 * 24)
    path, x = file
    rows = StoredRows(path, 50, window=150, held_out=101, seed=3)
    held = {int(v) for v in rows.validation[:, 1]}
    assert len(held) == 101
    assert (len(rows), rows.rows, rows.shape) == (12, 599, (3,))
    first, second = numbers(rows), numbers(rows)
    assert sorted(first) == sorted(second) == sorted({*range(700)} - held)
    assert first != second
    assert rows.epoch == 2
    sizes = [len(batch) for batch in rows]
    assert sizes == [50] * 11 + [49]
    # neighbours in the file are not neighbours in the order: blocks and their rows are shuffled
    steps = np.abs(np.diff(first))
    assert np.median(steps) > 20
    assert max(first[:150]) - min(first[:150]) > 300  # of a window, whose blocks lie apart
    torch.testing.assert_close(
        rows.validation[:, 0], torch.from_numpy(x[rows.held, 0]).float(), rtol=0, atol=0
    )


def test_the_order_is_that_of_the_seed(file):
    path, _ = file
    whole = StoredRows(path, 50)  # of an .npy file one block in one window
    assert numbers(whole) != numbers(whole)
    assert numbers(StoredRows(path, 50, seed=1)) == numbers(StoredRows(path, 50, seed=1))
    assert numbers(StoredRows(path, 50, seed=1)) != numbers(StoredRows(path, 50, seed=2))
    assert numbers(StoredRows(path, 50)) == numbers(StoredRows(path, 7))  # whatever the batches


def test_a_place_is_found_again(file, monkeypatch):
    monkeypatch.setattr("noneq.data.blocks.BYTES", 64 * 24)
    path, _ = file
    for taken in (0, 1, 4, 13, 14, 15, 31):
        rows = StoredRows(path, 50, window=100)
        seen = []
        while len(seen) < taken:
            for batch in rows:
                seen.append(batch)
                if len(seen) == taken:
                    break
        again = StoredRows(path, 50, window=100)
        again.load_state_dict(rows.state_dict())
        for a, b, _ in zip(iter_twice(rows), iter_twice(again), range(16), strict=False):
            assert torch.equal(a, b)
    with pytest.raises(ValueError, match="batches of 50 rows of seed 0, not of 7 rows of seed 0"):
        StoredRows(path, 7).load_state_dict(rows.state_dict())


def iter_twice(rows):
    yield from rows
    yield from rows


def test_a_training_goes_on_with_the_same_bits(file):
    def begun():
        rows = StoredRows(file[0], 40, held_out=50).standardised()
        torch.manual_seed(0)
        energy = noneq.Tilted(noneq.Gaussian.fit(rows.sample(300)), noneq.MLP(3, width=8))
        optimizer = torch.optim.Adam(energy.parameters(), lr=1e-2)
        return rows, energy, optimizer, torch.Generator().manual_seed(1)

    settings = noneq.Settings(walkers=32, held_out=None, moves=1)

    def trained(parts, iterations, state=None):
        rows, energy, optimizer, rng = parts
        how = {"optimizer": optimizer, "rng": rng, "resume": state}
        steps = noneq.train(energy, rows, settings, **how)
        return list(islice(steps, iterations))[-1]

    whole = begun()
    trained(whole, 24)  # into the second pass
    rows, energy, optimizer, rng = begun()
    record = trained((rows, energy, optimizer, rng), 10)
    fresh = begun()
    fresh[0].load_state_dict(rows.state_dict())
    fresh[1].load_state_dict(energy.state_dict())
    fresh[2].load_state_dict(optimizer.state_dict())
    fresh[3].set_state(rng.get_state())
    trained(fresh, 14, record.state)
    for a, b in zip(whole[1].parameters(), fresh[1].parameters(), strict=True):
        assert torch.equal(a, b)


def test_standardised_rows_have_mean_0_and_spread_1(file, monkeypatch):
    monkeypatch.setattr("noneq.data.blocks.BYTES", 64 * 24)
    path, x = file
    rows = StoredRows(path, held_out=100).standardised()
    kept = np.delete(x, rows.held, 0)
    np.testing.assert_allclose(rows.shift, kept.mean(0), rtol=1e-12)
    np.testing.assert_allclose(rows.scale, kept.std(0), rtol=1e-9)
    every = torch.cat([*rows]).double()
    assert bool((every.mean(0).abs() < 1e-6).all())
    assert bool((every.std(0, correction=0) - 1).abs().max() < 1e-6)  # 1.7e9 in float32 would be
    expected = (x[rows.held] - kept.mean(0)) / kept.std(0)
    np.testing.assert_allclose(rows.validation, expected, atol=1e-6)


def test_samples_are_all_of_the_rows_that_are_not_held_out(file):
    path, _ = file
    rows = StoredRows(path, held_out=600)
    drawn = [int(v) for v in rows.sample(60)[:, 1]]
    assert len({*drawn}) == 60
    assert not {*drawn} & {*rows.held.tolist()}
    assert {int(v) for v in rows.sample(1000)[:, 1]} == {*range(700)} - {*rows.held.tolist()}


def test_columns_of_a_parquet_file_are_chosen_in_their_order(tmp_path):
    parquet.write_table(pa.table({"t": ["x"], "a": [1], "b": [2.5]}), tmp_path / "x.parquet")
    (batch,) = StoredRows(tmp_path / "x.parquet", columns=["b", "a"])
    assert batch.tolist() == [[2.5, 1.0]]


def broken(folder):
    np.save(folder / "words.npy", np.array([["a"]]))
    np.save(folder / "flat.npy", np.zeros(4))
    np.save(folder / "empty.npy", np.zeros((0, 2)))
    np.save(folder / "whole.npy", np.zeros((4, 2)))
    (folder / "cut.npy").write_bytes((folder / "whole.npy").read_bytes()[:-8])
    parquet.write_table(pa.table({"t": ["x", "y"], "a": [1.0, None]}), folder / "x.parquet")
    (folder / "cut.parquet").write_bytes(b"PAR1")
    (folder / "x.csv").write_text("a\n1\n")


@pytest.mark.parametrize(
    ("name", "how", "message"),
    [
        ("none.npy", {}, "no such file"),
        ("words.npy", {}, r"an array \(1, 1\) of <U1, and no rows of numbers"),
        ("flat.npy", {}, r"an array \(4,\) of float64"),
        ("empty.npy", {}, r"an array \(0, 2\)"),
        ("cut.npy", {}, "no .npy file of numbers, or cut short"),
        ("cut.parquet", {}, "no parquet file, or cut short"),
        ("x.parquet", {}, "column 't' holds string and no numbers"),
        ("x.parquet", {"columns": ["b"]}, "no column 'b', but t, a"),
        ("x.csv", {}, "from an .npy or a .parquet file"),
        ("whole.npy", {"columns": ["a"]}, "have no names"),
        ("whole.npy", {"batch": 0}, "batch and window are 1 or more"),
        ("whole.npy", {"held_out": 4}, "of its 4 rows fewer are held out"),
    ],
)
def test_files_that_have_no_rows(tmp_path, name, how, message):
    broken(tmp_path)
    error = FileNotFoundError if name == "none.npy" else ValueError
    with pytest.raises(error, match=message):
        StoredRows(tmp_path / name, **how)


def test_missing_values_are_told_where_they_are_read(tmp_path):
    broken(tmp_path)
    rows = StoredRows(tmp_path / "x.parquet", columns=["a"])
    with pytest.raises(ValueError, match=r"column 'a' has missing values \(row group 0\)"):
        next(iter(rows))
    np.save(tmp_path / "nan.npy", np.array([[1.0, math.nan]] * 8))
    energy = noneq.Tilted(noneq.Gaussian.fit(torch.randn(50, 2)), noneq.MLP(2, width=4))
    with pytest.raises(ValueError, match="NaN or infinite"):
        next(iter(noneq.train(energy, StoredRows(tmp_path / "nan.npy"))))


MEMORY = """
import resource, sys, torch
from noneq.data import StoredRows

def own():  # memory of the process itself, without pages of files
    with open("/proc/self/status") as file:
        return next(int(s.split()[1]) for s in file if s.startswith("RssAnon")) / 1024

rows = StoredRows(sys.argv[1], 512, window=20_000, held_out=1000).standardised()
next(iter(rows))
before = most = own()
for k, batch in enumerate(rows):
    if k % 20 == 0:
        most = max(most, own())
print(most - before, rows.rows)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_file_of_320_megabytes_takes_few(tmp_path):
    path = tmp_path / "large.npy"
    array = np.lib.format.open_memmap(path, "w+", np.float32, (800_000, 100))
    for start in range(0, len(array), 50_000):
        array[start : start + 50_000] = np.random.default_rng(start).normal(size=(50_000, 100))
    array.flush()
    del array
    done = subprocess.run([sys.executable, "-c", MEMORY, path], capture_output=True, text=True)
    assert not done.returncode, done.stderr
    grown, many = done.stdout.split()
    assert int(many) == 799_000
    assert float(grown) < 60  # a window is 8 MB, of which three copies exist at a time
