"""Names that strangers gave (of columns, files and folders) as text that only shows itself.

A terminal acts on escape characters, rich on brackets, matplotlib on dollars; a file's name need
not be UTF-8 at all.
"""

from __future__ import annotations

__all__ = ["literal", "visible"]


def visible(text: str, most: int = 0) -> str:
    r"""The same text in one line, with every character that does not print in Python's notation.

    Arguments:
        text: of anybody.
        most: characters to show; 0: all.

    >>> visible("a\x1b[31m\n")
    'a\\x1b[31m\\n'
    """
    if most and len(text) > most:
        text = text[: most - 3] + "..."
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def literal(text: str, most: int = 0) -> str:
    r"""The same for matplotlib, which takes what is between dollars for mathematics.

    >>> print(literal("US$ or A$"))
    US\$ or A\$
    """
    return visible(text, most).replace("$", r"\$")


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python keeps a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
