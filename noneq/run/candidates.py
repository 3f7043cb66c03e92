"""The bases among which the validation rows choose, and the words in which they are compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

__all__ = ["Candidate", "compared", "explained", "named"]


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
        columns: the coordinates that it is a base of, as `noneq.data.Scaling.columns` calls them.
        network: whether a network on the base had learned from scores; the NLL is then that of
            the model, or of the base if that is lower.
    """

    base: str
    components: int | None
    ridge: float | None
    nll: float
    stderr: float
    columns: str = "standardised"
    network: bool = False


_OF = {
    "standardised": "",
    "mapped": ", of mapped columns",
    "apart": ", of mapped columns with peaks apart",
    "flow": ", in a spline flow's coordinates",
}


def named(candidate: Candidate) -> str:
    """Name a candidate in a few words, e.g. "mixture of 5, ridge 0.01".

    Arguments:
        candidate: base that was scored.

    Returns:
        Its kind, its number of Gaussians, its ridge and its coordinates.
    """
    kind, components, ridge = candidate[:3]
    what = f"mixture of {components}" if kind == "mixture" else "one Gaussian"
    what += f", {kind}" if kind in ("low-rank", "diagonal") else ""
    what += "" if ridge is None else f", ridge {ridge:g}"
    what += _OF[candidate.columns]
    return f"{what}, with a network" if candidate.network else what


_MEANS = {
    "ridge": "A ridge is a share of its variance that is added to the variance of each column.",
    "mapped": "Mapped columns are made normal, each by itself, before the base is fitted; with "
    "peaks apart, categories and columns of several peaks are not.",
    "with a network": "A network, where one is named, was trained on the base by score matching.",
}


def explained(names: str) -> list[str]:
    """Explain the words by which candidates are named.

    Arguments:
        names: text with names of candidates, as `named` writes them.

    Returns:
        A sentence for each word of it that is not plain English.

    >>> explained("one Gaussian, ridge 0.03")
    ['A ridge is a share of its variance that is added to the variance of each column.']
    """
    return [sentence for word, sentence in _MEANS.items() if word in names]


def compared(model: Any, candidates: Sequence[Candidate], columns: str = "standardised") -> str:
    """Describe in one line which base was chosen, beside the best of the other kind.

    Arguments:
        model: settings of the model with the chosen base.
        candidates: all bases that were scored.
        columns: coordinates of the chosen base, as `noneq.data.Scaling.columns` calls them.

    Returns:
        E.g. "mixture of 5, ridge 0.01: 15.41 (one Gaussian: 16.73)", with the mean negative
        log-likelihoods of the validation rows; a Gaussian without a ridge is always among them.
        If a flow was tried, the best base with it stands beside the best without it.
        Networks on two bases are compared, too: "..., with a network: 14.80 (...: 15.10)".
    """
    own = (model.base, model.components, model.ridge)
    bases = [one for one in candidates if not one.network]
    chosen = next(one for one in bases if one[:3] == own and one.columns == columns)
    mixed = chosen.base == "mixture"
    others = [one for one in bases if (one.base == "mixture") != mixed]
    by_flow = [one for one in bases if (one.columns == "flow") != (columns == "flow")]
    if by_flow:
        others = by_flow
    best = sorted(others, key=lambda one: one.nll)[:1]
    simple = ("full", None, None)
    plain = [o for o in bases if o[:3] == simple and o.columns == "standardised"]
    beside = [one for one in dict.fromkeys([*best, *plain]) if one != chosen]
    said = [_beside(chosen, *beside)]
    networks = sorted((one for one in candidates if one.network), key=lambda one: one.nll)
    if networks:
        said.append(_beside(*networks))
    return "; ".join(said)


def _beside(chosen: Candidate, *others: Candidate) -> str:
    first, *rest = (f"{named(one)}: {one.nll:.2f}" for one in (chosen, *others))
    return f"{first} ({', '.join(rest)})" if rest else first
