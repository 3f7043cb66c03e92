"""What weights are for along an interpolant: few steps, wrong drifts, known targets.

Every run names its seed; errors are judged in standard errors of the walkers themselves.
"""

import pytest

from benchmarks.interpolant_steps import FACTORS, STEPS, run


@pytest.mark.parametrize("fields", FACTORS)
def test_weighted_errors_are_zero_at_any_number_of_steps(fields):
    # the figure: within 3 standard errors, at an ESS/N above 0.05
    for steps in STEPS:
        found = run(fields, steps, 8_000, seed=0)
        assert all(abs(error.z) < 3 for error in found.weighted), (steps, found)
        assert found.ess > 0.05, (steps, found)


@pytest.mark.parametrize("fields", FACTORS)
def test_raw_errors_of_ten_steps_are_real(fields):
    # of mean or variance, not only of log Z, which is a bound without weights
    found = run(fields, 10, 40_000, seed=1)
    assert max(abs(error.z) for error in found.raw[:3]) > 4, found
    assert all(abs(error.z) < 3 for error in found.weighted), found
