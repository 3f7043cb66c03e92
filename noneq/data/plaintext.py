"""Escaping of names of columns, files and folders before they are printed or drawn.

Such names may hold characters with a special meaning for a terminal, rich or matplotlib (escape
characters, brackets, dollars), and a file's name need not even be UTF-8.
"""

from __future__ import annotations

__all__ = ["literal", "visible"]


def visible(text: str, most: int = 0) -> str:
    r"""Escape unprintable characters of a text in Python's notation, so that it is one line.

    >>> visible("a\x1b[31m\n")
    'a\\x1b[31m\\n'

    Arguments:
        text: any text.
        most: the number of characters of the text to keep, the last ones replaced by "..."; 0:
            all.

    Returns:
        The escaped text.
    """
    if most and len(text) > most:
        text = text[: most - 3] + "..."
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def literal(text: str, most: int = 0) -> str:
    r"""Escape a text for matplotlib, which reads what stands between dollars as mathematics.

    >>> print(literal("US$ or A$"))
    US\$ or A\$

    Arguments:
        text: any text.
        most: the number of characters of the text to keep, the last ones replaced by "..."; 0:
            all.

    Returns:
        The text, with unprintable characters in Python's notation and a backslash before each
        dollar.
    """
    return visible(text, most).replace("$", r"\$")


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python keeps a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
