"""Paths between energies of discrete sites."""

from targets import (
    Potts,
)

from noneq.energies import (
    Bernoulli,
    Categorical,
    GeometricPath,
    path_to,
)


def discrete_path(model):
    """Where walkers start, and a path to the model on which it has its own conditionals."""
    if hasattr(model, "path_from"):
        return path_to(model, model.base)
    if isinstance(model, Potts):
        return GeometricPath(Categorical(-0.5 * model.fields), model)
    return GeometricPath(Bernoulli(model.fields), model)
