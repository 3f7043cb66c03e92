"""What a run would take of memory is told before it is tried."""

import math
import re

import numpy as np
import pytest
import torch
from command_line import QUICK, refused, rows
from known import build

from noneq import Recipe
from noneq import numerics as devices
from noneq.cli.main import main
from noneq.run import choose
from noneq.run.families import FAMILIES
from noneq.run.memory import FLOAT, TRAINED, check_recipe, footprint

HUGE = "1000000000"


@pytest.fixture
def data(tmp_path):
    np.save(tmp_path / "rows.npy", rows())
    return str(tmp_path / "rows.npy")


ASKED = {
    "width": (["--width", HUGE], r"--width 1000000000 takes 20,000,0\d\d,\d+ GB"),
    "depth": (["--depth", HUGE], r"--depth 1000000000 takes 798,\d+ GB"),
    "walkers": (["--walkers", HUGE], r"--walkers 1000000000 takes 1,072 GB"),
    "held-out": (["--held-out", HUGE], r"--held-out 1000000000 takes 1,072 GB"),
    "batch": (["--batch", HUGE], r"--batch 1000000000 takes 1,036 GB"),
    "bracket": (["--bracket.walkers", "16" + "0" * 9], r"--bracket.walkers 160+ takes 768 GB"),
    "temperatures": (["--temperatures", "1" + "0" * 12], r"--temperatures 10+ takes 8,000 GB"),
    "hidden": (["--model", "gaussian-rbm", "--hidden", "1" + "0" * 14], "--hidden 10+ takes"),
    "interpolant": (["--model", "interpolant", "--width", HUGE], "--width 10+ takes"),
}  # fmt: skip


@pytest.mark.parametrize("name", ASKED)
def test_what_no_memory_holds_is_refused_with_its_size(tmp_path, data, name, capsys):
    args, message = ASKED[name]
    told = refused(["train", data, "--out", tmp_path / "r", *args], capsys)
    pattern = message + r".* of memory, and there are [\d.,]+: take less"
    assert re.search(pattern, told), told
    assert not (tmp_path / "r").exists()


def test_a_run_that_is_there_is_asked_too(tmp_path, data, capsys):
    run = str(tmp_path / "r")
    assert main(["train", data, "--out", run, "--iterations", "1", *QUICK]) == 0
    before = (tmp_path / "r" / "config.json").read_bytes()
    again = [
        "train",
        "--out",
        run,
        "--resume",
        "--iterations",
        "2",
        "--bracket.walkers",
        "16000000000",
    ]
    assert "--bracket.walkers 16000000000 takes 768 GB of memory" in refused(again, capsys)
    assert (tmp_path / "r" / "config.json").read_bytes() == before
    for args in (
        ["logz", run, "--bracket.walkers", "16000000000"],
        ["sample", run, "-n", "16000000000"],
    ):
        assert " 16000000000 takes 768 GB of memory, and there are" in refused(args, capsys)


def test_convolutions_are_counted(capsys):
    told = refused(["train", "digits", "--net", "convnet", "--width", HUGE], capsys)
    assert "--width 1000000000 takes" in told


KINDS = {
    "mlp": ((3,), {"net": "mlp", "width": 40, "depth": 3}),
    "inner-product": ((7,), {"net": "inner-product", "width": 40, "depth": 3, "networks": 2}),
    "interpolant": ((3,), {"model": "interpolant", "width": 40}),
    "rbm": ((6,), {"model": "rbm", "hidden": 30}),
    "convnet": ((1, 8, 8), {"net": "convnet", "width": 8, "depth": 2}),
    "resnet": ((1, 8, 8), {"net": "resnet", "width": 8, "depth": 1}),
}


@pytest.mark.parametrize("name", KINDS)
def test_no_more_is_counted_than_there_is_and_of_dense_layers_nearly_all(name):
    shape, choices = KINDS[name]
    kind = "image" if len(shape) == 3 else "table"
    recipe = choose(shape, 100, kind, **choices)
    if recipe.kind == "rbm":
        x = (torch.rand(100, *shape, generator=torch.Generator().manual_seed(0)) < 0.5).float()
        net = build(recipe, x)[0]
    else:
        net = FAMILIES[recipe.kind].network(recipe, shape)
    there = sum(p.numel() for p in net.parameters())
    needs = footprint(recipe, shape)
    counted = needs["model.hidden" if recipe.kind == "rbm" else "model.width"] / (TRAINED * FLOAT)
    assert there >= counted > (0.7 if len(shape) == 1 else 0.1) * there
    assert needs["train.walkers"] >= 0
    assert math.isfinite(sum(needs.values()))


def test_the_device_that_is_asked_is_the_runs(monkeypatch, tmp_path, data, capsys):
    asked = []
    monkeypatch.setattr(devices, "memory", lambda device: asked.append(device) or 10**12)
    args = ["train", data, "--out", str(tmp_path / "r"), "--iterations", "1", *QUICK]
    assert main(args) == 0
    assert {torch.device(device).type for device in asked} == {"cpu"}
    with pytest.raises(
        ValueError, match=r"^it takes 3,000 GB of memory, and cuda:1 has 1,000: no$"
    ):
        devices.check_fits(3 * 10**12, "it takes", "no", "cuda:1")


def test_where_no_choice_is_to_blame_the_rows_are():
    with pytest.raises(ValueError, match="a model of rows of 100,000,000,000 values takes"):
        check_recipe(Recipe(), Recipe(), (10**11,), "cpu")
