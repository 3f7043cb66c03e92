"""An interrupt at any moment of `checkpoint.store`, and a second one after it, lose nothing."""

import os
import random

import pytest
import torch
from moments import Interrupted

from noneq.run import checkpoint

LONG = os.environ.get("NONEQ_FAULTS") == "long"


def tree(i):
    return {"i": i, "t": torch.full((5,), float(i)), "more": {"u": torch.full((2, 2), -float(i))}}


def whole(found):
    """The number of the checkpoint that it is, of which nothing may be another's."""
    i = found["i"]
    assert torch.equal(found["t"], tree(i)["t"])
    assert torch.equal(found["more"]["u"], tree(i)["more"]["u"])
    return i


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # files left open
def test_interrupted_stores_lose_no_checkpoint(tmp_path):
    checkpoint.store(tmp_path, tree(0))
    dry = Interrupted()
    assert dry.call(checkpoint.store, tmp_path, tree(0))
    stores, rng, old = 3000 if LONG else 150, random.Random(0), 0
    kept = {"old": 0, "new": 0, "twice": 0}
    for k in range(stores):
        first = 1 + (k * dry.seen + rng.randrange(dry.seen)) // stores
        how = Interrupted(min(first, dry.seen), rng.randrange(1, 40) if k % 2 else 0)
        done = how.call(checkpoint.store, tmp_path, tree(k + 1))
        found = whole(checkpoint.load(tmp_path))  # raises where it is lost
        assert found == k + 1 or (found == old and not done)
        kept["new" if found == k + 1 else "old"] += 1
        kept["twice"] += how.came == 2
        old = found
    print(f"{stores} interrupted stores of {dry.seen} moments, 0 checkpoints lost: {kept}")
    assert min(kept.values()) > stores / 60
    checkpoint.store(tmp_path, tree(-1))
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".json", ".safetensors"]
