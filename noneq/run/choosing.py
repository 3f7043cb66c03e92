"""Functions that make a recipe, i.e. a `Recipe` object with all settings of a training.

`choose` makes a recipe of defaults that suit the data and of the user's changes; `with_changes`
changes a recipe; `read_recipe` makes one of the dictionary in a run's config.json; `applicable`
lists the settings.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Literal

from noneq.run.families import FAMILIES, About, family_of
from noneq.run.ranges import check_types
from noneq.run.recipe import Bracket, Budget, Optimizer, Recipe

__all__ = ["applicable", "choose", "extended", "read_recipe", "with_changes"]

# settings that may change when a run is resumed
_CHANGEABLE = ("budget.", "bracket.", "model.steps", "model.eps", "model.corrections")


def choose(
    shape: Sequence[int],
    rows: int,
    kind: Literal["image", "table"],
    *,
    discrete: bool = False,
    model: str = "network",
    **changes: Any,
) -> Recipe:
    """Make a recipe, i.e. all settings of a training, for data of some shape and kind.

    Settings that are not given get defaults that suit the data and the kind of model.

    Arguments:
        shape: shape of one row; of images (channels, height, width).
        rows: number of training rows.
        kind: kind of the data, "image" or "table".
        discrete: whether values repeat or columns are constant, so that the data have a density
            only with noise.
        model: kind of model: "network", "rbm", "gaussian-rbm", "interpolant" or "conditional".
        changes: values of fields of any section of a `Recipe`, by name, e.g. ``tau=0.1``, or
            dictionaries by section. Fields of the section bracket (the estimate of log Z after
            training) need the dictionary: ``bracket={"walkers": 64}``.

    Returns:
        A `Recipe` with all settings.

    Raises:
        TypeError: a change has a name that no field of a recipe has.
        ValueError: a value is of a wrong type or out of range, a choice does not apply to the
            kind of model, or the rows are images with labels and the model takes none.

    >>> choose((1, 8, 8), 1257, "image", discrete=True, model="rbm", hidden=50).model.hidden
    50
    """
    family = family_of(model)
    if kind == "image" and len(shape) == 1 and not family.labelled:
        raise ValueError("rows of images with their labels are for `model` conditional")
    recipe = family.defaults(About(tuple(shape), rows, kind, discrete))
    return with_changes(recipe, changes)


def with_changes(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """Change some settings in a copy of a recipe.

    Arguments:
        recipe: recipe, i.e. all settings of a training; it is not changed itself.
        changes: new values by the name of the setting, e.g. ``{"tau": 0.1}``, or dictionaries by
            the name of a section, e.g. ``{"bracket": {"walkers": 64}}``.

    Returns:
        A new `Recipe`.

    Raises:
        TypeError: a change has a name that no field of a recipe has.
        ValueError: a value is of a wrong type or out of range, or a choice does not apply to the
            kind of model.
    """
    sections: dict[str, dict[str, Any]] = {}
    for name, value in changes.items():
        if name in recipe.sections() and isinstance(value, Mapping):
            for own, new in value.items():
                sections.setdefault(_section(recipe, own, (name,)), {})[own] = new
        else:
            sections.setdefault(_section(recipe, name), {})[name] = value
    for name, new in sections.items():
        check_types(type(getattr(recipe, name)), new)
    changed = {name: replace(getattr(recipe, name), **new) for name, new in sections.items()}
    return family_of(recipe.kind).reconciled(replace(recipe, **changed), {*changes})


def extended(recipe: Recipe, changes: Mapping[str, Any], run: Path) -> Recipe:
    """Change settings of a run that may change once training has begun, in a copy of its recipe.

    Arguments:
        recipe: recipe, i.e. all settings of the training.
        changes: new values as `with_changes` takes them, of the length of the training, the
            estimate of log Z or the sampling.
        run: folder of the run, for the text of the error.

    Returns:
        A new `Recipe`.

    Raises:
        ValueError: a change to another setting, which is fixed.
    """
    found = with_changes(recipe, changes)
    was, now = recipe.plain(), found.plain()
    for section in recipe.sections():
        for name, value in now[section].items():
            if value != was[section][name] and not f"{section}.{name}".startswith(_CHANGEABLE):
                raise ValueError(
                    f"{run}: was begun with `{name}` {was[section][name]}, and a run keeps its "
                    "choices; leave that out, or train a new run (`out`)"
                )
    return found


def _section(recipe: Recipe, name: str, among: Sequence[str] = ()) -> str:
    """Find the section that has a field of that name; ValueError where it does not apply."""
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
    """Collect the names of the fields of all sections, of every kind of model."""
    own = [kind for family in FAMILIES.values() for kind in (family.model, family.train)]
    return {f.name for section in (*own, Optimizer, Bracket, Budget) for f in fields(section)}


def applicable(recipe: Recipe) -> dict[str, Any]:
    """List the settings of a recipe, without those that have no effect on its kind of model.

    Arguments:
        recipe: recipe, i.e. all settings of a training.

    Returns:
        A dictionary of values by the name of the setting; settings of the section bracket (the
        estimate of log Z) have names such as ``bracket.walkers``.
    """
    family, found = family_of(recipe.kind), {}
    for section, own in recipe.sections().items():
        for f in fields(own):
            if f"{section}.{f.name}" not in family.not_applicable:
                name = f"bracket.{f.name}" if section == "bracket" else f.name
                found[name] = getattr(own, f.name)
    return {"model": recipe.kind, **found}


def read_recipe(plain: Mapping[str, Any]) -> Recipe:
    """Make a recipe from nested dictionaries, as the file config.json of a training run has them.

    Arguments:
        plain: dictionary that `Recipe.plain` returned: the kind of model, and a dictionary for
            each section of settings.

    Returns:
        The recipe, i.e. all settings of a training, as a `Recipe`.

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
