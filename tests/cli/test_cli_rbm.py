"""RBMs on the command line: a run of bits, one of numbers, and what they cannot take."""

import json

import numpy as np
import pytest
import torch
from command_line import QUICK, refused, rows

import noneq
from noneq import Run
from noneq.cli.main import main
from noneq.run.families import FAMILIES


@pytest.fixture
def data(tmp_path):
    np.save(tmp_path / "rows.npy", rows())
    return tmp_path / "rows.npy"


@pytest.fixture(scope="module")
def bits(tmp_path_factory):
    """Two patterns of 12 bits and their noise; the last column is always 0."""
    rng = np.random.default_rng(1)
    pattern = rng.random(12) < 0.5
    x = np.where(rng.random((400, 1)) < 0.7, pattern, ~pattern) ^ (rng.random((400, 12)) < 0.1)
    x[:, -1] = 0
    path = tmp_path_factory.mktemp("bits") / "bits.npy"
    np.save(path, x.astype(np.uint8))
    return path


MACHINE = [*QUICK[:10], *QUICK[12:-6]]  # without what is said of a network


def test_an_rbm_of_bits_lives_as_any_run(bits, tmp_path, capsys):
    run = tmp_path / "r"
    args = ["train", bits, "--model", "rbm", "--hidden", 4, "--out", run, *MACHINE]
    assert main([*map(str, args), "--iterations", "12"]) == 0
    told = capsys.readouterr().out
    assert "hidden 4" in told
    assert "width" not in told
    assert "Independent base" in told
    assert main(["train", "--out", str(run), "--resume", "--iterations", "14"]) == 0
    energy, kernel = Run(run).model()
    assert isinstance(energy, noneq.BernoulliRBM)
    assert isinstance(kernel, noneq.kernels.BlockGibbs)
    found = json.loads((run / "likelihood.json").read_text())
    for side in ("forward", "backward"):
        assert found[side] == {"value": pytest.approx(energy.log_z(), abs=1e-5), "stderr": 0}
    assert f"log Z {energy.log_z():.2f}, exact" in capsys.readouterr().out
    for source in ("ais", "chains"):
        out = tmp_path / f"{source}.npy"
        assert main(["sample", str(run), "-n", "20", "--out", str(out), "--source", source]) == 0
        drawn = np.load(out)
        assert drawn.shape == (20, 12)
        assert np.isin(drawn, (0, 1)).all()
    assert main(["score", str(run), str(bits), "--out", str(tmp_path / "s.npz")]) == 0
    x = torch.from_numpy(np.load(bits)).float()
    exact = -energy(x).double() - found["log_z"]
    np.testing.assert_allclose(
        np.load(tmp_path / "s.npz")["log_density"], exact.detach(), atol=1e-4
    )
    assert main(["logz", str(run), "--bracket.temperatures", "30"]) == 0
    assert main(["report", str(run)]) == 0
    assert (run / "report.html").stat().st_size > 10_000


def test_an_rbm_of_many_states_is_bracketed(bits, tmp_path, monkeypatch, capsys):
    run = tmp_path / "r"
    args = ["train", bits, "--model", "rbm", "--hidden", 4, "--out", run, *MACHINE]
    monkeypatch.setattr("noneq.models.BernoulliRBM.states", 2.0**700)
    assert main([*map(str, args), "--iterations", "12"]) == 0
    assert "log Z between" in capsys.readouterr().out
    found, exact = json.loads((run / "likelihood.json").read_text()), Run(run).model()[0].log_z()
    for side in ("forward", "backward"):
        assert found[side]["stderr"] > 0
        assert abs(found[side]["value"] - exact) < 4 * found[side]["stderr"] + 0.02


def test_an_rbm_of_numbers_takes_a_table(data, tmp_path):
    run = tmp_path / "r"
    args = ["train", data, "--model", "gaussian-rbm", "--hidden", 4, "--out", run, *MACHINE]
    assert main([*map(str, args), "--iterations", "5"]) == 0
    assert isinstance(Run(run).model()[0], noneq.GaussianRBM)
    assert main(["report", str(run)]) == 0


def test_what_an_rbm_cannot_take(data, bits, tmp_path, capsys):
    out = ["--out", tmp_path / "r"]
    told = refused(["train", data, "--model", "rbm", *out], capsys)
    assert "neither 0 nor 1" in told
    assert "--binary" in told
    assert "--model gaussian-rbm" in told
    told = refused(["train", bits, "--model", "rbm", "--width", "3", *out], capsys)
    assert "--width does not apply to --model rbm" in told
    told = refused(["train", bits, "--model", "rbm", "--noise", "0.1", *out], capsys)
    assert "--noise does not apply to --model rbm" in told
    np.save(tmp_path / "zero.npy", np.zeros((100, 5)))
    told = refused(["train", tmp_path / "zero.npy", "--model", "rbm", *out], capsys)
    assert "every training value is 0: nothing to learn" in told
    assert not (tmp_path / "r").exists()
    run = tmp_path / "b"
    args = ["train", bits, "--model", "rbm", "--out", run, "--iterations", 2, *MACHINE]
    assert main(list(map(str, args))) == 0
    np.save(tmp_path / "grey.npy", np.full((3, 12), 0.4))
    told = refused(["score", run, tmp_path / "grey.npy"], capsys)
    assert "not made of 0 and 1" in told


def test_only_the_weights_of_an_rbm_decay():
    machine = noneq.BernoulliRBM(torch.zeros(3, 2), torch.zeros(3), torch.zeros(2))
    weights, biases = FAMILIES["rbm"].parameter_groups(machine, 0.3)
    assert [p is machine.w for p in weights["params"]] == [True]
    assert weights["weight_decay"] == 0.3
    assert {id(p) for p in biases["params"]} == {id(machine.b), id(machine.c)}
    assert biases["weight_decay"] == 0.0
