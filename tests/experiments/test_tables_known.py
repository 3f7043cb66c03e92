"""Tables of known density: densities integrate to 1 and belong to their rows; log Z is exact."""

import numpy as np
import pytest
import torch

from experiments.tables import known
from experiments.tables.exact import by_importance, by_quadrature, proposal
from noneq.energies import Gaussian, GaussianMixture


def of_rows(name, n, seed):
    """Rows (n, D), groups as numbers, and their log-density as a function of tensors."""
    draw, log_density = known.TABLES[name]
    columns = draw(n, np.random.default_rng(seed)).values()
    numbers = [np.unique(c, return_inverse=True)[1] if c.dtype.kind == "U" else c for c in columns]
    rows = torch.from_numpy(np.stack(numbers, 1).astype(np.float64))
    return rows, lambda x: torch.from_numpy(log_density(x.numpy()))


@pytest.mark.parametrize("name", known.TABLES)
def test_rows_are_of_their_density(name):
    rows, log_density = of_rows(name, 40_000, 0)
    groups = range(3) if name == "bananas" else (None,)
    x = rows[:, :4] if name == "bananas" else rows
    if name == "curve":
        x = torch.cat([x[:, :1].log(), x[:, 1:]], 1)  # in which nothing is cut off at 0

    def each(x):
        """Log-densities (B, groups)."""
        if name == "curve":
            return log_density(torch.cat([x[:, :1].exp(), x[:, 1:]], 1))[:, None] + x[:, :1]
        own = [x if k is None else torch.nn.functional.pad(x, (0, 1), value=k) for k in groups]
        return torch.stack([log_density(one) for one in own], 1)

    q = proposal(Gaussian.fit(x), x[:5000], 12, 0)
    found = by_importance(lambda x: -each(x).logsumexp(1), q, 200_000, torch.Generator())
    assert abs(found.log_z) < 4 * found.error
    assert found.error < 0.01
    drawn = q.sample(200_000, torch.Generator().manual_seed(1))
    w = (each(drawn) + q(drawn)[:, None]).exp()
    for f in (lambda x: x, torch.square, lambda x: x[:, :1] * x[:, 1:]):
        weighted = w.sum(1, keepdim=True) * f(drawn)
        error = (weighted.var(0) / len(w) + f(x).var(0) / len(x)).sqrt()
        assert ((weighted.mean(0) - f(x).mean(0)).abs() < 4.5 * error).all()
    if name == "bananas":
        shares = torch.bincount(rows[:, 4].long()) / len(rows)
        torch.testing.assert_close(w.mean(0).float(), shares, atol=0.012, rtol=0)


@pytest.mark.parametrize(("d", "cells", "parts"), [(2, 80, 3), (3, 24, 6)])
def test_quadrature_and_draws_know_the_log_z_of_a_mixture(d, cells, parts):
    rng = torch.Generator().manual_seed(d)
    root = torch.randn(2, d, d, generator=rng) * 0.3
    covariances = root @ root.mT + 0.05 * torch.eye(d)
    masses = torch.tensor([3.0, 1.0])
    mixture = GaussianMixture(torch.randn(2, d, generator=rng), covariances, masses)
    x = mixture.sample(4000, rng)
    summed = by_quadrature(lambda x: mixture(x) - 1.7, x, cells, parts)
    assert summed.log_z == pytest.approx(1.7, abs=2e-5)
    assert summed.error < 1e-4
    coarse = by_quadrature(lambda x: mixture(x) - 1.7, x, 6, 2)
    assert abs(coarse.log_z - 1.7) < 3 * coarse.error
    drawn = by_importance(lambda x: mixture(x) - 1.7, proposal(mixture, x, 2, 0), 100_000, rng)
    assert abs(drawn.log_z - 1.7) < 4 * drawn.error
    assert drawn.error < 3e-3
    assert drawn.ess > 0.5
