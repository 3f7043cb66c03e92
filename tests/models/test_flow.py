"""Likelihoods by the probability flow, against exact densities and a bracketed log Z.

Seeds and standard errors are named where a test draws anything.
"""

import math

import pytest
import torch
from drifting import INTERPOLANTS, D, base, mixture, timed
from targets import seeded
from torch import nn

from noneq import Gaussian, log_z, nll
from noneq.energies import Cholesky
from noneq.models.interpolants import (
    EnergyPath,
    Linear,
    MixturePath,
    TimedEnergy,
    Trigonometric,
    VariancePreserving,
    VelocityPath,
    flow_likelihood,
)
from noneq.spaces import Box


class Difference(nn.Module):
    """f with which a timed energy is that of a mixture at every time, less log Z of the base."""

    def __init__(self, path, start):
        super().__init__()
        self.path, self.start = path, start

    def forward(self, x, t):
        t = max(float(t[0]), 1e-4)  # f has a limit at t = 0, and the formula has none
        c = self.path.interpolant.at(t)
        gaussian = self.start(x) / c.width + c.width.log()
        return (self.path._all(x, t)[0] - self.start.log_z() - gaussian) / c.beta


def gaussians():
    c = torch.tensor([[0.5, 0.2], [0.2, 0.4]], dtype=D)
    return base(), Gaussian(torch.tensor([1.0, 0.5], dtype=D), Cholesky(c, D))


@pytest.mark.parametrize("interpolant", [*INTERPOLANTS[:2], *INTERPOLANTS[3:]], ids=str)
def test_the_flow_of_an_exact_field_has_the_exact_density(interpolant):
    end, batch = mixture(), 7
    x = end.sample(20, seeded(0))
    found = flow_likelihood(MixturePath(interpolant, base(), end), x, batch=batch)
    error = found.log_density + end(x) + end.log_z()
    assert bool((error.abs() <= found.change.abs() + 1e-6).all())
    assert float(found.change.abs().max()) < 0.02
    assert found.error < 1e-3
    assert found.log_density.dtype == torch.float64
    assert not found.trace_stderr.any()


def test_the_error_falls_with_the_fourth_power_of_the_step():
    start, end = gaussians()
    x, path = end.sample(20, seeded(0)), MixturePath(Trigonometric(1.1), start, end)
    errors = []
    for steps in (16, 32):
        found = flow_likelihood(path, x, steps=steps)
        error = found.log_density + end(x) + end.log_z()
        errors.append(float(error.abs().max()))
        # and it is a fifteenth of what doubling the steps changes
        assert float((error + found.change / 15).abs().max()) < 0.35 * errors[-1]
    assert 12 < errors[0] / errors[1] < 20


def test_the_slope_of_a_bounded_schedule_is_that_of_the_samples():
    # alpha' of this schedule is bounded, so that its drift is not exact for a base off the origin
    end = mixture()
    x = end.sample(20, seeded(0))
    found = flow_likelihood(MixturePath(VariancePreserving(), base(), end), x)
    assert float((found.log_density + end(x) + end.log_z()).abs().max()) < 0.2


def test_an_estimated_divergence_is_right_within_its_error():
    end = mixture()
    x, path = end.sample(200, seeded(0)), MixturePath(Linear(0.8), base(), end)
    found = flow_likelihood(path, x, probes=20, steps=32, rng=seeded(1))
    z = (found.log_density + end(x) + end.log_z()) / found.trace_stderr
    # t of 19 degrees of freedom: the mean square is 19/17, its standard error over 200 rows 0.13
    assert abs(float(z.square().mean()) - 19 / 17) < 4 * 0.13
    assert abs(float(z.mean())) < 4 / math.sqrt(200)
    assert bool(flow_likelihood(path, x[:2], probes=1, steps=4).trace_stderr.isnan().all())


def test_long_rows_take_random_vectors_and_short_ones_do_not():
    for size, some in ((100, False), (101, True)):
        c = 0.5 * torch.eye(size) + 0.01
        ends = [Gaussian(torch.zeros(size), Cholesky(a)) for a in (torch.eye(size), c)]
        x = ends[1].sample(3, seeded(0))
        found = flow_likelihood(MixturePath(Linear(), *ends), x, steps=4)
        assert bool((found.trace_stderr > 0).all()) == some


def test_an_exact_energy_agrees_with_its_bracketed_likelihood():
    c, end = torch.tensor([[1.0, 0.4], [0.4, 0.6]], dtype=D), mixture()
    start = Gaussian(torch.zeros(2, dtype=D), Cholesky(c, D))
    energy = TimedEnergy(start, Difference(MixturePath(Trigonometric(), start, end), start), 0.4)
    x = end.sample(40, seeded(0))
    flow = flow_likelihood(EnergyPath(energy), x)
    torch.testing.assert_close(flow.log_density, -end(x) - end.log_z(), rtol=0, atol=2e-3)
    z = log_z(energy, data=x, n=128, temperatures=30, equilibrate=30, rng=seeded(2))
    found, wide = nll(energy, x, z), 4 * z.stderr + abs(z.gap)
    assert z.bracketed
    assert wide < 0.8
    assert abs(z.value - start.log_z()) < wide
    assert abs(flow.nll - found.value) < wide + flow.error
    assert flow.stderr == pytest.approx(found.stderr_data, rel=0.01)


def test_a_learned_velocity_has_the_likelihood_of_its_samples():
    # x' = v(x, t) = a x: the samples of the ODE are those of the base times e^a, in each direction
    start = base()
    a = torch.tensor([0.4, -0.3], dtype=D)
    path = VelocityPath(Linear(), start, mixture(), lambda x, t: a * x)
    x = start.sample(10, seeded(0)) * a.exp()
    found = flow_likelihood(path, x)
    exact = -start(x / a.exp()) - start.log_z() - a.sum()
    torch.testing.assert_close(found.log_density, exact, rtol=0, atol=1e-7)
    path = VelocityPath(Linear(), start, mixture(), lambda x, t: a.expand_as(x))  # no divergence
    found = flow_likelihood(path, x)
    torch.testing.assert_close(found.log_density, -start(x - a) - start.log_z())


def test_a_network_with_parameters_keeps_no_graph_and_batches_do_not_matter():
    path = EnergyPath(timed())
    x = torch.randn(9, 2, generator=seeded(3), dtype=D)
    whole, parts = (flow_likelihood(path, x, steps=8, batch=batch) for batch in (9, 4))
    torch.testing.assert_close(whole.log_density, parts.log_density)
    assert not whole.log_density.requires_grad
    assert all(p.grad is None for p in path.energy.parameters())
    assert str(whole).endswith("(rows)")
    assert whole.nll == -float(whole.log_density.mean())


def test_equal_rows_are_one_observation():
    path, x = EnergyPath(timed()), torch.randn(5, 2, generator=seeded(3), dtype=D)
    once, twice = (flow_likelihood(path, rows, steps=4).stderr for rows in (x, x.repeat(2, 1)))
    assert twice == pytest.approx(once)


def test_what_has_no_flow_is_refused():
    path, x = EnergyPath(timed()), torch.zeros(3, 2, dtype=D)
    for how, told in (
        ({"steps": 6}, "multiple of 4, got 6"),
        ({"steps": 0}, "multiple of 4"),
        ({"probes": -1}, "`probes` must be 0 or more"),
        ({"batch": 0}, "`batch` must be 1 or more"),
    ):
        with pytest.raises(ValueError, match=told):
            flow_likelihood(path, x, **how)
    with pytest.raises(ValueError, match="no rows"):
        flow_likelihood(path, x[:0])
    with pytest.raises(FloatingPointError, match="leads 1 of 3 rows to positions"):
        flow_likelihood(path, torch.tensor([[0, 0], [math.inf, 0], [1, 0]], dtype=D), steps=4)
    path.space = Box(0.0, 1.0)
    with pytest.raises(ValueError, match=r"this path's positions are"):
        flow_likelihood(path, x)
