"""Power that fails at any moment, and bytes that change: the old or the new, or an error."""

import itertools
import os
import random
from pathlib import Path

import pytest
from children import LONG, finished, rows_file, train
from test_store import tree, whole

from noneq import Run
from noneq.run import checkpoint
from noneq.run.verdict_file import read_verdict


class Disk:
    """What a folder holds after a power cut: each name changes for good when its folder is synced.

    Until then any of the changes may have been made, whatever their order; a file that was not
    synced before it got its name is empty.
    """

    def __init__(self, folder, monkeypatch, stop_at=None):
        self.folder, self.stop_at = folder, stop_at
        self.final = {p.name: p.read_bytes() for p in folder.iterdir()}
        self.pending, self.synced, self.checked, self.lost = [], set(), 0, []
        replace, unlink, fsync = Path.replace, Path.unlink, os.fsync

        def replaced(path, target):
            content = path.read_bytes() if path.name in self.synced else b""
            replace(path, target)
            self.pending.append((target.name, content))
            self.check()
            if target.name == self.stop_at:
                raise KeyboardInterrupt

        def unlinked(path, missing_ok=False):
            if path.exists():
                self.pending.append((path.name, None))
            unlink(path, missing_ok)
            self.check()

        def synced(handle):
            fsync(handle)
            path = Path(f"/proc/self/fd/{handle}").readlink()
            if path == folder:
                self.final, self.pending = self.after(self.pending), []
            else:
                self.synced.add(path.name)
            self.check()

        monkeypatch.setattr(Path, "replace", replaced)
        monkeypatch.setattr(Path, "unlink", unlinked)
        monkeypatch.setattr(os, "fsync", synced)

    def after(self, changes):
        names = dict(self.final)
        for name, content in changes:
            names[name] = content
        return {name: content for name, content in names.items() if content is not None}

    def check(self):
        """Every disk that a power cut may leave now holds a checkpoint."""
        away = self.folder.parent / "after"
        for n in range(len(self.pending) + 1):
            for changes in itertools.combinations(self.pending, n):
                away.mkdir(exist_ok=True)
                for path in away.iterdir():
                    os.unlink(path)  # noqa: PTH108  not the one that is watched
                for name, content in self.after(changes).items():
                    (away / name).write_bytes(content)
                try:
                    assert whole(checkpoint.load(away)) in (1, 2)
                except Exception as error:  # which what is tested could take for its own
                    self.lost.append(error)
                self.checked += 1


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no /proc")
@pytest.mark.parametrize("stop_at", [None, "state.json"])
def test_a_power_cut_leaves_the_old_checkpoint_or_the_new(tmp_path, monkeypatch, stop_at):
    folder = tmp_path / "state"
    checkpoint.store(folder, tree(1))
    disk = Disk(folder, monkeypatch, stop_at)
    try:
        checkpoint.store(folder, tree(2))
        assert stop_at is None
    except KeyboardInterrupt:
        assert stop_at
    assert not disk.lost
    assert disk.checked > 10
    assert whole(checkpoint.load(folder)) == 2
    disk.final = disk.after(disk.pending)
    assert set(disk.final) == {p.name for p in folder.iterdir()}


@pytest.mark.parametrize("name", ["state.json", "tensors-*"])
def test_every_byte_of_a_checkpoint_counts(tmp_path, name):
    checkpoint.store(tmp_path, tree(1))
    (path,) = tmp_path.glob(name)
    content = path.read_bytes()
    for at in range(len(content)):
        changed = bytearray(content)
        changed[at] ^= 1 << at % 8
        path.write_bytes(changed)
        with pytest.raises(ValueError, match="damaged") as caught:
            checkpoint.load(tmp_path)
        assert path.name in str(caught.value)
    path.write_bytes(content)
    assert whole(checkpoint.load(tmp_path)) == 1


def test_an_edited_file_is_taken_if_it_says_so(tmp_path):
    path = tmp_path / "a.json"
    checkpoint.save_json(path, {"a": 1})
    path.write_text(path.read_text().replace('"a": 1', '"a": 2'))
    with pytest.raises(ValueError, match='let its first line say "noneq_sha256": ""'):
        checkpoint.load_json(path)
    first, *rest = path.read_text().splitlines()[1:]
    path.write_text("\n".join(["{", first[: first.index(":")] + ': "",', *rest]))
    assert checkpoint.load_json(path) == {"a": 2}


@pytest.mark.parametrize("text", ["[1]", "3", "null", '"a"', "{}", "", "[" * 100_000])
def test_json_that_is_no_object(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"a\.json: damaged"):
        checkpoint.load_json(path)


def loaded(folder):
    """All that any command loads of a run."""
    run = Run(folder)
    energy, _ = run.model()
    read_verdict(run, energy)
    for name in ("state", "good"):
        checkpoint.load(folder / name)
    checkpoint.load_tensors(folder / "population.safetensors")


def test_every_byte_of_a_run_counts(tmp_path):
    folder = tmp_path / "r"
    assert finished(train(rows_file(tmp_path), folder, "--iterations", 2)) == 0
    loaded(folder)
    rng, bytes_ = random.Random(1), 0
    logs = ("metrics.jsonl", "samples.png", "lock")
    for path in (p for p in folder.rglob("*") if p.is_file() and p.name not in logs):
        content = path.read_bytes()
        for at in range(len(content)) if LONG else rng.sample(range(len(content)), 20):
            changed = bytearray(content)
            changed[at] ^= 1 << rng.randrange(8)
            path.write_bytes(changed)
            with pytest.raises(ValueError, match="damaged") as caught:
                loaded(folder)
            assert path.name in str(caught.value)
            bytes_ += 1
        path.write_bytes(content)
    loaded(folder)
    print(f"{bytes_} bytes changed, one at a time: each was noticed")
