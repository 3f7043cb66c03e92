"""One Gaussian of a table's standardised columns: the simplest model, beside which others stand.

The base of a model may be a mixture, in mapped columns. How much was gained by this is seen only
beside what anybody would try first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from noneq.data import DataSet
from noneq.energies import Gaussian
from noneq.energies.background import with_background
from noneq.run.background import MASS
from noneq.run.bases import WIDE
from noneq.run.folder import Run
from noneq.run.likelihoods import Split, nll_of_splits
from noneq.run.verdict import Mean

__all__ = ["one_gaussian"]


def one_gaussian(run: Run, data: DataSet, splits: Mapping[str, Split]) -> dict[str, Mean] | None:
    """Fit one Gaussian to the standardised training rows of a table, and compute its likelihood.

    Its covariance is shrunk after Ledoit and Wolf (2004), and it has a background where the model
    has one, so that a single far row does not decide. Its likelihoods are of the same
    quantities as those of the run's model and its base.

    Arguments:
        run: run whose likelihoods are computed.
        data: its data, in the model's coordinates.
        splits: the rows, as `noneq.run.likelihoods.splits_of` prepared them.

    Returns:
        Mean NLL of each split by its name, in nats a row; None where the data are no table of
        numbers, have more than 2,048 columns, or the base of the model is this Gaussian.
    """
    scaling = run.scaling
    settings, mapped = run.recipe.model, scaling.coordinates is not None
    kind, ridge = (getattr(settings, name, None) for name in ("base", "ridge"))
    own = kind == "full" and ridge is None and not mapped
    bits = run.family.binary or scaling.threshold is not None
    if own or bits or not run.tabular or data.shape[0] > WIDE:
        return None
    plain = replace(scaling, margins=None, flow=None)
    rows = {name: scaling.standardised(split.x).to(split.x) for name, split in splits.items()}
    noise = run.recipe.train.noise
    gaussian: Any = Gaussian.fit(rows["train"], noise=noise)
    if getattr(settings, "background", False):
        gaussian = with_background(gaussian, min(1 / data.sizes[0], MASS), mapped=False)
    standardised = {
        name: split._replace(x=rows[name], volume=plain.log_volume(rows[name]))
        for name, split in splits.items()
    }
    found = nll_of_splits(gaussian, gaussian.log_z(), standardised, noise)
    return {name: Mean.of(values, splits[name].observations) for name, values in found.items()}
