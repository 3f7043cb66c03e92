"""CIFAR-10 end to end on 40 synthetic images: trained, killed, resumed, counted, priced."""

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from experiments.cifar10 import fid
from experiments.cifar10.cost import (
    PEAKS,
    Operations,
    Rows,
    counted,
    evaluations,
    hours,
    operations,
)
from experiments.cifar10.cost import rows_of as rows_of_iteration
from experiments.cifar10.presets import PRESETS, SHAPE, recipe_of
from experiments.cifar10.train import Training, begin, finish, main, resume, samples_of, train
from experiments.cifar10.train import counted as counted_so_far
from noneq import HMC, ULA
from noneq.energies import evaluate
from noneq.models import scale_outputs
from noneq.run.checkpoint import load_json

every_preset = pytest.mark.parametrize("preset", PRESETS)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder as CIFAR-10 is published, of 36 training and 4 test images: smooth, in colour."""
    folder, rng = (
        tmp_path_factory.mktemp("cifar") / "cifar-10-batches-bin",
        np.random.default_rng(0),
    )
    folder.mkdir()
    for name, n in {**{f"data_batch_{i}": 12 for i in (1, 2, 3)}, "test_batch": 4}.items():
        coarse = rng.normal(size=(n, 3, 4, 4)).repeat(8, axis=2).repeat(8, axis=3)
        x = (128 + 50 * coarse + 5 * rng.normal(size=(n, *SHAPE))).clip(0, 255).astype(np.uint8)
        records = [bytes([i % 10]) + row.tobytes() for i, row in enumerate(x)]
        (folder / f"{name}.bin").write_bytes(b"".join(records))
    return folder


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    """Walkers are carried to the network that has learned from scores in 4 steps, not in 100."""
    monkeypatch.setattr("noneq.run.score_stage.STEPS", 4)


def bits(training: Training) -> list[torch.Tensor]:
    """What a training has made: parameters, their averages, walkers, weights, random numbers."""
    session, state = training.session, training.session.trained
    tensors = [*session.energy.state_dict().values(), *session.average.state_dict().values()]
    walkers = [state.walkers] + ([state.held_out] if state.held_out else [])
    return [*tensors, session.rng.get_state(), *(t for w in walkers for t in (w.x, w.log_w))]


@every_preset
def test_the_settings_are_those_that_are_stated(preset):
    recipe = recipe_of(preset, 50_000)
    how = recipe.train
    kernel = PRESETS[preset].family.build(recipe, torch.randn(20, *SHAPE))[1]
    assert how.noise == 0.03
    assert how.weighted
    if preset == "ours":
        assert (recipe.model.net, how.tau, how.held_out) == ("resnet", 0.05, 128)
        assert how.score_matching == 50_000
        assert isinstance(kernel, HMC)
        return
    assert (how.walkers, how.active, how.batch, recipe.optimizer.lr) == (4096, 256, 256, 1e-4)
    assert recipe.budget.iterations == round(600 * 50_000 / 256)
    assert (how.tau, how.held_out, how.renew) == (None, None, None)
    assert isinstance(kernel, ULA)
    # noise of 0.01 a move, and a drift of 0.3 at most
    assert (2 * kernel.h) ** 0.5 == pytest.approx(0.01)
    assert kernel.h * kernel.clip == pytest.approx(0.3)


@pytest.mark.parametrize("killed_after", [1, 3])
@every_preset
def test_a_killed_run_goes_on_with_the_same_bits(images, tmp_path, preset, killed_after):
    # of our own setting iteration 1 is one of score matching, and 3 of maximum likelihood
    whole = begin(images, preset, tmp_path / "whole", reduced=True)
    train(whole, every=600.0)
    assert whole.session.iteration == 5
    killed = begin(images, preset, tmp_path / "killed", reduced=True)
    with killed.run.locked():
        records = iter(killed.session)
        for _ in range(killed_after):
            next(records)
        killed.run.save(killed.session)
        next(records)  # which is lost
    again = resume(tmp_path / "killed", images)
    assert again.session.iteration == killed_after
    assert again.preset == preset
    assert type(again.session.kernel) is type(whole.session.kernel)
    train(again, every=600.0)
    for one, other in zip(bits(again), bits(whole), strict=True):
        assert torch.equal(one, other)
    assert counted_so_far(again.session) == counted_so_far(whole.session)


@every_preset
def test_the_rows_that_are_counted_are_those_that_the_network_saw(images, tmp_path, preset):
    own = begin(images, preset, tmp_path / "run", reduced=True)
    seen, moved = [], []
    stage = getattr(own.session.learner, "stage", None)
    nets = [own.session.energy.net, *(stage.nets if stage else ())]
    for net in nets:
        net.register_forward_hook(lambda _, args, __: seen.append(len(args[0])))
    totals = []
    for _ in own.session:
        totals.append((sum(seen), counted_so_far(own.session)))
    # the first iteration of a stage also checks the energy and evaluates walkers where they start
    if preset == "ours":
        assert totals[1][0] - totals[0][0] == totals[1][1] - totals[0][1] == 16
        totals = totals[2:]
    for (before, counted_before), (after, counted_after) in itertools.pairwise(totals):
        assert after - before == counted_after - counted_before
        moved.append(after - before)
    recipe = own.session.recipe
    how, rows = recipe.train, rows_of_iteration(recipe)
    if preset == "paper":  # by hand: 8 of 32 walkers moved twice, then learned from; a batch of 16
        assert set(moved) == {8 * 2 + 16}
        assert rows == Rows(8, 8, 16)
    else:  # 32 + 8 walkers moved; 32 + 8 weighted; a batch of 16; steps done again
        assert min(moved) >= 40 + 40 + 16
        assert rows == Rows(40 + 8, 32, 16)
    redone = own.session.trained.trust.redone if how.tau else 0
    first = 2 if preset == "ours" else 0
    done = first * 16 + (5 - first) * sum(rows)
    assert counted_so_far(own.session) == done + redone * 32
    assert evaluations(recipe, 5, 2) == done + 2 * 32


def test_walkers_that_are_not_moved_are_weighted_when_they_are_touched_again(images, tmp_path):
    # lazily: after five iterations of 8 of 32 walkers, the weights are those of the present energy
    own = begin(images, "paper", tmp_path / "run", reduced=True)
    for _ in own.session:
        pass
    walkers = own.session.trained.walkers
    stale = walkers.state.u.double()
    fresh = walkers.reweight(own.session.energy)
    with torch.no_grad():
        now = own.session.energy(walkers.x).double()
    torch.testing.assert_close(fresh.log_w, walkers.log_w + stale - now, rtol=0, atol=1e-2)
    assert float((stale - now).abs().max()) > 0


# -- what it costs


def convolution() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Flatten(), nn.Linear(4096, 1))


def test_operations_of_one_layer_by_hand():
    net = convolution()
    each = operations(net, SHAPE)
    # 32 x 32 places of 4 channels, each of 3 x 3 pixels of 3 channels; and 4,096 numbers
    first = 32 * 32 * 4 * 3 * 3 * 3
    assert each == Operations(first + 4096, first)
    rows = Rows(moved=100, learned=10, data=5)
    assert each.of(Rows(0, 0, 0, scored=7)) == 6 * 7 * (first + 4096)
    assert each.of(rows) == (2 * 100 + 4 * 10 + 3 * 5) * (first + 4096) - 5 * first
    assert hours(19.5e12 * 3600, PEAKS["fp32"], 0.5) == pytest.approx(2.0)


@every_preset
def test_operations_of_each_kind_are_those_that_torch_counts(preset):
    recipe = recipe_of(preset, 100, width=8)
    energy, _ = PRESETS[preset].family.build(recipe, torch.randn(20, *SHAPE))
    net, x = energy.net, torch.randn(1, *SHAPE)
    each = operations(net, SHAPE)

    def by_torch(work):
        counter = FlopCounterMode(display=False)
        with counter:
            work()
        return counter.get_total_flops() // 2

    leaf = x.clone().requires_grad_(True)
    moved = by_torch(lambda: net(leaf).sum().backward(inputs=[leaf]))
    assert moved == each.of(Rows(1, 0, 0))
    u, _ = evaluate(net, x, graph=True)  # torch cannot count this gradient: forward and input
    learned = moved + by_torch(lambda: u.sum().backward())
    assert learned == each.of(Rows(0, 1, 0))
    assert by_torch(lambda: net(x).mean().backward()) == each.of(Rows(0, 0, 1))
    leaf = x.clone().requires_grad_(True)
    (g,) = torch.autograd.grad(net(leaf).sum(), leaf, create_graph=True)
    scored = moved + by_torch(g.square().sum().backward)
    assert scored == pytest.approx(each.of(Rows(0, 0, 0, 1)), rel=1e-2)  # but for the last layer


def test_the_cost_of_a_preset_adds_up():
    found = counted("paper", 0.3)
    assert found["evaluations"] == 117_188 * (256 * 60 + 256)
    total = 117_188 * 2 * (2 * 256 * 59 + 4 * 256 + 3 * 256) * found["forward"]
    assert found["operations"] == pytest.approx(total, rel=1e-3)
    assert found["hours"]["fp32"] == pytest.approx(found["hours"]["bf16"] * 16)


# -- samples, and their distance


def test_from_a_folder_to_a_picture_by_the_command(images, tmp_path, capsys):
    for preset in PRESETS:
        out = tmp_path / preset
        main(images, preset, out, device="cpu", reduced=True)  # type: ignore[arg-type]
        assert (out / "samples.png").stat().st_size > 5000
        found = load_json(out / "evaluation.json")
        assert found["iterations"] == 5
        assert "fid" not in found
        main(images, preset, out)  # type: ignore[arg-type]  # nothing is left to do
        assert "going on at iteration 5" in capsys.readouterr().out
        assert load_json(out / "evaluation.json")["evaluations"] == found["evaluations"]
    other = images.parent / "other"
    other.mkdir()
    (other / "data_batch_1.bin").write_bytes(bytes(3073 * 20))
    with pytest.raises(ValueError, match="with other values"):
        main(other, "ours", tmp_path / "ours")


def test_samples_are_drawn_by_weight(images, tmp_path):
    own = begin(images, "paper", tmp_path / "run", reduced=True, lr=0.01)
    for _ in own.session:
        pass
    scale_outputs(own.session.energy.net, 30.0)  # so that weights differ
    samples = samples_of(own.session, 40)
    assert samples.shape == (40, *SHAPE)
    walkers = own.session.trained.walkers.reweight(own.session.energy)
    same = (samples.flatten(1)[:, None] == walkers.x.flatten(1)).all(2)
    assert bool(same.any(1).all())
    assert float(walkers.p.max() / walkers.p.min()) > 1.5
    # systematic: of 32 walkers each is there as often as its weight says, to less than one
    drawn = (samples_of(own.session, 32).flatten(1)[:, None] == walkers.x.flatten(1)).all(2)
    assert float((drawn.sum(0) - 32 * walkers.p).abs().max()) < 1
    assert torch.equal(samples_of(own.session, 40), samples)


def test_without_torchmetrics_a_line_says_how_to_get_it(images, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torchmetrics", None)
    monkeypatch.setitem(sys.modules, "torchmetrics.image.fid", None)
    own = begin(images, "paper", tmp_path / "run", reduced=True)
    train(own, every=600.0)
    assert "fid" not in finish(own, fid=True)
    assert "pip install 'noneq[fid]'" in capsys.readouterr().err


def test_torchmetrics_gets_all_images_as_bytes(monkeypatch):
    got = []

    class Distance:
        def __init__(self, feature):
            assert feature == 2048

        def to(self, device):
            return self

        def update(self, x, *, real):
            got.append((x, real))

        def compute(self):
            return torch.tensor(12.5)

    module = type(sys)("fid")
    module.FrechetInceptionDistance = Distance
    for name in ("torchmetrics", "torchmetrics.image"):
        monkeypatch.setitem(sys.modules, name, type(sys)(name))
    monkeypatch.setitem(sys.modules, "torchmetrics.image.fid", module)
    images, samples = (
        torch.linspace(-1.2, 1.2, 260 * 12).view(260, 3, 2, 2),
        torch.zeros(5, 3, 2, 2),
    )
    assert fid.frechet_inception_distance(images, samples) == 12.5
    assert [(len(x), real) for x, real in got] == [(250, True), (10, True), (5, False)]
    assert all(x.dtype == torch.uint8 for x, _ in got)
    assert (int(got[0][0].min()), int(got[1][0].max()), int(got[2][0][0, 0, 0, 0])) == (
        0,
        255,
        128,
    )


def test_the_script_trains_nothing_without_a_folder(tmp_path):
    script = Path(__file__).parents[2] / "runs" / "cifar10.sh"
    done = subprocess.run(
        ["bash", str(script)], env={"PATH": "/usr/bin:/bin", "PYTHON": "true"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "CIFAR10 names no folder" in done.stderr
