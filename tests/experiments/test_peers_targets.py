"""Targets of the comparison of log Z: the same in every library, and right in closed form."""

import math

import numpy as np
import torch

import noneq
from experiments.log_z.targets import TARGETS, target


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


def test_the_closed_forms_of_log_z_agree_with_quadrature():
    def line(n, low, high):
        at = np.linspace(low, high, n)
        return at, at[1] - at[0]

    (a, da), (b, db) = line(1201, -7, 9), line(1501, -8, 42)
    x = np.stack(np.meshgrid(a, b, indexing="ij"), -1)
    z = np.exp(-target("banana").formula(np)(x)).sum() * da * db
    assert abs(math.log(z) - target("banana").log_z) < 1e-6

    x, dx = line(40_001, -60, 60)  # of all coordinates at once: columns do not mix
    each = np.stack([x] * 64, -1).astype("d")
    one = np.zeros_like(each)
    whole = target("skewed").formula(np)
    skews = np.where(np.arange(64) % 3 == 0, 4.0, 0.5)
    log_z = 0.0
    for i in (0, 1):
        one[:] = 0.0
        one[:, i] = x
        rest = whole(np.zeros(64)) - (skews[i] + 1) * math.log(2)
        z = np.exp(-(whole(one) - rest)).sum() * dx
        assert abs(z * skews[i] - 1) < 1e-3
        log_z += math.log(z) * (22 if i == 0 else 42)
    assert abs(log_z - target("skewed").log_z) < 0.05


def test_the_funnels_log_z_is_its_entropy_less_its_mean_energy():
    rng = np.random.default_rng(0)
    t = target("funnel")
    v = 0.5 + 1.5 * rng.standard_normal(200_000)
    rest = np.exp(v / 2)[:, None] * rng.standard_normal((len(v), 9))
    u = t.formula(np)(np.concatenate([v[:, None], rest], 1))
    entropy = math.log(1.5) + 9 * 0.5 / 2 + 5 * (math.log(2 * math.pi) + 1)
    stderr = u.std() / math.sqrt(len(u))
    assert abs(entropy - u.mean() - t.log_z) < 4 * stderr
