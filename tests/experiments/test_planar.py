"""The densities in the plane are what they say, and distances from them are measured rightly."""

import math

import pytest
import torch

from experiments.planar.sets import SETS
from experiments.planar.study import REACH, SIDE, grid, judged, recipe_of, run

CELL = (2 * REACH / SIDE) ** 2


@pytest.mark.parametrize("name", SETS)
def test_samples_have_the_density_and_the_masses(name):
    # seed 0; entropy by the grid and by 20,000 draws, masses by counts, within 4 standard errors
    truth, n = SETS[name], 20_000
    log_p = truth.log_density(grid())
    p = log_p.exp() * CELL
    assert float(p.sum()) == pytest.approx(1.0, abs=1e-6)
    x = truth.draw(n, torch.Generator().manual_seed(0))
    own = truth.log_density(x)
    entropy = -float((p * log_p)[p > 0].sum())
    error = float(own.std()) / math.sqrt(n)
    assert -float(own.mean()) == pytest.approx(entropy, abs=4 * error + 1e-4)
    counts = torch.bincount(truth.parts(x), minlength=len(truth.masses)) / n
    errors = (truth.masses * (1 - truth.masses) / n).sqrt()
    assert bool(((counts - truth.masses).abs() < 4 * errors + 0.002).all())
    assert len(set(truth.masses.tolist())) > 1


def test_the_distance_of_a_density_with_other_masses():
    truth = SETS["two moons"]
    parts = truth.log_parts(grid())
    assert judged(truth, parts.logsumexp(1))["kl"] == pytest.approx(0.0, abs=1e-9)
    equal = (parts - truth.masses.log() + math.log(0.5)).logsumexp(1)
    found = judged(truth, equal)
    # the parts hardly overlap: KL is that of the masses, .75 log 1.5 + .25 log .5
    assert found["kl"] == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5), abs=1e-3)
    assert found["masses"] == pytest.approx(0.25, abs=1e-3)


def test_one_short_model_of_each_way():
    for way, speed in {"score matching": 3e-3, "PCD": 1e-3, "weighted": 0.1}.items():
        found = run(way, "eight Gaussians", speed, 0, 3)
        assert found["kl"] > 0.5
        assert (way == "weighted") == ("log_z_error" in found)
        assert recipe_of(way, speed, 3).model.width == recipe_of("PCD", 1e-3, 3).model.width
