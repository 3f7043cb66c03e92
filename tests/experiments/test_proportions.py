"""Proportions of classes are measured rightly, and one short training of each kind runs."""

import math

import numpy as np
import pytest
import torch

from experiments.proportions.images import PROPORTIONS, Classifier, Images, load
from experiments.proportions.report import chosen, effects, lines_of
from experiments.proportions.study import CELLS
from experiments.proportions.teacher import taught
from experiments.proportions.training import Problem, run


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Three noisy patterns of 28 x 28 that a classifier mostly tells apart."""
    rng = np.random.default_rng(0)
    patterns = rng.uniform(60, 190, (3, 28, 28))
    labels = np.repeat([2, 3, 6], [1000, 500, 300])
    images = patterns[[(2, 3, 6).index(k) for k in labels]] + rng.normal(0, 60, (1800, 28, 28))
    path = tmp_path_factory.mktemp("images") / "digits.npz"
    np.savez(path, images=images.clip(0, 255).astype(np.uint8), labels=labels)
    return path


@pytest.fixture(scope="module")
def images(file):
    return load(file)


def test_images_are_split_in_the_proportions(images):
    for own in (images.train, images.validation, images.test):
        assert own.shape[1:] == (1, 14, 14)
        assert float(own.min()) >= -1
        assert float(own.max()) <= 1
    assert [len(images.train), len(images.validation), len(images.test)] == [1120, 280, 280]
    own = images.labels[: len(images.train)].bincount() / len(images.train)
    assert torch.allclose(own.double(), PROPORTIONS)
    # no image that the classifier is judged by is one that it learned from
    assert int(images.held.sum()) == 560
    assert not bool(images.held[: len(images.train)].any())


def test_too_few_images_of_a_class_are_an_error(tmp_path):
    path = tmp_path / "few.npz"
    np.savez(path, images=np.zeros((3, 28, 28), np.uint8), labels=np.array([2, 3, 6]))
    with pytest.raises(ValueError, match="has 1 images of a 2, 960 asked"):
        load(path)


def test_proportions_are_corrected_for_the_classifiers_errors(images):
    """Seed 0: of 4,000 weighted images of other proportions, within 4 standard errors.

    A classifier whose calls are swapped in a tenth of the cases, with a confusion that says so, is
    as right; without the correction it would be off by 10 standard errors.
    """
    classifier = Classifier(images)
    rng = torch.Generator().manual_seed(0)
    which = torch.randint(len(images.rest), (4000,), generator=rng)
    x = images.rest[which] + 0.15 * torch.randn(4000, 1, 14, 14, generator=rng)
    y = images.labels[which]
    p = torch.tensor([1.0, 2.0, 4.0])[y]
    p /= p.sum()
    truth = torch.stack([p[y == k].sum() for k in range(3)]).double()
    seen = classifier.proportions(x, p)
    assert max(abs(a - b) for a, b in zip(seen.masses, truth, strict=True)) < 4 * seen.stderr
    assert seen.stderr < 0.02
    assert sum(seen.masses) == pytest.approx(1.0)
    assert seen.error(torch.tensor(seen.masses).double()) == pytest.approx(0.0)

    class Careless:
        """Calls a tenth of the 2s a 3."""

        def predict_proba(self, rows):
            own = np.eye(3)[y.numpy()]
            wrong = (y.numpy() == 0) & (np.arange(len(y)) % 10 == 0)
            own[wrong] = np.eye(3)[1]
            return own

    classifier._net = Careless()
    classifier.confusion = torch.tensor([[0.9, 0.1, 0.0], [0, 1, 0], [0, 0, 1]]).double()
    seen = classifier.proportions(x, p)
    assert max(abs(a - b) for a, b in zip(seen.masses, truth, strict=True)) < 4 * seen.stderr


def test_one_short_training_of_three_cells(images, monkeypatch):
    monkeypatch.setattr(
        "experiments.proportions.training.FINAL", {"n": 64, "temperatures": 10, "equilibrate": 10}
    )
    monkeypatch.setattr("experiments.proportions.training.TEMPERATURES", 5)
    problem = Problem.of(Images(*(own for own in vars(images).values())))
    done = [run(problem, cell, 3) for cell in (CELLS[0], CELLS[1], CELLS[-1])]
    for one in done:
        assert math.isfinite(one["nll"]["test"])
        assert len(one["curve"]) >= 1
        assert sum(one["masses"]) == pytest.approx(1.0)
    assert [one["weighted"] for one in done] == [True, False, True]
    models = [{**one, "seed": 0} for one in done]
    assert len(lines_of([*done, *models])) == 3
    assert chosen([*done, *models], "program")[0]["seed"] == 0
    again = [{**one, "seed": 1, "error": one["error"] + 0.5} for one in models]
    again[1]["error"] -= 0.1
    (effect,) = effects([*done, *models, *again])
    apart = models[0]["error"] - models[1]["error"]
    assert effect[:2] == ["base", "learning rate"]
    assert effect[3] == f"{apart + 0.05:+.3f} ± 0.050"


def test_samples_of_a_model_are_a_problem_whose_truth_is_known(images):
    problem = taught(Problem.of(images), iterations=2, shrink=64)
    assert [len(x) for x in (problem.train, problem.validation, problem.test)] == [78, 64, 64]
    assert len(torch.unique(problem.train, dim=0)) == 78  # copies have parted
    assert problem.own is not None
    assert math.isfinite(problem.own)
    assert float(problem.truth.sum()) == pytest.approx(1.0)
