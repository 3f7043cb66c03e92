"""The README's code runs as it stands, what it names exists, and it stays short."""

import re
from pathlib import Path

import torch

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_code_runs_and_finds_the_evidence(capsys):
    train, evidence = re.findall(r"```python\n(.*?)```", README, re.S)
    namespace = {}
    exec(compile(train, "README.md", "exec"), namespace)
    printed = capsys.readouterr().out
    assert printed.startswith("log Z between")
    assert "nats ±" in printed

    exec(compile(evidence, "README.md", "exec"), namespace)
    found = namespace["evidence"]
    # of a linear model in closed form: y is normal with covariance X X^T + 0.25
    design, y = namespace["design"], namespace["y"]
    covariance = design @ design.T + 0.25 * torch.eye(3)
    exact = torch.distributions.MultivariateNormal(torch.zeros(3), covariance)
    assert found.bracketed
    assert abs(found.value - float(exact.log_prob(y))) < 0.1


def test_it_is_short_and_begins_with_python():
    lines = README.splitlines()
    assert len(lines) <= 110
    assert len(re.findall(r"(?<![A-Za-z_.\d])\d+(?:\.\d+)?", README)) <= 40
    assert lines.index("```python") <= 40


def test_the_commands_are_targets_of_the_makefile():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    named = set(re.findall(r"`make (\w+)`", README))
    assert named
    assert named <= targets


def test_the_tree_is_the_tree():
    shown = set(re.findall(r"^noneq/(\w+) ", README, re.M))
    assert shown == {p.parent.name for p in (ROOT / "noneq").glob("*/__init__.py")}
