"""The kinds of models that a run can train: `FAMILIES` by name, each a `Family`."""

from noneq.run.families.base import About, Family, Size
from noneq.run.families.interpolant import InterpolantFamily
from noneq.run.families.network import NetworkFamily
from noneq.run.families.rbm import BernoulliRBMFamily, GaussianRBMFamily

__all__ = ["FAMILIES", "About", "Family", "Size", "family_of"]

FAMILIES: dict[str, Family] = {
    family.kind: family
    for family in (NetworkFamily(), BernoulliRBMFamily(), GaussianRBMFamily(), InterpolantFamily())
}
"""Every kind of model that a run can train, by the name that a recipe gives it."""


def family_of(kind: str) -> Family:
    """Look up a kind of model by its name.

    Returns:
        The family.

    Raises:
        ValueError: no kind of model has this name.
    """
    if kind not in FAMILIES:
        raise ValueError(f"`model` is one of {', '.join(FAMILIES)}, got {kind!r}")
    return FAMILIES[kind]
