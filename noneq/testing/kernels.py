r"""The test that a new MCMC kernel must pass.

A kernel is tested on five small asymmetric models, whose log Z and means are known by a sum over
all states or by quadrature: one on each kind of space, and one on a path with a drift. Walkers,
i.e. weighted samples, start from exact samples, and the energy changes at every move. If the
weights w are right, ``E w = Z / Z_start`` and ``E w (f - mean f) = 0`` hold for every function f.
"""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor

from noneq.energies import Energy, Identity, evaluate
from noneq.kernels import Info, Kernel, State
from noneq.kernels.base import each
from noneq.spaces import space_of
from noneq.testing.oracles import Oracle, features, oracles
from noneq.walkers import Walkers

__all__ = ["check_kernel"]

ISLANDS, EACH = 100, 1000
LIMIT = 4.5  # standard errors: of its forty numbers one is beyond in 1 of 4,000 checks
NOT_FINITE = "returns increments that are NaN or +inf, which no weight is"
BETAS = (0.25, 0.5, 0.75, 1.0)


def check_kernel(kernel: Kernel, *, dtype: torch.dtype = torch.float32, seed: int = 0) -> None:
    """Test an MCMC kernel: raise an error unless interface, log-weights and samples are correct.

    A kernel moves walkers (weighted samples), and returns increments of their log-weights. Here
    the energy changes from U_start to U in a few moves, and w are the weights after these moves. A
    kernel is correct if ``E w = Z / Z_start`` and weighted means are those of ``exp(-U)``. Both
    are compared with exact sums, up to 4.5 standard errors, for five small models: in R^2, in R^2
    along a path with a drift (a velocity field that moves samples along the path), in a box of two
    dimensions, on 4 bits and on 2 sites of 3 states. The standard error of the mean weight is
    about 0.3 percent. Choose a step size at which most walkers move, or errors are not seen.

    Arguments:
        kernel: the kernel to test. For a space that it cannot move in, it must raise a ValueError
            (`noneq.spaces.require`). Its preconditioner, if any, has dimension 2 or is a number.
        dtype: dtype of the walkers, which should be that of the kernel's preconditioner.
        seed: seed of the walkers; a correct kernel fails for about one seed in a thousand.

    Raises:
        ValueError: the kernel writes into its inputs, loses or permutes rows, changes the dtype,
            returns tensors that require gradients, leaves the model's space, returns energies
            other than the model's at the new positions, draws from another source than ``rng``,
            depends on earlier calls, does not move, has wrong weights, or refuses all five models.

    >>> import noneq
    >>> noneq.testing.check_kernel(noneq.MALA(0.3))
    """
    for name in ("fresh", "adapt", "scaled", "preconditioned"):
        if not hasattr(kernel, name):
            raise ValueError(
                f"{type(kernel).__name__} has no {name}: derive it from noneq.kernels.Stepped, "
                "which has all but fresh, and say fresh = True if its states must be the model's"
            )
    refusals = []
    for target in oracles(dtype):
        try:
            _check_contract(kernel, target)
        except _RefusalError as refusal:
            refusals.append(f"on {target.space}: {refusal}")
        else:
            _check_weight(kernel, target, seed)
    if len(refusals) == 5:
        why = "; ".join(refusals)
        raise ValueError(f"{type(kernel).__name__} moves walkers nowhere, it refuses all ({why})")


class _RefusalError(Exception):
    """The kernel does not move in this space."""


def _worded(kernel: Kernel, target: Oracle, what: str) -> str:
    """Word an error by the kernel, the space and what the kernel does wrong."""
    return f"{type(kernel).__name__} on {target.space}: it {what}"


# -- the contract
def _check_contract(kernel: Kernel, target: Oracle) -> None:
    model, last = target.path.at(0.6), target.path.at(0.3)
    x = target.start.sample(16, _rng(1))
    u, cache = evaluate(model if kernel.fresh else last, x)
    state = State(x, u, cache, {"label": torch.arange(16, device="cpu")})
    before = each(lambda t: t.clone(), state)
    elsewhere = torch.get_rng_state()
    try:
        new, increment, info = kernel(model, state, _rng(2))
    except ValueError as refusal:
        raise _RefusalError(str(refusal)) from refusal
    except Exception as error:
        hint = "what it cannot move it refuses, by noneq.spaces.require"
        raise ValueError(_worded(kernel, target, f"fails ({error}); {hint}")) from error
    wrong = (
        _wrong_form(new, increment, info, state)
        or _wrong_input(state, before)
        or _wrong_state(model, new)
        or _wrong_rng(kernel, model, state, elsewhere)
        or _wrong_variants(kernel, model, state, info)
    )
    if wrong:
        raise ValueError(_worded(kernel, target, wrong))


def _wrong_rng(kernel: Kernel, model: Energy, state: State, elsewhere: Tensor) -> str | None:
    """Say what is wrong with the kernel's source of randomness, which must be ``rng`` alone."""
    if not _same(kernel, kernel, model, state) or not torch.equal(
        elsewhere, torch.get_rng_state()
    ):
        return (
            "moves otherwise when asked again with the same rng: draw all noise with "
            "generator=rng, keep nothing on the kernel (a momentum belongs in state.aux)"
        )
    first = kernel(model, state, _rng(2))[0].x
    if all(torch.equal(kernel(model, state, _rng(s))[0].x, first) for s in range(3, 9)):
        return "makes the same move whatever rng it is given, or never moves"
    return None


def _wrong_variants(kernel: Kernel, model: Energy, state: State, info: Info) -> str | None:
    """Say whether adapted, scaled or preconditioned copies are wrong, or change the kernel."""
    kept = copy.deepcopy(kernel)
    for other in (kernel.adapt(info), kernel.scaled(0.5), kernel.preconditioned(Identity(0.5))):
        if other.fresh != kernel.fresh:
            return "is fresh or not depending on how it is tuned"
    if not _same(kernel, kept, model, state):
        return "is changed by adapt, scaled or preconditioned: these return a new kernel"
    return None


def _same(a: Kernel, b: Kernel, model: Energy, state: State) -> bool:
    """Return whether two kernels make the same move with the same noise."""
    one, two = (kernel(model, state, _rng(2)) for kernel in (a, b))
    return torch.equal(one[0].x, two[0].x) and torch.equal(one[1], two[1])


def _wrong_form(new: object, increment: object, info: object, old: State) -> str | None:
    """Say what is wrong with the types, shapes and dtypes that a kernel returned."""
    if not (isinstance(new, State) and isinstance(increment, Tensor) and isinstance(info, dict)):
        return "does not return (State, increment, info)"
    n, dtype = len(old.x), old.x.dtype
    if increment.shape != (n,):
        return f"returns an increment of shape {tuple(increment.shape)} for {n} walkers"
    if not bool((increment < math.inf).all()):
        return NOT_FINITE
    if any(not isinstance(v, Tensor) or v.shape not in {(), (n,)} for v in info.values()):
        return f"observes other things than tensors of one number a walker, ({n},), or for all, ()"
    if new.x.shape != old.x.shape or new.u.shape != (n,):
        return "returns positions or energies of another shape"
    tensors = {"x": new.x, "u": new.u, **new.cache, **new.aux}
    for name, value in tensors.items():
        if value.dim() == 0 or len(value) != n:
            return (
                f"returns {name} of shape {tuple(value.shape)}: the first dimension of all that a "
                f"walker owns is the walkers, {n} here, or resampling cannot permute it"
            )
    floats = {
        k: v for k, v in {**tensors, "increment": increment}.items() if v.is_floating_point()
    }
    for name, value in floats.items():
        if value.dtype != dtype:
            return f"returns {name} in {value.dtype} for walkers in {dtype}"
        if value.requires_grad:
            return f"returns {name} with its graph: detach it"
    if not torch.equal(new.aux.get("label", -old.aux["label"]), old.aux["label"]):
        return "does not keep state.aux: return {**state.aux, ...}, row by row"
    return None


def _wrong_input(state: State, before: State) -> str | None:
    same = each(lambda a, b: (a == b).flatten(1).all(1) if a.dim() > 1 else a == b, state, before)
    flags = torch.stack([same.x, same.u, *same.cache.values(), *same.aux.values()])
    touched = not bool(flags.all())
    return "writes into the state that it is given: make new tensors" if touched else None


def _wrong_state(model: Energy, new: State) -> str | None:
    """Say why the output is not a state of the model."""
    if not bool(space_of(model).contains(new.x).all()):
        return (
            "moves walkers out of the space: reject them, or refuse it, by "
            "noneq.spaces.require(model, self, Real), say"
        )
    u, cache = evaluate(model, new.x, skip_gradient="g" not in new.cache)
    same = new.cache.keys() == cache.keys() and all(
        torch.allclose(a, b, rtol=1e-4, atol=1e-4)
        for a, b in [(new.u, u), *((new.cache[k], cache[k]) for k in cache)]
    )
    if not same:
        return (
            "returns energies or a cache that are not the model's at the new positions: evaluate "
            "there; a walker that is rejected keeps its own, which are the model's if the kernel "
            "says fresh = True"
        )
    return None


# -- the weight
def _check_weight(kernel: Kernel, target: Oracle, seed: int) -> None:
    rng = _rng(seed)
    walkers = Walkers.sample(target.start, ISLANDS * EACH, rng, islands=ISLANDS)
    models = [target.path.at(beta) for beta in BETAS]
    weightless = True
    for model in [*models, models[-1], models[-1]]:
        before = walkers.reweight(model) if kernel.fresh else walkers
        walkers = walkers.move(kernel, model, rng)
        weightless = weightless and torch.equal(walkers.log_w, before.log_w)
        if not bool((walkers.log_w < math.inf).all()):
            raise ValueError(_worded(kernel, target, NOT_FINITE))
        if model is models[1]:  # whatever a walker owns must go with it
            walkers = walkers.resample(1.0, rng)
            start = walkers.x
    moved = float((walkers.x != start).flatten(1).any(1).double().mean())
    wrong = None
    if moved < 0.1:
        wrong = (
            f"leaves {1 - moved:.0%} of the walkers where they are in 4 moves: take a step at "
            "which most of them move, or nothing can be seen"
        )
    elif walkers.ess < 0.02:
        wrong = (
            f"has weights of an effective sample size of {walkers.ess:.1%}, too uneven to be "
            "judged: take a smaller step"
        )
    else:
        wrong = _wrong_means(target, walkers)
    if wrong and weightless and not kernel.fresh:
        wrong += "; its increments are all 0: if it leaves the model invariant, say fresh = True"
    if wrong:
        raise ValueError(_worded(kernel, target, wrong))


def _wrong_means(target: Oracle, walkers: Walkers) -> str | None:
    """Compare weighted means by island with the exact ones; say which is wrong."""
    log_z, exact = target.log_z_and_means()
    w = (walkers.log_w - (log_z - walkers.weights.log_z_start)).exp().view(ISLANDS, EACH)
    off = (w[..., None] * (features(walkers.x) - exact).view(ISLANDS, EACH, -1)).mean(1)
    rows = torch.cat([w.mean(1, keepdim=True) - 1, off], 1)
    found, error = rows.mean(0), rows.std(0) / math.sqrt(ISLANDS)
    z = found.abs() / error.clamp(min=1e-9)  # weights that are all 1 have no spread
    worst = 0 if float(z[0]) > LIMIT else int(z.argmax())
    if float(z[worst]) < LIMIT:
        return None
    stderr = f"+- {float(error[worst]):.4f}"
    if worst == 0:
        return f"has a wrong weight: E w is {1 + float(found[0]):.4f} {stderr} of Z / Z_start"
    mean = float(exact[worst - 1])
    return (
        f"does not sample the model: the mean of a feature is {mean + float(found[worst]):.4f} "
        f"{stderr} where {mean:.4f} is exact"
    )


def _rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
