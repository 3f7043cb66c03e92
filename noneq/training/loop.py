r"""Maximum-likelihood training with weighted walkers.

The gradient of the cross-entropy, ``E_data[dU/dtheta] - E_rho[dU/dtheta]``, has its second mean
taken over weighted walkers, so it stays right although they lag behind the moving model. One
iteration, for a kernel that needs a fresh state:

1. walkers: reweight to the new parameters, the graph kept (done by the last trusted step);
2. loss ``mean U(data) - sum_i p_i U(x_i)``, its gradient;
3. resample where the effective sample size is low; K moves at fixed energy;
4. optimiser step under the trust region.

That is K + 1 evaluations of each walker, as many as persistent contrastive divergence. With
`ULA` on stale states (Algorithm 1 of Carbone, Hua, Coste, Vanden-Eijnden 2023, arXiv 2305.19414)
steps 1, 3 and 4 fall together: the move's own evaluation serves the next loss, one evaluation
for K = 1.

Contrastive divergence is a setting: `Settings.pcd`, `Settings.cd`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import replace

import torch
from torch import Tensor, nn

from noneq.data import Frame, read
from noneq.energies import Conditional, Solvable, check_energy
from noneq.energies.checks import check_fit, check_states
from noneq.kernels import MALA, Kernel, Repeat, default_kernel
from noneq.random import add_noise
from noneq.training.records import Record, Trained, _log_z, _record
from noneq.training.renewal import renew
from noneq.training.settings import Settings
from noneq.training.trust import TrustRegion
from noneq.walkers import Walkers

__all__ = ["step", "train"]


def step(
    energy: nn.Module,
    x: Tensor,
    walkers: Walkers,
    *,
    kernel: Kernel | None,
    optimizer: torch.optim.Optimizer,
    rng: torch.Generator,
    trust: TrustRegion | None = None,
    ess_min: float = 0.5,
    weighted: bool = True,
    memory: float = 1.0,
) -> tuple[Walkers, Tensor, Tensor]:
    """One iteration: gradient, resampling, moves, optimiser step.

    Returns the walkers, ``mean U(x)`` and the weighted mean of U at
    the walkers (both before the step); the loss is their difference. ``kernel=None`` does not
    move; ``weighted=False`` ignores the weights (contrastive divergence), ``memory`` below 1 lets
    them fade (`Settings`). With a kernel that takes stale states this is Algorithm 1 of arXiv
    2305.19414.
    """
    walkers, data_energy, walker_energy = _gradient(energy, x, walkers, optimizer, weighted)
    walkers = walkers.faded(memory).resample(ess_min, rng)
    advance = None
    if kernel is not None and kernel.fresh:
        walkers = walkers.move(kernel, energy, rng)
    elif kernel is not None:
        advance = _stale_move(kernel, energy, rng)
    if trust is not None:
        walkers = trust.step(optimizer, energy, walkers, advance)
    else:
        optimizer.step()
        walkers = advance(walkers) if advance else walkers
    return walkers, data_energy, walker_energy


def _stale_move(
    kernel: Kernel, energy: nn.Module, rng: torch.Generator
) -> Callable[[Walkers], Walkers]:
    """A move to new parameters; one that is redone, the step shortened, has the same noise."""
    noise = rng.get_state()

    def advance(walkers: Walkers) -> Walkers:
        rng.set_state(noise)
        return walkers.move(kernel, energy, rng, graph=True)[0]

    return advance


def _gradient(
    energy: nn.Module,
    x: Tensor,
    walkers: Walkers,
    optimizer: torch.optim.Optimizer,
    weighted: bool,
) -> tuple[Walkers, Tensor, Tensor]:
    walkers, u = walkers.reweight(energy, graph=True)
    if not weighted:
        walkers = walkers.faded(0.0)
    with torch.autocast(x.device.type, enabled=False):
        data_energy, walker_energy = energy(x).mean(), walkers.mean(u)
    optimizer.zero_grad(set_to_none=True)
    (data_energy - walker_energy).backward()
    return walkers, data_energy.detach(), walker_energy.detach()


def train(
    energy: nn.Module,
    data: Tensor | Frame,
    settings: Settings | None = None,
    *,
    optimizer: torch.optim.Optimizer | None = None,
    kernel: Kernel | None = None,
    rng: torch.Generator | None = None,
    resume: Trained | None = None,
) -> Iterator[Record]:
    """Train for as long as the caller iterates; yields a record after each iteration.

    Arguments:
        energy: with a solvable ``base`` attribute (`noneq.energies.Tilted`) where the walkers
            start there or are renewed.
        data: rows (M, *shape), read anew for every batch: what is written into them meanwhile
            counts; or a frame of pandas, polars or pyarrow, its columns as they are (unscaled).
        settings: see `Settings`.
        optimizer: default Adam at learning rate 1e-3; the trust region sets the real speed.
        kernel: one move; default MALA preconditioned by the base's covariance, discrete Langevin,
            or block Gibbs for an energy that can.
        rng: source of all randomness, on the data's device; default seed 0.
        resume: an earlier record's ``state``, with its kernel; parameters, optimiser and generator
            are the caller's to restore.

    Raises:
        ValueError, TypeError: data or energy is unfit, see `noneq.energies.checks`.
        FloatingPointError: the model has diverged.
    """
    settings = settings or Settings()
    data = read(data).x if isinstance(data, Frame) else data
    if resume is None:
        check_fit(energy, data, noise=settings.noise)
    else:  # judged when the run began: a part of a stream may well lack spread
        check_states(energy, data, noise=settings.noise)
    check_energy(energy, data[:16])
    rng = rng or torch.Generator(data.device).manual_seed(0)
    optimizer = optimizer or torch.optim.Adam(energy.parameters(), lr=1e-3)
    if resume is not None and kernel is not None:
        raise ValueError("a run that is resumed goes on with its own kernel: leave kernel out")
    state = resume or _begin(energy, data, settings, kernel, rng)
    start, every = time.perf_counter(), _renewals(energy, settings)
    while True:
        x = _batch(data, settings, rng)
        before = _log_z(state, settings)
        state = replace(state, trust=copy(state.trust))  # the last record keeps its own
        walkers, data_energy, walker_energy = _iterate(energy, x, state, settings, optimizer, rng)
        moves = Repeat(state.kernel, settings.moves)
        held = _follow(state.held_out, moves, energy, rng, settings)
        iteration = state.iteration + 1
        tuned = state.kernel.tune(walkers.info)
        renewed = None
        if every and iteration % every == 0:
            renewed, (walkers, held) = _renewed(energy, walkers, held, tuned, rng, settings)
        state = replace(state, iteration=iteration, walkers=walkers, held_out=held, kernel=tuned)
        yield _record(state, settings, data_energy, walker_energy, before, renewed, start)


def _renewals(energy: nn.Module, settings: Settings) -> int:
    """Iterations between renewals; 0 where there is nobody to renew."""
    if settings.restart or (_held_out_alone(energy, settings) and not settings.held_out):
        return 0
    return settings.renew or 0


def _held_out_alone(energy: nn.Module, settings: Settings) -> bool:
    """Whether walkers that feed the gradient are never renewed, only those that tell log Z.

    Annealed from independent units a machine's may miss a mode (docs/rbm_bias.md); and walkers
    whose weights fade keep so many founders that no renewal would beat them.
    """
    return isinstance(energy, Conditional) or (settings.weighted and settings.memory < 1)


def _renewed(
    energy: nn.Module,
    walkers: Walkers,
    held: Walkers | None,
    kernel: Kernel,
    rng: torch.Generator,
    settings: Settings,
) -> tuple[bool | None, tuple[Walkers, Walkers | None]]:
    """`renew`, of all of them or of those held out."""
    steps = settings.temperatures
    if held is None or not _held_out_alone(energy, settings):
        weighted = settings.weighted
        return renew(energy, walkers, held, kernel, rng, steps, weighted=weighted)
    renewed, (held, _) = renew(energy, held, None, kernel, rng, steps)
    return renewed, (walkers, held)


def _begin(
    energy: nn.Module,
    data: Tensor,
    settings: Settings,
    kernel: Kernel | None,
    rng: torch.Generator,
) -> Trained:
    base = getattr(energy, "base", None)
    wanted = settings.weighted and (_renewals(energy, settings) or settings.held_out)
    if not isinstance(base, Solvable) and (settings.start == "base" or wanted):
        raise ValueError(
            "the walkers start at a solvable base: use Tilted(Gaussian.fit(data), net), give the "
            "energy one as its attribute base (noneq.energies.Bernoulli.fit(data) for bits), or "
            "take Settings(start='data', renew=None, held_out=None), which leaves log Z unknown"
        )
    n, held = settings.walkers, None
    if kernel is None and (isinstance(base, Solvable) or isinstance(energy, Conditional)):
        kernel = default_kernel(base, data, energy)
    if isinstance(base, Solvable) and settings.held_out:
        held = Walkers.sample(base, settings.held_out, rng).reweight(energy)
    if isinstance(base, Solvable) and settings.start == "base":
        walkers = Walkers.sample(base, n, rng, islands=1)
    else:
        walkers = Walkers.at(_batch(data, settings, rng, n), energy)
    if settings.active is None:
        walkers = walkers.prepared(energy)  # whose graph serves the first loss
    trust = None if settings.tau is None else TrustRegion(settings.tau, longest=settings.longest)
    return Trained(0, walkers, held, kernel or MALA(0.01), trust)


def _batch(data: Tensor, settings: Settings, rng: torch.Generator, n: int | None = None) -> Tensor:
    size = (n or settings.batch,)
    x = data[torch.randint(len(data), size, generator=rng, device=data.device)]
    return add_noise(x, settings.noise, rng)


def _iterate(
    energy: nn.Module,
    x: Tensor,
    state: Trained,
    settings: Settings,
    optimizer: torch.optim.Optimizer,
    rng: torch.Generator,
) -> tuple[Walkers, Tensor, Tensor]:
    """`step` on all walkers, on some of them, without weights, or from the data."""
    walkers, kernel = state.walkers, Repeat(state.kernel, settings.moves)
    index = None
    if settings.active is not None:
        order = torch.rand(len(walkers), generator=rng, device=x.device).argsort()
        index = order[: settings.active]
    if settings.restart:
        part = Walkers.at(x, energy).move(kernel, energy, rng)
    else:
        part = walkers if index is None else walkers[index]
    part, data_energy, walker_energy = step(
        energy,
        x,
        part,
        kernel=None if settings.restart else kernel,
        optimizer=optimizer,
        rng=rng,
        trust=state.trust,
        ess_min=settings.ess_min,
        weighted=settings.weighted,
        memory=settings.memory,
    )
    if index is not None:
        walkers = walkers.put(index, part)
    elif settings.restart:
        walkers = part
    else:
        walkers = part.prepared(energy)  # the next iteration's, made now
    return walkers, data_energy, walker_energy


def _follow(
    held: Walkers | None,
    moves: Kernel,
    energy: nn.Module,
    rng: torch.Generator,
    settings: Settings,
) -> Walkers | None:
    """Held-out walkers on the same path."""
    if held is None:
        return None
    if moves.fresh:
        held = held.reweight(energy)
    return held.resample(settings.ess_min, rng).move(moves, energy, rng)
