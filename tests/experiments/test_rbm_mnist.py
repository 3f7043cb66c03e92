"""How RBMs of MNIST are chosen, judged and compared: contenders whose answers are known."""

import math
from dataclasses import asdict

import pytest
import torch

import noneq
from experiments.rbm import mnist as rbm_mnist
from experiments.rbm.mnist import Split, Trained, contest, paired, scored

GOOD, BAD = {"rate": 1.0}, {"rate": 2.0}


def rows(n, seed):
    """Bits of six pixels of which any has its own frequency."""
    rng = torch.Generator().manual_seed(seed)
    return (torch.rand(n, 6, generator=rng) < torch.linspace(0.1, 0.8, 6)).float()


@pytest.fixture
def trained(monkeypatch):
    """Contenders that are independent pixels, shifted by the rate; which trainings were asked."""
    asked = []

    def train(x, seconds, seed, options):
        asked.append((seed, options))
        shift = 0.1 * seed if options == GOOD else 1.0
        logits = x.mean(0).clamp(0.01, 0.99).logit() + shift
        machine = noneq.BernoulliRBM(torch.zeros(6, 2), logits, torch.zeros(2))
        return Trained(machine, 7, seconds)

    monkeypatch.setattr(rbm_mnist, "CONTENDERS", {"a": (train, [BAD, GOOD])})
    monkeypatch.setattr(rbm_mnist, "EFFORT", {"validation": (64, 4), "test": (64, 4)})
    return asked


SPLIT = Split(rows(300, 0), rows(100, 1), rows(200, 2))


def test_validation_chooses_with_the_first_seed_and_the_test_rows_see_one_trial(trained):
    found = list(contest("a", SPLIT, 1.0, (1, 2, 3)))
    assert [(s.rows, s.options, s.seed) for s in found] == [
        ("validation", BAD, 1),
        ("validation", GOOD, 1),
        *(("test", GOOD, seed) for seed in (1, 2, 3)),
    ]
    assert trained == [(1, BAD), (1, GOOD), (2, GOOD), (3, GOOD)]


def test_what_is_known_is_not_trained_again(trained):
    found = list(contest("a", SPLIT, 1.0, (1, 2, 3)))
    trained.clear()
    assert list(contest("a", SPLIT, 1.0, (1, 2, 3), found)) == found
    assert not trained
    assert list(contest("a", SPLIT, 1.0, (1, 2, 3), found[:-1]))[:-1] == found[:-1]
    assert trained == [(3, GOOD)]


def test_a_record_gives_back_the_scores(trained, monkeypatch, tmp_path):
    monkeypatch.setattr(rbm_mnist, "RESULTS", tmp_path)
    monkeypatch.setattr("experiments.common.RESULTS", tmp_path)
    found = list(contest("a", SPLIT, 1.0, (1, 2)))
    assert rbm_mnist.known("b") == []
    rbm_mnist.record("b", [asdict(s) for s in found])
    assert rbm_mnist.known("b") == found


def test_a_score_is_the_rows_own_likelihood_with_the_exact_log_z(trained):
    train, _ = rbm_mnist.CONTENDERS["a"]
    made = train(SPLIT.train, 1.0, 3, GOOD)
    score = scored("a", GOOD, 3, made, SPLIT, "test")
    own = made.machine(SPLIT.test) + made.machine.log_z()
    assert score.nll == pytest.approx(float(own.detach().mean()), abs=4 * score.stderr_z + 0.02)
    each = torch.tensor([float(u) for u in score.each.split()])
    assert float((each - own.detach()).abs().max()) < 0.1 + 4 * score.stderr_z


def test_differences_are_paired_by_seed_and_by_row(trained):
    """Over rows an RBM differs by its own numbers, over seeds by shifts; both are known."""
    one, other = list(contest("a", SPLIT, 1.0, (1, 2, 3))), []
    for s in one:
        each = [float(u) + 0.5 + 0.1 * s.seed + i % 2 for i, u in enumerate(s.each.split())]
        other.append(rbm_mnist.replace(s, each=" ".join(f"{u:.1f}" for u in each)))
    gap, seeds, over_rows = paired(other, one)
    assert gap == pytest.approx(0.5 + 0.2 + 0.5, abs=1e-6)
    assert seeds == pytest.approx(0.1 / math.sqrt(3), abs=1e-6)
    assert over_rows == pytest.approx(0.5 / math.sqrt(199), abs=1e-6)
    assert math.isnan(paired(other[:3], one)[1])  # one seed in common
