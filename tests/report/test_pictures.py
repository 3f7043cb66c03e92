"""What is drawn of a run: samples by weight, in units; clean rows; the verdict's numbers."""

import known
import pytest
import torch

from noneq.energies.denoising import denoised
from noneq.report import pictures
from noneq.run import checkpoint
from noneq.run.evaluation import evaluate_run

HEAVY, NOISE = 5, 0.5


class FakeFigure:
    def savefig(self, path, **_):
        path.write_bytes(b"drawn")


@pytest.fixture
def judged(tmp_path, monkeypatch):
    """A finished run whose walkers were replaced by ones of which one has all the weight."""
    run, data, session = known.begun(tmp_path, noise=NOISE)
    run.save(session)
    found = evaluate_run(run, data)
    path = run.folder / "population.safetensors"
    x = checkpoint.load_tensors(path)["x"]
    log_w = torch.full((len(x),), -100.0, dtype=torch.float64)
    log_w[HEAVY] = 0.0
    checkpoint.save_tensors(path, {"x": x, "log_w": log_w})
    return run, data, found, data.scaling.undo(x[[HEAVY]])


def test_samples_are_drawn_by_weight_beside_noisy_data(judged, monkeypatch):
    run, data, _, heavy = judged
    seen = []

    def samples_figure(*what):
        seen.extend(what)
        return FakeFigure()

    monkeypatch.setattr(pictures, "samples_figure", samples_figure)
    pictures.draw_samples(run, data, run.folder / "samples.png")
    assert (run.folder / "samples.png").read_bytes() == b"drawn"
    rows, samples, *_ = seen
    assert bool((samples == heavy).all())
    off = (rows - data.scaling.undo(data.train[: len(rows)])) / data.scaling.scale
    assert float(off.std()) == pytest.approx(NOISE, abs=4 * NOISE / (2 * off.numel()) ** 0.5)


def test_the_report_shows_walkers_by_weight_and_the_verdicts_numbers(judged, monkeypatch):
    run, _, found, heavy = judged
    seen = {}

    def report_figure(title, words, rows, **parts):
        seen.update(parts, words=words)
        return FakeFigure()

    monkeypatch.setattr(pictures, "report_figure", report_figure)
    pictures.draw_report(run, run.folder / "report.png")
    assert (run.folder / "report.png").read_bytes() == b"drawn"
    assert bool((seen["samples"].samples == heavy).all())
    assert float(seen["energies"].p[HEAVY]) == pytest.approx(1)
    assert seen["words"].splitlines() == found.summary()
    estimate = seen["estimate"]
    sides = (found.forward.value, found.backward.value)
    assert (estimate["forward"], estimate["backward"]) == sides
    assert estimate["backward_stderr"] == found.backward.stderr
    assert estimate["nll"]["test"]["value"] == found.nll["test"].value
    assert estimate["nll"]["test"]["stderr_z"] == found.stderr
    assert estimate["nll"]["base"]["value"] == found.base["test"].value


def test_a_clean_row_is_the_mean_of_the_data_given_the_noisy_one(judged):
    # of a Gaussian with covariance C = S + sigma^2: m + S C^-1 (x - m)
    run, data, *_ = judged
    energy, _ = run.model()
    mean, cov, _ = known.exact(energy, [0.0, 0.0])
    clean = cov - NOISE**2 * torch.eye(2)
    expected = mean + (data.test.double() - mean) @ torch.linalg.solve(cov, clean)
    found = denoised(energy, data.test, NOISE).double()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
