"""The experiments behind the laboratory notes: they vary what they say, and nothing else."""

import torch

import noneq
from experiments.interpolants import guidance
from experiments.interpolants.steps import target as mixture
from experiments.log_z import resampling
from experiments.log_z.targets import target


def test_the_default_way_of_the_study_is_that_of_anneal():
    t = target("banana")
    path = t.path()
    schedule = noneq.Schedule.uniform(10, noneq.MALA(0.3))
    errors = resampling.anneal(t, schedule, 0.9, True, 3)
    rng = torch.Generator().manual_seed(2)
    walkers = noneq.Walkers.sample(path.start, 3 * resampling.WALKERS, rng, islands=3)
    weights = noneq.anneal(schedule.forward(path), walkers, rng).weights
    assert torch.equal(errors, weights.log_z_start + weights.log_mean_by_island - t.log_z)
    other = resampling.anneal(t, schedule, 0.9, False, 3)
    assert not torch.equal(errors, other)


def test_the_drift_between_is_that_of_a_reward_path_at_either_end():
    start = noneq.Gaussian(torch.zeros(2, dtype=torch.float64), noneq.energies.Identity(1.5))
    path = noneq.models.interpolants.MixturePath(guidance.INTERPOLANTS["linear"], start, mixture())
    x = torch.randn(7, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ends = []
    for share, whole in ((0.0, False), (1.0, True)):
        way = noneq.models.interpolants.RewardPath(path, guidance.reward, whole=whole)
        between = guidance.Between(path, share)
        (u, fields), (u0, fields0) = between.fields(x, 0.4), way.fields(x, 0.4)
        assert torch.equal(u, u0)
        assert fields.keys() == fields0.keys()
        for name, value in fields0.items():
            torch.testing.assert_close(fields[name], value)
        torch.testing.assert_close(way.drift(x, 0.4), between.drift(x, 0.4))
        ends.append(fields["b"])
    half = guidance.Between(path, 0.5).fields(x, 0.4)[1]["b"]
    torch.testing.assert_close(half, (ends[0] + ends[1]) / 2)
