"""A disk that is full at any write: what was saved is intact, and what the error says helps."""

import errno
import os
import re
import subprocess

import known
import pytest
from children import LONG, OPTIONS, finished, rows_file, train

from noneq import Run
from noneq.cli.main import main
from noneq.run import checkpoint

LEAST, MOST = 8, 200  # KB of a disk, from too little for a folder to enough for a run


def full_at(monkeypatch, k, code=errno.ENOSPC):
    """The k-th file that is written from now on does not fit, nor any after it."""
    real, left = checkpoint.write, k

    def write(path, content):
        nonlocal left
        left -= 1
        if left <= 0:
            raise OSError(code, os.strerror(code), str(path))
        real(path, content)

    monkeypatch.setattr(checkpoint, "write", write)
    return lambda: k - left


def tell(args, capsys):
    code = main(list(map(str, args)))
    return code, capsys.readouterr().err


def begin(data, folder, *more):
    return ["train", data, "--out", folder, *OPTIONS, "--iterations", 1, *more]


@pytest.mark.parametrize("k", range(1, 7))  # config, model, two checkpoints of two files
def test_a_new_run_that_does_not_fit_is_none(tmp_path, monkeypatch, k):
    _, data, session = known.begun(tmp_path)
    with monkeypatch.context() as patch:
        written = full_at(patch, k)
        told = "No space left on device; no run was begun: free some space and give the same comm"
        with pytest.raises(OSError, match=told):
            Run.create(tmp_path / "new", data, session)
        assert written() == k
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["lock"]
    Run.create(tmp_path / "new", data, session)
    with pytest.raises(FileExistsError, match="holds a run already"):
        Run.create(tmp_path / "new", data, session)


@pytest.mark.parametrize("k", range(1, 7))
def test_an_overwrite_that_does_not_fit_changes_nothing(tmp_path, monkeypatch, k):
    run, data, session = known.begun(tmp_path)
    run.metrics.add({"iteration": 1})
    before = {p: p.read_bytes() for p in run.folder.rglob("*") if p.is_file()}
    with monkeypatch.context() as patch:
        full_at(patch, k)
        with pytest.raises(OSError, match="the run that is there is as it was: free some space"):
            Run.create(run.folder, data, session, overwrite=True)
    assert before == {p: p.read_bytes() for p in run.folder.rglob("*") if p.is_file()}
    new = Run.create(run.folder, data, session, overwrite=True)
    assert new.config["id"] != run.config["id"]
    assert new.metrics.rows() == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS])
def test_what_a_training_run_says(tmp_path, monkeypatch, capsys, code):
    data = rows_file(tmp_path)
    with monkeypatch.context() as patch:
        full_at(patch, 8, code)
        number, told = tell(begin(data, tmp_path / "100%s"), capsys)
    assert number == 1
    cure = "mend that" if code == errno.EROFS else "free some space"
    assert f"{os.strerror(code)}; the last checkpoint is intact: {cure}, then" in told
    (again,) = re.findall(r"then noneq (train .* --resume) goes on", told)
    assert tell(again.split(), capsys) == (0, "")


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of few kilobytes, and what makes it larger."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(*options):
        command = ["mount", "-t", "tmpfs", "-o", ",".join(options), "noneq-test", str(folder)]
        return subprocess.run(command, check=False, capture_output=True).returncode == 0

    if os.geteuid() or not mount("size=8k"):
        pytest.skip("only root mounts a disk")
    try:
        yield folder, lambda kilobytes: mount("remount", f"size={kilobytes}k")
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def test_a_disk_that_is_full_and_grows(tmp_path, small_disk):
    # on a disk of any size the error says what to do, and with space that is enough
    data = rows_file(tmp_path)
    disk, resize = small_disk
    sizes = range(LEAST, MOST, 8 if LONG else 64)
    said = {"begin": 0, "train": 0, "logz": 0, "enough": 0}
    for i, size in enumerate(sizes):
        assert resize(size)
        log = tmp_path / f"err{i}"
        begun = train(data, disk / "r", "--iterations", 4, "--save-every", 0)
        code = finished(begun, err=str(log))
        told = log.read_text() if log.exists() else ""
        if code == 0:
            said["enough"] += 1
        else:
            assert "No space left on device" in told, told
            assert resize(10_000)
            if "no run was begun: free some space and give the same command again" in told:
                said["begin"] += 1
                again = begun
            else:
                again = re.findall(r"noneq (\S.*) (?:goes on|brackets it)", told)[0].split()
                said[again[0]] += 1
            assert finished(again, err=str(log)) == 0, log.read_text()
        assert Run(disk / "r").bracketed
        subprocess.run(f"rm -rf {disk}/r", shell=True, check=True)
    print(f"{len(sizes)} sizes of a disk: {said}")
    assert said["begin"]
    assert said["train"] + said["logz"]
