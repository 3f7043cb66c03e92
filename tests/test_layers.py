import ast
import graphlib
import importlib
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import noneq

PACKAGE = Path(noneq.__file__).parent

#: what is at the top imports only what stands left of it; inside a folder there is no circle
LAYERS = [
    "version", "numerics", "spaces", "random", "data", "energies", "kernels", "walkers",
    "annealing", "likelihood", "models", "training", "testing", "run", "estimators", "report",
    "cli", "__main__",
]  # fmt: skip
FILES = sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")
MODULES = [".".join(p.relative_to(PACKAGE).with_suffix("").parts) for p in FILES]


def imports(path: Path) -> set[str]:
    """The modules of this package that a file imports, wherever it does, without ``noneq.``.

    ``from noneq.kernels import base`` counts as kernels.base, ``from noneq.kernels import MALA``
    as kernels.
    """
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} line {node.lineno}: a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] != "noneq":
                continue
            inside = parts[1:]
            while inside and ".".join(inside) not in MODULES and not is_folder(inside):
                inside.pop()
            found.add(".".join(inside))
    return found


def is_folder(parts: list[str]) -> bool:
    return (PACKAGE.joinpath(*parts) / "__init__.py").exists()


def violations(module: str, imported: set[str]) -> list[str]:
    """Imports of other folders that do not point to the left."""
    home, wrong = module.split(".")[0], []
    for other in sorted(imported):
        there = other.split(".")[0]
        if there != home and LAYERS.index(home) < (LAYERS.index(there) if there else 99):
            wrong.append(f"{module} imports {other or 'noneq itself'}")
    return wrong


def test_the_top_has_few_entries_and_each_a_place() -> None:
    top = {m.split(".")[0] for m in MODULES}
    assert top == set(LAYERS)
    assert len(top - {"__main__", "version"}) <= 19


def test_imports_point_to_the_left() -> None:
    wrong = []
    for path, module in zip(FILES, MODULES, strict=True):
        wrong += violations(module, imports(path))
    assert not wrong, "\n".join(wrong)


def test_no_module_imports_itself_by_a_detour() -> None:
    graph = dict(zip(MODULES, map(imports, FILES), strict=True))
    own = {m: {i for i in found if i in graph and i != m} for m, found in graph.items()}
    graphlib.TopologicalSorter(own).prepare()  # raises CycleError


def test_the_check_itself() -> None:
    # what it must see in the real files, and what it must refuse
    seen = dict(zip(MODULES, map(imports, FILES), strict=True))
    assert seen["energies.covariance"] == set()
    assert seen["kernels.langevin"] == {"energies", "spaces", "kernels.base"}
    assert {"kernels", "training.trust", "walkers"} < seen["training.loop"]
    assert violations("walkers.walkers", {"energies", "kernels.base"}) == []
    for module, other in (
        ("energies.base", "walkers"),
        ("energies.base", "kernels.base"),
        ("walkers.walkers", ""),  # import noneq
        ("run.folder", "cli.console"),
    ):
        assert violations(module, {other}), (module, other)


def test_log_w_is_written_in_one_file() -> None:
    # everyone else goes through the verbs of Weights
    for path, module in zip(FILES, MODULES, strict=True):
        if module == "walkers.weights":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                assert not any(k.arg == "log_w" for k in node.keywords), (module, node.lineno)
            targets = node.targets if isinstance(node, ast.Assign) else []
            for target in targets:
                assert getattr(target, "attr", "") != "log_w", (module, node.lineno)


def test_importing_the_package_costs_nothing() -> None:
    heavy = ("torch", "numpy", "sklearn", "scipy", "matplotlib", "rich", "tyro")
    code = (
        f"import sys, noneq; print(*[m for m in {heavy} if m in sys.modules], noneq.__version__)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.split() == [noneq.__version__]


def folders() -> list[str]:
    """Every folder of the package as a module, the top included."""
    inits = [p.parent.relative_to(PACKAGE.parent) for p in PACKAGE.rglob("__init__.py")]
    return sorted(".".join(p.parts) for p in inits)


def names(folder: str) -> list[str]:
    """The names that a folder gives, but for folders."""
    loaded = importlib.import_module(folder)
    kept = [n for n in getattr(loaded, "__all__", ()) if not n.startswith("_")]
    return [n for n in kept if not inspect.ismodule(getattr(loaded, n))]


def test_the_top_has_twenty_five_names() -> None:
    assert len(names("noneq")) == 25
    with pytest.raises(AttributeError, match="nothing"):
        _ = noneq.nothing


@pytest.mark.parametrize("folder", folders())
def test_every_name_of_a_folder_is_in_its_own_modules_list(folder) -> None:
    loaded = importlib.import_module(folder)
    for name in names(folder):
        home = sys.modules[getattr(getattr(loaded, name), "__module__", folder) or folder]
        if home.__name__.startswith("noneq."):
            assert name in home.__all__, f"{home.__name__}.__all__ lacks {name}"


def test_public_names_say_what_they_are() -> None:
    for name in names("noneq"):
        value = getattr(noneq, name)
        text = value.__doc__
        # a dataclass or a named tuple without a docstring is given its signature for one
        assert text, name
        assert not text.startswith(f"{name}("), name
        assert text.split("\n")[0].strip(), name
        if inspect.isclass(value):
            for key, member in vars(value).items():
                if not key.startswith("_") and inspect.isfunction(member):
                    assert member.__doc__, f"{name}.{key}"


@pytest.mark.parametrize("module", MODULES)
def test_every_module_lists_its_names(module) -> None:
    if module == "cli.__init__":
        return  # gives nothing, so that nothing is loaded before a command runs
    loaded = importlib.import_module(f"noneq.{module}".removesuffix(".__init__"))
    assert loaded.__doc__
    for name in loaded.__all__:
        assert hasattr(loaded, name), name


def definitions() -> Iterator[tuple[Path, ast.FunctionDef | ast.ClassDef]]:
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                yield path, node


def length(node: ast.FunctionDef | ast.ClassDef, *, documented: bool) -> int:
    """Lines of a definition, its docstring counted or not."""
    lines = (node.end_lineno or 0) - node.lineno + 1
    first = node.body[0]
    if documented or not ast.get_docstring(node) or first.end_lineno is None:
        return lines
    return lines - (first.end_lineno - first.lineno + 1)


def test_nothing_is_longer_than_can_be_read_at_once() -> None:
    long = [path.name for path in FILES if len(path.read_text().splitlines()) > 300]
    for path, node in definitions():
        whole = isinstance(node, ast.ClassDef)
        if length(node, documented=whole) > (250 if whole else 50):
            long.append(f"{path.name}: {node.name}")
    assert not long


NOTHING = ("None", None, "Iterator[None]")  # the last is a context


@pytest.mark.parametrize("module", MODULES)
def test_every_function_says_what_it_returns(module) -> None:
    loaded = importlib.import_module(f"noneq.{module}".removesuffix(".__init__"))
    for name in getattr(loaded, "__all__", ()):
        value = getattr(loaded, name)
        if inspect.isfunction(value) and value.__annotations__.get("return") not in NOTHING:
            text = value.__doc__ or ""
            assert "Returns" in text or "Yields" in text, name


@pytest.mark.parametrize("name", names("noneq"))
def test_every_name_at_the_top_has_an_example(name) -> None:
    assert ">>>" in getattr(noneq, name).__doc__
