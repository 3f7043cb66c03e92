"""An interrupt at any moment of `checkpoint.store`, and a second one after it, lose nothing."""

import os
import random
import sys
from pathlib import Path

import pytest
import torch

from noneq import checkpoint

LONG = os.environ.get("NONEQ_FAULTS") == "long"
OWN = str(Path(checkpoint.__file__).parent)  # of its frames each instruction is a moment


def tree(i):
    return {"i": i, "t": torch.full((5,), float(i)), "more": {"u": torch.full((2, 2), -float(i))}}


def whole(found):
    """The number of the checkpoint that it is, of which nothing may be another's."""
    i = found["i"]
    assert torch.equal(found["t"], tree(i)["t"])
    assert torch.equal(found["more"]["u"], tree(i)["more"]["u"])
    return i


class Interrupted:
    """KeyboardInterrupt at the first-th moment, and again some calls or returns later.

    A tracer that raises is switched off, so that the second is raised by a profiler.
    """

    def __init__(self, first=0, second=0):
        self.first, self.second = first, second
        self.seen, self.came = 0, 0

    def trace(self, frame, event, _):
        mine = frame.f_code.co_filename.startswith(OWN)
        frame.f_trace_opcodes = mine
        frame.f_trace_lines = not mine
        self.seen += 1
        if self.seen == self.first:
            self.came = 1
            sys.setprofile(self.profile)
            raise KeyboardInterrupt
        return self.trace

    def profile(self, frame, event, arg):
        self.second -= frame.f_code.co_filename != __file__
        if self.second == 0:
            self.came = 2
            raise KeyboardInterrupt

    def store(self, folder, value):
        """Whether the store came to its end."""
        try:
            sys.settrace(self.trace)
            checkpoint.store(folder, value)
        except KeyboardInterrupt:
            return False
        finally:
            sys.settrace(None)
            sys.setprofile(None)
        return True


@pytest.mark.filterwarnings("ignore:unclosed file")  # interrupted between open and with
def test_interrupted_stores_lose_no_checkpoint(tmp_path):
    if sys.gettrace() is not None:
        pytest.skip("the tracer is taken")
    checkpoint.store(tmp_path, tree(0))
    dry = Interrupted()
    assert dry.store(tmp_path, tree(0))
    stores, rng, old = 3000 if LONG else 150, random.Random(0), 0
    kept = {"old": 0, "new": 0, "twice": 0}
    for k in range(stores):
        first = 1 + (k * dry.seen + rng.randrange(dry.seen)) // stores
        how = Interrupted(min(first, dry.seen), rng.randrange(1, 40) if k % 2 else 0)
        done = how.store(tmp_path, tree(k + 1))
        found = whole(checkpoint.load(tmp_path))  # raises where it is lost
        assert found == k + 1 or (found == old and not done)
        kept["new" if found == k + 1 else "old"] += 1
        kept["twice"] += how.came == 2
        old = found
    print(f"{stores} interrupted stores of {dry.seen} moments, 0 checkpoints lost: {kept}")
    assert min(kept.values()) > stores / 60
    checkpoint.store(tmp_path, tree(-1))
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".json", ".safetensors"]
