"""The door to the experiments: what it lists, what it runs, and that every record has a script."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.__main__ import experiments, main

ROOT = Path(__file__).parents[2]


def test_it_lists_every_experiment_with_a_line(capsys):
    assert main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(experiments()) > 15
    for line, (name, about) in zip(lines, experiments().items(), strict=True):
        assert line.split(maxsplit=1) == [name, about]
        assert about[-1] in ".?"


def test_an_experiment_is_run_with_the_arguments_that_follow():
    code = [sys.executable, "-m", "experiments", "digits", "rates", "--help"]
    run = subprocess.run(code, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "--iterations" in run.stdout


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("mixtur", "mean paper_a.mixture?"), ("mnist", "mean rbm.mnist?"), ("0000", "lists them")],
)
def test_an_unknown_name_is_one_line_with_the_nearest(capsys, name, nearest):
    assert main([name]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert f"{name!r}" in told
    assert nearest in told


def test_the_scripts_name_experiments_and_tables_that_exist():
    scripts = sorted((ROOT / "runs").glob("*.sh"))
    assert scripts
    known = experiments()
    for script in scripts:
        text = script.read_text(encoding="utf-8")
        lines = text.splitlines()
        assert lines[0] == "#!/usr/bin/env bash", script
        assert "set -euo pipefail" in lines, script
        for name in re.findall(r"-m experiments (\S+)", text):
            assert name in known, (script, name)
        for name in re.findall(r"-m benchmarks\.(\w+)", text):
            assert (ROOT / "benchmarks" / f"{name}.py").exists(), (script, name)
        (page,) = re.findall(r"(docs/[\w/]+\.md)", text)
        assert f"runs/{script.name}" in (ROOT / page).read_text(encoding="utf-8"), (script, page)
