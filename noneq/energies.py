r"""Energies: ``U: (B, *shape) -> (B,)`` defines the model ``rho = exp(-U) / Z``.

Any callable of that signature is an energy; nothing has to be subclassed. What an energy may offer
besides: ``sample(n, rng)`` and ``log_z()`` where both are exact (such a model can start walkers),
and its own ``evaluate(x, was, graph)`` where the energy and its gradient come cheaper than by
automatic differentiation.

`evaluate` is the only place that calls an energy on walkers. It returns ``(u, cache)``: ``u``
the energies (B,), ``cache`` per-walker tensors that are functions of (energy, x), ``g = dU/dx``
where it has one. An energy whose gradient costs extra leaves it out of its own cache and offers
``gradient(x, cache)``: then only kernels that follow g pay for it (`slope`).
"""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import lru_cache
from types import FunctionType
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from noneq.spaces import CACHED, REAL, Box, Discrete, Real, Space, space_of

__all__ = [
    "Cache",
    "Energy",
    "GeometricPath",
    "Solvable",
    "Tempered",
    "Tilted",
    "check_beta",
    "evaluate",
    "faulty",
    "fingerprint",
    "full_precision",
    "new_mark",
    "parts",
    "shape_message",
    "slope",
    "without_autocast",
]

Cache = dict[str, Tensor]
PART = 2**22  # numbers: 16 MiB of float32
_paths = itertools.count()
_INTERNAL = vars(nn.Module()).keys() - {"_parameters", "_buffers", "_modules"}
_BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64, 16: torch.int64}


class Energy(Protocol):
    """Any callable ``(B, *shape) -> (B,)``, lower where the data are."""

    def __call__(self, x: Tensor, /) -> Tensor:
        """Energies (B,) of the rows of x."""


@runtime_checkable
class Solvable(Protocol):
    """An energy whose normalising constant and samples are exact: walkers start here."""

    def __call__(self, x: Tensor, /) -> Tensor:
        """Energies (B,)."""

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """n exact, independent samples (n, *shape)."""

    def log_z(self) -> float:
        """``log of the integral of exp(-U)``."""


def evaluate(
    model: Energy,
    x: Tensor,
    was: Mapping[str, Tensor] | None = None,
    *,
    graph: bool = False,
    lean: bool = False,
) -> tuple[Tensor, Cache]:
    """Energies and their cache ``{"g": dU/dx, ...}`` at the rows of x.

    Arguments:
        model: the energy; its own ``evaluate(x, was, graph)`` is used where it has one.
        x: positions (B, *shape).
        was: the cache of the same x under the same end models, or None; an annealed energy that
            only changed its temperature then evaluates nothing.
        graph: keep the graph from the parameters to ``u``, so that a loss of u can be
            differentiated. Without it everything returned is detached.
        lean: leave out ``g`` where the energy offers it apart (`slope`).

    Automatic mixed precision is switched off inside: weights are differences of energies. Without
    a graph a large x is taken in parts of ``PART`` numbers, to bound the memory of activations.
    """
    if "torch._dynamo" in sys.modules:
        _keep_buffers()
    if torch.is_autocast_enabled(x.device.type):
        with without_autocast(x):
            return evaluate(model, x, was, graph=graph, lean=lean)
    if not graph and len(parts(x)) > 1:
        return _in_parts(model, x, was, lean)
    own = getattr(model, "evaluate", None)
    if own is not None:
        u, cache = own(x, was, graph)
        g = None if lean else slope(model, x, cache)
        return u, cache if g is None else {**cache, "g": g}
    with torch.enable_grad():
        leaf = x.detach().requires_grad_(True)
        u = model(leaf)
        if u.shape != x.shape[:1]:
            raise ValueError(shape_message(model, u, x))
        g = None
        if u.requires_grad:
            (g,) = torch.autograd.grad(u.sum(), leaf, retain_graph=graph, allow_unused=True)
        leaf.requires_grad_(False)  # or the loss's backward would fill leaf.grad for nobody
    # without a gradient it is an energy all the same: kernels that follow one will say so
    return (u if graph else u.detach()), {} if g is None else {"g": g}


@lru_cache(maxsize=1)
def _keep_buffers() -> None:
    """Let networks that torch.compile makes be differentiated twice: to x, then in a loss.

    A switch of the process, without which a backward gives its graph's memory away.
    """
    from torch._functorch import config

    config.donated_buffer = False


def slope(model: Energy, x: Tensor, cache: Cache) -> Tensor | None:
    """``dU/dx`` at x, whose cache this model made: from there, or by its own ``gradient``.

    None where there is none. The cache must be of the model's present parameters.
    """
    own = getattr(model, "gradient", None)
    if "g" in cache or own is None:
        return cache.get("g")
    with without_autocast(x):  # a kernel asks outside of `evaluate`
        found: Tensor | None = own(x, cache)
    return found


def without_autocast(x: Tensor) -> AbstractContextManager[object]:
    """A context in which operations on x keep its precision."""
    if not torch.is_autocast_enabled(x.device.type):
        return nullcontext()
    return torch.autocast(x.device.type, enabled=False)


@contextmanager
def full_precision() -> Iterator[None]:
    """TensorFloat-32 off meanwhile: log Z is a sum of small differences of energies.

    Its ten bits are torch's default for convolutions on a GPU. The switches are the process's.
    """
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    places: tuple[object, ...] = (matmul, cudnn)
    key: str = "allow_tf32"
    off: object = False
    if hasattr(cudnn, "conv"):  # torch 2.9 and later
        places, key, off = (matmul, cudnn.conv, cudnn.rnn), "fp32_precision", "ieee"
    were = [getattr(place, key) for place in places]
    try:
        for place in places:
            setattr(place, key, off)
        yield
    finally:
        for place, was in zip(places, were, strict=True):
            setattr(place, key, was)


def parts(x: Tensor) -> list[slice]:
    """Slices of the rows of x that hold ``PART`` numbers each: what is worked on at a time."""
    n, rows = len(x), max(1, PART // max(1, math.prod(x.shape[1:])))
    return [slice(i, min(i + rows, n)) for i in range(0, n, rows)]


def _in_parts(
    model: Energy, x: Tensor, was: Mapping[str, Tensor] | None, lean: bool
) -> tuple[Tensor, Cache]:
    whole: Cache = {}
    for at in parts(x):
        old = None if was is None else {key: value[at] for key, value in was.items()}
        u, cache = evaluate(model, x[at], old, lean=lean)
        for key, value in {"": u, **cache}.items():
            if key not in whole:
                whole[key] = value.new_empty(len(x), *value.shape[1:])
            whole[key][at] = value
    return whole.pop(""), whole


def fingerprint(model: object) -> Tensor | None:
    """A number that changes when any parameter or buffer of the model changes by a single bit.

    None for a callable without ``parameters()``: nothing can be known about it. The number is a
    hash of the bit patterns and their places, so that neither fused optimisers nor ``.data`` nor a
    change of signs or of order escape it; and of every tensor and float that is an attribute of a
    module, such as a temperature, or in a list, a dictionary or a closure that is one. What other
    objects hold is not seen.
    """
    own = getattr(model, "fingerprint", None)
    if own is not None:
        seen: Tensor | None = own()
        return seen
    if not isinstance(model, nn.Module):
        return None
    held = list(_held(model, set()))
    tensors = [value for value in held if isinstance(value, Tensor)]
    floats = [value for value in held if isinstance(value, float)]
    total = torch.zeros((), dtype=torch.int64, device=tensors[0].device if tensors else None)
    for k, tensor in enumerate(tensors, start=1):
        bits = tensor.detach().contiguous().flatten().view(_BITS[tensor.element_size()])
        bits = bits if bits.element_size() >= 4 else bits.int()
        total = total + k * _mixed(bits, _places(len(bits), bits.dtype, bits.device)).to(total)
    return total + sum(hash((k, v)) % 2**40 for k, v in enumerate(floats))


def _held(value: object, known: set[int]) -> Iterator[Tensor | float]:
    """Tensors and floats that a module is made of, registered or not, each once."""
    if type(value) is float:
        if value == value:
            yield value
        return
    if id(value) in known:
        return
    known.add(id(value))
    if isinstance(value, Tensor):
        yield value
    for part in _parts_of(value):
        yield from _held(part, known)


def _parts_of(value: object) -> Iterable[object]:
    """What may hold tensors in a module, a container or a closure; of anything else nothing."""
    if isinstance(value, nn.Module):
        compiled = value._modules.get("_orig_mod")
        own = {key: part for key, part in vars(value).items() if key not in _INTERNAL}
        return own.values() if compiled is None else (compiled,)
    if isinstance(value, dict):
        return value.values()
    if isinstance(value, list | tuple):
        return value
    if isinstance(value, FunctionType):
        return _cells(value)
    return ()


def _cells(function: FunctionType) -> Iterator[object]:
    for cell in function.__closure__ or ():
        with suppress(ValueError):  # empty as yet
            yield cell.cell_contents


def new_mark() -> Tensor:
    """A mark like a `fingerprint`, for what never changes: no two are alike in a process."""
    return torch.tensor(-1 - next(_paths))  # no sum of bits is likely to be that


def _mixed(bits: Tensor, places: Tensor) -> Tensor:
    """A hash of integers and where they are, of their type."""
    if bits.device.type == "cpu" and len(bits) > CACHED:
        both = zip(torch.split(bits, CACHED), torch.split(places, CACHED), strict=True)
        return torch.stack([_mixed(*part) for part in both]).sum(dtype=bits.dtype)
    # not linear, so that no two changes cancel by design
    mixed = bits * places
    mixed.bitwise_xor_(mixed >> 15).mul_(739982445)
    return mixed.bitwise_xor_(mixed >> 12).sum(dtype=bits.dtype)


def _places(n: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return _odd(1 << n.bit_length(), dtype, device)[:n]


@lru_cache(maxsize=64)
def _odd(n: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return (2 * torch.arange(n, device=device) + 1).to(dtype)  # odd: no bit is shifted out


def faulty(u: Tensor) -> Tensor:
    """Where u is NaN or -inf, which no energy is; +inf is one: of a place that is forbidden."""
    return ~(u > -math.inf)


def check_beta(beta: float, name: str = "beta") -> None:
    """Raise ValueError for what is no place on a path, from 0 at its start to 1 at its end."""
    if not 0 <= beta <= 1:
        raise ValueError(f"{name} is in [0, 1], got {beta}")


def shape_message(model: object, u: object, x: Tensor) -> str:
    """What to say to an energy that does not return one number a row."""
    name = type(model).__name__
    if not isinstance(u, Tensor):
        return f"{name} returned {type(u).__name__}; expected a tensor of {len(x)} energies"
    hint = "return net(x).squeeze(-1)" if u.dim() == 2 else "one energy per row, not their sum"
    return (
        f"{name} returned shape {tuple(u.shape)} for {len(x)} rows; expected ({len(x)},): {hint}"
    )


# -- energies made of energies ---------------------------------------------------------------


class Tilted(nn.Module):
    """``U(x) = U_base(x) + f(x)``: a solvable base tilted by a network.

    With f = 0 at first (the networks of `noneq.nets` start so) log Z and exact samples are known
    before the first update. The base is not trained.

    Arguments:
        base: a solvable energy.
        net: f, ``(B, *shape) -> (B,)``, any scalar network.
    """

    def __init__(self, base: Solvable, net: nn.Module) -> None:
        super().__init__()
        self.base = base
        self.net = net
        # a network that declares nothing lives wherever its base does; one in a box has walls
        self.space = space_of(base) if space_of(net) == REAL else _common_space(base, net)

    def forward(self, x: Tensor) -> Tensor:
        """Energies (B,)."""
        base: Tensor = self.base(x)
        tilt: Tensor = self.net(x)
        return base + tilt

    def evaluate(
        self,
        x: Tensor,
        was: Mapping[str, Tensor] | None = None,  # noqa: ARG002
        graph: bool = False,
    ) -> tuple[Tensor, Cache]:
        """Energies and gradient, the base's share by its own evaluation."""
        u0, base = evaluate(self.base, x)
        f, tilt = evaluate(self.net, x, graph=graph)
        return u0 + f, {k: base[k] + tilt[k] for k in _both(base, tilt)}


class Tempered(nn.Module):
    """``U(x) = beta U_1(x)``, beta the inverse temperature.

    Arguments:
        energy: U_1.
        beta: inverse temperature, >= 0.
    """

    def __init__(self, energy: Energy, beta: float) -> None:
        super().__init__()
        if not beta >= 0:
            raise ValueError(f"beta is an inverse temperature >= 0, got {beta}")
        self.energy = energy
        self.beta = beta
        self.space = space_of(energy)

    def forward(self, x: Tensor) -> Tensor:
        """Energies (B,)."""
        return _times(self.beta, self.energy(x))

    def fingerprint(self) -> Tensor | None:
        """The energy's, and beta's."""
        own = fingerprint(self.energy)
        return None if own is None else own + hash(self.beta)

    def evaluate(
        self, x: Tensor, was: Mapping[str, Tensor] | None = None, graph: bool = False
    ) -> tuple[Tensor, Cache]:
        """``beta`` times the energy's own evaluation."""
        u, cache = evaluate(self.energy, x, was, graph=graph)
        return _times(self.beta, u), {k: _times(self.beta, cache[k]) for k in _both(cache, cache)}


def _both(a: Cache, b: Cache) -> set[str]:
    """What of the gradient both have: {"g"} or nothing."""
    return {"g"} & a.keys() & b.keys()


def _times(beta: float, u: Tensor) -> Tensor:
    """``beta u``; behind a hard wall, where u is +inf, still +inf, and 0 at beta = 0."""
    if beta > 0:
        return torch.where(u == math.inf, math.inf, beta * u)
    return 0.0 * u.nan_to_num(nan=0.0, posinf=0.0)


def _plus(u: Tensor, beta: float, change: Tensor) -> Tensor:
    """``u + beta change`` in one pass; a wall as in `_times`: beta > 0 never rounds to 0."""
    if beta > 0:
        return torch.add(u, change, alpha=max(beta, torch.finfo(u.dtype).tiny))
    return u


class GeometricPath:
    r"""``U_beta = (1 - beta) U_0 + beta U_1``: the path of `noneq.smc.anneal`.

    ``path.at(beta)`` is an energy. A walker that stays where it is and only sees beta change costs
    nothing: the cache holds both ends. A path is a snapshot: make a new one after the parameters
    of either end have changed.

    Arguments:
        start: U_0, usually solvable.
        end: U_1.
    """

    def __init__(self, start: Energy, end: Energy) -> None:
        self.start = start
        self.end = end
        self.space = _common_space(start, end)
        # start and end share their base: U_beta = U_0 + beta f, evaluated as such
        self.tilt: Energy | None = (
            end.net if isinstance(end, Tilted) and end.base is start else None
        )
        self.mark = new_mark()

    def at(self, beta: float) -> _OnPath:
        """The energy at inverse temperature beta in [0, 1]."""
        check_beta(beta)
        return _OnPath(self, beta)

    def ends(self, x: Tensor) -> Cache:
        """Energies and gradients of both ends at x: u0, g0, du = U_1 - U_0 and its gradient dg."""
        u0, cache0 = evaluate(self.start, x)
        if self.tilt is not None:
            du, cache1 = evaluate(self.tilt, x)
        else:
            u1, cache1 = evaluate(self.end, x)
            du = torch.where(u1 == math.inf, math.inf, u1 - u0)  # outside of both, not inf - inf
        ends = {"u0": u0, "du": du}
        if _both(cache0, cache1):
            g0, g1 = cache0["g"], cache1["g"]
            ends |= {"g0": g0, "dg": g1 if self.tilt is not None else g1 - g0}
        return ends


class _OnPath:
    """One energy of a geometric path."""

    def __init__(self, path: GeometricPath, beta: float) -> None:
        self.path = path
        self.beta = beta
        self.space = path.space

    def __call__(self, x: Tensor) -> Tensor:
        return self.evaluate(x)[0]

    def fingerprint(self) -> Tensor:
        return self.path.mark

    def evaluate(
        self, x: Tensor, was: Mapping[str, Tensor] | None = None, graph: bool = False
    ) -> tuple[Tensor, Cache]:
        if graph:
            raise ValueError("an annealed energy has no parameters to differentiate")
        ends = dict(was) if was is not None and "du" in was else self.path.ends(x)
        u = _plus(ends["u0"], self.beta, ends["du"])
        if "g0" not in ends:
            return u, ends
        return u, {**ends, "g": _plus(ends["g0"], self.beta, ends["dg"])}


def _common_space(start: Energy, end: Energy) -> Space:
    """Where a path between two energies lives: where it ends; it must start there, too."""
    a, b = space_of(start), space_of(end)
    within = isinstance(a, Real) and not isinstance(b, Discrete)
    if isinstance(a, Box) and isinstance(b, Box):
        within = a.holds(b)
    if not (within or a == b):
        raise ValueError(
            f"a path starts wherever it ends: its start lives on {a}, which does not hold {b}"
        )
    return b
