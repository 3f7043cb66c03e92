"""The list of mutants must not rot: its sources and its tests exist. `make mutants` runs it."""

import ast

import pytest

import mutants
from mutants.__main__ import failures


@pytest.mark.parametrize("mutant", mutants.MUTANTS, ids=lambda m: m.name)
def test_every_mutant_is_one_change_of_valid_source(mutant):
    ast.parse(mutants.mutate(mutant))


def test_every_mutant_names_tests_that_exist():
    for mutant in mutants.MUTANTS:
        for test in mutant.tests:
            file, _, function = test.partition("::")
            source = (mutants.ROOT / mutants.test_file(file)).read_text()
            assert not function or f"def {function}(" in source, (mutant.name, test)


def test_names_are_unique():
    names = [mutant.name for mutant in mutants.MUTANTS]
    assert len(set(names)) == len(names)


def test_failures_are_read_from_the_summary():
    output = (
        "x\nFAILED tests/test_a.py::test_b[two modes-0.1] - assert 1 == [2] - no\n"
        "FAILED tests/test_a.py::test_c\nERROR tests/test_d.py - ImportError: [x]\n2 failed\n"
    )
    assert failures(output) == [
        "tests/test_a.py::test_b[two modes-0.1]", "tests/test_a.py::test_c", "tests/test_d.py",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "name",
    sorted(
        path.name
        for path in (mutants.ROOT / "tests" / "mutants").glob("*.py")
        if not path.stem.startswith(("_", "test_"))
    ),
)
def test_no_name_is_given_twice(name):
    # a second one would take the tests of all mutants between the two away
    tree = ast.parse((mutants.ROOT / "tests" / "mutants" / name).read_text())
    targets = [t for node in tree.body if isinstance(node, ast.Assign) for t in node.targets]
    flat = [n for t in targets for n in (t.elts if isinstance(t, ast.Tuple) else [t])]
    names = [n.id for n in flat if isinstance(n, ast.Name)]
    assert len(set(names)) == len(names)
