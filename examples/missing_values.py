"""Missing values drawn from a density, beside scikit-learn's imputers.

A quarter of the rows of scikit-learn's wines (178 rows of 13 columns) are set aside, and each of
their cells is hidden with probability 0.3. `EnergyDensity` learns the density of the other rows,
and draws the hidden values given those that are left. The median of the draws (mapped columns have
heavy tails, so that means are noisy) is compared with the column medians and with
``IterativeImputer``, a regression of each column on the others; and the draws say how sure they
are: nine hidden values of ten should lie between their 5 % and 95 % quantiles.

In standard deviations of the columns the mean absolute errors are 0.77 (medians), 0.57
(``IterativeImputer``) and 0.51 (`EnergyDensity`), and 90 % of the hidden values lie between the
quantiles.

    python examples/missing_values.py
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_wine
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, SimpleImputer
from sklearn.model_selection import train_test_split

from noneq.estimators import EnergyDensity


def main(seed: int = 0) -> None:
    """Fill in hidden values in three ways, and print the errors in standard deviations."""
    table: NDArray[np.float64] = load_wine().data
    train, test = train_test_split(table, random_state=seed)
    hidden = np.random.default_rng(seed).random(test.shape) < 0.3
    gaps = np.where(hidden, np.nan, test)
    sd = train.std(0)

    model = EnergyDensity(random_state=seed).fit(train)
    draws = model.sample_conditional(gaps, n_samples=200, random_state=seed)
    filled = {
        "column medians": SimpleImputer(strategy="median").fit(train).transform(gaps),
        "IterativeImputer": IterativeImputer(random_state=seed).fit(train).transform(gaps),
        "EnergyDensity": np.median(draws, 1),
    }
    for name, found in filled.items():
        off = ((found - test) / sd)[hidden]
        rms, absolute = np.sqrt((off**2).mean()), np.abs(off).mean()
        print(f"{name:17} root mean square error {rms:.3f}, mean absolute error {absolute:.3f}")
    low, high = np.quantile(draws, [0.05, 0.95], axis=1)
    inside = ((low <= test) & (test <= high))[hidden]
    print(f"between the 5 % and 95 % quantiles of the draws: {inside.mean():.0%}")
    print(f"base: {model.base_name_}; {model.n_iter_} iterations, kept: {model.best_iter_}")


if __name__ == "__main__":
    main()
