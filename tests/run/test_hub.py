"""A model in a folder of its own: the same densities, and nothing of whoever trained it."""

import json

import known
import numpy as np
import pytest
import torch

from noneq.run.evaluation import evaluate_run
from noneq.run.hub import SharedModel


@pytest.fixture
def judged(tmp_path):
    run, data, session = known.begun(tmp_path, noise=0.5)
    known.tilt(session.average, [0.6, -0.4])
    run.save(session)
    evaluate_run(run, data)
    return run, data


def test_a_shared_model_has_the_same_density_and_no_path(judged, tmp_path):
    run, data = judged
    SharedModel(run).save_pretrained(tmp_path / "shared")
    found = {path.name for path in (tmp_path / "shared").iterdir()}
    assert found == {
        "README.md", "config.json", "likelihood.json", "model.safetensors",
        "population.safetensors",
    }  # fmt: skip
    for name in ("README.md", "config.json", "likelihood.json"):
        assert str(tmp_path) not in (tmp_path / "shared" / name).read_text()
    shared = SharedModel.from_pretrained(tmp_path / "shared")
    assert shared.verdict == SharedModel(run).verdict
    rows = data.scaling.undo(data.test).numpy()
    own = shared.score(rows)
    np.testing.assert_allclose(own, SharedModel(run).score(rows), rtol=1e-12)
    # of the Gaussian that the model is, under noise and in the file's units
    mean, cov, exact = known.exact(shared.energy, [0.6, -0.4])
    normal = torch.distributions.MultivariateNormal(mean, cov)
    lost = 0.125 * float(torch.linalg.inv(cov).trace())
    off = shared.verdict.log_z - exact - data.scaling.log_jacobian(2)
    expected = normal.log_prob(data.test.double()) - lost - off
    np.testing.assert_allclose(own, expected, atol=0.05)


def test_files_and_samples_are_in_the_units_of_the_data(judged, tmp_path):
    run, data = judged
    shared = SharedModel(run)
    x = shared.sample(30, seed=1)
    assert x.shape == (30, 2)
    np.testing.assert_array_equal(x, shared.sample(30, seed=1))
    middle = data.scaling.undo(data.train).numpy()
    assert np.all(np.abs(x - middle.mean(0)) < 8 * middle.std(0))
    np.save(tmp_path / "x.npy", x)
    np.testing.assert_allclose(shared.score(tmp_path / "x.npy"), shared.score(x), atol=1e-6)
    with pytest.raises(ValueError, match="rows: a value is too far"):
        shared.score(np.full((1, 2), 1e300))


def test_the_card_has_the_verdict_and_how_it_was_obtained(judged, tmp_path):
    run, _ = judged
    shared = SharedModel(run)
    shared.save_pretrained(tmp_path / "shared")
    card = (tmp_path / "shared" / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: noneq\n")
    for sentence in shared.verdict.summary():
        assert f"- {sentence.strip()}" in card
    nlls = " | ".join(map(str, shared.verdict.nll.values()))
    assert f"| model | {nlls} |" in card
    assert f"walkers {shared.verdict.how['walkers']}" in card
    assert "noise of standard deviation 0.5" in card
    assert json.loads((tmp_path / "shared" / "config.json").read_text())["device"] == "cpu"


def test_a_run_without_a_bracket_is_not_shared(tmp_path):
    run, _, session = known.begun(tmp_path)
    run.save(session)
    with pytest.raises(FileNotFoundError, match="log Z is not known yet"):
        SharedModel(run)


def test_nobody_loses_a_run_by_sharing_it(judged):
    run, data = judged
    before = (run.folder / "config.json").read_bytes()
    with pytest.raises(ValueError, match="is the run's own folder"):
        SharedModel(run).save_pretrained(run.folder)
    assert (run.folder / "config.json").read_bytes() == before
    with pytest.raises(ValueError, match=r"one row has the shape \(3,\)"):
        SharedModel(run).score(np.zeros((4, 3)))
    with pytest.raises(TypeError, match="devcie"):
        SharedModel.from_pretrained(run.folder, devcie="cpu")
    assert len(SharedModel(run).score(data.scaling.undo(data.test).numpy())) == len(data.test)
