"""A checkpoint gives back what it was given, bit for bit; a kill at any moment loses nothing."""

import errno
import math
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

from noneq.data.readers import read_raw
from noneq.run import checkpoint
from noneq.run.atomic import save_table

numbers = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
tensors = st.sampled_from(
    [
        torch.randn(3, 2, generator=torch.Generator().manual_seed(0)),
        torch.tensor([math.nan, -math.inf, 0.0, -0.0], dtype=torch.float64),
        torch.arange(6, dtype=torch.int64).view(2, 3).T,  # not contiguous
        torch.tensor(3),
        torch.zeros(0, 4),
        torch.tensor([True, False]),
        torch.arange(5, dtype=torch.uint8),
    ]
)
keys = st.text(max_size=4) | st.integers()
trees = st.recursive(
    numbers | tensors,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(keys, inner, max_size=3)
    ),
    max_leaves=8,
)


def same(a, b) -> bool:
    if isinstance(a, torch.Tensor):
        bits = [t.contiguous().flatten().view(torch.uint8) for t in (a, b)]
        return a.dtype == b.dtype and a.shape == b.shape and torch.equal(*bits)
    if isinstance(a, dict):
        return type(b) is dict and list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and repr(a) == repr(b)


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(st.text(max_size=4), trees, max_size=3))
def test_a_tree_comes_back_as_it_was(tmp_path_factory, tree):
    folder = tmp_path_factory.mktemp("ck")
    checkpoint.store(folder, tree)
    assert same(checkpoint.load(folder), tree)


def test_names_that_look_alike(tmp_path):
    a, b, c, d = (torch.tensor(i) for i in range(4))
    tree = {"a/b": a, "a": {"b": b}, "n": {1: c, "1": d}, "$tensor": 3, "$": {"$float": 1}}
    checkpoint.store(tmp_path, tree)
    assert same(checkpoint.load(tmp_path), tree)


def test_tensors_that_share_memory(tmp_path):
    t = torch.arange(6.0)
    tree = {"a": t, "b": t, "c": t.view(2, 3)[1], "d": t[::2]}
    checkpoint.store(tmp_path, tree)
    assert same(checkpoint.load(tmp_path), tree)


def test_an_optimiser_and_a_generator_go_on_with_the_same_bits(tmp_path):
    def begin():
        net = torch.nn.Linear(3, 1)
        with torch.no_grad():
            net.weight.fill_(0.3)
            net.bias.zero_()
        return net, torch.optim.AdamW(net.parameters(), lr=0.1), torch.Generator().manual_seed(3)

    def go(net, optimizer, rng, steps):
        for _ in range(steps):
            loss = net(torch.randn(4, 3, generator=rng)).square().sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    net, optimizer, rng = begin()
    go(net, optimizer, rng, 3)
    tree = {"n": net.state_dict(), "o": optimizer.state_dict(), "r": rng.get_state()}
    checkpoint.store(tmp_path, tree)
    go(net, optimizer, rng, 3)
    net2, optimizer2, rng2 = begin()
    tree = checkpoint.load(tmp_path)
    net2.load_state_dict(tree["n"])
    optimizer2.load_state_dict(tree["o"])
    rng2.set_state(tree["r"])
    go(net2, optimizer2, rng2, 3)
    assert same(dict(net.state_dict()), dict(net2.state_dict()))


def test_loaded_tensors_are_aligned(tmp_path):
    # products of unaligned tensors may round otherwise than before the interruption
    checkpoint.store(tmp_path, {str(i): torch.zeros(i + 1) for i in range(9)})
    assert all(t.data_ptr() % 64 == 0 for t in checkpoint.load(tmp_path).values())


def test_only_the_last_checkpoint_is_kept(tmp_path):
    for i in range(3):
        checkpoint.store(tmp_path, {"i": torch.tensor(i)})
    assert len(list(tmp_path.iterdir())) == 2
    assert int(checkpoint.load(tmp_path)["i"]) == 2


def test_what_cannot_be_kept_is_refused(tmp_path):
    with pytest.raises(TypeError, match="not set"):
        checkpoint.store(tmp_path, {"a": {1, 2}})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("when", ["tensors", "state"])
def test_a_full_disk_leaves_the_old_checkpoint(tmp_path, monkeypatch, when):
    checkpoint.store(tmp_path, {"i": torch.tensor(1)})
    real = Path.write_bytes

    def full(self, content):
        if when in self.name:
            real(self, content[: len(content) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))
        return real(self, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.store(tmp_path, {"i": torch.tensor(2)})
    assert int(checkpoint.load(tmp_path)["i"]) == 1
    assert len(list(tmp_path.iterdir())) == 2


def test_kill_9_while_writing(tmp_path):
    # a process that does nothing but write checkpoints is killed at many moments
    code = (
        "import sys, torch; from pathlib import Path; from noneq.run import checkpoint\n"
        "i = 0\n"
        "while True:\n"
        "    i += 1\n"
        "    checkpoint.store(Path(sys.argv[1]), {'i': i, 't': torch.full((300_000,), i)})\n"
        "    print(i, flush=True)\n"
    )
    for k in range(8):
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        process.stdout.readline()
        time.sleep(0.003 * k)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        tree = checkpoint.load(tmp_path)
        assert bool((tree["t"] == tree["i"]).all())
    checkpoint.store(tmp_path, {"i": 0})  # which sweeps what the killed ones left
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".json", ".safetensors"]


@pytest.mark.parametrize("name", ["tensors-0", "state"])
def test_what_a_killed_process_left_half_written_is_swept(tmp_path, monkeypatch, name):
    def killed(self, content):
        self.touch()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", killed)
        patch.setattr(Path, "unlink", lambda *_, **__: None)  # a killed one tidies nothing
        with pytest.raises(KeyboardInterrupt):
            checkpoint.write(tmp_path / f"{name}.json", b"{}")
    assert len(list(tmp_path.iterdir())) == 1
    checkpoint.store(tmp_path, {"t": torch.zeros(2)})
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".json", ".safetensors"]


def test_tensors_are_kept_while_nobody_knows_which_are_needed(tmp_path):
    # state.json may come back from a copy
    checkpoint.store(tmp_path, {"t": torch.zeros(2)})
    path = tmp_path / "state.json"
    content = path.read_bytes()
    path.write_bytes(content[:-9])
    checkpoint.sweep(tmp_path)
    path.write_bytes(content)
    assert same(checkpoint.load(tmp_path), {"t": torch.zeros(2)})


@pytest.mark.parametrize("at", [-1, -(1 << 20)])
def test_every_part_of_a_large_file_counts(tmp_path, at):
    path = tmp_path / "t.safetensors"
    tensors = {"t": torch.zeros(600_000)}
    checkpoint.save_tensors(path, tensors)
    assert same(checkpoint.load_tensors(path), tensors)
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="its checksum differs: it is not what was written"):
        checkpoint.load_tensors(path)


def test_any_library_s_tensors_need_no_checksum(tmp_path):
    path = tmp_path / "t.safetensors"
    save_file({"t": torch.ones(3)}, path)
    assert same(checkpoint.load_tensors(path, own=False), {"t": torch.ones(3)})
    with pytest.raises(ValueError, match="its checksum is missing"):
        checkpoint.load_tensors(path)


def test_the_same_tensors_are_the_same_file(tmp_path):
    for name in "ab":
        about = {f"about {i}": "x" for i in range(9)}
        checkpoint.save_tensors(tmp_path / name, {"t": torch.ones(3), "u": torch.ones(1)}, **about)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with safe_open(tmp_path / "a", "pt") as file:  # as any library reads it
        assert file.metadata()["about 3"] == "x"


def test_no_checkpoint(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no checkpoint"):
        checkpoint.load(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["state.json", "tensors"])
@pytest.mark.parametrize("keep", [0, 7, 0.5])
def test_a_truncated_checkpoint_is_told(tmp_path, name, keep):
    checkpoint.store(tmp_path, {"t": torch.zeros(100)})
    (path,) = [p for p in tmp_path.iterdir() if name in p.name]
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if keep == 0.5 else keep])
    with pytest.raises(ValueError, match="damaged") as caught:
        checkpoint.load(tmp_path)
    assert path.name in str(caught.value)


def test_a_tensor_that_is_missing(tmp_path):
    checkpoint.store(tmp_path, {"t": torch.zeros(2)})
    state = checkpoint.load_json(tmp_path / "state.json")
    state["tree"]["u"] = {"$tensor": "/u"}
    checkpoint.save_json(tmp_path / "state.json", state)
    with pytest.raises(ValueError, match="lacks its tensor /u"):
        checkpoint.load(tmp_path)


def test_another_format(tmp_path):
    checkpoint.store(tmp_path, {})
    state = {**checkpoint.load_json(tmp_path / "state.json"), "format": 99}
    checkpoint.save_json(tmp_path / "state.json", state)
    with pytest.raises(ValueError, match=r"another version of noneq \(format 99, this one"):
        checkpoint.load(tmp_path)


class Bomb:
    def __reduce__(self):
        return (open, ("exploded", "w"))


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_a_pickle_is_never_loaded(tmp_path, monkeypatch, how):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.safetensors"
    if how == "torch":
        torch.save({"a": Bomb()}, path)
    else:
        path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ValueError, match=r"is a pickle, .* never loaded; convert it"):
        checkpoint.load_tensors(path)
    assert not (tmp_path / "exploded").exists()


def test_a_checkpoint_cannot_point_outside_its_folder(tmp_path):
    (tmp_path / "in").mkdir()
    checkpoint.save_tensors(tmp_path / "t.safetensors", {"/t": torch.zeros(2)})
    checkpoint.store(tmp_path / "in", {})
    found = checkpoint.load_json(tmp_path / "in" / "state.json")
    found = {**found, "tensors": "../t.safetensors", "tree": {"t": {"$tensor": "/t"}}}
    checkpoint.save_json(tmp_path / "in" / "state.json", found)
    with pytest.raises(FileNotFoundError):
        checkpoint.load(tmp_path / "in")


def test_a_long_table_is_written_whole(tmp_path):
    values = np.random.default_rng(0).normal(size=(10_000, 2)) * [1e-300, 1e300]
    save_table(tmp_path / "new" / "x.csv", ["a", "b"], values)
    found = read_raw(tmp_path / "new" / "x.csv")
    assert np.array_equal(found.values, values)
    assert found.columns == ("a", "b")
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["x.csv"]
