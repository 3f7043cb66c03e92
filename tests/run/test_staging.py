"""Whose a folder is: vacant, a run, or somebody else's; one moment at which a run takes over."""

import shutil
from contextlib import contextmanager

import known
import pytest
from filelock import FileLock

import noneq.run.folder
from noneq import Run
from noneq.run import checkpoint
from noneq.run import staging as folders
from noneq.run.lock import BusyError, locked
from noneq.run.staging import check_vacant, settle, staged, unsettled


@pytest.fixture
def run(tmp_path):
    made, _, _ = known.begun(tmp_path)
    made.metrics.add({"iteration": 1})
    for name in ("likelihood.json", "population.safetensors", "samples.png", "report.png"):
        (made.folder / name).write_bytes(b"old")
    return made


@pytest.fixture
def other(tmp_path):
    """Another run elsewhere, its data and its session."""
    (tmp_path / "b").mkdir()
    return known.begun(tmp_path / "b")


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def refused(folder, told, *, overwrite=True):
    before = contents(folder)
    with pytest.raises(FileExistsError, match=told):
        check_vacant(folder, overwrite=overwrite)
    assert contents(folder) == before


# -- vacant, or not


@pytest.mark.parametrize("overwrite", [False, True])
def test_nothing_and_what_noneq_left_of_nothing_are_vacant(tmp_path, overwrite):
    check_vacant(tmp_path / "nowhere", overwrite=overwrite)
    check_vacant(tmp_path, overwrite=overwrite)
    with locked(tmp_path):
        check_vacant(tmp_path, overwrite=overwrite)
    (tmp_path / folders.NEW / "state").mkdir(parents=True)  # killed before its first checkpoint
    check_vacant(tmp_path, overwrite=overwrite)


def test_a_lock_does_not_make_a_run_of_a_folder(tmp_path):
    # whoever has a file of that name beside others has not made a run
    (tmp_path / "lock").touch()
    (tmp_path / "thesis.tex").write_text("years of work")
    refused(tmp_path, r"is not a run and not empty \(thesis.tex, ...\)")
    refused(tmp_path, r"is not a run and not empty \(thesis.tex, ...\)", overwrite=False)
    (tmp_path / "thesis.tex").unlink()
    (tmp_path / "lock").write_text("the combination is 7-21-3")
    refused(tmp_path, r"is not a run and not empty \(lock, ...\)")


def test_a_folder_with_a_lock_alone_may_be_another_process_s(tmp_path):
    _, data, session = known.begun(tmp_path)
    folder = tmp_path / "new"
    folder.mkdir()
    with FileLock(folder / "lock"), pytest.raises(BusyError, match="another process is working"):
        Run.create(folder, data, session)
    assert [p.name for p in folder.iterdir()] == ["lock"]
    Run.create(folder, data, session)


def test_a_lock_that_is_held_may_hold_a_number(tmp_path):
    # as on file systems where only a file that exists can be a lock
    (tmp_path / "lock").write_text("123 host")
    check_vacant(tmp_path, held=True)


def test_a_run_that_came_before_the_lock_was_ours_stays(tmp_path, other, monkeypatch):
    there, data, session = other

    @contextmanager
    def late(folder):
        shutil.copytree(there.folder, folder, dirs_exist_ok=True)
        with locked(folder):
            yield

    monkeypatch.setattr(noneq.run.folder, "locked", late)
    with pytest.raises(FileExistsError, match="holds a run already"):
        Run.create(tmp_path / "r", data, session)
    assert Run(tmp_path / "r").config == there.config


@pytest.mark.parametrize(
    "config",
    [
        '{"architectures": ["BertModel"], "model_type": "bert"}',
        '{"noneq": 3, "recipe": {}}',
        "[1]",
        '{"noneq": "0.1.0", "rec',
        "",
        "[" * 100_000,
    ],
)
def test_a_config_that_is_not_noneqs_is_no_run(tmp_path, config):
    (tmp_path / "config.json").write_text(config)
    (tmp_path / "model.safetensors").write_text("weights of days")
    for overwrite in (False, True):
        refused(tmp_path, r"is not a run .*config.json is damaged, or not", overwrite=overwrite)


def test_a_run_is_replaced_only_if_that_is_asked_for(run):
    refused(run.folder, "holds a run already", overwrite=False)
    check_vacant(run.folder, overwrite=True)


@pytest.mark.parametrize("place", ["notes.txt", "state/notes.txt", "good/a.safetensors", "x/y"])
def test_a_run_with_something_else_in_it_is_not_replaced(run, place):
    path = run.folder / place
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine")
    refused(run.folder, "is not the run's, and `overwrite` replaces nothing else")


@pytest.mark.parametrize("name", ["config.json", "state", "state/state.json", "samples.png"])
def test_a_run_that_links_elsewhere_is_not_replaced(run, tmp_path, name):
    path, there = run.folder / name, tmp_path / "elsewhere"
    path.rename(there)
    path.symlink_to(there)
    refused(run.folder, f"{name}: is not the run's")


def test_a_run_that_is_a_link_is_not_replaced(run, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(run.folder)
    refused(link, rf"link: is a link, and `overwrite` follows none: name {run.folder} itself")
    check_vacant(run.folder, overwrite=True)


def test_parts_that_a_kill_left_are_the_runs(run):
    (run.folder / ".model.123.part.safetensors").touch()
    (run.folder / "state" / ".state.123.part.json").touch()
    check_vacant(run.folder, overwrite=True)


# -- the moment


def test_what_the_old_run_came_to_goes_with_it(run, other):
    new = Run.create(run.folder, *other[1:], overwrite=True)
    kept = {"config.json", "lock", "model.safetensors", "state", "good"}
    assert {p.name for p in run.folder.iterdir()} == kept
    assert new.config["id"] != run.config["id"]
    for name in ("state", "good"):
        assert len(list((run.folder / name).iterdir())) == 2
        checkpoint.load(run.folder / name)


def test_an_error_leaves_the_old_run(run):
    before = contents(run.folder)
    with pytest.raises(ZeroDivisionError), locked(run.folder), staged(run.folder) as new:
        (new / "config.json").write_text(str(1 / 0))
    assert contents(run.folder) == before


def test_a_reader_settles_what_a_kill_left(run, other, monkeypatch):
    with monkeypatch.context() as patch, locked(run.folder):
        patch.setattr(folders, "settle", lambda _: None)  # killed before
        with staged(run.folder) as new:
            shutil.copytree(other[0].folder, new, dirs_exist_ok=True)
        assert unsettled(run.folder)
        with pytest.raises(BusyError):  # somebody else holds the lock
            Run(run.folder)
    assert Run(run.folder).config == other[0].config
    assert not unsettled(run.folder)
    assert not (run.folder / "likelihood.json").exists()


def test_settling_twice_is_settling_once(run):
    before = contents(run.folder)
    settle(run.folder)
    assert contents(run.folder) == before


# -- a run knows its folder


@pytest.mark.parametrize("how", ["replaced", "removed", "edited"])
def test_a_run_whose_folder_became_another_s_writes_nothing_there(run, other, how):
    session = other[2]
    if how == "replaced":
        Run.create(run.folder, *other[1:], overwrite=True)
    elif how == "edited":
        checkpoint.save_json(run.folder / "config.json", {**run.config, "seed": 5})
    else:
        shutil.rmtree(run.folder)
        run.folder.mkdir()
    before = contents(run.folder)
    told = "was removed, replaced or changed by somebody else"
    with pytest.raises(BusyError, match=told):
        run.save(session)
    with pytest.raises(BusyError, match=told), run.locked():
        pass
    assert {k: v for k, v in contents(run.folder).items() if k != "lock"} == {
        k: v for k, v in before.items() if k != "lock"
    }


def test_a_file_that_has_just_vanished_is_nobodys(run, tmp_path):
    gone = run.folder / "likelihood.json"
    gone.unlink()  # after the folder was listed, by a program that overwrites the run, too
    assert folders._foreign(gone) is None
    assert folders._foreign(run.folder / "notes.txt") is None
    (run.folder / "notes.txt").write_text("mine")
    assert folders._foreign(run.folder / "notes.txt") == run.folder / "notes.txt"
