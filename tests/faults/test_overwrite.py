"""An interrupt, or a kill, at any moment of an overwrite leaves the old run whole, or the new."""

import random
import shutil

import known
import pytest
from children import LONG
from moments import Interrupted

from noneq import Run


def contents(folder):
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # files left open
@pytest.mark.parametrize("killed", [False, True])
def test_an_interrupt_at_any_moment_leaves_the_old_run_or_the_new(tmp_path, monkeypatch, killed):
    run, data, session = known.begun(tmp_path)
    folder, again = run.folder, tmp_path / "r" / "likelihood.json"

    def replaced():
        Run.create(folder, data, session, overwrite=True)

    dry = Interrupted()
    assert dry.call(replaced)
    times, rng, kept = 1000 if LONG else 30, random.Random(1), 0
    for k in range(times):
        again.write_bytes(b"the old run's")
        old, before = Run(folder), contents(folder)
        how = Interrupted(1 + (k * dry.seen + rng.randrange(dry.seen)) // times)
        with monkeypatch.context() as patch:
            if killed:  # which tidies nothing
                patch.setattr(shutil, "rmtree", lambda *_, **__: None)
            done = how.call(replaced)
        now = Run(folder)  # which settles it
        with now.locked():  # which sweeps it
            pass
        if now.config == old.config:
            assert not done
            assert contents(folder) == before
            kept += 1
        assert again.exists() == (now.config == old.config)
        now.restore(session)
        now.restore(session, "good")
        now.model()
    print(
        f"{times} interrupted overwrites of {dry.seen} moments: {kept} kept, the others replaced"
    )
    assert 0 < kept < times
