"""KeyboardInterrupt at any moment of what writes files."""

import pathlib
import shutil
import sys

import pytest

from noneq.run import atomic, checkpoint, checksums
from noneq.run import staging as folders

#: of the frames of these files each instruction is a moment, of those each line
OWN = {module.__file__ for module in (atomic, checkpoint, checksums, folders)}
LINES = {module.__file__ for module in (pathlib, shutil)}


class Interrupted:
    """KeyboardInterrupt at the first-th moment, and again some calls or returns later.

    A tracer that raises is switched off, so that the second is raised by a profiler.
    """

    def __init__(self, first=0, second=0):
        self.first, self.second = first, second
        self.seen, self.came = 0, 0

    def trace(self, frame, event, _):
        mine = frame.f_code.co_filename in OWN
        if not mine and frame.f_code.co_filename not in LINES:
            return None
        frame.f_trace_opcodes = mine
        frame.f_trace_lines = not mine
        self.seen += 1
        if self.seen == self.first:
            self.came = 1
            sys.setprofile(self.profile)
            raise KeyboardInterrupt
        return self.trace

    def profile(self, frame, event, arg):
        mine = frame.f_code.co_filename in OWN | LINES
        self.second -= mine
        if mine and self.second == 0:
            self.came = 2
            raise KeyboardInterrupt

    def call(self, function, *arguments):
        """Whether the function came to its end."""
        if sys.gettrace() is not None:
            pytest.skip("the tracer is taken")
        try:
            sys.settrace(self.trace)
            function(*arguments)
        except KeyboardInterrupt:
            return False
        finally:
            sys.settrace(None)
            sys.setprofile(None)
        return True
