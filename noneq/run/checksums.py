"""Checksums inside files, which detect any byte that has changed.

A file that noneq writes, JSON or safetensors, holds ``"noneq_sha256": "..."`` near its beginning:
the SHA-256 of all its bytes, with zeros in that place.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

__all__ = ["BLANK", "KEY", "add_checksum", "check_checksum"]

KEY = "noneq_sha256"
"""The name of the field in a JSON or safetensors file that holds the checksum of that file."""
BLANK = "0" * 64
"""The 64 zeros in the place of a file's checksum while the checksum is computed."""
_FIELD = re.compile(rb'"%b"\s*:\s*"([0-9a-f]{64}|)"' % KEY.encode())
_PART = 1 << 20  # bytes read at once; the field is within the first so many


def add_checksum(head: bytes, rest: bytes | memoryview = b"") -> bytes:
    """Put the checksum into the content of a file.

    Arguments:
        head: first part of the content, which has 64 zeros in the place of the checksum.
        rest: remaining part of the content; it may be empty.

    Returns:
        The whole content, with the SHA-256 checksum as hexadecimal digits in place of the zeros.
    """
    found = hashlib.sha256(head)
    found.update(rest)
    return b"".join((head.replace(BLANK.encode(), found.hexdigest().encode(), 1), rest))


def check_checksum(path: Path, *, required: bool = True) -> None:
    """Compare a file's content with the checksum stored in the file.

    An empty checksum, ``"noneq_sha256": ""``, marks a file that was edited by hand, and is
    accepted.

    Arguments:
        path: path of the file.
        required: whether a missing checksum is an error; True for files that noneq wrote.

    Raises:
        ValueError: a byte has changed, or a required checksum is missing.
    """
    with path.open("rb") as file:
        head = file.read(_PART)
        field = _FIELD.search(head)
        if field is None:
            if required:
                raise ValueError("its checksum is missing")
            return
        stored = field[1].decode()
        if not stored:
            return
        found = hashlib.sha256(head[: field.start(1)] + BLANK.encode() + head[field.end(1) :])
        while part := file.read(_PART):
            found.update(part)
    if found.hexdigest() != stored:
        raise ValueError("its checksum differs: it is not what was written")
