"""Samples of a run are samples of its model: tilted Gaussians, whose moments are closed forms.

Seeds are written in the tests; what is estimated is judged at 4 standard errors.
"""

import math

import known
import numpy as np
import pytest
import torch

from noneq import MALA, Gaussian, Walkers
from noneq.data import load
from noneq.energies import Diagonal, Identity
from noneq.run import Run, Session, choose
from noneq.run.checkpoint import load_tensors
from noneq.run.evaluation import evaluate_run
from noneq.run.filling import fill
from noneq.run.samples import DrawnWalkers, draw, draw_walkers, take_samples
from noneq.training import TrainState

LAST, KEPT = [0.9, -0.3], [-0.4, 0.5]  # tilts of the last parameters and of their average


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def judged(x, log_w, mean, cov, spread=1.0):
    """Mean and covariance of a weighted sample within 4 standard errors.

    ``spread``: by how much standard errors are larger than those of independent walkers.
    """
    p, x = log_w.exp(), x.double()
    assert float(p.sum()) == pytest.approx(1)
    y = x - mean
    seconds = torch.stack([y[:, 0] ** 2, y[:, 1] ** 2, y[:, 0] * y[:, 1]], 1)
    exact = torch.stack([cov[0, 0], cov[1, 1], cov[0, 1]])
    for f, expected in ((x, mean), (seconds, exact)):
        off = p @ f - expected
        error = spread * (p.square() @ (f - expected).square()).sqrt()
        assert bool((off.abs() < 4 * error).all()), (off / error).tolist()
        assert float(error.max()) < 0.25  # it says something


def trained(tmp_path, n=2048, **changes):
    """A run that has walkers of its last parameters, and keeps others: their average.

    The walkers are where the base put them; their weights belong to the last parameters.
    """
    run, _, session = known.begun(tmp_path, walkers=n, **changes)
    energy, rng = session.energy, seeded(11)
    known.tilt(energy, LAST)
    known.tilt(session.average, KEPT)
    walkers = Walkers.sample(energy.base, n, rng, islands=1).reweight(energy)
    assert walkers.ess < 0.9
    session.trained = TrainState(1, walkers, None, MALA(0.4, session.kernel.factor), None)
    run.save(session)
    return run, session


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("seed", [0, 1])
def test_an_untrained_run_is_its_gaussian_base(tmp_path, weighted, seed):
    run, _, session = known.begun(tmp_path)
    run.save(session)
    x, log_w = draw(run, 1000, weighted=weighted, seed=seed)
    assert x.shape == (1000, 2)
    torch.testing.assert_close(log_w, torch.full((1000,), -math.log(1000)).double())
    mean, cov, _ = known.exact(session.energy, [0.0, 0.0])
    # an ordinary sample is drawn with replacement from four times as many
    judged(x, log_w, mean, cov, spread=1.0 if weighted else math.sqrt(1.25))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("seed", [0, 1])
def test_annealed_samples_are_of_the_model_that_is_kept(tmp_path, weighted, seed):
    run, session = trained(tmp_path, n=64)
    mean, cov, _ = known.exact(session.energy, KEPT)
    x, log_w = draw(run, 1000, weighted=weighted, seed=seed)
    assert (float(log_w.std()) > 1e-3) == weighted
    judged(x, log_w, mean, cov, spread=1.2 if weighted else math.sqrt(1.5))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("moves", [0, 1, 20])
def test_chains_are_reweighted_from_the_last_parameters_to_the_average(tmp_path, weighted, moves):
    # as they are they sample the last model, or with its weights dropped the base
    run, session = trained(tmp_path)
    mean, cov, _ = known.exact(session.energy, KEPT)
    for tilt in (LAST, [0.0, 0.0]):
        assert float((known.exact(session.energy, tilt)[0] - mean).abs().max()) > 0.4
    x, log_w = draw(
        run, 2048 if weighted else 500, "chains", weighted=weighted, moves=moves, seed=2
    )
    # resampling leaves copies, which few moves do not part
    judged(x, log_w, mean, cov, spread=1.0 if moves == 0 and weighted else 1.5)


def test_chains_go_on_with_the_adapted_step(tmp_path, monkeypatch):
    run, _ = trained(tmp_path, n=64)
    steps = []
    real = MALA.__call__

    def noted(self, *args):
        steps.append(self.h)
        return real(self, *args)

    monkeypatch.setattr(MALA, "__call__", noted)
    draw(run, 8, "chains", moves=3)
    assert steps == [0.4] * 3


def test_ordinary_samples_are_drawn_by_weight(tmp_path):
    # chains that stay where they are: each sample is one of them, as often as its weight says
    run, _ = trained(tmp_path, n=64)
    every, log_w = draw(run, 64, "chains", weighted=True, moves=0)
    assert float(log_w.max() - log_w.min()) > 2
    drawn = [draw(run, 64, "chains", moves=0, seed=seed) for seed in range(150)]
    x, n = torch.cat([one for one, _ in drawn]), 150 * 64
    torch.testing.assert_close(drawn[0][1], torch.full((64,), -math.log(64)).double())
    counts = (x[:, None] == every).all(2).double().mean(0)
    assert float(counts.sum()) == pytest.approx(1)
    p = log_w.exp()
    assert bool((counts - p).abs().lt(4.5 * (p * (1 - p) / n).sqrt() + 1e-9).all())


def test_any_part_of_the_weighted_walkers_is_a_sample():
    # resampled along a line of energies; the mean over 16 of 64 is known: all walkers', weight 1
    mean, scales = torch.tensor([0.3, -0.2]), torch.tensor([1.3, 0.4])
    end = Gaussian(mean, Diagonal(0.9 * scales))
    walkers = Walkers.sample(Gaussian(mean, Diagonal(scales)), 64, seeded(0), islands=1)
    walkers = walkers.reweight(end)
    walkers = walkers.resample(1.0, seeded(1), order=walkers.state.u)
    rng, n = seeded(2), 400
    u = torch.stack(
        [end(take_samples(DrawnWalkers(walkers, rng), 16, weighted=True)[0]) for _ in range(n)]
    )
    for part in (u, u[:, :4]):
        off = part.mean(1) - walkers.state.u.mean()
        assert abs(float(off.mean())) < 4 * float(off.std()) / math.sqrt(n)
    assert float(walkers.state.u[:16].mean()) < 0.3 * float(walkers.state.u.mean())


def test_a_part_of_the_walkers_keeps_their_weights():
    base = Gaussian(torch.tensor([0.3, -0.2]), Identity(1.3))
    walkers = Walkers.sample(base, 64, seeded(0)).reweight(Gaussian(base.mean, Identity(0.9)))
    x, log_w = take_samples(DrawnWalkers(walkers, seeded(1)), 16, weighted=True)
    (rows, which) = (x[:, None] == walkers.x).all(2).nonzero(as_tuple=True)
    assert rows.tolist() == list(range(16))
    assert len(which.unique()) == 16
    torch.testing.assert_close(log_w, walkers.log_w[which].log_softmax(0))


def stored(tmp_path, n=256):
    """A run whose evaluation has stored walkers of unequal weights."""
    run, data, session = known.begun(tmp_path)
    known.tilt(session.average, KEPT)
    run.save(session)
    how = {"walkers": n, "temperatures": 1, "equilibrate": 0, "seed": 2}
    evaluate_run(run, data, how=how)
    return run, session, load_tensors(run.folder / "population.safetensors")


def test_samples_come_from_the_stored_population(tmp_path):
    run, _, kept = stored(tmp_path)
    p = kept["log_w"].softmax(0)
    assert 0.2 < float(1 / (256 * p.square().sum())) < 0.95
    few = int(1 / float(p.max()))
    for weighted, n in ((False, few), (True, 256)):
        x, log_w = draw(run, n, weighted=weighted)
        same, which = (x[:, None] == kept["x"]).all(2).nonzero(as_tuple=True)
        assert same.tolist() == list(range(n))
        assert len(which.unique()) == n, "no walker is taken twice"
        expected = kept["log_w"][which].log_softmax(0) if weighted else log_w
        torch.testing.assert_close(log_w, expected)
    walkers = draw_walkers(run, few).walkers
    assert torch.equal(walkers.weights.ancestors, kept["ancestors"])
    torch.testing.assert_close(walkers.mean(walkers.x), (p @ kept["x"].double()).float())
    every, _ = draw(run, 256, "population")
    counts = (every[:, None] == kept["x"]).all(2).sum(0)
    assert bool((counts >= (256 * p).floor()).all() & (counts <= (256 * p).ceil()).all())


def test_samples_are_annealed_anew_where_the_stored_ones_do_not_suffice(tmp_path):
    run, session, kept = stored(tmp_path)

    def from_stored(n, **how):
        x, _ = draw(run, n, **how)
        return bool((x[:, None] == kept["x"]).all(2).any())

    assert from_stored(8)
    assert not from_stored(256), "a heavy walker would be taken twice"
    assert not from_stored(300)
    assert not from_stored(8, source="ais")
    with pytest.raises(ValueError, match=r"stored 256 walkers, not 300; take `source` ais"):
        draw(run, 300, "population")
    known.tilt(session.average, LAST)
    run.save(session)  # log Z is that of other parameters
    assert not from_stored(8)
    with pytest.raises(ValueError, match="belongs to other parameters"):
        draw(run, 8, "population")


def test_samples_are_seeded_and_leave_the_global_generator(tmp_path):
    run, _ = trained(tmp_path, n=64)
    before = torch.get_rng_state()
    for source in ("ais", "chains"):
        a, b, c = (draw(run, 9, source, moves=2, seed=seed)[0] for seed in (0, 0, 1))
        assert torch.equal(a, b)
        assert not torch.equal(a, c)
    assert torch.equal(torch.get_rng_state(), before)


def test_what_cannot_be_drawn(tmp_path):
    run, _, session = known.begun(tmp_path)
    run.save(session)
    with pytest.raises(ValueError, match="has no walkers yet: it was never trained"):
        draw(run, 4, "chains")
    with pytest.raises(ValueError, match="one sample or more, not 0"):
        draw(run, 0)


@pytest.mark.parametrize("seed", [0, 1])
def test_missing_values_are_those_of_the_model_given_the_others(tmp_path, seed):
    # of a tilted Gaussian: the conditional of the normal variable of other mean is known
    run, session = trained(tmp_path, n=64)
    mean, cov, _ = known.exact(session.energy, KEPT)
    x = torch.tensor([[0.8, math.nan], [math.nan, -0.3], [0.1, 0.2], [math.nan, math.nan]])
    filled, found = fill(run, x, 3000, seed=seed)
    assert filled.shape == (4, 3000, 2)
    assert len(found.ess) == 3, "one row is complete"
    assert torch.equal(filled[2], x[2].expand(3000, 2))
    for i, (o, m) in enumerate([(0, 1), (1, 0)]):
        slope = float(cov[o, m] / cov[o, o])
        centre = float(mean[m]) + slope * (float(x[i, o]) - float(mean[o]))
        sd = math.sqrt(float(cov[m, m]) - slope * float(cov[o, m]))
        y = filled[i, :, m].double()
        assert torch.equal(filled[i, :, o], x[i, o].expand(3000))
        assert abs(float(y.mean()) - centre) < 4 * 1.2 * sd / math.sqrt(3000)
        assert float(y.std()) == pytest.approx(sd, rel=0.08)
    judged(filled[3], torch.full((3000,), -math.log(3000)).double(), mean, cov, spread=1.3)
    with pytest.raises(ValueError, match="`count` is 1 or more, got 0"):
        fill(run, x, 0)


def test_rbms_have_no_conditionals_to_start_from(tmp_path):
    rows = (torch.rand(60, 4, generator=seeded(0)) < 0.4).float()
    np.save(tmp_path / "bits.npy", rows.numpy())
    data = load(tmp_path / "bits.npy", bits=True)
    recipe = choose(data.shape, len(data.train), data.kind, model="rbm", hidden=3)
    run = Run.create(tmp_path / "r", data, Session(recipe, data.train))
    with pytest.raises(ValueError, match="conditional samples start at a base of Gaussians"):
        fill(run, torch.tensor([[0.0, 1.0, math.nan, 1.0]]))
