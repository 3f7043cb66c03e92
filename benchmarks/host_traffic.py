r"""How often does an iteration wait for the device, and how many operations does it launch?

    python -m benchmarks.host_traffic [--where]    a minute on one core

Counted on a processor, since the calls are the same on any device: a number read by the host
(``_local_scalar_dense``, ``equal``, ``nonzero`` and what contains it, a tensor copied to the host)
makes the host wait until all that was launched before is done, and each operation has a fixed
cost of some microseconds besides its work. Both are counted apart for the optimiser's step, whose
bookkeeping is torch's, and for the rest, beside a loop that does nothing but persistent
contrastive divergence by the same kernel: evaluate with the graph, loss, backward, moves, step.
What torch's optimisers and averages read are counters on the processor: such waits count as the
step's wherever they occur. What only a processor does (`noneq.random` draws many bits from a
stream of numpy's there) is left out.

The models are those that a recipe builds: of the digits a network moved by MALA, K = 8, and a
RBM of binarised digits moved by block Gibbs. ``--where`` prints from which functions of the
library the waiting comes.
"""

from __future__ import annotations

import itertools
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from types import FrameType
from typing import Any, Literal

import torch
import tyro
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import noneq
from benchmarks import RESULTS
from experiments.common import record, table
from noneq import Session
from noneq.data import digits
from noneq.energies import evaluate
from noneq.kernels import Kernel, Repeat, State
from noneq.random import add_noise
from noneq.run import Recipe, choose

__all__ = ["CASES", "Count", "Traffic", "bare", "counted", "library", "main", "per_iteration"]

Part = Literal["optimizer", "rest"]
PACKAGE = str(Path(noneq.__file__).parent)
OPTIMISERS, TORCH = str(Path(torch.optim.__file__).parent), "torch.optim"
PROCESSOR_ONLY = (
    "random.py:_Seeds.generate_state",
    "training/average.py:_Average.update_parameters",  # its counter
)
#: operations after which the host knows a number of the device's
WAITS = {
    "_local_scalar_dense", "equal", "nonzero", "masked_select", "_unique2", "unique_dim",
    "unique_consecutive", "is_pinned",
}  # fmt: skip
#: methods of tensors that copy to the host, which on a processor launch nothing
COPIES = {Tensor.tolist, Tensor.numpy, Tensor.cpu}


@dataclass
class Count:
    """What was counted in one part of an iteration."""

    operations: int = 0
    waits: int = 0
    where: Counter[str] = field(default_factory=Counter)


class Traffic:
    """Counts operations and waits while it is entered, apart for an optimiser's step.

    Arguments:
        optimizer: whose step is counted apart; None: all is "rest".

    Attributes:
        parts: what was counted so far.
    """

    def __init__(self, optimizer: torch.optim.Optimizer | None = None) -> None:
        self.part: Part = "rest"
        self.reset()
        if optimizer is not None:
            optimizer.register_step_pre_hook(lambda *_: self._enter("optimizer"))
            optimizer.register_step_post_hook(lambda *_: self._enter("rest"))

    def _enter(self, part: Part) -> None:
        self.part = part

    def reset(self) -> dict[Part, Count]:
        """Return what was counted, and begin anew."""
        found: dict[Part, Count] = getattr(self, "parts", {})
        self.parts: dict[Part, Count] = {"optimizer": Count(), "rest": Count()}
        return found

    def operation(self) -> None:
        """An operation was launched."""
        self.parts[self.part].operations += 1

    def wait(self) -> None:
        """The host asked for a number."""
        name = _caller()
        if name in PROCESSOR_ONLY:
            return
        count = self.parts["optimizer" if name == TORCH else self.part]
        count.waits += 1
        count.where[name] += 1

    @contextmanager
    def counting(self) -> Iterator[Traffic]:
        """A context in which is counted."""
        with _Copies(self), _Operations(self):
            yield self


def _caller() -> str:
    """The innermost function of the package on the stack, or torch's optimisers."""
    frame: FrameType | None = sys._getframe(1)
    name = "outside"
    while frame is not None:
        path, function = frame.f_code.co_filename, frame.f_code.co_qualname
        if path.startswith(OPTIMISERS):
            return TORCH
        if name == "outside" and path.startswith(PACKAGE):
            name = f"{Path(path).relative_to(PACKAGE)}:{function}"
        frame = frame.f_back
    return name


class _Operations(TorchDispatchMode):
    def __init__(self, traffic: Traffic) -> None:
        super().__init__()
        self.traffic = traffic

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.traffic.operation()
        name = func.overloadpacket.__name__
        if name in WAITS or (name.startswith("index") and _masked(args)):
            self.traffic.wait()
        return func(*args, **(kwargs or {}))


def _masked(args: Any) -> bool:
    """Whether an index is a mask, of which the device must tell how long the result is."""
    indices = [a for a in args[1:2] if isinstance(a, list | tuple)]
    return any(
        isinstance(i, Tensor) and i.dtype in (torch.bool, torch.uint8)
        for i in itertools.chain(*indices)
    )


class _Copies(TorchFunctionMode):
    def __init__(self, traffic: Traffic) -> None:
        super().__init__()
        self.traffic = traffic

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in COPIES:
            self.traffic.wait()
        return func(*args, **(kwargs or {}))


def bare(
    session: Session, optimizer: torch.optim.Optimizer, walkers: int
) -> Iterator[tuple[Tensor, Kernel]]:
    """Persistent contrastive divergence and nothing else: yields after each iteration.

    Arguments:
        session: whose model, rows, recipe and kernel are used.
        optimizer: of the model.
        walkers: how many chains.
    """
    energy, data, recipe, rng = session.energy, session.data, session.recipe, session.rng
    kernel = Repeat(session.kernel, recipe.train.moves)
    x = data[torch.randint(len(data), (walkers,), generator=rng, device=data.device)]
    while True:
        rows = data[
            torch.randint(len(data), (recipe.train.batch,), generator=rng, device=data.device)
        ]
        u, cache = evaluate(energy, x, graph=True, skip_gradient=True)
        loss = energy(add_noise(rows, recipe.train.noise, rng)).mean() - u.mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        cache = {name: value.detach() for name, value in cache.items()}
        state, _, _ = kernel(energy, State(x, u.detach(), cache, {}), rng)
        optimizer.step()
        x = state.x
        yield x, kernel


def library(session: Session) -> Iterator[object]:
    """A session's iterations, as ``noneq train`` runs them."""
    return iter(session)


def _network(device: str = "cpu", **changes: Any) -> Session:
    data = digits().train.view(-1, 1, 8, 8).to(device)
    alone: dict[str, Any] = {"score_matching": None, "networks": 1, "early_stopping": False}
    changes = {**alone, "moves": 8, **changes}
    recipe = choose((1, 8, 8), len(data), "image", discrete=True, **_short(changes))
    return Session(recipe, data)


def _machine(device: str = "cpu", **changes: Any) -> Session:
    data = (digits().train > 0).float().to(device)
    recipe: Recipe = choose((64,), len(data), "table", model="rbm", **_short(changes))
    return Session(recipe, data)


def _short(changes: dict[str, Any]) -> dict[str, Any]:
    return {"iterations": 10**6, "renew": None, **changes}


#: name: the session to be counted, on a ``device``, of a recipe with changes
CASES: dict[str, Callable[..., Session]] = {
    "network": _network,
    "network, no held-out": partial(_network, held_out=None),
    "rbm": _machine,
    "rbm, no held-out": partial(_machine, held_out=None),
}


def per_iteration(
    iterations: Iterator[object], optimizer: torch.optim.Optimizer, *, skip: int = 3, n: int = 9
) -> dict[Part, Count]:
    """Count n iterations after the first few.

    Arguments:
        iterations: of a loop.
        optimizer: its.
        skip: iterations before, in which things are made once.
        n: iterations counted.

    Returns for each part the medians, and from where the waits of the last iteration came.
    """
    traffic, found = Traffic(optimizer), []
    with traffic.counting():
        for _ in range(skip):
            next(iterations)
        for _ in range(n):
            traffic.reset()
            next(iterations)
            found.append(traffic.reset())
    return {
        part: Count(
            round(median(one[part].operations for one in found)),
            round(median(one[part].waits for one in found)),
            found[-1][part].where,
        )
        for part in ("optimizer", "rest")
    }


def counted(name: str, **changes: Any) -> dict[str, dict[Part, Count]]:
    """Count the library's iterations and those of the bare loop.

    Arguments:
        name: of a case.
        changes: of its recipe.
    """
    session, plain = CASES[name](**changes), CASES[name](**changes)
    optimizer = type(plain.optimizer)(plain.optimizer.param_groups)
    return {
        "library": per_iteration(library(session), session.optimizer),
        "bare": per_iteration(bare(plain, optimizer, plain.recipe.train.walkers), optimizer),
    }


def main(where: bool = False) -> None:
    """Count all, print the table and record it.

    Arguments:
        where: print where the waits come from, too.
    """
    rows, data = [], {}
    for name in CASES:
        found = counted(name)
        data[name] = {
            loop: {
                part: {"operations": c.operations, "waits": c.waits, "where": dict(c.where)}
                for part, c in parts.items()
            }
            for loop, parts in found.items()
        }
        ours, theirs = found["library"], found["bare"]
        ratio = ours["rest"].operations / theirs["rest"].operations
        for loop, parts in found.items():
            both = [parts["rest"], parts["optimizer"]]
            shown = [str(n) for c in both for n in (c.waits, c.operations)]
            rows.append((name, loop, *shown, f"{ratio:.2f}" if loop == "library" else "1"))
        if where:
            lines = [(n, str(k)) for n, k in ours["rest"].where.most_common()]
            table(f"{name}: where the host waits, an iteration", ("function", "times"), lines)
    columns = ("model", "loop", "waits", "operations", "waits in step", "operations in step", "x")
    table("an iteration: what the host waits for and launches", columns, rows)
    record("host_traffic", data, RESULTS)


if __name__ == "__main__":
    tyro.cli(main)
