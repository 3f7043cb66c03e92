"""log Z of a model that is conditional on labels: bracketed for each label, then taken to 0.

A model ``U(x, c)`` is trained on images and labels together, so that each label has a ``log Z_c``
of its own. After training each of them is bracketed by annealing (`noneq.energies.Given`), and the
estimate is added to the network's output for the label: then ``p(x | c) = exp(-U(x, c))``, with
log Z 0 for every label, within the errors of the brackets. (Where the base is kept, its own log Z
stays, the same for every label.) By Bayes' theorem the probability of a label, given an image, is
proportional to ``p(c) exp(-U(x, c))``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from noneq.data.labelled import Labels
from noneq.energies import Given, fingerprint, posterior, with_context
from noneq.likelihood import Estimate
from noneq.likelihood.support import off_support_mass
from noneq.models import single_networks
from noneq.random import add_noise
from noneq.walkers import LogZ, Walkers

__all__ = ["EstimateByLabel", "normalised", "results_by_label"]


@dataclass(frozen=True)
class EstimateByLabel(Estimate):
    """The estimate of log Z of a model that was normalised for each label.

    Of each label the larger of its two estimates was taken to 0. Here ``backward`` is the mean of
    these over the labels of the training rows, 0, and ``forward`` the mean of the smaller ones.

    Attributes:
        each: estimates of log Z of each label, before the model was changed.
    """

    each: tuple[Estimate, ...] = ()


def normalised(
    energy: nn.Module,
    bracket: Callable[[Given, Tensor, int], Estimate],
    rows: Tensor,
    labels: Labels,
    *,
    noise: float,
    rng: torch.Generator,
) -> EstimateByLabel:
    """Bracket log Z of each label, and add it to the model in place, so that all are 0.

    Arguments:
        energy: trained model of the kind ``conditional``, which is changed.
        bracket: function ``(model of a label, its training images, label) -> Estimate``.
        rows: training rows (M, d + k).
        labels: the labels of the rows.
        noise: standard deviation of the noise that the model was trained with.
        rng: source of randomness of noise and splits, for the mass where there are no data.

    Returns:
        The estimate of the changed model's log Z, whose walkers have labels in the proportions of
        the training rows, and whose alarms name their label.

    Raises:
        FloatingPointError: an estimate of log Z is not finite; the model is as it was.
    """
    k = len(labels.classes)
    x, c = rows[:, :-k], rows[:, -k:]
    eye = torch.eye(k, device=rows.device)
    found = [
        bracket(Given(energy, eye[i]), x[c[:, i] == 1], label)
        for i, label in enumerate(labels.classes)
    ]
    for label, z in zip(labels.classes, found, strict=True):
        if not math.isfinite(z.value):
            raise FloatingPointError(f"label {label}: log Z is {z.value}, no finite number")
    assert isinstance(energy.net, nn.Module)
    (net,) = single_networks(energy.net)
    *_, last = (layer for layer in net.modules() if isinstance(layer, nn.Linear))
    with torch.no_grad():
        last.bias.add_(torch.tensor([z.value for z in found]).to(last.bias))
    shares = c.double().mean(0).tolist()
    alarms = [
        f"label {label}: {alarm}"
        for label, z in zip(labels.classes, found, strict=True)
        for alarm in z.alarms
    ]
    walkers = _joined(energy, [z.walkers for z in found], shares)
    low = [LogZ(z.interval[0].value - z.value, z.interval[0].stderr) for z in found]
    high = [LogZ(0.0, z.stderr) for z in found]
    return EstimateByLabel(
        _mean(low, shares),
        _mean(high, shares),
        tuple(alarms),
        walkers.ess,
        walkers.effective_ancestors,
        found[0].schedule,
        walkers,
        fingerprint(energy),
        off_support_mass(walkers, add_noise(rows, noise, rng, held=k), rng),
        tuple(found),
    )


def _mean(sides: Sequence[LogZ], shares: Sequence[float]) -> LogZ:
    value = sum(p * side.value for p, side in zip(shares, sides, strict=True))
    errors = (p * side.stderr for p, side in zip(shares, sides, strict=True))
    return LogZ(value, math.hypot(*errors))


def _joined(energy: nn.Module, found: Sequence[Walkers], shares: Sequence[float]) -> Walkers:
    """Join the walkers of each label, which count as much as the label's training rows."""
    one_hot = torch.eye(len(found), device=found[0].x.device)
    islands = found[0].islands
    x = [with_context(own.x, c) for own, c in zip(found, one_hot, strict=True)]
    log_w = [own.weights.log_p + math.log(p) for own, p in zip(found, shares, strict=True)]
    before = [0, *itertools.accumulate(len(own) for own in found)]
    ancestors = [own.weights.ancestors + i for own, i in zip(found, before, strict=False)]

    def by_island(parts: Sequence[Tensor]) -> Tensor:
        """Join the walkers of the first island of every label, those of the second, ..."""
        own = [part.reshape(islands, -1, *part.shape[1:]) for part in parts]
        return torch.cat(own, 1).flatten(0, 1)

    walkers = Walkers.at(by_island(x), energy, islands=islands)
    weights = replace(walkers.weights.add(by_island(log_w)), ancestors=by_island(ancestors))
    return replace(walkers, weights=weights)


def results_by_label(
    energy: nn.Module,
    base: nn.Module,
    z: Estimate,
    rows: Mapping[str, Tensor],
    nll: Tensor,
    labels: Labels,
) -> dict[str, Any]:
    """Collect what is known of each label, and how many test rows get their label by Bayes.

    Arguments:
        energy: model whose log Z is the same for every label.
        base: its base.
        z: estimate of its log Z; exact where the model is its base.
        rows: "train" and "test" rows (M, d + k).
        nll: NLL of the test rows (M,), in nats.
        labels: the labels of the rows.

    Returns:
        A dictionary for JSON: ``found`` and ``found_by_base``, the shares of test rows without
        noise whose most probable label is their own; and ``each``, for each label a dictionary of
        the numbers of its training rows and its test rows, the mean ``nll`` of these and the share
        ``found`` of them, None if there are none; ``log_z``, the two ends of the bracket of its
        log Z before the model was normalised, each with its standard error, ``within``, how far it
        is known in nats, and its number of ``alarms``. The model was normalised by the larger
        ends, so that a label that is known less is rather too unlikely than too likely.
    """
    k = len(labels.classes)
    own, counts = rows["test"][:, -k:].argmax(1), rows["train"][:, -k:].sum(0)
    right = _found(energy, rows["test"], counts / counts.sum())
    brackets = z.each if isinstance(z, EstimateByLabel) else (z,) * k
    each = []
    for i, one in enumerate(brackets):
        of = own == i
        there = bool(of.any())
        each.append(
            {
                "label": labels.classes[i],
                "train": int(counts[i]),
                "test": int(of.sum()),
                "nll": float(nll[of].mean()) if there else None,
                "found": float(right[of].mean()) if there else None,
                "log_z": tuple(tuple(end) for end in one.interval),
                "within": abs(one.gap) + math.hypot(one.forward.stderr, one.backward.stderr),
                "alarms": len(one.alarms),
            }
        )
    by_base = _found(base, rows["test"], counts / counts.sum())
    shares = {"found": float(right.mean()), "found_by_base": float(by_base.mean())}
    return {**shares, "each": tuple(each)}


def _found(energy: nn.Module, rows: Tensor, shares: Tensor) -> Tensor:
    """Return 1 for each row whose most probable label is its own, else 0 (M,)."""
    k = len(shares)
    contexts = torch.eye(k, device=rows.device)
    best = posterior(energy, rows[:, :-k], contexts, shares).argmax(1)
    return (best == rows[:, -k:].argmax(1)).double()
