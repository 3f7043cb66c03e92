"""Escaping of names of columns, files and folders before they are printed or drawn.

Such names may hold characters that a terminal, rich or matplotlib would act upon (escape
characters, brackets, dollars), and a file's name need not even be UTF-8.
"""

from __future__ import annotations

__all__ = ["literal", "visible"]


def visible(text: str, most: int = 0) -> str:
    r"""Return text in one line, with unprintable characters in Python's notation.

    >>> visible("a\x1b[31m\n")
    'a\\x1b[31m\\n'

    Arguments:
        text: any text.
        most: the number of characters to keep; 0: all.

    Returns:
        The escaped text.
    """
    if most and len(text) > most:
        text = text[: most - 3] + "..."
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def literal(text: str, most: int = 0) -> str:
    r"""Escape text for matplotlib, which reads text between dollars as mathematics.

    >>> print(literal("US$ or A$"))
    US\$ or A\$

    Arguments:
        text: any text.
        most: the number of characters to keep; 0: all.

    Returns:
        The text, escaped as by `visible`, with a backslash before each dollar.
    """
    return visible(text, most).replace("$", r"\$")


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # how Python keeps a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
