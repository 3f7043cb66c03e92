import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import noneq

PACKAGE = Path(noneq.__file__).parent

#: a module imports only from lower layers; a folder counts as one module
LAYERS = {
    "averaging": 0,
    "covariance": 0,
    "weights": 0,
    "spaces": 0,
    "products": 0,
    "plaintext": 0,
    "figures": 1,
    "adaptation": 1,
    "energies": 1,
    "gaussians": 2,
    "independent": 2,
    "mixture": 2,
    "paths": 2,
    "rbm": 3,
    "interpolants": 3,
    "checks": 2,
    "nets": 1,
    "data": 1,
    "kernels": 2,
    "schedules": 3,
    "starts": 4,
    "walkers": 3,
    "smc": 4,
    "contract": 5,
    "oracles": 4,
    "trust": 4,
    "work": 4,
    "rays": 2,
    "regions": 3,
    "tails": 4,
    "support": 4,
    "estimate": 5,
    "alarms": 5,
    "likelihood": 6,
    "bracket": 7,
    "renewal": 5,
    "footprint": 2,
    "settings": 0,
    "recipe": 1,
    "checksums": 0,
    "checkpoint": 1,
    "version": 0,
    "training": 6,
    "models": 5,
    "folders": 2,
    "guard": 3,
    "signals": 0,
    "learners": 7,
    "session": 8,
    "estimators": 8,
    "metrics": 9,
    "run": 10,
    "verdict": 11,
    "scores": 12,
    "sampling": 11,
    "console": 1,
    "devices": 0,
    "pictures": 12,
    "commands": 13,
    "options": 2,
    "cli": 14,
    "__main__": 15,
}
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
    home, wrong = module.split(".")[0], []
    for other in sorted(imported):
        there = other.split(".")[0]
        if there == home and "." in module:
            # within a folder: an __init__ gathers its files, a file imports those before it
            fine = module.endswith("__init__") or home + "." < other < module
        else:
            fine = there in LAYERS and LAYERS[there] < LAYERS[home]
        if not fine:
            wrong.append(f"{module} imports {other or 'noneq itself'}")
    return wrong


def test_every_module_has_a_layer() -> None:
    assert {module.split(".")[0] for module in MODULES} == set(LAYERS)


def test_imports_point_strictly_down() -> None:
    wrong = []
    for path, module in zip(FILES, MODULES, strict=True):
        wrong += violations(module, imports(path))
    assert not wrong, "\n".join(wrong)


def test_the_check_itself() -> None:
    # what it must see in the real files, and what it must refuse
    seen = dict(zip(MODULES, map(imports, FILES), strict=True))
    assert seen["covariance"] == set()
    own = {"kernels.base", "kernels.building"}
    assert {"covariance", "energies", "spaces"} | own == seen["kernels.langevin"]
    assert {"kernels", "renewal", "settings", "trust", "walkers"} < seen["training"]
    assert violations("energies", {"covariance"}) == []
    assert violations("kernels.langevin", {"kernels.base", "energies"}) == []
    for module, other in (
        ("weights", "covariance"),  # the same layer
        ("energies", "walkers"),
        ("energies", "kernels.base"),
        ("kernels.base", "kernels.langevin"),
        ("kernels.langevin", "kernels"),
        ("walkers", ""),  # import noneq
        ("walkers", "walkers"),
    ):
        assert violations(module, {other}), (module, other)


def test_log_w_is_written_in_one_file() -> None:
    # everyone else goes through the verbs of Walkers
    for path, module in zip(FILES, MODULES, strict=True):
        if module == "walkers":
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


def test_public_names_resolve() -> None:
    assert len(set(noneq.__all__)) == len(noneq.__all__)
    assert set(noneq.__all__) == set(noneq._MODULE_OF)
    assert set(noneq.__all__) <= set(dir(noneq))
    for name in noneq.__all__:
        home = importlib.import_module(f"noneq.{noneq._MODULE_OF[name]}")
        assert getattr(noneq, name) is getattr(home, name)
        assert name in home.__all__, f"{home.__name__}.__all__ lacks {name}"
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = noneq.nothing


def test_public_names_say_what_they_are() -> None:
    for name in noneq.__all__:
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
    loaded = importlib.import_module(f"noneq.{module}".removesuffix(".__init__"))
    assert loaded.__doc__
    for name in loaded.__all__:
        assert hasattr(loaded, name), name


def test_type_checkers_see_the_same_names() -> None:
    # the lazy names and those under TYPE_CHECKING are two lists: they must not drift apart
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    typed = {
        (node.module, alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        and str(node.module).startswith("noneq.")
        and node.module != "noneq.version"
        for alias in node.names
    }
    assert typed == {(f"noneq.{module}", name) for name, module in noneq._MODULE_OF.items()}
