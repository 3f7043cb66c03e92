"""The bounds of pyproject.toml are the versions that are tested: `make lowest`, `make test`."""

import re
import tomllib

from mutants import ROOT


def versions(name: str) -> dict[str, str]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    found = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {key.lower().replace("_", "-"): version for key, version in found}


def release(version: str) -> tuple[int, ...]:
    """1.26 and 1.26.0 are one."""
    numbers = [int(part) for part in version.split(".")]
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)


def bounds() -> dict[str, str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    return dict(re.fullmatch(r"([\w-]+)>=([\d.]+)", line).groups() for line in named)


def test_every_bound_is_the_lowest_version_tested():
    lowest = versions("constraints-lowest.txt")
    assert set(lowest) == set(bounds())
    for name, bound in bounds().items():
        if name != "torch":
            assert release(bound) == release(lowest[name]), name


def test_the_bound_of_torch_is_the_version_tested():
    tested = versions("constraints.txt")
    assert release(bounds()["torch"]) == release(tested["torch"])
    assert versions("constraints-lowest.txt")["torch"] == tested["torch"]
    assert set(bounds()) <= set(tested)
