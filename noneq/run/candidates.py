"""The bases among which the validation rows choose, and the words in which they are compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

__all__ = ["Candidate", "compared", "named"]


class Candidate(NamedTuple):
    """A base that was fitted to the training rows and scored by the validation rows.

    Attributes:
        base: kind of base: "full", "diagonal", "low-rank" or "mixture".
        components: number of Gaussians of a mixture; None for one Gaussian.
        ridge: increase of each variance, as a fraction of the variance of the column; None: the
            shrinkage by Ledoit and Wolf.
        nll: mean negative log-likelihood of the validation rows, with the noise of the training,
            in nats a row.
        stderr: its standard error over the rows.
        margins: whether the columns were mapped to normal variables before.
        network: whether a network on the base had learned from scores; the NLL is then that of
            the model, or of the base if that is lower.
        flow: whether the base is one of the coordinates of a spline flow.
    """

    base: str
    components: int | None
    ridge: float | None
    nll: float
    stderr: float
    margins: bool = False
    network: bool = False
    flow: bool = False


def named(candidate: Candidate) -> str:
    """Name a candidate in a few words, e.g. "mixture of 5, ridge 0.01".

    Arguments:
        candidate: base that was scored.

    Returns:
        Its kind, its number of Gaussians, and its ridge.
    """
    kind, components, ridge = candidate[:3]
    what = f"mixture of {components}" if kind == "mixture" else "one Gaussian"
    what += f", {kind}" if kind in ("low-rank", "diagonal") else ""
    what += "" if ridge is None else f", ridge {ridge:g}"
    what += ", of mapped columns" if candidate.margins else ""
    what += ", in a spline flow's coordinates" if candidate.flow else ""
    return f"{what}, with a network" if candidate.network else what


def compared(
    model: Any,
    candidates: Sequence[Candidate],
    *,
    margins: bool = False,
    flow: bool = False,
) -> str:
    """Describe in one line which base was chosen, beside the best of the other kind.

    Arguments:
        model: settings of the model with the chosen base.
        candidates: all bases that were scored.
        margins: whether the chosen base is one of mapped columns.
        flow: whether it is one of the coordinates of a spline flow.

    Returns:
        E.g. "mixture of 5, ridge 0.01: 15.41 (one Gaussian: 16.73)", with the mean negative
        log-likelihoods of the validation rows; a Gaussian without a ridge is always among them.
        If a flow was tried, the best base with it stands beside the best without it.
        Networks on two bases are compared, too: "..., with a network: 14.80 (...: 15.10)".
    """
    own = (model.base, model.components, model.ridge)
    bases = [one for one in candidates if not one.network]
    coordinates = (margins, flow)
    chosen = next(o for o in bases if o[:3] == own and (o.margins, o.flow) == coordinates)
    mixed = chosen.base == "mixture"
    others = [one for one in bases if (one.base == "mixture") != mixed]
    if any(one.flow != flow for one in bases):
        others = [one for one in bases if one.flow != flow]
    best = sorted(others, key=lambda one: one.nll)[:1]
    simple = ("full", None, None)
    plain = [o for o in bases if o[:3] == simple and not (o.margins or o.flow)]
    beside = [one for one in dict.fromkeys([*best, *plain]) if one != chosen]
    said = [_beside(chosen, *beside)]
    networks = sorted((one for one in candidates if one.network), key=lambda one: one.nll)
    if networks:
        said.append(_beside(*networks))
    return "; ".join(said)


def _beside(chosen: Candidate, *others: Candidate) -> str:
    first, *rest = (f"{named(one)}: {one.nll:.2f}" for one in (chosen, *others))
    return f"{first} ({', '.join(rest)})" if rest else first
