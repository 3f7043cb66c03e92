"""Samples of the model of a trained run, with or without weights.

Walkers, i.e. weighted samples, are stored ones, or are carried or annealed from the base, or are
the Markov chains of the training. `draw` returns samples; it calls `draw_walkers`, which makes the
walkers, and `take_samples`, which resamples them.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Any, Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from noneq.annealing import Schedule, Track, population, untracked
from noneq.energies import Gaussian, Given, path_to, with_context
from noneq.kernels import Kernel, with_momentum
from noneq.numerics import full_precision
from noneq.run import checkpoint
from noneq.run.background import plain_kernel, plain_model, with_walkers_of_background
from noneq.run.families.base import base_of
from noneq.run.folder import Run
from noneq.run.in_range import check_ranges, inside_range
from noneq.run.learners import at_step
from noneq.run.verdict_file import read_verdict
from noneq.walkers import Walkers

__all__ = ["DrawnWalkers", "Source", "draw", "draw_walkers", "take_samples"]

Source: TypeAlias = Literal["population", "steps", "ais", "chains"]
"""The type of the name of a way to make samples of a trained model.

"population": those that the evaluation of the run has annealed from the base (the energy that
training started from) and stored; "steps": by Euler-Maruyama steps from the base; "ais": by
annealing from the base anew; "chains": by moving on the Markov chains of the training.
"""


def draw(
    run: Run, n: int, source: Source | None = None, *, weighted: bool = False, **how: Any
) -> tuple[Tensor, Tensor]:
    """Draw samples from the model of a trained run.

    Arguments:
        run: trained run, i.e. the folder of a training.
        n: number of samples.
        source: way to make walkers (weighted samples), see `draw_walkers`.
        weighted: whether to return walkers with their weights; otherwise walkers are resampled,
            and each sample has weight 1/n.
        how: further arguments of `draw_walkers`.

    Returns:
        Samples (n, *shape) in the model's units, where ``shape`` is the shape of one row, and
        their log-weights (n,), whose exponentials sum to 1.

    Raises:
        ValueError: ``n`` is less than 1, or more than the walkers that ``source="population"`` or
            ``source="chains"`` has.
    """
    return take_samples(
        draw_walkers(run, n, source, weighted=weighted, **how), n, weighted=weighted
    )


class DrawnWalkers(NamedTuple):
    """Walkers (weighted samples) drawn from a run's model, and the generator that drew them.

    Attributes:
        walkers: weighted samples of the model.
        rng: source of randomness, with which `take_samples` continues.
        kept: share of the model's mass that they are samples of, by their weights: less than 1
            where those outside the range of the training rows were left out.
    """

    walkers: Walkers
    rng: torch.Generator
    kept: float = 1.0


@full_precision()
def draw_walkers(
    run: Run,
    n: int,
    source: Source | None = None,
    *,
    weighted: bool = False,
    moves: int = 100,
    steps: int | None = None,
    label: int | None = None,
    within_range: bool = False,
    seed: int = 0,
    track: Track = untracked,
) -> DrawnWalkers:
    """Draw walkers, i.e. weighted samples, from the model of a run, enough to take n samples.

    Arguments:
        run: trained run, i.e. the folder of a training.
        n: number of samples that will be taken.
        source: way to make walkers. ``population``: those that the evaluation of the run has
            stored, the default where they are so many that none is taken twice; ``steps``:
            carried from the base (the energy that training started from) by Euler-Maruyama steps,
            each followed by MCMC moves, otherwise the default of interpolants; ``ais``: annealed
            from the base, at the temperatures of the estimate of log Z, otherwise the default of
            other models; ``chains``: the walkers of the training, reweighted to the averaged
            parameters and moved.
        weighted: whether the walkers themselves will be the samples; otherwise four times as
            many are drawn.
        moves: number of MCMC moves of the walkers, for ``chains``.
        steps: number of Euler-Maruyama steps, for ``steps``; default: that of the run's settings.
        label: label of all samples, of a model that is conditional on labels; None: samples have
            labels in the proportions of the training rows.
        within_range: whether to leave out walkers with a value outside the range of its column in
            the training rows of a table: samples are then of the model given that range.
        seed: seed of all randomness.
        track: function ``(steps, label) -> steps`` that displays the progress of a loop.

    Returns:
        The walkers, n or more, and the generator that drew them, for `take_samples`.

    Raises:
        FileNotFoundError: log Z was never estimated, so that no population is stored.
        ValueError: ``n`` is less than 1, or more than the walkers of the evaluation for
            ``population``, of the training for ``chains``, or within the range of the training
            rows; or this model does not have the source, the label or the range.
    """
    if n < 1:
        raise ValueError(f"one sample or more, not {n}")
    if within_range:
        check_ranges(run)
    ranged = partial(inside_range, run, wanted=within_range)
    energy, kernel = run.model()
    rng = torch.Generator(run.device).manual_seed(seed)
    context = _context(run, label, source, energy)
    if source == "population" or (source is None and not steps):
        stored = _stored(run, energy, required=source is not None)
        if stored is not None and context is not None:
            stored = stored[(stored.x[:, -len(context) :] == context).all(1).nonzero().flatten()]
        if stored is not None:
            stored, kept = ranged(stored)
            if source or _suffices(stored, n, weighted=weighted):
                return _enough(run, stored, kept, n, rng, "has stored {} walkers")
    source = _source(run, source, steps)
    if source == "chains":
        walkers = _chains(run, energy, kernel, moves, rng, track)
        return _enough(run, *ranged(walkers), n, rng, "has {} chains")
    # an ordinary sample comes from four times as many weighted ones
    least = max(16, n if weighted else 4 * n)
    walkers = _annealed(
        run, energy, kernel, context, least, rng,
        carried=source == "steps", steps=steps, track=track,
    )  # fmt: skip
    return _enough(run, *ranged(walkers), n, rng)


def _enough(
    run: Run, walkers: Walkers, kept: float, n: int, rng: torch.Generator, what: str = ""
) -> DrawnWalkers:
    """Return walkers; raise ValueError if there are fewer than n."""
    many = len(walkers)
    if many < n and not what:
        raise ValueError(
            f"{run.folder}: only {kept:.2%} of the model's mass is within the range of the "
            "training rows in every column: leave `within_range` out, and look at its samples"
        )
    if many < n:
        raise ValueError(f"{run.folder}: {what.format(many)}, not {n}; take `source` ais")
    return DrawnWalkers(walkers, rng, kept)


def _annealed(
    run: Run,
    energy: nn.Module,
    kernel: Kernel,
    context: Tensor | None,
    least: int,
    rng: torch.Generator,
    *,
    carried: bool,
    steps: int | None,
    track: Track,
) -> Walkers:
    """Anneal walkers from the base, or carry them by steps; of one label if one is asked for."""
    plain = plain_model(energy)
    if context is not None:
        plain = given = Given(energy, context)
        assert isinstance(given.base, Gaussian)
        kernel = run.family.kernel(run.recipe, given.base.factor)
    path, many = path_to(plain, base_of(plain)), 8 * -(-least // 8)
    carrier = with_momentum(plain_kernel(kernel, plain))
    schedule: int | Schedule
    if carried:
        schedule = run.family.transport(run.recipe, energy, kernel, rng, steps)
    else:
        schedule = run.family.annealing_schedule(run.recipe, plain, carrier, rng)
    walkers, _ = population(path, many, schedule, rng=rng, kernel=carrier, track=track)
    if context is not None:
        weights = walkers.weights
        walkers = replace(Walkers.at(with_context(walkers.x, context), energy), weights=weights)
    return with_walkers_of_background(walkers, energy, rng)


def _context(
    run: Run, label: int | None, source: Source | None, energy: nn.Module
) -> Tensor | None:
    """Return the one-hot vector of a label; ValueError where the run's model has no labels."""
    if label is None:
        return None
    if run.scaling.labels is None:
        raise ValueError(
            f"{run.folder}: its model knows no labels: leave `labels` out, or train one by "
            "`model` conditional"
        )
    if source == "chains":
        raise ValueError("`source` chains have labels of their own: take population or ais")
    try:
        return run.scaling.labels.context(label, next(energy.parameters()))
    except ValueError as error:
        raise ValueError(f"{run.folder}: {error}") from error


def _stored(run: Run, energy: nn.Module, *, required: bool) -> Walkers | None:
    """Return the walkers that the evaluation of this model has stored; None if there are none."""
    try:
        read_verdict(run, energy)
    except (FileNotFoundError, ValueError):
        if required:
            raise
        return None
    kept = checkpoint.load_tensors(run.folder / "population.safetensors", run.device)
    walkers = Walkers.at(kept["x"], energy)
    weights = walkers.weights.add(kept["log_w"])
    return replace(walkers, weights=replace(weights, ancestors=kept["ancestors"]))


def _suffices(walkers: Walkers, n: int, *, weighted: bool) -> bool:
    """Return whether n samples can be taken from walkers without taking one of them twice."""
    return len(walkers) >= n and (weighted or n * float(walkers.p.max()) <= 1 + 1e-9)


def _source(run: Run, source: Source | None, steps: int | None) -> Source:
    """Choose the way to make samples; ValueError for one that the run's model does not have."""
    carried, chains = run.family.carried, run.family.chains
    if steps is not None and steps < 1:
        raise ValueError(f"`steps` is 1 or more, got {steps}")
    if not carried and (steps or source == "steps"):
        raise ValueError(
            f"{run.folder}: `steps` carry walkers along an interpolant, and this is a "
            f"{run.recipe.kind}: leave them out (`source` ais anneals), or train with "
            "`model` interpolant"
        )
    if not chains and source == "chains":
        raise ValueError(
            f"{run.folder}: a model of kind {run.recipe.kind} is trained without walkers: it has "
            "no chains; take `source` steps or ais"
        )
    if steps and source == "ais":
        raise ValueError("`steps` are those of `source` steps: leave one of the two out")
    return source or ("steps" if carried else "ais")


def take_samples(
    gathered: DrawnWalkers, n: int, *, weighted: bool = False
) -> tuple[Tensor, Tensor]:
    """Take samples from walkers (weighted samples), in random order, so that slices are unbiased.

    Arguments:
        gathered: walkers, and a source of randomness, which `draw_walkers` returned.
        n: number of samples.
        weighted: whether to return walkers with their weights; otherwise walkers are resampled,
            and each sample has weight 1/n.

    Returns:
        Samples (n, *shape), where ``shape`` is the shape of one walker, and their log-weights
        (n,), whose exponentials sum to 1.
    """
    walkers, rng, _ = gathered
    if not weighted:
        return walkers.equal(n, rng), walkers.log_w.new_full((n,), -math.log(n))
    # resampling orders walkers by their energy: the first would be the lowest
    chosen = torch.randperm(len(walkers), generator=rng, device=walkers.log_w.device)[:n]
    part = walkers[chosen]
    return part.x, part.weights.log_p


def _chains(
    run: Run, energy: nn.Module, kernel: Kernel, moves: int, rng: torch.Generator, track: Track
) -> Walkers:
    trained = checkpoint.moved(checkpoint.load(run.folder / "state")["trained"], run.device)
    if trained is None or "walkers" not in trained:
        raise ValueError(f"{run.folder}: has no walkers yet: it was never trained")
    # their weights are those of the latest parameters, not of the average
    saved = {**trained["walkers"], "current": False}
    walkers = Walkers.from_state_dict(saved, energy).reweight(energy)
    kernel = at_step(kernel, trained["step_size"])
    for _ in track(range(moves), "moving"):
        walkers = walkers.resample(0.5, rng).move(kernel, energy, rng)
    return walkers
