"""Targets of the comparison of log Z: the same in every library, and right in closed form."""

import numpy as np
import pytest
import torch

import noneq
from experiments.log_z.targets import TARGETS, target
from noneq import testing


def test_every_target_is_the_same_in_torch_and_numpy_and_from_the_base():
    rng = torch.Generator().manual_seed(0)
    for name in TARGETS:
        t = target(name)
        z = torch.randn(16, t.dim, generator=rng)
        x = t.base.mean + t.base.factor.mul(z)
        path = t.path()
        u0, u1 = noneq.energies.evaluate(path.start, x)[0], noneq.energies.evaluate(path.end, x)[0]
        np.testing.assert_allclose(t.tilt(np)(z.numpy()), u1 - u0, rtol=1e-4, atol=2e-3)
        np.testing.assert_allclose(t.tilt(torch)(z), u1 - u0, rtol=1e-4, atol=2e-3)


@pytest.mark.parametrize(
    ("name", "same"),
    [
        ("banana", testing.parabola(0.3)),
        ("funnel", testing.neal(10, 1.5, 0.5)),
        ("skewed", testing.logistic(np.where(np.arange(64) % 3 == 0, 4.0, 0.5).tolist())),
    ],
)
def test_targets_are_those_of_the_library(name, same):
    # whose log Z, means and samples are tested against sums
    x = same.sample(64, torch.Generator().manual_seed(0))
    found = target(name).formula(np)(x.numpy())
    np.testing.assert_allclose(found, same.energy(x).numpy(), rtol=1e-6, atol=1e-5)
    assert target(name).log_z == same.log_z
