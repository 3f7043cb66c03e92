"""The kinds of models that can be trained: `FAMILIES` has an object of `Family` for each."""

from noneq.run.families.base import About, Family, Size
from noneq.run.families.interpolant import InterpolantFamily
from noneq.run.families.network import NetworkFamily
from noneq.run.families.rbm import BernoulliRBMFamily, GaussianRBMFamily

__all__ = ["FAMILIES", "About", "Family", "Size", "family_of"]

FAMILIES: dict[str, Family] = {
    family.kind: family
    for family in (NetworkFamily(), BernoulliRBMFamily(), GaussianRBMFamily(), InterpolantFamily())
}
"""A dictionary of all kinds of models: a name, e.g. "rbm", and the `Family` that builds them."""


def family_of(kind: str) -> Family:
    """Look up a kind of model by its name.

    Arguments:
        kind: name of the kind: "network", "rbm", "gaussian-rbm" or "interpolant".

    Returns:
        The family: the object that builds, trains and samples models of this kind.

    Raises:
        ValueError: no kind of model has this name.
    """
    if kind not in FAMILIES:
        raise ValueError(f"`model` is one of {', '.join(FAMILIES)}, got {kind!r}")
    return FAMILIES[kind]
