"""The command line in processes that are forked from one that has imported everything already."""

import multiprocessing
import os
import sys
import time
from contextlib import contextmanager

import known
import numpy as np

LONG = os.environ.get("NONEQ_FAULTS") == "long"
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        "noneq.cli.summary", "noneq.report.pictures", "noneq.cli.main",
        # what they import late
        "sklearn.covariance", "sklearn.cluster", "torch._dynamo",
        "matplotlib.backends.backend_agg",
    ]
)  # fmt: skip
OPTIONS = known.options()


def command(args, out, err, close, wait):
    """To be run in a child: ``noneq args``, its output in files or handles."""
    from noneq.cli.main import main

    for number, to in ((1, out), (2, err)):
        how = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        os.dup2(os.open(to, how) if isinstance(to, str) else to.detach(), number)
    if close:
        os.close(1)
        sys.stdout = None
    time.sleep(wait)
    sys.exit(main(args))


@contextmanager
def child(args, out="/dev/null", err="/dev/null", *, close=False, wait=0.0):
    """A process of ``noneq args``, which is killed if it is still there in the end."""
    process = CONTEXT.Process(target=command, args=(list(map(str, args)), out, err, close, wait))
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def finished(args, err="/dev/null", **more):
    """The exit code of ``noneq args``."""
    with child(args, err=err, **more) as process:
        process.join(120)
        return process.exitcode


def rows_file(folder):
    """The file of the small run's rows."""
    np.save(folder / "rows.npy", known.rows())
    return folder / "rows.npy"


def train(data, folder, *more):
    """The arguments of a small run."""
    return ["train", data, "--out", folder, *OPTIONS, *more]
