"""The kinds of models: "network", "rbm", "gaussian-rbm", "interpolant" and "conditional".

For each kind the dictionary `FAMILIES` has a `Family`: an object that has the default settings,
and builds, trains and samples models of this kind.
"""

from noneq.run.families.about import About, Size
from noneq.run.families.base import Family
from noneq.run.families.conditional import ConditionalFamily
from noneq.run.families.interpolant import InterpolantFamily
from noneq.run.families.network import NetworkFamily
from noneq.run.families.rbm import BernoulliRBMFamily, GaussianRBMFamily

__all__ = ["FAMILIES", "About", "Family", "Size", "family_of"]

FAMILIES: dict[str, Family] = {
    family.kind: family
    for family in (
        NetworkFamily(),
        BernoulliRBMFamily(),
        GaussianRBMFamily(),
        InterpolantFamily(),
        ConditionalFamily(),
    )
}
"""A dictionary of all kinds of models, by name.

The names are "network", "rbm", "gaussian-rbm", "interpolant" and "conditional". Each value is a
`Family`, the object that builds, trains and samples models of this kind.
"""


def family_of(kind: str) -> Family:
    """Look up a kind of model by its name.

    Arguments:
        kind: name of the kind, e.g. "network", a key of `FAMILIES`.

    Returns:
        The `Family`, i.e. the object that builds, trains and samples models of this kind.

    Raises:
        ValueError: no kind of model has this name.
    """
    if kind not in FAMILIES:
        raise ValueError(f"`model` is one of {', '.join(FAMILIES)}, got {kind!r}")
    return FAMILIES[kind]
