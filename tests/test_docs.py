"""The code of the documentation runs as it stands, and what it names exists."""

import dataclasses
import pkgutil
import re
import shlex
import subprocess
import textwrap
from pathlib import Path

import pytest

import noneq
from noneq.cli.main import main
from noneq.kernels import Stepped
from noneq.run.recipe import (
    Bracket,
    Budget,
    InterpolantModel,
    Likelihood,
    NetworkModel,
    Optimizer,
    RBMModel,
    ScoreMatching,
)

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
TEXT = (DOCS / "kernels.md").read_text(encoding="utf-8")


def test_the_new_kernel_passes_its_test_and_the_wrong_one_is_told(capsys):
    namespace = {}
    for block in re.findall(r"```python\n(.*?)```", TEXT, re.S):
        exec(compile(block, "kernels.md", "exec"), namespace)
    printed = capsys.readouterr().out
    assert printed.startswith(
        "Stale on R^n: it returns energies or a cache that are not the model's"
    )
    kernel = namespace["Barker"](0.3)
    assert len(re.search(r"@dataclass.*?rng\)\n", TEXT, re.S)[0].splitlines()) <= 20
    assert kernel.scaled(2.0).h == 0.6


def test_every_kernel_is_in_the_table():
    kinds = [
        k for k in vars(noneq.kernels).values() if isinstance(k, type) and issubclass(k, Stepped)
    ]
    for kind in {*kinds, noneq.kernels.Repeat, noneq.kernels.Chain} - {Stepped}:
        assert f"`{kind.__name__}(" in TEXT, kind


def test_your_own_loop_runs(capsys):
    page = (DOCS / "your_own_loop.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.S)
    exec(compile(code, "your_own_loop.md", "exec"), {})
    printed = capsys.readouterr().out
    assert printed.startswith("log Z between")
    assert "nats ±" in printed


def test_densities_of_tables_run(capsys):
    page = (DOCS / "estimators.md").read_text(encoding="utf-8")
    model, complete = re.findall(r"```python\n(.*?)```", page, re.S)
    namespace = {}
    exec(compile(model, "estimators.md", "exec"), namespace)
    assert "[-1  1]" in capsys.readouterr().out
    exec(compile(complete, "estimators.md", "exec"), namespace)
    found = namespace["found"]
    assert found.x.shape == (2, 3, 2)
    assert bool((found.x[0, :, 0] == 0.5).all())


GUIDES = [
    DOCS / "start.md",
    *sorted((DOCS / "guides").glob("*.md")),
    *sorted(DOCS.glob("[cdfg]*.md")),
]
BLOCK = re.compile(r"^( *)```(python|sh)\n(.*?)^ *```", re.S | re.M)


@pytest.mark.parametrize("page", GUIDES, ids=lambda p: p.relative_to(DOCS).as_posix())
def test_a_guide_runs_as_it_stands(page, tmp_path, monkeypatch):
    # all blocks in order, in an empty folder; those with a title are too long, or need more
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    namespace = {}
    for indent, language, code in BLOCK.findall(page.read_text(encoding="utf-8")):
        code = textwrap.dedent(indent + code)
        if language == "python":
            exec(compile(code, page.name, "exec"), namespace)
            continue
        for line in code.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["noneq"]:
                assert main(words[1:]) == 0, line
            elif words[:1] == ["printf"]:
                subprocess.run(line, shell=True, check=True)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_what_a_page_names_exists(page):
    text = page.read_text(encoding="utf-8")
    # links
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if not target.startswith(("http:", "https:")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
    # files and folders of the repository, by their path
    top = "noneq|tests|experiments|benchmarks|docs|examples|runs"
    for name in re.findall(rf"(?<![\w/.])((?:{top})/[\w./*-]*[\w/])", text):
        if name.startswith("runs/") and not name.endswith(".sh"):
            continue  # the folder of somebody's run
        found = sorted(ROOT.glob(name)) if "*" in name else [ROOT / name]
        assert found, f"{page.name}: {name}"
        assert all(path.exists() for path in found), f"{page.name}: {name}"
    # names of the package, and what `python -m` runs
    for name in re.findall(r"`(noneq(?:\.[A-Za-z_]\w*)+)", text):
        try:
            value = pkgutil.resolve_name(name)  # which imports what no other test has
        except (AttributeError, ImportError):
            value = None
        assert value is not None, f"{page.name}: {name}"
    for name in re.findall(r"-m experiments ([a-z_.\d]+)", text):
        path = ROOT / "experiments" / f"{name.replace('.', '/')}.py"
        assert path.exists(), f"{page.name}: {name}"


def test_every_result_has_a_script_and_a_record():
    for page in sorted((DOCS / "results").glob("*.md")):
        if page.stem == "README":
            continue
        sections = re.split(r"^## ", page.read_text(encoding="utf-8"), flags=re.M)
        with_tables = [s for s in sections if re.search(r"^\|---", s, re.M)]
        assert with_tables
        for section in with_tables:
            title = section.splitlines()[0]
            assert re.search(r"runs/\w+\.sh", section), f"{page.name}, {title}: no script"
            records = re.findall(r"((?:experiments|benchmarks)/results/[\w.-]+\.\w+)", section)
            assert records, f"{page.name}, {title}: no record"


@pytest.mark.parametrize(
    "choices",
    [
        noneq.Settings,
        NetworkModel,
        RBMModel,
        InterpolantModel,
        Likelihood,
        ScoreMatching,
        Optimizer,
        Bracket,
        Budget,
    ],
)
def test_every_default_has_its_line(choices):
    page = (DOCS / "lab" / "defaults.md").read_text(encoding="utf-8")
    for field in dataclasses.fields(choices):
        name = f"bracket.{field.name}" if choices is Bracket else field.name
        assert f"`{name}`" in page, name
