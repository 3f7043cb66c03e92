r"""Energies: ``U: (B, *shape) -> (B,)`` defines the model ``rho = exp(-U) / Z``.

Any callable of that signature is an energy; nothing has to be subclassed. What an energy may offer
besides: ``sample(n, rng)`` and ``log_z()`` where both are exact (such a model can start walkers),
and its own ``evaluate(x, was, graph)`` where the energy and its gradient come cheaper than by
automatic differentiation.

`evaluate` is the only place that calls an energy on walkers. It returns ``(u, cache)``: ``u``
the energies (B,), ``cache`` per-walker tensors that are functions of (energy, x), at least ``g =
dU/dx``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from noneq.covariance import Cholesky, Diagonal, Factor, LowRank

__all__ = [
    "Cache",
    "Energy",
    "Gaussian",
    "GaussianMixture",
    "GeometricPath",
    "Solvable",
    "Tempered",
    "Tilted",
    "check_energy",
    "evaluate",
    "fingerprint",
]

Cache = dict[str, Tensor]
_paths = itertools.count()
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
    model: Energy, x: Tensor, was: Mapping[str, Tensor] | None = None, *, graph: bool = False
) -> tuple[Tensor, Cache]:
    """Energies and their cache ``{"g": dU/dx, ...}`` at the rows of x.

    Arguments:
        model: the energy; its own ``evaluate(x, was, graph)`` is used where it has one.
        x: positions (B, *shape).
        was: the cache of the same x under the same end models, or None; an annealed energy that
            only changed its temperature then evaluates nothing.
        graph: keep the graph from the parameters to ``u``, so that a loss of u can be
            differentiated. Without it everything returned is detached.

    Automatic mixed precision is switched off inside: weights are differences of energies.
    """
    if torch.is_autocast_enabled(x.device.type):
        with torch.autocast(x.device.type, enabled=False):
            return evaluate(model, x, was, graph=graph)
    own = getattr(model, "evaluate", None)
    if own is not None:
        found: tuple[Tensor, Cache] = own(x, was, graph)
        return found
    with torch.enable_grad():
        leaf = x.detach().requires_grad_(True)
        u = model(leaf)
        if u.shape != x.shape[:1]:
            raise ValueError(_shape_message(model, u, x))
        (g,) = torch.autograd.grad(u.sum(), leaf, retain_graph=graph)
    return (u if graph else u.detach()), {"g": g}


def fingerprint(model: object) -> Tensor | None:
    """A number that changes when any parameter or buffer of the model changes by a single bit.

    None for a callable without ``parameters()``: nothing can be known about it. The number is a
    hash of the bit patterns and their places, so that neither fused optimisers nor ``.data`` nor a
    change of signs or of order escape it. Parameters that a module has not registered (in a plain
    list, say) are not seen.
    """
    own = getattr(model, "fingerprint", None)
    if own is not None:
        seen: Tensor | None = own()
        return seen
    if not isinstance(model, nn.Module):
        return None
    tensors = [*model.parameters(), *model.buffers()]
    total = torch.zeros((), dtype=torch.int64, device=tensors[0].device if tensors else None)
    for k, tensor in enumerate(tensors, start=1):
        bits = tensor.detach().contiguous().flatten().view(_BITS[tensor.element_size()])
        bits = bits if bits.element_size() >= 4 else bits.int()
        mixed = bits * _places(len(bits), bits.dtype, bits.device)
        mixed = (mixed ^ (mixed >> 15)) * 739982445  # not linear: no two changes cancel by design
        total = total + k * (mixed ^ (mixed >> 12)).sum(dtype=bits.dtype).to(total)
    return total


@lru_cache(maxsize=256)
def _places(n: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return (2 * torch.arange(n, device=device) + 1).to(dtype)  # odd: no bit is shifted out


# -- solvable energies -----------------------------------------------------------------------


class Gaussian(nn.Module):
    r"""``U(x) = |L^-1 (x - m)|^2 / 2`` with covariance ``C = L L^T``.

    ``log Z = (d/2) log 2 pi + log det L``; samples are ``m + L xi``.

    Arguments:
        mean: m of shape (*shape).
        factor: the root L of the covariance, see `noneq.covariance`.
    """

    mean: Tensor

    def __init__(self, mean: Tensor, factor: Factor) -> None:
        super().__init__()
        self.register_buffer("mean", mean.detach().clone())
        self.factor = factor

    @classmethod
    def fit(
        cls,
        x: Tensor,
        kind: Literal["full", "diagonal", "low-rank"] = "full",
        *,
        rank: int = 32,
        noise: float = 0.0,
        floor: float = 1e-4,
    ) -> Gaussian:
        """Fit to the rows of x by shrunk maximum likelihood.

        ``full`` is the Ledoit-Wolf estimate (2004), ``diagonal`` the variances, ``low-rank``
        probabilistic PCA with per-coordinate noise. Every variance is raised by ``floor`` times
        the mean variance, so constant, collinear or too few rows still give a proper density;
        ``noise`` is the standard deviation of Gaussian noise that the data will have added.

        Raises ValueError for fewer than two rows, non-finite values, or rows that are all equal.
        """
        flat = x.detach().flatten(1).double()
        if len(flat) < 2 or not bool(torch.isfinite(flat).all()):
            raise ValueError(
                f"a Gaussian is fitted to two or more finite rows, got {len(flat)} rows"
                f"{'' if bool(torch.isfinite(flat).all()) else ' with NaN or infinite values'}"
            )
        mean = flat.mean(0)
        centred = flat - mean
        variance = centred.square().mean(0)
        if not float(variance.mean()) + noise**2 > 0:
            raise ValueError("all rows are equal: no density has this covariance; add noise")
        least = floor * float(variance.mean()) + noise**2
        dtype = x.dtype if x.is_floating_point() else torch.float32
        factor: Factor
        if kind == "full":
            from sklearn.covariance import ledoit_wolf

            c = torch.from_numpy(ledoit_wolf(centred.cpu().numpy(), assume_centered=True)[0])
            factor = Cholesky(c + least * torch.eye(len(c), dtype=c.dtype), dtype)
        elif kind == "diagonal":
            factor = Diagonal((variance + least).sqrt().view(x.shape[1:]), dtype)
        elif kind == "low-rank":
            r = min(rank, flat.shape[1] - 1, len(flat) - 1)
            _, s, v = torch.linalg.svd(centred / math.sqrt(len(flat)), full_matrices=False)
            noise = float((variance.sum() - s[:r].square().sum()) / (flat.shape[1] - r))
            signal = (s[:r].square() - max(noise, 0.0)).clamp(min=0.0).sqrt()
            loadings = v[:r].T * signal
            own = (variance - loadings.square().sum(1)).clamp(min=0.0) + least
            factor = LowRank(own.sqrt(), loadings, dtype)
        else:
            raise ValueError(f"kind is 'full', 'diagonal' or 'low-rank', got {kind!r}")
        return cls(mean.to(dtype).view(x.shape[1:]), factor).to(x.device)

    def forward(self, x: Tensor) -> Tensor:
        """Energies (B,)."""
        return self.factor.solve(x - self.mean).flatten(1).square().sum(1) / 2

    def evaluate(
        self,
        x: Tensor,
        was: Mapping[str, Tensor] | None = None,  # noqa: ARG002
        graph: bool = False,  # noqa: ARG002
    ) -> tuple[Tensor, Cache]:
        """Energies and gradient ``C^-1 (x - m)`` in closed form."""
        with torch.no_grad():
            z = self.factor.solve(x - self.mean)
            return z.flatten(1).square().sum(1) / 2, {"g": self.factor.t_solve(z)}

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """n exact samples (n, *shape)."""
        shape = (n, *self.mean.shape)
        xi = torch.randn(shape, generator=rng, dtype=self.mean.dtype, device=self.mean.device)
        return self.mean + self.factor.mul(xi)

    def log_z(self) -> float:
        """``(d/2) log 2 pi + log det L``."""
        d = self.mean.numel()
        return d / 2 * math.log(2 * math.pi) + self.factor.log_det(d)


class GaussianMixture(nn.Module):
    r"""``U(x) = -log sum_k pi_k N(x; m_k, C_k)``, normalised: ``log Z = 0``.

    Arguments:
        means: (K, *shape).
        covariances: (K, d, d), positive definite.
        masses: pi, (K,), positive; normalised here.
    """

    means: Tensor
    roots: Tensor
    middle: Tensor
    whiten: Tensor
    offset: Tensor
    log_norms: Tensor
    log_masses: Tensor

    def __init__(self, means: Tensor, covariances: Tensor, masses: Tensor) -> None:
        super().__init__()
        _positive_masses(masses, len(means))
        if len(covariances) != len(means):
            raise ValueError(
                f"{len(means)} means need as many covariances, got {len(covariances)}"
            )
        factors = [Cholesky(c, means.dtype) for c in covariances]
        d = means[0].numel()
        norms = torch.tensor([d / 2 * math.log(2 * math.pi) + f.log_det(d) for f in factors])
        self.register_buffer("means", means.detach().clone())
        self.register_buffer("roots", torch.stack([f.root for f in factors]))
        # all K inverse roots side by side: (d, K d), and the means seen through them
        self.register_buffer("middle", means.detach().mean(0).flatten())
        inverses = torch.stack([f.inverse for f in factors])
        self.register_buffer("whiten", inverses.flatten(0, 1).T.contiguous())
        centred = (means.flatten(1) - self.middle)[..., None].to(inverses)
        offset = -(inverses @ centred).flatten()
        self.register_buffer("offset", offset)
        self.register_buffer("log_norms", norms.to(means.dtype))
        self.register_buffer("log_masses", (masses / masses.sum()).log().to(means.dtype))
        pi = (masses / masses.sum()).to(covariances)
        self.factor = Cholesky(
            torch.tensordot(pi, covariances, 1), means.dtype
        )  # pooled: the local scale
        self.to(means.device, means.dtype)

    @classmethod
    def fit(
        cls,
        x: Tensor,
        components: int,
        *,
        noise: float = 0.0,
        floor: float = 1e-3,
        seed: int = 0,
    ) -> GaussianMixture:
        """Fit by expectation maximisation with full covariances (scikit-learn).

        Each covariance gets ``noise^2`` (of Gaussian noise that the data will have added) and
        ``floor`` times the mean variance on its diagonal.
        """
        from sklearn.mixture import GaussianMixture as SklearnMixture

        flat = x.detach().flatten(1).double()
        least = floor * float(flat.var(0).mean()) + noise**2
        fitted = SklearnMixture(components, reg_covar=least, random_state=seed)
        fitted.fit(flat.cpu().numpy())
        means, covariances, masses = (
            torch.from_numpy(a) for a in (fitted.means_, fitted.covariances_, fitted.weights_)
        )
        means = means.to(x.device, x.dtype).view(-1, *x.shape[1:])
        return cls(means, covariances.to(x.device), masses.to(x.device))

    def _whitened(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Whitened residuals (B, K, d) and ``log pi_k N(x; m_k, C_k)`` (B, K), one product."""
        k = len(self.means)
        z = torch.addmm(self.offset, x.flatten(1) - self.middle, self.whiten).view(len(x), k, -1)
        return z, self.log_masses - self.log_norms - z.square().sum(-1) / 2

    def forward(self, x: Tensor) -> Tensor:
        """Energies (B,)."""
        return -self._whitened(x)[1].logsumexp(1)

    def evaluate(
        self,
        x: Tensor,
        was: Mapping[str, Tensor] | None = None,  # noqa: ARG002
        graph: bool = False,  # noqa: ARG002
    ) -> tuple[Tensor, Cache]:
        """Energies and gradient ``sum_k r_k C_k^-1 (x - m_k)``, r the responsibilities."""
        with torch.no_grad():
            z, log_p = self._whitened(x)
            u = -log_p.logsumexp(1)
            r = (log_p + u[:, None]).exp()
            z *= torch.where(r < 1e-20, 0.0, r)[..., None]  # denormal numbers are slow
            return u, {"g": (z.flatten(1) @ self.whiten.T).view_as(x)}

    def sample(self, n: int, rng: torch.Generator) -> Tensor:
        """n exact samples (n, *shape)."""
        k = torch.multinomial(self.log_masses.exp(), n, replacement=True, generator=rng)
        flat = self.means.flatten(1)[k]
        xi = torch.randn(flat.shape, generator=rng, dtype=flat.dtype, device=flat.device)
        flat = flat + (self.roots[k] @ xi[..., None])[..., 0]
        return flat.view(n, *self.means.shape[1:])

    def log_z(self) -> float:
        """0: the mixture is normalised."""
        return 0.0


def _positive_masses(masses: Tensor, count: int) -> None:
    if masses.shape != (count,) or not bool((torch.isfinite(masses) & (masses > 0)).all()):
        raise ValueError(f"masses are K positive numbers, here {count}, got {masses.tolist()}")


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
        return u0 + f, {"g": base["g"] + tilt["g"]}


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
        return _times(self.beta, u), {"g": _times(self.beta, cache["g"])}


def _times(beta: float, u: Tensor) -> Tensor:
    """``beta u``; behind a hard wall, where u is +inf, still +inf, and 0 at beta = 0."""
    if beta > 0:
        return torch.where(u == math.inf, math.inf, beta * u)
    return 0.0 * u.nan_to_num(nan=0.0, posinf=0.0)


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
        # start and end share their base: U_beta = U_0 + beta f, evaluated as such
        self.tilt: Energy | None = (
            end.net if isinstance(end, Tilted) and end.base is start else None
        )
        self.mark = torch.tensor(-1 - next(_paths))  # no sum of bits is likely to be that

    def at(self, beta: float) -> _OnPath:
        """The energy at inverse temperature beta in [0, 1]."""
        if not 0 <= beta <= 1:
            raise ValueError(f"beta is in [0, 1], got {beta}")
        return _OnPath(self, beta)

    def ends(self, x: Tensor) -> Cache:
        """Energies and gradients of both ends at x: u0, g0, du = U_1 - U_0 and its gradient dg."""
        u0, cache0 = evaluate(self.start, x)
        g0 = cache0["g"]
        if self.tilt is not None:
            du, tilt = evaluate(self.tilt, x)
            return {"u0": u0, "g0": g0, "du": du, "dg": tilt["g"]}
        u1, cache1 = evaluate(self.end, x)
        return {"u0": u0, "g0": g0, "du": u1 - u0, "dg": cache1["g"] - g0}


class _OnPath:
    """One energy of a geometric path."""

    def __init__(self, path: GeometricPath, beta: float) -> None:
        self.path = path
        self.beta = beta

    def __call__(self, x: Tensor) -> Tensor:
        return self.evaluate(x)[0]

    def fingerprint(self) -> Tensor:
        return self.path.mark

    def evaluate(
        self, x: Tensor, was: Mapping[str, Tensor] | None = None, graph: bool = False
    ) -> tuple[Tensor, Cache]:
        if graph:
            raise ValueError("an annealed energy has no parameters to differentiate")
        ends = was if was is not None and "du" in was else self.path.ends(x)
        u = ends["u0"] + _times(self.beta, ends["du"])
        g = ends["g0"] + _times(self.beta, ends["dg"])
        return u, {**ends, "g": g}


# -- is it an energy at all? ------------------------------------------------------------------


def _shape_message(model: object, u: object, x: Tensor) -> str:
    name = type(model).__name__
    if not isinstance(u, Tensor):
        return f"{name} returned {type(u).__name__}; expected a tensor of {len(x)} energies"
    hint = "return net(x).squeeze(-1)" if u.dim() == 2 else "one energy per row, not their sum"
    return (
        f"{name} returned shape {tuple(u.shape)} for {len(x)} rows; expected ({len(x)},): {hint}"
    )


def _unsteady_layer(model: Energy) -> str | None:
    """A layer that makes U(x) another number at every call, though f = 0 may hide it now."""
    for name, module in model.named_modules() if isinstance(model, nn.Module) else ():
        hooks = module._forward_pre_hooks.values()
        kinds = [type(module).__name__, *(type(hook).__name__ for hook in hooks)]
        found = [k for k in kinds if "Dropout" in k or "BatchNorm" in k or "SpectralNorm" in k]
        if module.training and found and getattr(module, "p", 1.0) != 0:
            return f"{found[0].lstrip('_')} ({name})"
    return None


def _slope(model: Energy, x: Tensor, few: int) -> Tensor:
    """Gradient of the first energies to the parameters: f = 0 hides what it will become."""
    own = model.parameters() if isinstance(model, nn.Module) else ()
    wanted = [p for p in own if p.requires_grad]
    with torch.enable_grad():
        u = model(x)[:few]
        total = u[torch.isfinite(u)].sum()
    if not wanted or not total.requires_grad:
        return torch.zeros(0)
    found = torch.autograd.grad(total, wanted, allow_unused=True)
    return torch.cat([g.flatten() for g in found if g is not None] or [torch.zeros(0)])


def check_energy(model: Energy, x: Tensor) -> None:
    """Raise unless the model is a deterministic function of each row alone.

    Weights are differences of energies, so ``U(x)`` must be the same number when asked twice and
    in another batch. Batch normalisation in training mode, dropout, spectral normalisation's power
    iteration and autocast break that, each without a sign in the loss.

    Raises:
        ValueError: wrong shape, not float32 or float64, NaN or -inf, changes when asked twice or
            in another batch, or carries no gradient to x.
    """
    name = type(model).__name__
    remedy = "use model.eval(), or a network without it"
    layer = _unsteady_layer(model)
    if layer is not None:
        raise ValueError(
            f"{name} holds {layer}: dropout, batch normalisation in training mode and spectral "
            f"normalisation give the same row another energy when asked twice; {remedy}"
        )
    few = min(8, (len(x) + 1) // 2)
    try:
        with torch.no_grad():
            u, again, part = model(x), model(x), model(x[:few])
    except RuntimeError as error:
        rows = f"rows of shape {tuple(x.shape[1:])} and {x.dtype}"
        raise ValueError(f"{name} cannot take {rows}: {error}") from error
    if not isinstance(u, Tensor) or u.shape != x.shape[:1]:
        raise ValueError(_shape_message(model, u, x))
    if u.dtype not in (torch.float32, torch.float64):
        half = "; switch autocast or .half() off" if u.is_floating_point() else ""
        raise ValueError(
            f"{name} returned {u.dtype}; energies are floating point, 32 or 64 bits{half}"
        )
    bad = u.isnan() | (u == -math.inf)
    if bool(bad.any()):
        raise ValueError(
            f"{name} returned {'NaN' if bool(u.isnan().any()) else '-inf'} "
            f"on {int(bad.sum())} of {len(x)} rows"
        )
    finite = torch.isfinite(u)
    scale = 1 + float(u[finite].abs().max()) if bool(finite.any()) else 1.0
    for other, tolerance, when in (
        (again, 1e-6, "when asked twice"),
        (part, 1e-4, "in another batch"),
    ):
        first = u[: len(other)]
        apart = torch.where(first == other, 0.0, (other - first).abs()).nan_to_num(math.inf)
        if float(apart.max()) > tolerance * scale:
            raise ValueError(
                f"{name} gives the same row another energy {when} (by {float(apart.max()):.2g}): "
                f"batch normalisation, dropout, spectral normalisation or autocast; {remedy}"
            )
    slope, again, part = (_slope(model, rows, few) for rows in (x, x, x[:few]))
    for other, when in ((again, "when asked twice"), (part, "in another batch")):
        change = (other - slope).abs()
        if len(change) and float(change.max()) > 1e-4 * (1 + float(slope.abs().max())):
            raise ValueError(
                f"{name} has another gradient to its parameters {when}: batch normalisation, "
                f"dropout, spectral normalisation or autocast; {remedy}"
            )
    try:
        _, cache = evaluate(model, x[:2])
    except RuntimeError as error:
        raise ValueError(f"{name} carries no gradient to x ({error})") from error
    if not bool(torch.isfinite(cache["g"][torch.isfinite(u[:2])]).all()):
        raise ValueError(f"{name} has a gradient that is not finite at the data")
