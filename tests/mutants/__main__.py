"""Break each formula of the package and see whether the tests notice.

    cd tests && python -m mutants [-v] [word ...]

Every mutant whose name holds one of the words (all without words) is a copy of the package in a
temporary folder with one piece of source replaced. Its tests, the fast ones first, run there and
one must fail. Two things prove nothing: tests that fail on the package as it is (found in a first
run and left out) and a run that is out of time. Prints the verdict, with -v the failing test, and
the seconds; exit code 1 unless every mutant is killed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mutants import MUTANTS, ROOT, Mutant, mutate, source_of, test_file

AT_ONCE = 2
SECONDS = 300  # a run that takes longer says nothing: it may be the machine


def copied(root: Path, folder: str) -> Path:
    """The package, its tests and its settings, copied from ``root`` into ``folder``."""
    away = shutil.ignore_patterns("__pycache__", ".*")
    for part in ("noneq", "tests", "experiments"):
        shutil.copytree(root / part, Path(folder) / part, ignore=away)
    shutil.copy(root / "pyproject.toml", folder)
    return Path(folder)


def pytest_in(folder: Path, arguments: list[str]) -> tuple[int, str]:
    """Run pytest on the copy in ``folder``: exit code and output; code -1 if it took too long."""
    environment = dict(os.environ, PYTHONPATH=str(folder), PYTHONDONTWRITEBYTECODE="1")
    environment.setdefault("OMP_NUM_THREADS", "1")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rfE", "--tb=no"]
    try:
        done = subprocess.run(
            [*command, *arguments], cwd=folder, env=environment, timeout=SECONDS,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return -1, ""
    return done.returncode, done.stdout


def failures(output: str) -> list[str]:
    """The tests that pytest's summary says failed, e.g. ``tests/test_a.py::test_b[0-x y]``."""
    return re.findall(r"^(?:FAILED|ERROR) (\S+?(?:\[.*?\])?)(?: - .*)?$", output, re.MULTILINE)


def _path(test: str) -> str:
    file, colons, function = test.partition("::")
    return test_file(file) + colons + function


def known_failures(mutants: list[Mutant], root: Path) -> list[str]:
    """Tests that fail on the package as it is."""
    tests = sorted({_path(test) for mutant in mutants for test in mutant.tests})
    code, output = pytest_in(root, tests)
    if code not in (0, 1):
        raise SystemExit(f"the tests do not run:\n{output}")
    return failures(output)


def verdict(mutant: Mutant, known: list[str], root: Path) -> tuple[Mutant, str, str, float]:
    """Whether the mutant was killed, by what, and how long it took."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        copy = copied(root, folder)
        source_of(mutant, copy).write_text(mutate(mutant, root))
        skip = [f"--deselect={test}" for test in known]
        tests = list(dict.fromkeys(map(_path, mutant.tests)))
        code, output = pytest_in(copy, ["-x", *skip, *tests])
    # only a test that fails kills; 5: every test left out; -1: stopped by the clock
    words = {0: "SURVIVED", 1: "killed", 5: "UNTESTED", -1: "TIMEOUT"}
    by = " ".join(failures(output)[:1])
    return mutant, words.get(code, "BROKEN"), by or output[-600:], time.perf_counter() - start


def main(arguments: list[str]) -> int:
    """Run the mutants that the words select; 1 if one is not killed."""
    words = [a for a in arguments if a != "-v"]
    chosen = [m for m in MUTANTS if not words or any(word in m.name for word in words)]
    start, bad = time.perf_counter(), 0
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(AT_ONCE) as pool:
        root = copied(ROOT, folder)  # what is edited meanwhile does not matter
        for mutant in chosen:
            mutate(mutant, root)
        known = known_failures(chosen, root)
        print(f"{len(known)} tests fail without a mutant and are left out: {known}", flush=True)
        for mutant, word, by, seconds in pool.map(lambda m: verdict(m, known, root), chosen):
            bad += word != "killed"
            detail = f"  {by}" if "-v" in arguments or word == "BROKEN" else ""
            print(f"{word:8} {seconds:5.1f} s  {mutant.name}{detail}", flush=True)
    minutes = (time.perf_counter() - start) / 60
    print(f"{len(chosen) - bad} of {len(chosen)} killed in {minutes:.1f} minutes")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
