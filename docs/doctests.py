"""An extension of griffe, by which the site shows the examples of docstrings as code."""

from __future__ import annotations

import textwrap
from typing import Any

import griffe


class Doctests(griffe.Extension):
    """Puts fences around the examples of every docstring, paragraphs that begin with >>>."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of an object that was read."""
        if obj.docstring is not None:
            obj.docstring.value = "\n\n".join(map(_fenced, obj.docstring.value.split("\n\n")))


def _fenced(part: str) -> str:
    code = textwrap.dedent(part)
    if not code.startswith(">>> "):
        return part
    indent = part[: len(part) - len(part.lstrip())]
    return textwrap.indent(f"```python\n{code}\n```", indent)
