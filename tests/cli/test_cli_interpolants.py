"""Interpolants on the command line: score matching, samples by weighted steps, what is refused.

A linear network makes the energy at t = 1 a Gaussian of known moments: samples and brackets of
runs are judged by it at 4 standard errors, seeds as written.
"""

import json
import math
import re
import signal
from dataclasses import replace

import known
import numpy as np
import pytest
import torch
from command_line import noneq_process, refused, rows
from known import bits, build, differences

from noneq import Run, Session
from noneq.cli.main import main
from noneq.likelihood import genealogy
from noneq.models.interpolants import TimedEnergy
from noneq.random import add_noise
from noneq.report import training_figure
from noneq.run import DivergedError, RolledBack, checkpoint, choose, supervise
from noneq.run.evaluation import evaluate_run
from noneq.run.families import FAMILIES
from noneq.run.metrics import line
from noneq.run.samples import draw_walkers, take_samples
from noneq.run.scores import flow_score
from noneq.run.storing import load_model, save_model
from noneq.training import ScoreMatchingRecord, match

QUICK = [
    *("--model", "interpolant", "--width", "16", "--batch", "64", "--steps", "6"),
    *("--bracket.walkers", "32", "--bracket.temperatures", "20", "--bracket.equilibrate", "20"),
]
SMALL = {
    "model": "interpolant", "width": 2, "depth": 1, "clusters": None, "batch": 32, "noise": 0.3,
    "bracket": {"walkers": 64, "temperatures": 20, "equilibrate": 20}, "iterations": 8,
}  # fmt: skip
TILT = [0.9, -0.3]
X = torch.from_numpy(known.rows() / [10.0, 0.1]).float() - torch.tensor([5.0, 20.0])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "rows.npy"
    np.save(path, rows())
    return str(path)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def begun(folder, **changes):
    """A new run of an interpolant and its session."""
    np.save(folder / "rows.npy", known.rows())
    data = known.load(folder / "rows.npy")
    recipe = choose(data.shape, len(data.train), data.kind, **{**SMALL, **changes})
    session = Session(recipe, data.train)
    run = Run.create(folder / "r", data, session, classes=None, subset=None, binary=False)
    return run, data, session


@torch.no_grad()
def tilt(energy, a):
    """Make the network ``f(x, t) = a.x``: at t = 1 a Gaussian of mean ``m - C a``."""
    a = torch.tensor(a)
    first, _, last = energy.net.net
    first.weight.zero_()
    first.weight[:, : len(a)] = torch.stack([a, -a])
    first.bias.zero_()
    last.weight.copy_(torch.tensor([[1.0, -1.0]]))
    last.bias.zero_()


# -- a run


def test_an_interpolant_lives_as_any_run(data, tmp_path, capsys):
    run = tmp_path / "r"
    args = ["train", data, "--out", str(run), *QUICK, "--iterations", "60"]
    assert main(args) == 0
    told = capsys.readouterr().out
    assert "noise 0.05 added (--noise)" in told
    assert "loss" in told
    for name in ("walkers 512", "tau", "hidden", "resampled"):
        assert name not in told
    assert main(["train", "--out", str(run), "--resume", "--iterations", "64"]) == 0
    energy, _ = Run(run).model()
    assert isinstance(energy, TimedEnergy)
    found = json.loads((run / "likelihood.json").read_text())
    capsys.readouterr()
    for more in ([], ["--steps", "4", "--weighted"], ["--source", "ais"]):
        assert main(["sample", str(run), "-n", "20", "--out", str(tmp_path / "x.npz"), *more]) == 0
        assert np.load(tmp_path / "x.npz")["x"].shape == (20, 3)
        assert re.search(
            r"weighted walkers, worth \d+% as many of equal weight \(ESS\)",
            capsys.readouterr().out,
        )
    assert main(["score", str(run), data, "--out", str(tmp_path / "s.npz")]) == 0
    x = Run(run).scaling.apply(torch.from_numpy(rows()).float())
    exact = -energy(x).double().detach() - found["log_z"]
    scores = np.load(tmp_path / "s.npz")
    own = scores["log_density"] - scores["log_jacobian"]
    np.testing.assert_allclose(own, exact, atol=1e-4)
    assert main(["logz", str(run), "--bracket.temperatures", "30"]) == 0
    assert main(["report", str(run)]) == 0
    assert "Score matching" in (run / "report.html").read_text(encoding="utf-8")


def test_an_untrained_interpolant_is_its_gaussian(data, tmp_path):
    args = ["train", data, "--out", str(tmp_path / "r"), *QUICK, "--iterations", "1", "--lr", "0"]
    assert main(args) == 0
    found = json.loads((tmp_path / "r" / "likelihood.json").read_text())
    for name in ("train", "validation", "test"):
        assert found["nll"][name]["value"] == pytest.approx(found["base"][name]["value"], abs=1e-2)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_interpolant_ends_with_the_same_bits(tmp_path, data, whole, how):
    folder = tmp_path / "r"
    args = ["train", data, "--out", folder, *QUICK, "--iterations", 40]
    process = noneq_process(*args, interrupted=how)
    out, err = process.communicate()
    assert process.returncode == 128 + how, err
    at = checkpoint.load(folder / "state")["trained"]["iteration"]
    assert at == 21
    assert f"interrupted at iteration {at}; all is saved" in out
    assert main(["train", "--out", str(folder), "--resume"]) == 0
    ended = bits(folder)
    assert {k: v for k, v in ended.items() if v != whole[k]} == {}


@pytest.fixture(scope="module")
def whole(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("whole") / "r"
    assert main(["train", data, "--out", str(folder), *QUICK, "--iterations", "40"]) == 0
    return bits(folder)


# -- samples and brackets against closed forms


@pytest.mark.parametrize(("source", "corrections"), [("steps", 0), ("steps", 2), ("ais", 0)])
def test_samples_and_log_z_are_those_of_the_model(tmp_path, source, corrections):
    run, _, session = begun(tmp_path, corrections=corrections)
    for energy in (session.energy, session.average):
        tilt(energy, TILT)
    run.save(session)
    mean, cov, log_z = known.exact(session.energy, TILT)
    more = {"steps": 12} if source == "steps" else {}
    gathered = draw_walkers(run, 2000, source, weighted=True, seed=3, **more)
    walkers = gathered.walkers
    assert 0.3 < walkers.ess < 0.999
    assert walkers.weights.resampled == 0  # they are independent, and so their errors are known
    found = genealogy(walkers)
    assert abs(found.value - log_z) < 4 * found.stderr
    x, log_w = take_samples(gathered, 2000, weighted=True)
    p, y = log_w.exp(), x.double() - mean
    found = torch.stack([y[:, 0], y[:, 1], y[:, 0] * y[:, 1], y[:, 0] ** 2], 1)
    exact = torch.stack([0 * cov[0, 0], 0 * cov[0, 0], cov[0, 1], cov[0, 0]])
    # in units of it the largest of 240 errors, of 20 seeds, is 2.3, and their mean square 0.95
    error = (p.square() @ (found - exact).square()).sqrt()
    assert bool(((p @ found - exact).abs() < 4 * error).all())
    assert float(error.max()) < 0.3  # it says something
    assert float((mean - session.energy.base.mean).abs().max()) > 0.5


def test_the_verdict_of_a_known_interpolant(tmp_path):
    run, data, session = begun(tmp_path, bracket={"walkers": 256, "temperatures": 60})
    for energy in (session.energy, session.average):
        tilt(energy, TILT)
    run.save(session)
    log_z = known.exact(session.energy, TILT)[2]
    verdict = evaluate_run(run, data)
    for side in (verdict.forward, verdict.backward):
        assert abs(side.value - log_z) < 4 * side.stderr
        assert side.stderr < 0.1


def test_as_many_steps_as_asked_for_or_as_the_recipe_says(tmp_path):
    _, _, session = begun(tmp_path, steps=7, corrections=3, eps=0.5)
    recipe, energy, kernel = session.recipe, session.energy, session.kernel
    assert len(FAMILIES["interpolant"].transport(recipe, energy, kernel, seeded(0))) == 7
    schedule = FAMILIES["interpolant"].transport(recipe, energy, kernel, seeded(0), 30)
    assert np.allclose(schedule.betas, np.arange(31) / 30)
    carry, moves = schedule.kernels[1].kernels
    assert (carry.eps, moves.times) == (0.5, 3)
    # a quadratic energy in its own units: longer steps than the recipe's are accepted
    assert moves.kernel.h > 1.2 * kernel.h
    (alone, *_) = (
        FAMILIES["interpolant"]
        .transport(
            replace(recipe, model=replace(recipe.model, corrections=0)), energy, kernel, seeded(0)
        )
        .kernels
    )
    assert alone.eps == 0.5


def test_the_flow_of_a_known_interpolant_beside_its_log_z(tmp_path, capsys):
    # of a linear f the flow is exact: what it differs by is the error of log Z, here 0.5 too much
    run, data, session = begun(tmp_path)
    for energy in (session.energy, session.average):
        tilt(energy, TILT)
    run.save(session)
    evaluate_run(run, data)
    exact = known.exact(session.energy, TILT)[2]
    stored = checkpoint.load_json(run.folder / "likelihood.json")
    stored.pop("noneq_sha256", None)
    checkpoint.save_json(run.folder / "likelihood.json", {**stored, "log_z": exact + 0.5})
    args = ["score", str(run.folder), str(tmp_path / "rows.npy")]
    assert main([*args, "--flow"]) == 0
    told = capsys.readouterr().out
    words = r"probability flow: (\S+) nats ± \S+ \(time steps\) ± \S+ \(rows\), 300 rows; "
    found = re.search(words + r"by log Z (\S+), differing by (\S+) ± (\S+)", told)
    flow, by_log_z, difference, stderr = map(float, found.groups())
    x = run.scaling.apply(torch.from_numpy(np.load(tmp_path / "rows.npy")).float())
    u = session.energy(add_noise(x, 0.3, seeded(0))).detach().double()
    assert flow == pytest.approx(float(u.mean()) + exact, abs=0.006)
    assert by_log_z == pytest.approx(float(u.mean()) + exact + 0.5, abs=0.006)
    assert (difference, stderr) == (-0.5, 0)
    assert main(args) == 0
    assert "probability flow" not in capsys.readouterr().out
    some = flow_score(run, x, most=40, steps=4)
    assert some.flow.log_density.shape == (40,)
    assert some.difference == pytest.approx(-0.5, abs=0.05)


def test_a_network_has_no_flow(tmp_path, capsys):
    run, _, session = known.begun(tmp_path)
    run.save(session)
    with pytest.raises(ValueError, match="is that of a `model` interpolant, and this is a netw"):
        flow_score(run, X)


# -- the loop


def test_score_matching_follows_its_own_gradient():
    recipe = choose((2,), len(X), "table", **{**SMALL, "width": 8})
    energy, by_hand = (build(recipe, X, seed=1)[0] for _ in range(2))
    loop = match(
        energy, X, batch=20, rng=seeded(2), optimizer=torch.optim.SGD(energy.parameters(), 0.5)
    )
    told, rng = [next(loop) for _ in range(3)], seeded(2)
    for record in told:
        loss = by_hand.score_loss(X[torch.randint(len(X), (20,), generator=rng)], rng)
        own = list(by_hand.net.parameters())
        slopes = torch.autograd.grad(loss, own, allow_unused=True)
        assert record.loss == pytest.approx(float(loss.detach()))
        with torch.no_grad():
            for p, g in zip(own, slopes, strict=True):
                p -= 0.5 * (0 if g is None else g)
    assert [record.iteration for record in told] == [1, 2, 3]
    for p, q in zip(energy.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(p, q)


def test_a_loss_that_is_none_changes_nothing():
    energy, _ = build(choose((2,), len(X), "table", **SMALL), X, seed=1)
    loop = match(energy, X, batch=20)
    next(loop)
    with torch.no_grad():
        energy.net.net[0].weight[0, 0] = math.nan
    _, *rest = energy.parameters()
    before = [p.clone() for p in rest]
    with pytest.raises(FloatingPointError, match="the loss of score matching is nan"):
        next(loop)
    assert all(torch.equal(p, q) for p, q in zip(before, rest, strict=True))


def test_the_learning_rate_falls_along_a_cosine_and_backoff_lowers_it():
    session = Session(choose((2,), len(X), "table", **{**SMALL, "iterations": 4}), X)
    session.backoff = 0.5
    rates = [event.rate / session.recipe.optimizer.lr for event in session]
    assert rates == pytest.approx([(1 + math.cos(math.pi * p / 4)) / 4 for p in range(4)])
    assert session.iteration == 4


def test_it_learns():
    changes = {"width": 32, "depth": 2, "batch": 200, "iterations": 200, "lr": 1e-2}
    recipe = choose((2,), len(X), "table", **{**SMALL, **changes})
    session = Session(recipe, X)
    list(session)
    before, after = (
        torch.stack([energy.score_loss(X, seeded(seed)).detach() for seed in range(30)])
        for energy in (build(recipe, X)[0], session.average)
    )
    gain = before - after
    assert float(gain.mean()) > 4 * float(gain.std()) / math.sqrt(30)


@pytest.mark.parametrize("at", [1, 5])
def test_a_resumed_session_has_the_same_bits(tmp_path, at):
    recipe = choose((2,), len(X), "table", **SMALL)
    whole, first, second = (Session(recipe, X, seed=3) for _ in range(3))
    list(whole)
    for event in first:
        if event.iteration == at:
            break
    checkpoint.store(tmp_path, first.state_dict())
    second.load_state_dict(checkpoint.load(tmp_path))
    assert second.iteration == at
    assert [event.iteration for event in second] == list(range(at + 1, 9))
    trees = [{**s.state_dict(), "seconds": 0} for s in (whole, second)]
    assert differences(*trees) == []


def test_score_matching_that_diverges_goes_back_and_gives_up(tmp_path):
    run, _, session = begun(tmp_path, lr=30.0, iterations=2000)
    backoffs = []
    with pytest.raises(DivergedError, match=r"running loss rose.*\(`lr`\)"):  # noqa: PT012
        for event in supervise(run, session):
            backoffs += [event.backoff] if isinstance(event, RolledBack) else []
    assert backoffs == [0.5, 0.25, 0.125]


def test_a_model_comes_back_from_its_file(tmp_path):
    recipe = choose((2,), len(X), "table", **SMALL)
    energy, kernel = build(recipe, X, seed=3)
    tilt(energy, TILT)
    save_model(tmp_path / "m.safetensors", energy, kernel, recipe)
    again, _ = load_model(tmp_path / "m.safetensors", recipe, (2,))
    t = torch.linspace(0, 1, len(X))
    assert torch.equal(energy(X, t), again(X, t))


def test_a_line_of_score_matching_says_what_there_is(tmp_path):
    _, _, session = begun(tmp_path)
    event = next(iter(session))
    assert isinstance(event, ScoreMatchingRecord)
    assert set(line(event, session)) == {"iteration", "seconds", "loss", "rate"}


def test_the_picture_of_score_matching_is_its_loss_and_what_it_came_to():
    rows = [{"iteration": i, "loss": 2.0 / i, "rate": 1e-3 / i} for i in range(1, 30)]
    figure = training_figure(rows, {"forward": 1.0, "backward": 1.1})
    assert [ax.get_title(loc="left") for ax in figure.axes[:3]] == [
        "score matching: the loss falls, and levels off", "NLL, nats a row",
        "log Z: both directions agree",
    ]  # fmt: skip
    drawn = figure.axes[0].lines[0]
    np.testing.assert_array_equal(drawn.get_ydata(), [row["loss"] for row in rows])
    assert len(figure.axes[1].lines) == 0
    assert len(figure.axes[2].child_axes) == 1


# -- what is refused


def test_what_an_interpolant_cannot_take(data, tmp_path, capsys):
    out = [*QUICK, "--iterations", "1", "--out", tmp_path / "r"]
    told = refused(["train", data, *out, "--noise", "0"], capsys)
    assert "--noise 0: score matching learns the density of rows with noise added" in told
    told = refused(["train", "digits", *out, "--binary"], capsys)
    assert "the rows are binary" in told
    assert "--model rbm" in told
    for option in ("--walkers", "--tau", "--hidden", "--net"):
        value = "mlp" if option == "--net" else "3"
        told = refused(["train", data, *out, option, value], capsys)
        assert f"{option} does not apply to --model interpolant" in told
    assert "steps must be 1 or more" in refused(["train", data, *out, "--steps", "0"], capsys)
    told = refused(["train", data, "--steps", "5", "--out", tmp_path / "r"], capsys)
    assert "--steps does not apply to --model network" in told
    assert not (tmp_path / "r").exists()


def test_samples_that_a_run_does_not_have(tmp_path, capsys):
    run, _, session = begun(tmp_path)
    run.save(session)
    to = ["--out", tmp_path / "x.npz"]
    told = refused(["sample", run.folder, "--source", "chains", *to], capsys)
    assert "it has no chains; take --source steps or ais" in told
    told = refused(["sample", run.folder, "--source", "ais", "--steps", 5, *to], capsys)
    assert "--steps are those of --source steps" in told
    assert "--steps is 1 or more" in refused(["sample", run.folder, "--steps", -5, *to], capsys)
    (tmp_path / "n").mkdir()
    other, _, session = known.begun(tmp_path / "n")
    other.save(session)
    for more in (["--steps", 5], ["--source", "steps"]):
        told = refused(["sample", other.folder, *more, *to], capsys)
        assert "--steps carry walkers along an interpolant, and this is a network" in told
    assert not (tmp_path / "x.npz").exists()
