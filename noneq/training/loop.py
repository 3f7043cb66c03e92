"""Maximum-likelihood training with weighted walkers.

The gradient of the cross-entropy is ``E_data[dU/dtheta] - E_rho[dU/dtheta]``, U the energy of the
model rho and theta its parameters. The second mean is taken over walkers, samples with importance
weights p_i, so that it stays right although they lag behind the model. One iteration, with a
kernel that leaves the model invariant:

1. reweight the walkers x_i to the new parameters (the trust region of the last step did so);
2. compute the gradient of the loss ``mean U(data) - sum_i p_i U(x_i)``;
3. resample if the effective sample size is low, and move each walker K times;
4. do the optimiser's step, scaled by the trust region.

That is K + 1 evaluations of each walker. With `ULA` moves, whose weights account for the change of
the parameters (Algorithm 1 of Carbone, Hua, Coste, Vanden-Eijnden 2023, arXiv 2305.19414),
steps 1, 3 and 4 become one, of K evaluations.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from copy import copy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from noneq.data import Frame, read
from noneq.energies import Conditional, Energy, Snapshot, Solvable, check_energy
from noneq.energies.checks import check_context, check_fit, check_states
from noneq.kernels import MALA, Kernel, Repeat, default_kernel
from noneq.random import add_noise
from noneq.spaces import context_size
from noneq.training.batches import Batches, Rows, batches_of, rows_of
from noneq.training.iteration import Step, step
from noneq.training.records import Record, TrainState, _log_z, _record, read_scalars
from noneq.training.renewal import renewals, renewed_by
from noneq.training.settings import Settings
from noneq.training.trust import TrustRegion
from noneq.walkers import Walkers

__all__ = ["train"]


def train(
    energy: nn.Module,
    data: Tensor | Frame | Iterable[Any],
    settings: Settings | None = None,
    *,
    optimizer: torch.optim.Optimizer | None = None,
    kernel: Kernel | None = None,
    rng: torch.Generator | None = None,
    resume: TrainState | None = None,
) -> Iterator[Record]:
    """Train an energy by maximum likelihood for as long as the caller iterates.

    The mean of the gradient under the model is taken over walkers, samples that follow the model
    by Markov chain moves and have importance weights.

    Arguments:
        energy: model whose parameters are trained, e.g. `noneq.energies.Tilted`; its attribute
            ``base`` is an energy with exact samples and log Z, at which walkers start.
        data: rows (M, *shape), which may be changed in place between iterations; or a table of
            pandas, polars or pyarrow, used without standardisation; or an iterable of batches
            (B, *shape), e.g. a `torch.utils.data.DataLoader`, which is begun anew where it ends,
            and whose sizes take the place of ``settings.batch``.
        settings: settings of the training; default ``Settings()``.
        optimizer: optimiser of the parameters; default Adam at learning rate 1e-3.
        kernel: kernel of one move; default MALA preconditioned by the base's covariance, for
            discrete variables discrete Langevin, for RBMs block Gibbs.
        rng: source of all randomness, on the data's device; default seed 0.
        resume: attribute ``state`` of an earlier `Record`, to continue from it; the caller
            restores the parameters, the optimiser and the generator.

    Yields:
        A `Record` of loss, log Z and so on, and of the training's state, after each iteration.

    Raises:
        TypeError: data are not a floating-point tensor.
        ValueError: no density can be fitted to the data, the energy fails
            `noneq.energies.check_energy`, or it has no ``base`` where the settings need one.
        FloatingPointError: the model has diverged.

    >>> import torch, noneq
    >>> data, settings = torch.randn(256, 2), Settings(walkers=64, held_out=None)
    >>> energy = noneq.Tilted(noneq.Gaussian.fit(data), noneq.MLP(2, width=16))
    >>> [record.iteration for record, _ in zip(noneq.train(energy, data, settings), range(3))]
    [1, 2, 3]
    """
    settings = settings or Settings()
    batches = batches_of(read(data).x if isinstance(data, Frame) else data, energy)
    first = batches.first
    check_context(energy, first)
    if resume is None and isinstance(batches, Rows):
        check_fit(energy, first, noise=settings.noise)
    else:  # checked when the run began: a part of a stream may lack spread
        check_states(energy, first, noise=settings.noise)
    check_energy(energy, first[:16])
    rng = rng or torch.Generator(first.device).manual_seed(0)
    optimizer = optimizer or torch.optim.Adam(energy.parameters(), lr=1e-3)
    if resume is not None and kernel is not None:
        raise ValueError("a run that is resumed goes on with its own kernel: leave kernel out")
    # the graph of u lives here, from one iteration to the next, and never in a record
    state, u = (resume, None) if resume else _begin(energy, batches, settings, kernel, rng)
    start, every = time.perf_counter(), renewals(energy, settings)
    while True:
        x = _noisy(energy, batches.draw(settings.batch, rng), settings, rng)
        before = _log_z(state, settings)
        state = replace(state, trust=copy(state.trust))  # the last record keeps its own
        done = _iterate(energy, x, state, u, settings, optimizer, rng)
        walkers, u = done.walkers, done.u
        # the energy changes in the optimiser's step alone: one fingerprint serves what follows
        now = Snapshot.of(energy if u is None or walkers.under is None else walkers.under)
        held = _follow(done.held_out, state.kernel, now, rng, settings)
        weights = walkers.weights if held is None else held.weights
        observed = read_scalars(
            done.data_energy, done.walker_energy, walkers.info, weights=weights
        )
        iteration = state.iteration + 1
        adapted = state.kernel.adapt(observed.info)
        renewed = None
        if every and iteration % every == 0:
            renewed, (walkers, held) = renewed_by(energy, walkers, held, adapted, rng, settings)
            u = u if walkers is done.walkers else None
        state = replace(state, iteration=iteration, walkers=walkers, held_out=held, kernel=adapted)
        yield _record(state, settings, observed, before, renewed, start)


def _begin(
    energy: nn.Module,
    batches: Batches,
    settings: Settings,
    kernel: Kernel | None,
    rng: torch.Generator,
) -> tuple[TrainState, Tensor | None]:
    base = getattr(energy, "base", None)
    wanted = settings.weighted and (renewals(energy, settings) or settings.held_out)
    if not isinstance(base, Solvable) and (settings.start == "base" or wanted):
        raise ValueError(
            "the walkers start at a solvable base: use Tilted(Gaussian.fit(data), net), give the "
            "energy one as its attribute base (noneq.energies.Bernoulli.fit(data) for bits), or "
            "take Settings(start='data', renew=None, held_out=None), which leaves log Z unknown"
        )
    n, held, u = settings.walkers, None, None
    if kernel is None and (isinstance(base, Solvable) or isinstance(energy, Conditional)):
        kernel = default_kernel(base, batches.first, energy)
    if isinstance(base, Solvable) and settings.held_out:
        held = Walkers.sample(base, settings.held_out, rng).reweight(energy)
    if isinstance(base, Solvable) and settings.start == "base":
        walkers = Walkers.sample(base, n, rng, islands=1)
    else:
        rows = _noisy(energy, rows_of(batches, n, rng), settings, rng)
        walkers = Walkers.at(rows, energy)
    if settings.active is None:
        walkers, u = walkers.reweight(energy, graph=True)  # whose graph serves the first loss
    trust = None if settings.tau is None else TrustRegion(settings.tau, longest=settings.longest)
    return TrainState(0, walkers, held, kernel or MALA(0.01), trust), u


def _noisy(energy: Energy, x: Tensor, settings: Settings, rng: torch.Generator) -> Tensor:
    """Add noise to rows, but not to the context of a conditional model."""
    return add_noise(x, settings.noise, rng, held=context_size(energy))


def _iterate(
    energy: nn.Module,
    x: Tensor,
    state: TrainState,
    u: Tensor | None,
    settings: Settings,
    optimizer: torch.optim.Optimizer,
    rng: torch.Generator,
) -> Step:
    """Apply `step` to all walkers, to some of them, without weights, or from the data."""
    walkers, held = state.walkers, state.held_out
    moves = Repeat(state.kernel, settings.moves)
    kernel: Kernel | None = moves
    part, index = walkers, None
    if settings.restart:
        part, u, kernel = Walkers.at(x, energy).move(moves, energy, rng), None, None
        if held is not None and moves.fresh:
            held = held.resample(settings.ess_min, rng).move(moves, energy, rng)
    elif settings.active is not None:
        order = torch.rand(len(walkers), generator=rng, device=x.device).argsort()
        index = order[: settings.active]
        part, u = walkers[index], None
        if not moves.fresh:  # one evaluation serves the move, the weight and the loss
            (part, u), kernel = part.move(moves, energy, rng, graph=True), None
    done = step(
        energy,
        x,
        part,
        u,
        kernel=kernel,
        optimizer=optimizer,
        rng=rng,
        trust=state.trust,
        ess_min=settings.ess_min,
        weighted=settings.weighted,
        forgetting_factor=settings.forgetting_factor,
        held_out=held,
    )
    if index is not None:
        return done._replace(walkers=walkers.put(index, done.walkers), u=None)
    if settings.restart:
        return done._replace(u=None)
    if done.u is not None:
        return done
    # the next iteration's, made now; of parameters that have just changed nothing is compared
    walkers, u = replace(done.walkers, under=None).reweight(energy, graph=True)
    return done._replace(walkers=walkers, u=u)


def _follow(
    held: Walkers | None,
    kernel: Kernel,
    now: Snapshot,
    rng: torch.Generator,
    settings: Settings,
) -> Walkers | None:
    """Take held-out walkers to the new parameters: by weight, or by a move of a stale kernel."""
    if held is None:
        return None
    if kernel.fresh:  # they have moved before the optimiser's step
        # the parameters have just changed: there is nothing to compare with
        return replace(held, under=None).reweight(now)
    moves = Repeat(kernel, settings.moves)
    return held.resample(settings.ess_min, rng).move(moves, now, rng)
