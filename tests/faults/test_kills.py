"""SIGKILL at random moments: what is resumed ends with the bits of what was never interrupted."""

import random
import time

import known
import pytest
from children import LONG, child, finished, rows_file, train

from noneq import Run
from noneq.run.staging import check_vacant

LENGTH = ("--iterations", 12, "--save-every", 0)
KILLS = 30 if LONG else 3  # of each of the two tests


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return rows_file(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory, data):
    """A run that nothing interrupts, its bits, and its seconds."""
    folder = tmp_path_factory.mktemp("whole") / "r"
    assert finished(["--version"]) == 0  # all is imported
    start = time.perf_counter()
    assert finished(train(data, folder, *LENGTH)) == 0
    return folder, known.bits(folder), time.perf_counter() - start


def is_vacant(folder):
    try:
        check_vacant(folder)
    except FileExistsError:
        return False
    return True


def killed_until_done(begin, resume, how, seconds, rng, log, early=1.0):
    """Start and kill until it comes to its end; ``how()`` says what to start with.

    ``early``: the share of its time in which a beginning is killed.
    """
    kills = 0
    while True:
        begins = how() == "begin"
        with child(begin if begins else resume, err=str(log)) as process:
            process.join(rng.uniform(0, seconds * early if begins else seconds))
            if process.exitcode is not None:
                assert process.exitcode == 0, log.read_text()
                return kills
        kills += 1
        seconds *= 1.1  # the RBM may be busier than before


def test_a_run_that_is_killed_resumes_to_the_same_bits(tmp_path, data, whole):
    _, bits, seconds = whole
    rng, kills, runs = random.Random(1), 0, 0
    while kills < KILLS:
        folder = tmp_path / str(runs)
        begin, resume = train(data, folder, *LENGTH), ["train", "--out", folder, "--resume"]

        def how(folder=folder):
            return "begin" if is_vacant(folder) else "resume"

        kills += killed_until_done(begin, resume, how, seconds, rng, tmp_path / "err")
        runs += 1
        assert known.bits(folder) == bits
        assert not list(folder.glob("**/*.part*")) + list(folder.glob(".noneq*"))
    print(f"{kills} kills of {runs} runs: the same bits")


def test_an_overwrite_that_is_killed_leaves_the_old_run_or_the_new(tmp_path, data, whole):
    folder, bits, seconds = whole
    old = Run(folder).config["id"]
    begin = train(data, folder, *LENGTH, "--overwrite")
    rng, kills, runs, kept = random.Random(2), 0, 0, 0

    def how():
        nonlocal kept
        if Run(folder).config["id"] != old:
            return "resume"
        assert known.bits(folder) == bits
        kept += 1
        return "begin"

    resume = ["train", "--out", folder, "--resume"]
    while kills < KILLS:
        old = Run(folder).config["id"]
        kills += killed_until_done(begin, resume, how, seconds, rng, tmp_path / "err", early=0.3)
        runs += 1
        assert Run(folder).config["id"] != old
        assert known.bits(folder) == bits
    print(f"{kills} kills of {runs} overwrites: the same bits; {kept - runs} before the change")
