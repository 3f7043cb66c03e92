"""Evaluation of a trained run: estimates of log Z and likelihoods, kept in likelihood.json.

Log Z is bracketed, i.e. estimated by forward and by backward annealing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor, nn

from noneq.annealing import Track, untracked
from noneq.data import DataSet
from noneq.energies import Energy, Gaussian, Given
from noneq.kernels import Kernel, with_momentum
from noneq.likelihood import Estimate, log_z
from noneq.likelihood.score import energy_of, exact_log_z, known_log_z
from noneq.run import checkpoint
from noneq.run.background import (
    finished_base,
    finished_model,
    on_base,
    plain_kernel,
    plain_model,
    set_to_base,
)
from noneq.run.by_label import normalised, results_by_label
from noneq.run.choosing import with_changes
from noneq.run.differences import differences_of
from noneq.run.folder import Run
from noneq.run.likelihoods import Split, nll_of_splits, splits_of
from noneq.run.recipe import Recipe
from noneq.run.simplest import one_gaussian
from noneq.run.storing import save_model
from noneq.run.unit_words import measures
from noneq.run.validation import ended_early
from noneq.run.verdict import Mean, Verdict
from noneq.run.verdict_file import save_verdict, stored_fingerprint
from noneq.run.work import within_share

__all__ = ["evaluate_run", "is_its_base"]


def evaluate_run(
    run: Run,
    data: DataSet,
    *,
    how: Mapping[str, Any] | None = None,
    track: Track = untracked,
) -> Verdict:
    """Bracket log Z of a run's model, and compute likelihoods of train, validation and test rows.

    A bracket is a pair of estimates of log Z, by forward and by backward annealing. The files
    likelihood.json and population.safetensors (the walkers, i.e. weighted samples, of forward
    annealing) are written to the run's folder, and model.safetensors where the model changes: it
    gets a background, log Z of its labels, or is set back to its base.

    Arguments:
        run: trained run (a training's folder) whose model is evaluated.
        data: data that the model was trained on.
        how: settings of the bracket by name, which are the fields of `noneq.run.recipe.Bracket`,
            and ``seed``. Settings that are left out are those of the run's recipe; the default of
            ``seed`` is the run's seed plus 7. Without settings a default bracket is shortened to
            half of the training's work, see `noneq.run.work`.
        track: function ``(steps, label) -> steps`` that displays the progress of a loop.

    Returns:
        The evaluation, a `Verdict`: log Z in nats, alarms, i.e. sentences that say why log Z may
        be wrong, and mean negative log-likelihoods in nats a row.

    Raises:
        FloatingPointError: the energy is NaN or -inf at a walker.
        TooFarError: the annealed walkers do not reach the model's distribution.
        OSError: a file cannot be written.
    """
    seed = (how or {}).get("seed", run.seed + 7)
    recipe = with_changes(
        run.recipe, {"bracket": {k: v for k, v in (how or {}).items() if k != "seed"}}
    )
    if not set(how or {}) - {"seed"}:
        recipe = within_share(run, recipe)
    bracket = recipe.bracket
    how = {**asdict(bracket), "seed": seed}
    rng = torch.Generator(data.train.device).manual_seed(seed)
    trained, move = run.model()
    energy, plain, splits = trained, plain_model(trained), splits_of(run, data)
    rows, noise = data.train[: data.sizes[0]], recipe.train.noise
    kernel = with_momentum(plain_kernel(move, plain))
    base = finished_base(recipe.model, trained, len(rows), mapped=bool(run.scaling.coordinates))
    base_nll = nll_of_splits(base, base.log_z(), splits, noise)
    lost = None  # nats that the validation rows lose by the trained model
    if not is_its_base(plain, data.train):
        if run.scaling.labels is not None:
            z = _by_label(run, recipe, plain, rows, rng, track)
        else:
            z = _estimated(run, recipe, plain, kernel, rows, rng, track)
        energy, z = finished_model(energy, z, base, rng)
        model_nll = nll_of_splits(energy, z.value, splits, noise)
        held = splits["validation"].observations
        lost = Mean.of(model_nll["validation"] - base_nll["validation"], held)
    # log Z is the larger of two estimates: where it is doubtful, the model has to prove itself
    worse = lost is not None and not lost.value <= 0 and recipe.train.early_stopping
    if worse or lost is None:
        energy = on_base(energy, base)
        z, model_nll = exact_log_z(base, rows, n=bracket.walkers, rng=rng), base_nll
    if worse:
        set_to_base(energy)
    if worse or energy is not trained or run.scaling.labels is not None:
        save_model(run.folder / "model.safetensors", energy, move, recipe)
    verdict = _verdict(run, data, energy, base, z, splits, model_nll, base_nll, how)
    if worse or lost is None:
        verdict = replace(verdict, kept="base", lost=lost)
    save_verdict(run, verdict, z.walkers)
    return verdict


def _estimated(
    run: Run,
    recipe: Recipe,
    energy: nn.Module,
    kernel: Kernel,
    rows: Tensor,
    rng: torch.Generator,
    track: Track,
) -> Estimate:
    """Compute log Z where it is known, else bracket it by the recipe's annealing."""
    bracket = recipe.bracket
    return known_log_z(energy, rows, n=bracket.walkers, rng=rng) or log_z(
        energy,
        data=rows,
        n=bracket.walkers,
        temperatures=run.family.annealing_schedule(recipe, energy, kernel, rng, track=track),
        equilibrate=bracket.equilibrate,
        noise=recipe.train.noise,
        kernel=kernel,
        rng=rng,
        track=track,
    )


def _by_label(
    run: Run,
    recipe: Recipe,
    energy: nn.Module,
    rows: Tensor,
    rng: torch.Generator,
    track: Track,
) -> Estimate:
    """Bracket log Z of each label, and normalise the model in place."""
    labels = run.scaling.labels
    assert labels is not None

    def bracket(given: Given, own: Tensor, label: int) -> Estimate:
        assert isinstance(given.base, Gaussian)
        kernel = with_momentum(run.family.kernel(recipe, given.base.factor))

        def tracked(steps: Any, what: str) -> Any:
            return track(steps, f"label {label}: {what}")

        return _estimated(run, recipe, given, kernel, own, rng, tracked)

    return normalised(energy, bracket, rows, labels, noise=recipe.train.noise, rng=rng)


def is_its_base(energy: Energy, rows: Tensor) -> bool:
    """Return whether a model is its base, i.e. the energy that training started from.

    Arguments:
        energy: model with an attribute ``base``.
        rows: rows (M, *shape); the first 256 of them are looked at.

    Returns:
        True if both energies are the same, bit for bit, at all of these rows.
    """
    base = getattr(energy, "base", None)
    if base is None:
        return False
    return torch.equal(energy_of(energy, rows[:256]), energy_of(base, rows[:256]))


def _verdict(
    run: Run,
    data: DataSet,
    energy: nn.Module,
    base: nn.Module,
    z: Estimate,
    splits: Mapping[str, Split],
    model_nll: Mapping[str, Tensor],
    base_nll: Mapping[str, Tensor],
    how: Mapping[str, Any],
) -> Verdict:
    rows = {name: own.observations for name, own in splits.items()}
    labels = run.scaling.labels
    by_label = labels and results_by_label(
        energy, base, z, {k: v.x for k, v in splits.items()}, model_nll["test"], labels
    )
    own_units = Mean.of(model_nll["test"] - splits["test"].units, rows["test"])
    return Verdict(
        mark=stored_fingerprint(energy),
        log_z=z.value,
        stderr=z.stderr,
        forward=Mean(*z.forward),
        backward=Mean(*z.backward),
        alarms=z.alarms,
        off_support_mass=z.off_support_mass,
        nll={name: Mean.of(values, rows[name]) for name, values in model_nll.items()},
        base={name: Mean.of(values, rows[name]) for name, values in base_nll.items()},
        gain=Mean.of(base_nll["test"] - model_nll["test"], rows["test"]),
        how=how,
        origin=run.family.name_of_base(run.recipe),
        regularisers=run.family.regularisers,
        units=measures(run.config["data"], run.scaling.cells, own_units),
        ended_early=_ended_early(run),
        labels=by_label,
        simplest=one_gaussian(run, data, splits),
        differences=differences_of(run, data, energy, base, z.walkers),
    )


def _ended_early(run: Run) -> bool:
    """Return whether the validation rows ended the training of a run, if that is known."""
    try:
        return ended_early(run.recipe, checkpoint.load(run.folder / "state"))
    except (FileNotFoundError, ValueError):
        return False
