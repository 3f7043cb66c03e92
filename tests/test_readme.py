"""The README's code runs as it stands, and its commands exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_the_example_runs(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.S)
    exec(compile(code, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert printed.startswith("log Z between")
    assert "nats ±" in printed


def test_the_commands_are_targets_of_the_makefile():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M))
    assert set(re.findall(r"^make (\w+)", README, re.M)) <= targets


def test_every_file_named_exists():
    named = re.findall(r"`([a-z/]+(?:\.py|/))`", README)
    assert named
    for name in named:
        assert (ROOT / "noneq" / name).exists() or (ROOT / name).exists(), name
    for name in re.findall(r"\(((?:docs|benchmarks|experiments)/[^)]+)\)", README):
        assert (ROOT / name).exists(), name
