"""Making a recipe: the defaults of a kind of model for the data, with the user's changes.

`choose` makes one, `with_changes` changes one, `read_recipe` reads one from a file.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, Literal

from noneq.run.families import FAMILIES, About, family_of
from noneq.run.recipe import Bracket, Budget, Optimizer, Recipe

__all__ = ["applicable", "choose", "read_recipe", "with_changes"]


def choose(
    shape: Sequence[int],
    rows: int,
    kind: Literal["image", "table"],
    *,
    discrete: bool = False,
    model: str = "network",
    **changes: Any,
) -> Recipe:
    """Make a recipe for data of a shape and kind: the defaults of a model, with some changes.

    Arguments:
        shape: shape of one row; of images (channels, height, width).
        rows: number of training rows.
        kind: kind of the data, image or table.
        discrete: whether values repeat or columns are constant, so that the data have a density
            only with noise.
        model: kind of model, one of `noneq.run.families.FAMILIES`.
        changes: values of fields of the recipe's sections, by name, e.g. ``tau=0.1``; those of
            the bracket in a dictionary, ``bracket={"walkers": 64}``, as any section's may be.

    Returns:
        The recipe.

    Raises:
        TypeError: a change has a name that no field of a recipe has.
        ValueError: a value is out of range, or a choice does not apply to the kind of model.

    >>> choose((1, 8, 8), 1257, "image", discrete=True, model="rbm", hidden=50).model.hidden
    50
    """
    family = family_of(model)
    recipe = family.defaults(About(tuple(shape), rows, kind, discrete))
    return with_changes(recipe, changes)


def with_changes(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """Change some choices of a recipe.

    Arguments:
        recipe: recipe to start from.
        changes: values by name, as `choose` takes them.

    Returns:
        A new recipe.

    Raises:
        TypeError: a change has a name that no field of a recipe has.
        ValueError: a value is out of range, or a choice does not apply to the kind of model.
    """
    sections: dict[str, dict[str, Any]] = {}
    for name, value in changes.items():
        if name in recipe.sections() and isinstance(value, Mapping):
            for own, new in value.items():
                sections.setdefault(_section(recipe, own, (name,)), {})[own] = new
        else:
            sections.setdefault(_section(recipe, name), {})[name] = value
    changed = {name: replace(getattr(recipe, name), **new) for name, new in sections.items()}
    return replace(recipe, **changed)


def _section(recipe: Recipe, name: str, among: Sequence[str] = ()) -> str:
    """The section that has a field of that name; ValueError where it does not apply."""
    family, sections = family_of(recipe.kind), recipe.sections()
    for section in among or [s for s in sections if s != "bracket"]:
        if name in {f.name for f in fields(sections[section])}:
            if f"{section}.{name}" in family.not_applicable:
                break
            return section
    else:
        if name not in _every_name():
            near = difflib.get_close_matches(name, _every_name(), 1, 0.5)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise TypeError(f"a recipe has no {name!r}{hint}")
    raise ValueError(f"`{name}` does not apply to `model` {recipe.kind}: leave it out")


def _every_name() -> set[str]:
    """The fields of all sections, of every kind of model."""
    own = [kind for family in FAMILIES.values() for kind in (family.model, family.train)]
    return {f.name for section in (*own, Optimizer, Bracket, Budget) for f in fields(section)}


def applicable(recipe: Recipe) -> dict[str, Any]:
    """List the choices of a recipe that apply to its kind of model.

    Returns:
        Values by the name of the field; those of the bracket as ``bracket.walkers``.
    """
    family, found = family_of(recipe.kind), {}
    for section, own in recipe.sections().items():
        for f in fields(own):
            if f"{section}.{f.name}" not in family.not_applicable:
                name = f"bracket.{f.name}" if section == "bracket" else f.name
                found[name] = getattr(own, f.name)
    return {"model": recipe.kind, **found}


def read_recipe(plain: Mapping[str, Any]) -> Recipe:
    """Make a recipe from the nested dictionaries of `Recipe.plain`.

    Returns:
        The recipe.

    Raises:
        TypeError: a section has a field that it should not have.
        KeyError: a section is missing.
        ValueError: a value is out of range, or the kind of model is unknown.
    """
    family = family_of(plain["kind"])
    return Recipe(
        plain["kind"],
        family.model(**plain["model"]),
        family.train(**plain["train"]),
        Optimizer(**plain["optimizer"]),
        Bracket(**plain["bracket"]),
        Budget(**plain["budget"]),
    )
