"""A spline flow as coordinates: its training, the choice of it, and a run in its coordinates."""

import math
import shutil

import numpy as np
import pytest
import torch

from noneq import Run, Session
from noneq.cli.main import main
from noneq.data import load
from noneq.data.coordinates import mapped, with_margins
from noneq.energies import Gaussian
from noneq.estimators import EnergyDensity
from noneq.run import choose, flows
from noneq.run.bases import fit_base
from noneq.run.candidates import compared
from noneq.run.choosing import with_changes
from noneq.run.coordinates import propose

pytest.importorskip("zuko")

QUICK = [
    "--score-matching=off", "--walkers=64", "--held-out=16", "--moves=1", "--renew=off",
    "--width=8", "--bracket.walkers=64", "--bracket.temperatures=20", "--bracket.equilibrate=20",
]  # fmt: skip


def curved(n=700, pairs=3, seed=0):
    """Pairs of columns, the second a curve of the first with noise: mixtures need many parts."""
    rng = np.random.default_rng(seed)
    first = rng.normal(size=(n, pairs))
    second = np.sin(2.5 * first) + 0.15 * rng.normal(size=(n, pairs))
    return np.stack([first, second], 2).reshape(n, 2 * pairs)


def entropy(pairs):
    """The entropy of a row of `curved`, in nats, that of two Gaussians for each pair."""
    return pairs * (math.log(2 * math.pi * math.e) + math.log(0.15))


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(flows, "TRIAL", 50)
    monkeypatch.setattr(flows, "LONGEST", 250)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("curved") / "rows.npy"
    np.save(path, curved())
    return load(path)


def of_a_flow(own):
    """A score by which a flow is taken, though it is too short to be better than mixtures."""
    return 0.0 if own.data.scaling.flow is not None else math.inf


def nll_of(data, scaling):
    """The NLL of validation rows by a standard normal density of the mapped rows."""
    x = mapped(data, scaling).validation.double()
    normal = x.square().sum(1) / 2 + x.shape[1] * math.log(2 * math.pi) / 2
    return float((normal - scaling.log_volume(x)).mean())


def test_the_same_seed_gives_the_same_flow_and_leaves_the_global_generator(data, monkeypatch):
    monkeypatch.setattr(flows, "TRIAL", 50)
    monkeypatch.setattr(flows, "LONGEST", 50)
    before = torch.get_rng_state()
    margins = with_margins(data)
    one, two, other = (flows.train_flow(data, margins, seed) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    x = data.validation
    assert torch.equal(one.flow.apply(x)[0], two.flow.apply(x)[0])
    assert not torch.equal(one.flow.apply(x)[0], other.flow.apply(x)[0])


@pytest.mark.parametrize("space", ["standardised", "whitened", "mapped"])
def test_the_nll_that_chooses_is_that_of_the_standardised_rows(data, space):
    own = mapped(data, with_margins(data)) if space == "mapped" else data
    course = flows._Training(own, 0, whiten=space != "standardised")
    for _ in range(2):
        course.go_on(40)
    scaling = flows.replace(own.scaling, flow=course.flow())
    assert nll_of(data, scaling) == pytest.approx(course.best, abs=1e-3)
    assert (scaling.margins is not None) == (space == "mapped")


def test_the_lowest_nll_is_kept_and_rows_that_gain_nothing_end_the_training(data, monkeypatch):
    course, told = flows._Training(data, 0, whiten=False), iter([9.0, 7.0, 8.0, 7.5])
    monkeypatch.setattr(course, "_nll", lambda: next(told))
    kept = []
    for _ in range(4):
        course.go_on(5)
        kept.append(course.average.state_dict()["transform.transforms.0.hyper.0.weight"].clone())
    assert course.idle == 2
    assert course.best == 7.0
    course.flow()
    now = course.average.state_dict()["transform.transforms.0.hyper.0.weight"]
    assert torch.equal(now, kept[1])
    assert not torch.equal(now, kept[3])
    assert not course.finished
    course.idle = flows.PATIENCE
    assert course.finished


def test_the_best_of_the_tried_goes_on(data, monkeypatch):
    # those that are tried differ in what they are said to score, and one is trained on
    told = iter([3.0, 1.0, 2.0])
    start, courses = flows._Training.__init__, []

    def init(self, *args, **how):
        start(self, *args, **how)
        self.told = next(told)
        courses.append(self)

    def go_on(self, iterations):
        self.done += iterations
        self.best = self.told

    monkeypatch.setattr(flows._Training, "__init__", init)
    monkeypatch.setattr(flows._Training, "go_on", go_on)
    scaling = flows.train_flow(data, with_margins(data))
    assert [one.done for one in courses] == [50, 250, 50]
    assert scaling.margins is None
    assert torch.equal(scaling.flow.turn, courses[1].turn)


def test_a_flow_learns_a_known_density_but_never_more(tmp_path, monkeypatch):
    monkeypatch.setattr(flows, "LONGEST", 400)
    np.save(tmp_path / "rows.npy", curved(1500, pairs=1))
    data = load(tmp_path / "rows.npy")
    scaling = flows.train_flow(data, with_margins(data))
    new = torch.from_numpy(curved(4000, pairs=1, seed=1))
    x = scaling.apply(new).double()
    nll = x.square().sum(1) / 2 + math.log(2 * math.pi) - scaling.log_volume(x)
    gap = nll - scaling.log_jacobian(2) - entropy(1)
    stderr = float(gap.std()) / math.sqrt(len(gap))
    assert -4 * stderr < float(gap.mean()) < 0.15
    gaussian = Gaussian.fit(data.train)
    other = (gaussian(data.test) + gaussian.log_z()).mean() - scaling.log_jacobian(2) - entropy(1)
    assert float(other) > 0.8  # of one Gaussian, by how much more is to be learned


@pytest.fixture(scope="module")
def proposed(data):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flows, "TRIAL", 50)
        patch.setattr(flows, "LONGEST", 250)
        recipe = choose(data.shape, data.sizes[0], "table", spline_flow=True)
        return propose(recipe, data)


def test_a_flow_is_chosen_where_mixtures_are_poor_and_is_then_alone(data, proposed):
    (own,), candidates = proposed
    assert own.data.scaling.flow is not None
    assert own.base.columns == "flow"
    assert len(own.data.train) == len(data.train)
    by_flow = [one.nll for one in candidates if one.columns == "flow"]
    without = min(one.nll for one in candidates if one.columns != "flow")
    assert min(by_flow) < without - 0.3
    base = fit_base(own.recipe.model, own.data.train, noise=0.0, seed=0)
    x = own.data.validation
    nll = float((base(x) + base.log_z() - own.data.scaling.log_volume(x)).mean())
    assert nll == pytest.approx(own.base.nll, abs=1e-3)
    said = compared(own.recipe.model, candidates, "flow")
    assert "in a spline flow's coordinates" in said.split(" (")[0]
    assert "flow" not in said.split(" (")[1]
    assert f"{without:.2f}" in said


def test_a_mixture_in_a_flows_coordinates_has_no_second_start(data, monkeypatch):
    monkeypatch.setattr(flows, "LONGEST", 50)
    monkeypatch.setattr("noneq.run.coordinates._nll", of_a_flow)
    recipe = choose(data.shape, data.sizes[0], "table", spline_flow=True)
    (own,), candidates = propose(recipe, data)
    assert own.base.columns == "flow"
    assert own.base.base == "mixture"
    assert any(one.columns == "flow" and one.base == "full" for one in candidates)


def test_without_the_setting_no_flow_is_tried(data, monkeypatch):
    monkeypatch.setattr("noneq.run.coordinates.train_flow", None)
    _, candidates = propose(choose(data.shape, data.sizes[0], "table"), data)
    assert not any(one.columns == "flow" for one in candidates)


@pytest.mark.parametrize(
    ("changes", "columns", "words"),
    [
        ({"noise": 0.1}, 2, "without noise: take `noise` 0"),
        ({"base": "full"}, 2, "take `base` chosen"),
        ({}, 101, "at most 100 columns, and these are 101"),
    ],
)
def test_what_a_flow_is_not_for(tmp_path, changes, columns, words):
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).normal(size=(300, columns)))
    data = load(tmp_path / "rows.npy")
    recipe = choose(data.shape, data.sizes[0], "table", spline_flow=True, **changes)
    with pytest.raises(ValueError, match=words):
        propose(recipe, data)


def test_flows_are_for_tables_with_enough_rows_to_validate(tmp_path):
    digits = load("digits")
    recipe = choose(digits.shape, digits.sizes[0], "image", discrete=True, spline_flow=True)
    with pytest.raises(ValueError, match="not for images"):
        propose(recipe, digits)
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).normal(size=(40, 2)))
    data = load(tmp_path / "rows.npy")
    with pytest.raises(ValueError, match="too few different validation rows"):
        propose(choose((2,), data.sizes[0], "table", spline_flow=True), data)
    with pytest.raises(ValueError, match="does not apply to `model` rbm"):
        choose((2,), 30, "table", model="rbm", spline_flow=True)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of four iterations by the program, whose base is one of a flow's coordinates."""
    folder = tmp_path_factory.mktemp("flow")
    np.savetxt(
        folder / "rows.csv", 10 * curved(), delimiter=",", header=",".join("abcdef"),
        comments="",
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flows, "TRIAL", 50)
        patch.setattr(flows, "LONGEST", 250)
        words = ["train", str(folder / "rows.csv"), "--spline-flow", "--iterations=4", *QUICK]
        assert main([*words, "--out", str(folder / "r")]) == 0
    return folder


def test_a_run_keeps_its_flow_and_its_rows(trained, tmp_path):
    run = Run(trained / "r")
    assert run.scaling.flow is not None
    assert (run.folder / "config.json").stat().st_size < 60_000
    data = run.data()
    assert torch.equal(data.train, mapped(load(trained / "rows.csv"), run.scaling).train)
    shutil.copytree(trained / "r", tmp_path / "r")
    assert main(["train", "--out", str(tmp_path / "r"), "--resume", "--iterations=6"]) == 0


def test_a_resumed_run_has_the_same_bits(proposed, tmp_path):
    (own,), _ = proposed
    how = {
        "iterations": 6, "score_matching": None, "walkers": 64, "held_out": 16, "moves": 1,
        "renew": None, "width": 8, "early_stopping": False,
    }  # fmt: skip
    recipe = with_changes(own.recipe, how)
    whole = Session(recipe, own.data.train, 5)
    whole_records = list(whole)
    session = Session(recipe, own.data.train, 5)
    run = Run.create(
        tmp_path / "r", own.data, session, seed=5, classes=None, subset=None, binary=False
    )
    records = iter(session)
    for _ in range(3):
        next(records)
    run.save(session)
    again = Run(tmp_path / "r")
    rest = Session(again.recipe, again.data().train, 5)
    again.restore(rest)
    assert [one.iteration for one in rest] == [one.iteration for one in whole_records[3:]]
    for one, other in zip(rest.average.parameters(), whole.average.parameters(), strict=True):
        assert torch.equal(one, other)


def test_scores_samples_and_pictures_of_a_run_with_a_flow(trained, tmp_path, capsys):
    run, rows = trained / "r", trained / "rows.csv"
    scores = tmp_path / "s.npz"
    assert main(["score", str(run), str(rows), "--out", str(scores)]) == 0
    found, opened = np.load(scores), Run(run)
    energy, _ = opened.model()
    values = torch.from_numpy(10 * curved())
    y = (values - opened.scaling.shift) / opened.scaling.scale
    u, log_det = opened.scaling.coordinates.apply(y)
    expected = log_det - energy(u.float()).double() - float(found["log_z"])
    standardised = found["log_density"] - found["log_jacobian"]
    np.testing.assert_allclose(standardised, expected.detach(), atol=2e-3)
    total = found["log_density"].mean()
    assert -total < entropy(3) + 6 * math.log(10) + 2.0
    assert main(["sample", str(run), "-n", "400", "--out", str(tmp_path / "x.csv")]) == 0
    x = np.loadtxt(tmp_path / "x.csv", delimiter=",", skiprows=1) / 10
    assert np.quantile(x, [0.1, 0.5, 0.9], 0) == pytest.approx(
        np.quantile(curved(4000, seed=5), [0.1, 0.5, 0.9], 0), abs=0.45
    )
    assert main(["report", str(run)]) == 0
    assert main(["logz", str(run)]) == 0
    capsys.readouterr()
    (tmp_path / "gap.csv").write_text("a,b,c,d,e,f\n1,,0,0,0,0\n")
    words = ["sample", str(run), "--given", str(tmp_path / "gap.csv"), "--out"]
    assert main([*words, str(tmp_path / "full.csv")]) != 0
    assert "train a model without --spline-flow for this" in " ".join(
        capsys.readouterr().err.split()
    )


def test_a_damaged_or_missing_flow_is_told_and_another_run_leaves_none(trained, tmp_path, capsys):
    run = tmp_path / "r"
    shutil.copytree(trained / "r", run)
    whole = (run / "flow.safetensors").read_bytes()
    (run / "flow.safetensors").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ValueError, match=r"flow\.safetensors"):
        Run(run)
    (run / "flow.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"flow\.safetensors"):
        Run(run)
    (run / "flow.safetensors").write_bytes(whole)
    words = ["train", str(trained / "rows.csv"), "--iterations=2", *QUICK, "--out", str(run)]
    assert main([*words, "--overwrite"]) == 0
    assert not (run / "flow.safetensors").exists()
    assert Run(run).scaling.flow is None


def test_an_estimator_with_a_flow(monkeypatch):
    monkeypatch.setattr(flows, "LONGEST", 50)
    monkeypatch.setattr("noneq.run.coordinates._nll", of_a_flow)
    x = curved(300)
    model = EnergyDensity(
        max_iter=4,
        random_state=0,
        settings={"spline_flow": True, "score_matching": None, "width": 8},
    ).fit(x)
    assert "in a spline flow's coordinates" in model.base_name_
    own = model._learned.scaling
    u, log_det = own.coordinates.apply((torch.from_numpy(x) - own.shift) / own.scale)
    expected = log_det - model.energy_.double()(u).detach() - model.log_z_ + own.log_jacobian(6)
    np.testing.assert_allclose(model.score_samples(x), expected, atol=1e-3)
    assert model.sample(5, random_state=0).shape == (5, 6)
    x[0, 0] = np.nan
    with pytest.raises(ValueError, match="without `spline_flow`"):
        model.sample_conditional(x[:1])
    with pytest.raises(ValueError, match="`spline_flow` needs validation rows"):
        EnergyDensity(settings={"spline_flow": True}, validation_fraction=0.0).fit(curved(60))
