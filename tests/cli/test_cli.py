"""The command line, as a person meets it: runs, interruptions, faults; each error text whole."""

import errno
import importlib
import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import known
import numpy as np
import pytest
import torch
from command_line import QUICK, noneq_process, refused, rows
from known import bits

import noneq
from noneq import Run
from noneq.cli.commands import COMMANDS
from noneq.cli.main import main
from noneq.cli.options import check_names
from noneq.data import digits
from noneq.data.readers import read_raw
from noneq.energies.denoising import denoised
from noneq.likelihood.score import mean_energy
from noneq.run import checkpoint

FAST = ["--longest", "1", "--tau", "0.05"]  # the trust region has something to shorten


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "rows.npy"
    np.save(path, rows())
    return str(path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("runs") / "a"
    # on one Gaussian, so that something is left to learn
    args = ["train", data, "--out", str(folder), "--iterations", "12", *QUICK, "--base", "full"]
    assert main(args) == 0
    return folder


@pytest.fixture
def copy(trained, tmp_path):
    return Path(shutil.copytree(trained, tmp_path / "copy"))


# -- train


def test_what_a_run_leaves(trained, data):
    names = {p.name for p in trained.iterdir()}
    assert {
        "config.json", "metrics.jsonl", "model.safetensors", "state", "likelihood.json",
        "population.safetensors", "samples.png",
    } <= names  # fmt: skip
    config = json.loads((trained / "config.json").read_text())
    assert config["noneq"] == noneq.__version__
    assert config["data"]["source"] == data
    assert config["recipe"]["train"]["walkers"] == 64
    metrics = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert [row["iteration"] for row in metrics] == [1, 5, 10, 11, 12]
    assert metrics[1]["renewed"] in (True, False)
    found = json.loads((trained / "likelihood.json").read_text())
    assert set(found["nll"]) == {"train", "validation", "test"}
    assert not list(trained.glob("**/*.part*"))


def test_the_likelihood_of_an_untrained_model_is_its_bases(tmp_path, data, capsys):
    # one iteration at a tiny tau: the model is the Gaussian, whose likelihood is exact
    args = ["train", data, "--out", tmp_path / "r", "--iterations", "1", *QUICK, "--tau", "1e-9"]
    assert main([*map(str, args), "--base", "full"]) == 0
    found = json.loads((tmp_path / "r" / "likelihood.json").read_text())
    for name in ("train", "validation", "test"):
        assert found["nll"][name]["value"] == pytest.approx(found["base"][name]["value"], abs=1e-2)
    x = np.load(data)
    run = Run(tmp_path / "r")
    scaled = run.scaling.apply(torch.from_numpy(x).float())
    base = run.model()[0].base
    cov = base.factor.mul(torch.eye(3)).T.double()
    normal = torch.distributions.MultivariateNormal(base.mean.double(), scale_tril=cov)
    ours = mean_energy(base, scaled) + base.log_z()
    assert torch.allclose(ours, -normal.log_prob(scaled.double()), atol=1e-4)
    assert "cannot be distinguished from its Gaussian base" in " ".join(
        capsys.readouterr().out.split()
    )


def test_choices_are_printed_and_kept(tmp_path, data, capsys):
    args = ["train", data, "--out", str(tmp_path / "r"), "--iterations", "1", *QUICK]
    assert main([*args, "--tau", "0.125", "--seed", "5"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "tau 0.125" in told
    assert "walkers 64" in told
    run = Run(tmp_path / "r")
    assert (run.recipe.train.tau, run.seed) == (0.125, 5)


def test_a_budget_is_a_time():
    from noneq.cli.values import seconds

    assert [seconds(t) for t in ("90", "120s", "1.5m", "2h")] == [90, 120, 90, 7200]


# -- interrupted and resumed: the same bits


@pytest.fixture(scope="module")
def whole(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("whole") / "r"
    process = noneq_process("train", data, "--out", folder, "--iterations", 40, *QUICK, *FAST)
    _, err = process.communicate()
    assert process.returncode == 0, err
    tree = checkpoint.load(folder / "state")["trained"]
    # all that resuming may forget has happened
    assert tree["trust"]["redone"] > 0
    assert tree["step_size"] != 0.3
    metrics = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert any(row["renewed"] for row in metrics)
    assert max(row["resampled"] for row in metrics) > 0
    return bits(folder)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_interrupted_ends_with_the_same_bits(tmp_path, data, whole, how):
    folder = tmp_path / "r"
    args = ["train", data, "--out", folder, "--iterations", 40, *QUICK, *FAST]
    if how == signal.SIGKILL:
        args += ["--save-every", "0"]  # a checkpoint after every iteration, one behind the metrics
    process = noneq_process(*args, interrupted=how)
    out, err = process.communicate()
    assert process.returncode == {2: 130, 15: 143, 9: -9}[how], err
    at = checkpoint.load(folder / "state")["trained"]["iteration"]
    assert at == {2: 10, 15: 10, 9: 9}[how]
    if how != signal.SIGKILL:
        assert f"interrupted at iteration {at}; all is saved" in out
        (again,) = re.findall(r"Go on: noneq (.*)", out)
        args = again.split()
    else:
        args = ["train", "--out", folder, "--resume"]
    process = noneq_process(*args)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert f"going on at iteration {at}" in out
    ended = bits(folder)
    assert {k: v for k, v in ended.items() if v != whole[k]} == {}


def test_a_longer_budget_goes_on(copy):
    assert main(["train", "--out", str(copy), "--resume", "--iterations", "14"]) == 0
    run = Run(copy)
    assert run.metrics.rows()[-1]["iteration"] == 14
    assert checkpoint.load(copy / "state")["trained"]["iteration"] == 14


def test_a_run_keeps_its_choices(copy, capsys):
    told = refused(["train", "--out", copy, "--resume", "--tau", "0.1"], capsys)
    assert re.search(r"copy: was begun with --tau 0.01, and a run keeps its choices", told)


def test_a_run_keeps_its_data(copy, tmp_path, capsys):
    np.save(tmp_path / "other.npy", rows(seed=1))
    args = ["train", tmp_path / "other.npy", "--out", copy, "--resume"]
    assert "is not what" in refused(args, capsys)


@pytest.mark.parametrize("more", [["--seed", "9"], ["--classes", "7"], ["--binary"]])
def test_a_run_keeps_its_seed_and_its_rows(copy, more, capsys):
    assert "--resume keeps the run's own" in refused(
        ["train", "--out", copy, "--resume", *more], capsys
    )


def test_a_run_goes_on_for_a_time_instead(copy):
    assert main(["train", "--out", str(copy), "--resume", "--budget", "0.5s"]) == 0
    run = Run(copy)
    assert (run.recipe.budget.seconds, run.recipe.budget.iterations) == (0.5, None)


def test_a_run_of_another_machine(copy, capsys):
    config = checkpoint.load_json(copy / "config.json")
    checkpoint.save_json(copy / "config.json", {**config, "device": "cuda"})
    for args in (["report", copy], ["train", "--out", copy, "--resume"]):
        told = refused(args, capsys)
        assert "--device cuda: cannot be used here" in told
        assert "take another --device, e.g. cpu" in told
    told = refused(["train", "--out", copy, "--resume", "--device", "cpu"], capsys)
    assert "was begun on cuda, whose random numbers cpu cannot continue" in told
    assert main(["report", str(copy), "--device", "cpu"]) == 0


def test_data_that_changed_since(tmp_path, capsys):
    np.save(tmp_path / "x.npy", rows())
    args = ["train", tmp_path / "x.npy", "--out", tmp_path / "r", "--iterations", "1", *QUICK]
    assert main(list(map(str, args))) == 0
    np.save(tmp_path / "x.npy", rows(seed=1))
    capsys.readouterr()
    assert "other values" in refused(["train", "--out", tmp_path / "r", "--resume"], capsys)


# -- faults


def test_a_folder_that_is_a_run_already(copy, data, capsys):
    before = {p: p.read_bytes() for p in copy.rglob("*") if p.is_file()}
    told = refused(["train", data, "--out", copy, *QUICK], capsys)
    assert re.search(r"holds a run already; go on with it \(--resume\), replace it", told)
    assert before == {p: p.read_bytes() for p in copy.rglob("*") if p.is_file()}


def test_overwrite_waits_until_the_new_run_can_begin(copy, data, capsys):
    before = {p: p.read_bytes() for p in copy.rglob("*") if p.is_file()}
    for wrong in (["--clusters", "9999"], ["--net", "convnet"], ["--held-out", "3"]):
        refused(["train", data, "--out", copy, "--overwrite", *QUICK, *wrong], capsys)
    assert before == {p: p.read_bytes() for p in copy.rglob("*") if p.is_file()}


def test_overwrite_refuses_a_folder_with_what_is_not_the_runs(copy, data, capsys):
    (copy / "notes.txt").write_text("mine")
    args = ["train", data, "--out", str(copy), "--overwrite", "--iterations", "1", *QUICK]
    assert "notes.txt: is not the run's" in refused(args, capsys)
    assert (copy / "notes.txt").read_text() == "mine"
    (copy / "notes.txt").unlink()
    assert main(args) == 0
    assert Run(copy).metrics.rows()[-1]["iteration"] == 1


def test_a_folder_of_something_else(tmp_path, data, capsys):
    (tmp_path / "thesis.tex").write_text("years of work")
    for more in ([], ["--overwrite"]):
        told = refused(["train", data, "--out", tmp_path, *QUICK, *more], capsys)
        assert "is not a run and not empty (thesis.tex, ...)" in told
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_run_that_is_locked_by_another_process(copy, capsys):
    code = (
        "import sys, time; from noneq.run.folder import Run\n"
        "with Run(sys.argv[1]).locked(): print('locked', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(copy)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout.readline() == "locked\n"
        for args in (["train", "--out", copy, "--resume"], ["logz", copy]):
            assert "another process is working on this run" in refused(args, capsys)
    finally:
        other.kill()
        other.communicate()
    assert main(["logz", str(copy)]) == 0  # a lock dies with its process


@pytest.mark.parametrize("name", ["config.json", "state/state.json", "model.safetensors"])
@pytest.mark.parametrize("keep", [0, 40])
def test_a_truncated_run(copy, name, keep, capsys):
    path = copy / name
    path.write_bytes(path.read_bytes()[:keep])
    if name == "model.safetensors":
        args = ["sample", copy, "--out", copy / "x.npz"]
    else:
        args = ["train", "--out", copy, "--resume", "--iterations", "14"]
    told = refused(args, capsys)
    assert "damaged" in told
    assert path.name in told


def test_tensors_cut_short(copy, capsys):
    (path,) = copy.glob("state/tensors-*")
    path.write_bytes(path.read_bytes()[:-100])
    told = refused(["train", "--out", copy, "--resume", "--iterations", "14"], capsys)
    assert "damaged or cut short" in told


def test_a_run_with_the_state_of_another_model(copy, data, tmp_path, capsys):
    quick = [*QUICK, "--width", "8"]
    assert main(["train", data, "--out", str(tmp_path / "b"), "--iterations", "1", *quick]) == 0
    shutil.rmtree(copy / "state")
    shutil.copytree(tmp_path / "b" / "state", copy / "state")
    capsys.readouterr()
    told = refused(["train", "--out", copy, "--resume", "--iterations", "14"], capsys)
    assert "the checkpoint of another model" in told


def test_a_log_z_of_other_parameters(copy, data, tmp_path, capsys):
    args = ["train", data, "--out", str(tmp_path / "b"), "--iterations", "2", *QUICK]
    assert main([*args, "--base", "full", "--seed", "1"]) == 0
    shutil.copy(tmp_path / "b" / "model.safetensors", copy / "model.safetensors")
    capsys.readouterr()
    told = refused(["score", copy, data], capsys)
    assert "this log Z belongs to other parameters than model.safetensors; noneq logz" in told
    assert main(["logz", str(copy)]) == 0
    assert main(["score", str(copy), data]) == 0


def test_a_checkpoint_with_a_pickle_in_it(copy, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)

    class Bomb:
        def __reduce__(self):
            return (open, ("exploded", "w"))

    (copy / "model.safetensors").write_bytes(pickle.dumps(Bomb()))
    told = refused(["sample", copy], capsys)
    assert "is a pickle, which could run any code and is never loaded" in told
    assert not (tmp_path / "exploded").exists()


def test_a_full_disk(tmp_path, data, monkeypatch, capsys):
    real = checkpoint.write
    left = 6

    def write(path, content):
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        real(path, content)

    monkeypatch.setattr(checkpoint, "write", write)
    args = ["train", data, "--out", tmp_path / "r", "--iterations", "9", *QUICK]
    told = refused([*args, "--save-every", "0"], capsys)
    assert "No space left on device" in told
    assert "free some" in told
    monkeypatch.setattr(checkpoint, "write", real)
    assert main(["train", "--out", str(tmp_path / "r"), "--resume"]) == 0


def test_a_folder_that_cannot_be_made(data, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    told = refused(["train", data, "--out", tmp_path / "file" / "r", *QUICK], capsys)
    assert str(tmp_path / "file") in told


def test_an_unknown_option_names_the_nearest(capsys):
    told = refused(["train", "digits", "--walkrs", "64"], capsys)
    assert "noneq train has no option --walkrs; did you mean --walkers?" in told
    assert "no command trian; did you mean train?" in refused(["trian", "digits"], capsys)
    for command in ("train", "sample", "score", "logz", "report"):
        with pytest.raises(SystemExit) as caught:  # every option that there is passes
            main([command, "--help"])
        assert caught.value.code == 0
        for name in re.findall(r"(--[a-z][a-z.-]+[a-z])", capsys.readouterr().out):
            check_names([command, name], COMMANDS)


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["train"], "noneq train DATA"),
        (["train", "digts"], "digits"),
        (["train", "digits", "--classes", "3,x"], "integers with commas"),
        (["train", "digits", "--classes", "3,11"], "11"),
        (["train", "digits", "--classes", "3", "--subset", "9999"], "9999"),
        (["train", "digits", "--budget", "soon"], "a time like 120s, 20m or 2h"),
        (["train", "digits", "--held-out", "12"], "multiple of 8"),
        (["train", "digits", "--tau", "-1"], "tau must be positive"),
        (["train", "digits", "--device", "abacus"], "--device abacus: cannot be used here"),
        (["train", "--out", "nowhere", "--resume"], "holds no run"),
        (["sample", "nowhere"], "nowhere: holds no run"),
        (["score", "nowhere", "x.npy"], "nowhere: holds no run"),
        (["report", "nowhere"], "nowhere: holds no run"),
        (["train", "digits", "--budget", "1h", "--iterations", "3"], "give one"),
        (["train", "digits", "--resume", "--overwrite"], "give one"),
        (["train", "digits", "--clusters", "2000"], "at most the 1257 training rows"),
        (["train", "digits", "--noise", "0"], "columns never change"),
        (["train", "digits", "--net", "convnet", "--depth", "9"], "9 halvings are too many"),
        (["train", "digits", "--longest", "inf"], "longest is a finite number"),
        (["logz"], "--energy with --data"),
        (["logz", "--energy", "json:dumps"], "needs --data"),
    ],
)
def test_what_is_asked_wrongly(args, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert told in refused(args, capsys)
    assert not list(tmp_path.iterdir())


def test_a_csv_with_words(tmp_path, capsys):
    rows = "".join(f"{i}.5,{i * i}\n" for i in range(9))
    (tmp_path / "iris.csv").write_text(f"width,length\n{rows}2.0,about 3\n")
    told = refused(["train", tmp_path / "iris.csv"], capsys)
    assert "column 'length' holds text ('about 3', line 11): drop it or" in told
    assert "--drop leaves a column out" in told


# -- sample, score, logz, report


def test_samples(trained, tmp_path, data):
    for more in ([], ["--source", "chains"], ["--weighted"]):
        args = ["sample", str(trained), "-n", "40", "--out", str(tmp_path / "x.npz"), *more]
        assert main(args) == 0
        found = np.load(tmp_path / "x.npz", allow_pickle=False)
        assert found["x"].shape == (40, 3)
        # in the units of the data, whose columns differ a hundredfold
        low, high = np.quantile(np.load(data), [0, 1], axis=0)
        span = high - low
        assert ((found["x"] > low - span) & (found["x"] < high + span)).all(1).mean() > 0.9
        assert ("log_w" in found.files) == ("--weighted" in more)
        if more == ["--weighted"]:
            assert np.exp(found["log_w"]).sum() == pytest.approx(1)
    assert main(["sample", str(trained), "-n", "3", "--out", str(tmp_path / "y.npy")]) == 0
    assert np.load(tmp_path / "y.npy").shape == (3, 3)


def test_tables_are_read_as_they_were_written(trained, tmp_path, data, capsys):
    csv, npy = tmp_path / "x.csv", tmp_path / "x.npy"
    for path in (csv, npy):
        assert main(["sample", str(trained), "-n", "9", "--out", str(path)]) == 0
    told = capsys.readouterr().out
    assert "9 samples (9 distinct)" in told
    table = read_raw(csv)
    assert table.columns == ("x1", "x2", "x3")
    assert np.array_equal(table.values, np.load(npy)), "the same float64"
    assert main(["sample", str(trained), "-n", "9", "--weighted", "--out", str(csv)]) == 0
    table = read_raw(csv)
    assert table.columns == ("x1", "x2", "x3", "log_w")
    assert np.exp(table.values[:, 3]).sum() == pytest.approx(1)
    for name in ("s.csv", "s.npz"):
        assert main(["score", str(trained), data, "--out", str(tmp_path / name)]) == 0
    table, arrays = read_raw(tmp_path / "s.csv"), np.load(tmp_path / "s.npz")
    names = ("row", "log_density", "rank", "training_percentile", "log_density_standardised")
    assert table.columns == names
    for i, name in enumerate(names[:4]):
        assert np.array_equal(table.values[:, i], arrays[name])
    assert np.array_equal(arrays["expected"], arrays["log_density"]), "there was no noise"
    own = arrays["log_density"] - arrays["log_jacobian"]
    np.testing.assert_allclose(table.values[:, 4], own, rtol=1e-12)


def test_tables_have_the_names_of_the_columns(tmp_path):
    names = 'length,"width, mm",height'
    lines = [",".join(map(str, row)) for row in rows()]
    (tmp_path / "a.csv").write_text("\n".join([names, *lines]))
    args = ["train", str(tmp_path / "a.csv"), "--out", str(tmp_path / "r"), "--iterations", "2"]
    assert main([*args, *QUICK]) == 0
    out = tmp_path / "x.csv"
    assert main(["sample", str(tmp_path / "r"), "-n", "5", "--out", str(out)]) == 0
    assert out.read_text().splitlines()[0] == names
    assert main(["score", str(tmp_path / "r"), str(out)]) == 0


@pytest.mark.parametrize(
    "args",
    [["sample", "-n", "4", "--out", "x.csv"], ["score", "rows.npy", "--out", "s.npz"],
     ["score", "rows.npy", "--out", "s"], ["score", "rows.npy", "--out", "s.npy"],
     ["sample", "--out", "x.csv", "-n", "0"]],
)  # fmt: skip
def test_no_failure_leaves_a_file(trained, tmp_path, data, args, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copy(data, "rows.npy")

    def full(path, *_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(os, "fsync", full)
    assert refused([args[0], trained, *args[1:]], capsys)
    assert [p.name for p in tmp_path.iterdir()] == ["rows.npy"]


def test_blank_cells_are_filled_in(trained, tmp_path, data, capsys):
    table = np.load(data)[:6]
    lines = [[str(v) for v in row] for row in table.tolist()]
    for i, j in ((0, 1), (2, 0), (2, 2), (4, 0), (4, 1), (4, 2)):
        lines[i][j], table[i, j] = "", np.nan
    (tmp_path / "gaps.csv").write_text("\n".join(map(",".join, lines)))
    args = ["sample", str(trained), "--given", str(tmp_path / "gaps.csv")]
    for out, count in (("x.csv", 1), ("x.npy", 3)):
        path = tmp_path / out
        assert main([*args, "--out", str(path), "--count", str(count)]) == 0
        told = " ".join(capsys.readouterr().out.split())
        assert "6 values were missing" in told
        assert "weighted walkers of a row are worth" in told
        found, expected = read_raw(path).values, np.repeat(table, count, 0)
        given = ~np.isnan(expected)
        assert np.array_equal(found[given], expected[given]), "in order, to the last bit"
        low, high = np.quantile(np.load(data), [0, 1], axis=0)
        assert np.isfinite(found).all()
        assert ((found > 2 * low - high) & (found < 2 * high - low)).all()
        assert len(np.unique(found[:, 1])) == (6 if count == 1 else 4 + 6)
    assert main([*args, "--out", str(tmp_path / "y.csv")]) == 0
    assert (tmp_path / "y.csv").read_bytes() == (tmp_path / "x.csv").read_bytes(), "seeded"
    # without gaps nothing is annealed
    np.save(tmp_path / "all.npy", np.load(data)[:4])
    args[-1] = str(tmp_path / "all.npy")
    assert main([*args, "--out", str(tmp_path / "z.npy")]) == 0
    assert np.array_equal(np.load(tmp_path / "z.npy"), np.load(data)[:4])


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["--given", "rows.npy", "--out", "x.npz"], "rows of --given go to .csv or .npy"),
        (["--given", "rows.npy", "--out", "x.csv", "-n", "3"], "--given takes no options but"),
        (["--given", "rows.npy", "--out", "x.csv", "--weighted"], "--given takes no options but"),
        (["--given", "none.csv", "--out", "x.csv"], "none.csv: no such file"),
        (["--given", "rows.npy", "--out", "x.csv", "--count", "0"], "--count is 1 or more, got 0"),
        (["--count", "3"], "--count is the number of samples of each row of --given FILE"),
    ],
)
def test_what_cannot_be_filled_in(trained, tmp_path, data, args, told, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copy(data, "rows.npy")
    assert told in refused(["sample", trained, *args], capsys)


def test_samples_are_seeded(trained, tmp_path):
    xs = []
    for i, seed in enumerate("001"):
        path = tmp_path / f"{i}.npy"
        assert main(["sample", str(trained), "-n", "5", "--seed", seed, "--out", str(path)]) == 0
        xs.append(np.load(path))
    assert np.array_equal(xs[0], xs[1])
    assert not np.array_equal(xs[0], xs[2])


def test_denoised_samples_are_the_means_given_the_noisy_ones(tmp_path):
    run, _, session = known.begun(tmp_path, noise=0.5)
    run.save(session)
    noisy, clean = tmp_path / "noisy.npy", tmp_path / "clean.npy"
    for path, more in ((noisy, []), (clean, ["--denoise"])):
        assert main(["sample", str(run.folder), "-n", "9", "--out", str(path), *more]) == 0
    x = run.scaling.apply(torch.from_numpy(np.load(noisy)))
    expected = run.scaling.undo(denoised(run.model()[0], x, 0.5))
    np.testing.assert_allclose(np.load(clean), expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["-n", "0"], "one sample or more"),
        (["--out", "x.txt"], "samples go to .npz"),
        (["--out", "x.npy", "--weighted"], "weights need an .npz"),
        (["--denoise"], "trained without noise"),
        (["-n", "999", "--source", "chains", "--weighted"], "has 64 chains, not 999"),
        (["-n", "999", "--source", "chains"], "has 64 chains, not 999"),
    ],
)
def test_samples_that_cannot_be(trained, args, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert told in refused(["sample", trained, *args], capsys)


def test_scores_are_the_models(trained, tmp_path, data, capsys):
    assert main(["score", str(trained), data, "--out", str(tmp_path / "s.npz")]) == 0
    found = np.load(tmp_path / "s.npz", allow_pickle=False)
    standard = (found["log_jacobian"] - found["expected"]).mean()
    told = capsys.readouterr().out
    assert f"mean NLL {-found['expected'].mean():.2f} nats in the file's units" in told
    assert f"({standard:.2f} of standardised values)" in told
    run = Run(trained)
    energy, _ = run.model()
    x = run.scaling.apply(torch.from_numpy(np.load(data)).float())
    log_z = json.loads((trained / "likelihood.json").read_text())["log_z"]
    with torch.no_grad():
        expected = -energy(x).double() - log_z
    np.testing.assert_allclose(found["log_density"] - found["log_jacobian"], expected, atol=1e-5)
    assert float(found["log_z"]) == log_z
    # in the file's units the density of the base integrates to one: d log-scale
    np.testing.assert_allclose(
        found["log_jacobian"], -np.log(run.scaling.scale.double().numpy()).sum()
    )


def test_scores_of_noisy_models_are_densities(tmp_path):
    # over a grid they integrate to one, wherever in the file a row is
    x = np.random.default_rng(0).normal(size=(300, 1)) * 3 + 7
    np.save(tmp_path / "x.npy", np.concatenate([x, -0.5 * x]))
    args = ["train", str(tmp_path / "x.npy"), "--out", str(tmp_path / "r"), "--iterations", "20"]
    assert main([*args, *QUICK, "--noise", "0.5", "--bracket.walkers", "512"]) == 0
    grid = np.linspace(-60, 80, 4001)[:, None]
    np.save(tmp_path / "grid.npy", grid)
    np.save(tmp_path / "back.npy", grid[::-1])
    found = []
    for name in ("grid", "back"):
        out = tmp_path / f"{name}.npz"
        assert (
            main(["score", str(tmp_path / "r"), str(tmp_path / f"{name}.npy"), "--out", str(out)])
            == 0
        )
        found.append(np.load(out))
    density = np.exp(found[0]["log_density"])
    mass = density.sum() * (grid[1, 0] - grid[0, 0])
    assert mass == pytest.approx(1, abs=0.02 + 4 * float(found[0]["log_z_stderr"]))
    for name in ("log_density", "expected"):
        assert np.allclose(found[0][name], found[1][name][::-1])
    assert np.exp(found[0]["expected"]).sum() < density.sum()


def test_rows_in_other_units_are_noticed(trained, tmp_path, data, capsys, monkeypatch):
    np.save(tmp_path / "x.npy", np.load(data) * 3)
    assert main(["score", str(trained), str(tmp_path / "x.npy")]) == 0
    assert "other units?" in " ".join(capsys.readouterr().out.split())
    assert main(["score", str(trained), data]) == 0
    assert "other units?" not in " ".join(capsys.readouterr().out.split())
    command = importlib.import_module("noneq.cli.score")
    real = command.log_density
    monkeypatch.setattr(command, "log_density", lambda *a: replace(real(*a), unlike=-3.5))
    assert main(["score", str(trained), data]) == 0
    assert "by -3.5 standard deviations" in " ".join(capsys.readouterr().out.split())


def test_binary_samples_are_binary(tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", rng.random((300, 4)) < [0.1, 0.4, 0.6, 0.8])
    args = ["train", str(tmp_path / "x.npy"), "--out", str(tmp_path / "r"), "--iterations", "3"]
    assert main([*args, "--binary", *QUICK]) == 0
    out = str(tmp_path / "s.npy")
    assert main(["sample", str(tmp_path / "r"), "-n", "30", "--out", out]) == 0
    assert set(np.unique(np.load(out))) == {0.0, 1.0}
    assert (
        main(["score", str(tmp_path / "r"), str(tmp_path / "x.npy"), "--out", out + ".npz"]) == 0
    )
    assert "log_jacobian" not in np.load(out + ".npz").files


def test_scores_of_rows_of_another_shape(trained, tmp_path, capsys):
    np.save(tmp_path / "x.npy", np.zeros((4, 2)))
    told = refused(["score", trained, tmp_path / "x.npy"], capsys)
    assert "3" in told
    assert "2" in told


def test_the_same_bracket_again(copy):
    before = json.loads((copy / "likelihood.json").read_text())
    assert main(["logz", str(copy)]) == 0
    assert json.loads((copy / "likelihood.json").read_text()) == before
    assert main(["logz", str(copy), "--bracket.temperatures", "30", "--seed", "3"]) == 0
    after = json.loads((copy / "likelihood.json").read_text())
    assert after["how"]["temperatures"] == 30
    assert after["log_z"] != before["log_z"]


def test_a_report(copy, tmp_path, capsys):
    assert main(["report", str(copy)]) == 0
    page = (copy / "report.html").read_text(encoding="utf-8")
    assert f"noneq sample {copy} -n 64" in page
    assert "damaged" not in capsys.readouterr().out
    told = refused(["report", copy, "--out", tmp_path / "a.jpeg"], capsys)
    assert "a.jpeg: a report is an .html file, or of one run a .png file" in told
    lines = (copy / "metrics.jsonl").read_text().splitlines(keepends=True)
    (copy / "metrics.jsonl").write_text("".join(["?\n", *lines]))
    assert main(["report", str(copy), "--out", str(tmp_path / "a.png")]) == 0
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert main(["report", str(copy), "--out", str(tmp_path / "a.png")]) == 0  # it is replaced
    told = refused(["report", copy, "--out", copy / "samples.png"], capsys)
    assert "samples.png: is there already, and was not drawn by noneq report" in told
    assert main(["report", str(copy), "--out", str(tmp_path / "a.png")]) == 0
    assert "1 damaged, left out: line 1" in capsys.readouterr().out
    told = refused(["report", copy, copy, "--out", tmp_path / "c.png"], capsys)
    assert "of one run a .png" in told
    assert "report takes the folder of a run" in refused(["report"], capsys)


def test_a_comparison(copy, tmp_path, capsys):
    other = shutil.copytree(copy, tmp_path / "other")
    assert main(["report", str(copy), str(other)]) == 0
    page = tmp_path / "comparison_copy_other.html"
    assert f"{page}: 2 runs, compared row by row" in " ".join(capsys.readouterr().out.split())
    assert "cannot be told apart" in page.read_text(encoding="utf-8")
    assert main(["report", str(copy), str(other), "--out", str(tmp_path / "c.html")]) == 0
    assert f"{copy}: is given twice" in refused(["report", copy, copy], capsys)
    (tmp_path / "mine.html").write_text("<p>mine")
    for runs in ([copy, other], [copy]):
        told = refused(["report", *runs, "--out", tmp_path / "mine.html"], capsys)
        assert "mine.html: is there already, and is no page of noneq report" in told
        assert "name another file (--out)" in told
    assert (tmp_path / "mine.html").read_text() == "<p>mine"


def test_the_report_of_a_run_without_a_bracket_says_what_to_type(copy, capsys):
    def told():
        assert main(["report", str(copy)]) == 0
        return " ".join(capsys.readouterr().out.split())

    (copy / "likelihood.json").unlink()
    assert told().startswith(f"{copy}: log Z is not bracketed; noneq logz {copy} does so")
    config = json.loads((copy / "config.json").read_text())
    done = config["recipe"]["budget"]["iterations"]
    config["recipe"]["budget"]["iterations"] = done + 1
    config["noneq_sha256"] = ""  # edited
    (copy / "config.json").write_text(json.dumps(config))
    resume = f"noneq train --out {copy} --resume"
    at = f"was interrupted at iteration {done} of {done + 1}"
    assert told().startswith(f"{copy}: its training {at}, and log Z is not bracketed: {resume}")
    page = (copy / "report.html").read_text(encoding="utf-8")
    assert f"goes on with the training, which {at}" in page
    assert page.index(resume) < page.index(f"noneq logz {copy}")
    with Run(copy).locked():
        assert f"is still being trained, at iteration {done} of {done + 1}" in told()
    assert resume not in (copy / "report.html").read_text(encoding="utf-8")


def test_rows_that_were_moved_are_named(copy, data, tmp_path, capsys):
    config = json.loads((copy / "config.json").read_text())
    config["data"]["source"] = str(tmp_path / "gone.npy")
    config["noneq_sha256"] = ""  # edited
    (copy / "config.json").write_text(json.dumps(config))
    for words in (["report", copy], ["logz", copy]):
        told = refused(words, capsys)
        assert f"gone.npy: not there any more, and {copy} was trained on it" in told
        assert "name its place (--data)" in told
    told = refused(["train", "--out", copy, "--resume", "--iterations", "9"], capsys)
    assert f"(noneq train FILE --out {copy} --resume)" in told
    assert main(["report", str(copy), "--data", str(data)]) == 0
    assert main(["logz", str(copy), "--data", str(data), "--bracket.temperatures", "30"]) == 0
    other = tmp_path / "other.npy"
    np.save(other, np.load(data) + 1)
    assert "is not what" in refused(["report", copy, "--data", other], capsys)


# -- the audit


ENERGY = """
import torch
class U(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.a = torch.nn.Parameter(torch.tensor(9.0))
    def forward(self, x):
        return self.a * x.square().sum(1) / 2
def build():
    return U()
"""


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "mymodel", raising=False)
    (tmp_path / "mymodel.py").write_text(ENERGY)
    checkpoint.save_tensors(tmp_path / "w.safetensors", {"a": torch.tensor(4.0)})
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(500, 2)) / 2)
    return tmp_path


AUDIT = ["logz", "--energy", "mymodel:build", "--weights", "w.safetensors", "--data", "x.npy"]
LITTLE = [
    *("--bracket.walkers", "256", "--bracket.temperatures", "40", "--bracket.equilibrate", "40")
]


def test_the_audit_of_a_gaussian_is_exact(model, capsys):
    assert main([*AUDIT, *LITTLE]) == 0
    told = capsys.readouterr().out
    low, high = map(float, re.findall(r"between (-?[\d.]+) ± .* and (-?[\d.]+) ±", told)[0])
    exact = np.log(2 * np.pi / 4)
    assert abs(low - exact) < 0.05
    assert abs(high - exact) < 0.05
    nll = float(re.search(r"NLL of x.npy: (-?[\d.]+)", told)[1])
    x = np.load("x.npy")
    assert nll == pytest.approx((2 * (x**2).sum(1)).mean() + exact, abs=0.05)
    away = float(re.search(r"no data: ([\d.]+)", told)[1])
    assert away < 0.05


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["--energy", "mymodel"], "module:function is meant"),
        (["--energy", "nomodule:build"], "nomodule"),
        (["--energy", "mymodel:biuld"], "module 'mymodel' has no attribute 'biuld'"),
        (["--weights", "none.safetensors"], "no such file"),
        (["--weights", "x.npy"], "damaged or cut short"),
        (["--data", "none.npy"], "none.npy"),
    ],
)
def test_an_audit_asked_wrongly(model, args, told, capsys):
    assert told in refused([*AUDIT, *args], capsys)


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("def build(): return {}['weights']", "KeyError: 'weights'"),
        ("1/0", "ZeroDivisionError"),
        ("def build(:", "SyntaxError"),
        ("import torch\ndef build(): return lambda x: x.square()", "expected (16,)"),
        ("import torch\ndef build(): return torch.nn.Linear(2, 1)", "squeeze(-1)"),
    ],
)  # fmt: skip
def test_energies_that_are_none(model, code, told, capsys):
    (model / "mymodel.py").write_text(code)
    args = [a for a in AUDIT if a not in ("--weights", "w.safetensors")]
    assert told in refused(args, capsys)


def test_an_audit_of_a_class_in_float64_that_has_a_base_of_its_own(model, capsys):
    more = "\nclass V(U):\n    def __init__(self):\n        super().__init__()\n"
    more += "        self.base = torch.nn.Linear(2, 2)\n        self.double()\n"
    (model / "mymodel.py").write_text(ENERGY + more)
    assert main(["logz", "--energy", "mymodel:V", "--data", "x.npy", *LITTLE, "--seed", "0"]) == 0
    told = capsys.readouterr().out
    assert "no --weights: the parameters are as mymodel:V left them" in told
    low = float(re.findall(r"between (-?[\d.]+)", told)[0])
    assert low == pytest.approx(np.log(2 * np.pi / 9), abs=0.05)


def test_the_working_folder_is_searched_after_every_library(model, capsys):
    (model / "safetensors.py").write_text("raise SystemExit('another library')")
    (model / "json").mkdir()
    (model / "json" / "__init__.py").write_text("raise SystemExit('another library')")
    assert main([*AUDIT, *LITTLE]) == 0
    assert sys.path[-1] == str(model)
    assert sys.path.count(str(model)) == 1
    args = [*AUDIT[:1], "--energy", "safetensors:build", *AUDIT[3:]]
    assert "module 'safetensors' has no attribute 'build'" in refused(args, capsys)
    assert main([*AUDIT, *LITTLE]) == 0
    assert sys.path.count(str(model)) == 1


def test_the_help_says_that_an_audit_runs_code(capsys):
    with pytest.raises(SystemExit):
        main(["logz", "--help"])
    told = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "which runs their code: name none that you do not trust" in told


def test_an_audit_with_a_wrong_noise(model, capsys):
    assert "noise is a standard deviation >= 0" in refused([*AUDIT, "--noise", "-1"], capsys)


def test_weights_of_another_network(model, capsys):
    checkpoint.save_tensors(model / "w.safetensors", {"b": torch.tensor(4.0)})
    told = refused(AUDIT, capsys)
    assert "does not fit mymodel:build" in told


# -- and a few things that everything hangs on


def test_help_is_quick_because_nothing_heavy_is_imported():
    code = (
        "import sys; from noneq.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "sys.exit(any(m in sys.modules for m in ('torch', 'numpy', 'sklearn', 'matplotlib')))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode
        == 0
    )


def test_the_program_has_a_version(capsys):
    assert main(["--version"]) == main(["-V"]) == 0
    assert capsys.readouterr().out.split() == 2 * [noneq.__version__]


def test_a_run_is_repeated_by_its_config(tmp_path, data, capsys):
    first, again, other = (str(tmp_path / name) for name in ("a", "b", "c"))
    args = ["--iterations", "4", "--seed", "3", *QUICK]
    assert main(["train", data, "--out", first, "--columns", "1,3", *args]) == 0
    assert main(["train", "--config", f"{first}/config.json", "--out", again]) == 0
    for name in ("model.safetensors", "likelihood.json"):
        assert Path(first, name).read_bytes() == Path(again, name).read_bytes(), name
    # the folder will do, and what is given counts
    assert main(["train", "--config", first, "--out", other, "--seed", "4", "--noise", "0.1"]) == 0
    run = Run(other)
    assert (run.seed, run.recipe.train.noise, run.shape) == (4, 0.1, (2,))
    told = refused(["train", data, "--config", first, "--out", tmp_path / "d"], capsys)
    assert "names the data and their rows: leave those out" in told
    told = refused(["train", "--config", first, "--out", tmp_path / "d", "--model", "rbm"], capsys)
    assert "is of a run with --model network" in told
    config = checkpoint.load_json(Path(first) / "config.json")
    config["data"]["digest"] = "other"
    checkpoint.save_json(Path(first) / "config.json", config)
    told = refused(["train", "--config", first, "--out", tmp_path / "d"], capsys)
    assert "has other values than the run that is repeated had" in told
    told = refused(["train", "--config", first, "--out", first, "--resume"], capsys)
    assert "--config begins a run like another one" in told


def test_results_are_told_as_json(copy, data, tmp_path, capsys):
    def found(*args):
        assert main([*map(str, args), "--json"]) == 0
        out, err = capsys.readouterr()
        assert len(out.splitlines()) == 1
        return json.loads(out), err

    verdict, told = found("logz", copy)
    assert verdict["bracketed"] is (verdict["alarms"] == [])
    assert verdict["nll"] == json.loads((copy / "likelihood.json").read_text())["nll"]
    assert "Nats a row" in told
    scores, _ = found("score", copy, data)
    assert scores["rows"] == 400
    assert scores["bracketed"] is verdict["bracketed"]
    assert found("sample", copy, "-n", 7, "--out", tmp_path / "s.npy")[0]["samples"] == 7
    assert found("report", copy)[0]["out"] == str(copy / "report.html")
    assert main(["score", str(copy), data]) == 0
    assert "mean NLL" in capsys.readouterr().out, "to stdout again"


def test_the_exit_code_is_the_commands():
    process = noneq_process("train")
    _, err = process.communicate()
    assert (process.returncode, "noneq: error: " in err) == (1, True)


def test_a_run_that_diverges_rolls_back_and_stops(tmp_path, data, capsys):
    # without a limit on its length a step of a large tau grows a mode where no walker is
    args = ["train", data, "--out", tmp_path / "r", "--iterations", "400", *QUICK]
    wild = ["--tau", "off", "--lr", "3", "--weight-decay", "0", "--renew", "off", "--width", "64"]
    told = refused([*args, *wild, "--base", "full", "--early-stopping", "False"], capsys)
    assert "after 3 rollbacks" in told
    assert "last good state is kept" in told
    rollbacks = [row for row in Run(tmp_path / "r").metrics.rows() if "rollback" in row]
    assert [row["backoff"] for row in rollbacks] == [0.5, 0.25, 0.125]


def test_images_by_a_convolution_and_hmc(tmp_path):
    # what images of some size get by default: HMC, a schedule that is not cycled, no renewals
    rng = np.random.default_rng(0)
    x = np.clip(rng.normal(128, 60, size=(60, 1, 1)) + rng.normal(0, 30, (60, 16, 16)), 0, 255)
    np.save(tmp_path / "x.npy", x.astype(np.uint8))
    args = ["train", str(tmp_path / "x.npy"), "--out", str(tmp_path / "r"), "--iterations", "3"]
    quick = ["--walkers", "16", "--held-out", "16", "--width", "2", "--depth", "2"]
    more = [
        "--bracket.walkers",
        "32",
        "--bracket.temperatures",
        "20",
        "--bracket.equilibrate",
        "5",
    ]
    assert main([*args, *quick, *more]) == 0
    run = Run(tmp_path / "r")
    assert run.recipe.model.net == "convnet"
    assert run.recipe.model.leapfrog_steps > 1
    assert not run.recipe.bracket.cycled
    out = str(tmp_path / "s.npy")
    assert main(["sample", str(tmp_path / "r"), "-n", "4", "--denoise", "--out", out]) == 0
    assert np.load(out).shape == (4, 1, 16, 16)


def test_digits_by_name(tmp_path):
    args = ["train", "digits", "--out", str(tmp_path / "r"), "--iterations", "1", *QUICK]
    assert main(args) == 0
    run = Run(tmp_path / "r")
    assert run.shape == (1, 8, 8)
    assert torch.equal(run.scaling.apply(torch.full((1, 1, 8, 8), 16.0)), torch.ones(1, 1, 8, 8))
    assert len(digits().train) == 1257
