"""The door to the experiments: a list of them, or one run by its name.

python -m experiments                       lists the experiments
python -m experiments cd_bias.study --help  runs one: experiments/cd_bias/study.py
"""

from __future__ import annotations

import ast
import difflib
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["experiments", "main"]


def experiments() -> dict[str, str]:
    """Every experiment: its name and the first line of its docstring; nothing is imported."""
    home, found = Path(__file__).parent, {}
    for path in sorted(home.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if path.name[:2] != "__" and 'if __name__ == "__main__":' in text:
            name = ".".join(path.relative_to(home).with_suffix("").parts)
            found[name] = (ast.get_docstring(ast.parse(text)) or "").split("\n")[0]
    return found


def main(given: Sequence[str]) -> int:
    """List the experiments, or run the one that is named with the arguments that follow."""
    known = experiments()
    if not given:
        width = max(map(len, known))
        print(*(f"{name:{width}}  {line}" for name, line in known.items()), sep="\n")
        return 0
    if given[0] not in known:
        near = difflib.get_close_matches(given[0], known, 1, 0.3)
        hint = f"did you mean {near[0]}?" if near else "python -m experiments lists them"
        print(f"no experiment is called {given[0]!r}: {hint}", file=sys.stderr)
        return 2
    sys.argv = list(given)
    runpy.run_module(f"experiments.{given[0]}", run_name="__main__", alter_sys=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
