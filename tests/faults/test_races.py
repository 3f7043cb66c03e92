"""Several processes at one folder: one at a time writes there, and what is there is one run."""

import random
import time
from contextlib import ExitStack

import known
import pytest
from children import LONG, child, finished, rows_file, train

from noneq import Run

ROUNDS = 10 if LONG else 1
SEEDS = (0, 1, 2)
REMOVE = [False, True] if LONG else [True]
SHORT = ("--iterations", 3)
LATE = (
    "another process is working on this run",
    "holds a run already",
    "was removed, replaced or changed by somebody else",
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return rows_file(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def alone(tmp_path_factory, data):
    """The bits of a run of each seed to which nothing else happens."""
    folder, found = tmp_path_factory.mktemp("alone"), {}
    for seed in SEEDS:
        assert finished(train(data, folder / str(seed), *SHORT, "--seed", seed)) == 0
        found[seed] = known.bits(folder / str(seed))
    return found


def race(commands, folder, rng, *, remove=False):
    """The exit codes of commands that begin at nearly the same time; losers say why.

    With ``remove`` somebody deletes the lock file again and again meanwhile.
    """
    logs = [folder.parent / f"err{i}" for i in range(len(commands))]
    with ExitStack() as stack:
        racers = [
            stack.enter_context(child(args, err=str(log), wait=rng.uniform(0, 0.2)))
            for args, log in zip(commands, logs, strict=True)
        ]
        while any(racer.exitcode is None for racer in racers):
            time.sleep(0.01)
            if remove:
                (folder / "lock").unlink(missing_ok=True)
        codes = [racer.exitcode for racer in racers]
    for code, log in zip(codes, logs, strict=True):
        told = log.read_text() if log.exists() else ""
        assert code in (0, 1), told
        assert (code == 0) == (told == ""), told
        assert code == 0 or any(reason in told for reason in LATE), told
        log.unlink(missing_ok=True)
    assert 0 in codes
    return codes


def is_whole(folder, alone):
    """Whether the folder is the run of one seed alone."""
    assert not list(folder.glob(".noneq*")) + list(folder.glob("**/*.part*"))
    return known.bits(folder) == alone[Run(folder).seed]


@pytest.mark.parametrize("remove", REMOVE)
def test_of_several_creators_one_creates(tmp_path, data, alone, remove):
    rng = random.Random(3 + remove)
    for i in range(ROUNDS):
        folder = tmp_path / str(i) / "r"
        folder.parent.mkdir()
        commands = [train(data, folder, *SHORT, "--seed", seed) for seed in SEEDS]
        codes = race(commands, folder, rng, remove=remove)
        assert codes.count(0) == 1
        assert Run(folder).seed == SEEDS[codes.index(0)]
        assert is_whole(folder, alone)
    print(f"{ROUNDS} races of {len(SEEDS)} creators: one run each time")


@pytest.mark.parametrize("remove", REMOVE)
def test_overwriters_never_mix(tmp_path, data, alone, remove):
    rng, won = random.Random(5 + remove), 0
    folder = tmp_path / "r"
    assert finished(train(data, folder, *SHORT, "--seed", SEEDS[0])) == 0
    for _ in range(ROUNDS):
        commands = [train(data, folder, *SHORT, "--seed", s, "--overwrite") for s in SEEDS]
        won += race(commands, folder, rng, remove=remove).count(0)
        assert is_whole(folder, alone)
    print(f"{ROUNDS} races of {len(SEEDS)} overwriters, {won} came to their end: none mixed")


@pytest.mark.parametrize("remove", REMOVE)
def test_writers_take_turns(tmp_path, alone, remove):
    rng, won = random.Random(7 + remove), 0
    for i in range(ROUNDS):
        (tmp_path / str(i)).mkdir()
        run, _, _ = known.begun(tmp_path / str(i), iterations=SHORT[1])  # of seed 0, begun only
        resume = ["train", "--out", run.folder, "--resume"]
        won += race([resume] * len(SEEDS), run.folder, rng, remove=remove).count(0)
        assert is_whole(run.folder, alone)
    print(f"{ROUNDS} races of {len(SEEDS)} writers, {won} came to their end: none mixed")
