"""The kind of model ``conditional``: images given their labels, from the data to the report.

A network that is linear in x tilts the Gaussian of each label to another one, so that every
``log Z_c``, every mean and Bayes' theorem are closed forms. Seeds are written in the tests; what
is estimated is judged at 4 standard errors.
"""

import gzip
import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from targets import seeded
from torch import nn

import noneq
from noneq.cli.main import main
from noneq.data.digits import raw_digits
from noneq.data.labelled import Labels
from noneq.data.units import rows_like
from noneq.energies import Cholesky, ConditionalGaussian, Given, Tilted
from noneq.energies.denoising import denoised
from noneq.likelihood.score import exact_log_z, mean_energy
from noneq.likelihood.support import off_support_mass
from noneq.models import PerLabel
from noneq.report.contents import Contents
from noneq.run import Run, choose
from noneq.run.by_label import normalised, results_by_label
from noneq.run.evaluation import evaluate_run
from noneq.run.hub import SharedModel
from noneq.run.samples import draw, draw_walkers
from noneq.run.scores import label_scores, score
from noneq.run.verdict_file import read_verdict

LABELS = Labels((2, 5, 9), (1, 1, 2))
COUNTS = (60, 30, 10)
MEANS = torch.tensor([[0.0, 1.0], [2.0, -1.0], [-1.5, 0.5]])
ROOT = torch.tensor([[0.8, 0.0], [0.3, 0.6]])
TILTS = torch.tensor([[0.7, -0.4], [-0.2, 0.5], [0.1, 0.9]])
LEVELS = torch.tensor([0.3, -1.1, 2.0])


def rows(seed=0):
    """Rows in the proportions 6 : 3 : 1, around a mean for each label."""
    labels = torch.arange(3).repeat_interleave(torch.tensor(COUNTS))
    x = MEANS[labels] + torch.randn(100, 2, generator=seeded(seed)) @ ROOT.T
    return LABELS.join(x.view(-1, 1, 1, 2), np.array(LABELS.classes)[labels])


def tilted():
    """``U(x, c) = |L^-1 (x - m_c)|^2 / 2 + a_c.x + b_c``."""
    contexts = rows()[:, 2:]
    base = ConditionalGaussian(torch.zeros(2), MEANS.T, Cholesky(ROOT @ ROOT.T), contexts)
    net = nn.Sequential(nn.Linear(2, 3))
    with torch.no_grad():
        net[0].weight.copy_(TILTS)
        net[0].bias.copy_(LEVELS)
    return Tilted(base, PerLabel(net, 3))


def log_z_by_label():
    """``log Z_c = log 2 pi + log det L - a.m + |L^T a|^2 / 2 - b``."""
    a, m, root, b = (t.double() for t in (TILTS, MEANS, ROOT, LEVELS))
    whole = math.log(2 * math.pi) + root.diagonal().log().sum()
    return whole - (a * m).sum(1) + (a @ root).square().sum(1) / 2 - b


def bracket(given, own, label):
    rng = torch.Generator().manual_seed(label)
    return noneq.log_z(given, data=own, n=256, temperatures=40, rng=rng)


def test_each_label_is_normalised_by_its_own_log_z():
    energy, exact, asked = tilted(), log_z_by_label(), []

    def noted(given, own, label):
        asked.append((label, len(own)))
        return bracket(given, own, label)

    z = normalised(energy, noted, rows(), LABELS, noise=0.0, rng=seeded(8))
    assert asked == [(2, 60), (5, 30), (9, 10)]
    added = energy.net.net[0].bias.detach() - LEVELS
    for i, own in enumerate(z.each):
        assert float(added[i]) == pytest.approx(own.value, abs=1e-5)
        assert abs(own.value - float(exact[i])) <= 4 * own.stderr + 0.02
    assert z.value == 0
    low = [own.interval[0].value - own.value for own in z.each]
    assert z.forward.value == pytest.approx(np.average(low, weights=COUNTS))
    errors = [p / 100 * own.stderr for p, own in zip(COUNTS, z.each, strict=True)]
    assert z.stderr == pytest.approx(math.hypot(*errors))


def test_walkers_of_all_labels_have_the_proportions_and_means_of_the_rows():
    energy = tilted()
    z = normalised(energy, bracket, rows(), LABELS, noise=0.0, rng=seeded(8))
    p, x = z.walkers.p, z.walkers.x
    shares = (p[:, None] * x[:, 2:]).sum(0)
    torch.testing.assert_close(shares, torch.tensor([0.6, 0.3, 0.1]).double())
    assert len(torch.unique(z.walkers.weights.ancestors)) > 2 * 256
    for i in range(3):
        own = x[:, 2 + i] == 1
        weight = p[own] / p[own].sum()
        mean = MEANS[i].double() - ROOT.double() @ ROOT.T.double() @ TILTS[i].double()
        error = math.sqrt(float((ROOT**2).sum()) / (256 * 0.8))
        assert float(((weight[:, None] * x[own, :2]).sum(0) - mean).norm()) < 4 * error


def test_the_mass_away_from_data_is_that_of_images_and_labels_together():
    energy = tilted()
    z = normalised(energy, bracket, rows(), LABELS, noise=0.0, rng=seeded(8))
    walkers, away = z.walkers, z.off_support_mass
    assert walkers.islands == z.each[0].walkers.islands > 1
    # every island has every label, in the proportions of the rows
    p = walkers.p.view(walkers.islands, -1, 1)
    shares = (p * walkers.x.view(walkers.islands, -1, 5)[:, :, 2:]).sum(1) / p.sum(1)
    assert float((shares - torch.tensor([0.6, 0.3, 0.1])).abs().max()) < 0.15
    # as far as the tilts of 0.5 sd and more move the means from the rows, half of a hundred
    again = off_support_mass(walkers, rows(), seeded(8))
    assert away == again
    assert 0 < away.stderr < 0.2


def test_an_alarm_names_its_label():
    def alarmed(given, own, label):
        z = bracket(given, own, label)
        return replace(z, alarms=("something is odd",)) if label == 5 else z

    z = normalised(tilted(), alarmed, rows(), LABELS, noise=0.0, rng=seeded(8))
    assert z.alarms == ("label 5: something is odd",)


def test_an_estimate_that_is_no_number_leaves_the_model_as_it_was():
    energy = tilted()

    def broken(given, own, label):
        z = bracket(given, own, label)
        return replace(z, backward=z.backward._replace(value=math.inf)) if label == 9 else z

    with pytest.raises(FloatingPointError, match="label 9: log Z is inf"):
        normalised(energy, broken, rows(), LABELS, noise=0.0, rng=seeded(8))
    assert torch.equal(energy.net.net[0].bias, LEVELS)


def test_labels_are_found_by_bayes_theorem_with_the_shares_of_the_training_rows():
    energy = tilted()
    with torch.no_grad():  # log Z is 0 for every label
        energy.net.net[0].bias.add_(log_z_by_label().float())
    train, test = rows(), rows(1)
    nll = energy(test).detach().double()
    z = exact_log_z(energy.base, n=64, rng=seeded(0))
    found = results_by_label(energy, energy.base, z, {"train": train, "test": test}, nll, LABELS)
    cov = ROOT @ ROOT.T
    shares = torch.tensor(COUNTS) / 100
    for key, means in (("found", MEANS - TILTS @ cov), ("found_by_base", MEANS)):
        each = [
            torch.distributions.MultivariateNormal(m, cov).log_prob(test[:, :2]) for m in means
        ]
        best = (torch.stack(each, 1) + shares.log()).argmax(1)
        right = best == test[:, 2:].argmax(1)
        assert found[key] == pytest.approx(float(right.float().mean()))
        if key == "found":
            for i, one in enumerate(found["each"]):
                own = test[:, 2 + i] == 1
                assert one["found"] == pytest.approx(float(right[own].float().mean()))
                assert one["nll"] == pytest.approx(float(nll[own].mean()))
    assert [one["train"] for one in found["each"]] == list(COUNTS)
    few = {"train": train, "test": test[:60]}
    lacking = results_by_label(energy, energy.base, z, few, nll[:60], LABELS)["each"][2]
    assert (lacking["test"], lacking["nll"], lacking["found"]) == (0, None, None)
    assert found["found"] != found["found_by_base"]


# -- data
def test_images_keep_their_labels_through_every_split(tmp_path):
    plain, data = noneq.data.load("digits"), noneq.data.load("digits", labels=True)
    own = np.split(raw_digits()[1], np.cumsum([1257, 180]))
    for x, images, labels in zip(
        (data.train, data.validation, data.test),
        (plain.train, plain.validation, plain.test),
        own,
        strict=True,
    ):
        assert torch.equal(data.scaling.images(x), images)
        assert data.scaling.labels.of(x).tolist() == labels.tolist()
    assert data.digest == plain.digest
    assert data.shape == (74,)
    assert torch.equal(data.scaling.undo(data.test), plain.scaling.undo(plain.test))
    assert data.scaling.log_units(data.test)[0] == plain.scaling.log_units(plain.test)[0]
    again = type(data.scaling).from_plain(json.loads(json.dumps(data.scaling.plain())))
    assert again.labels == data.scaling.labels


def images_of_labels(n=60):
    """Images of 2 x 3 pixels, whose first is the label."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat([4, 7], [n // 3, n - n // 3]))
    pixels = rng.integers(20, 200, (n, 2, 3)).astype(np.uint8)
    pixels[:, 0, 0] = labels
    return pixels, labels


def idx(array):
    head = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return gzip.compress(head + array.astype(np.uint8).tobytes())


@pytest.mark.parametrize("how", ["file", "folder", "subset"])
def test_labels_stay_beside_their_images(how, tmp_path):
    pixels, labels = images_of_labels()
    if how == "folder":
        for name, part in (("train", slice(0, 45)), ("t10k", slice(45, 60))):
            (tmp_path / f"{name}-images-idx3-ubyte.gz").write_bytes(idx(pixels[part]))
            (tmp_path / f"{name}-labels-idx1-ubyte.gz").write_bytes(idx(labels[part]))
        data = noneq.data.load(tmp_path, labels=True)
    else:
        np.savez(tmp_path / "own.npz", x=pixels, y=labels)
        subset = {"classes": (7, 4), "subset": (12, 9)} if how == "subset" else {}
        data = noneq.data.load(tmp_path / "own.npz", labels=True, **subset)
        assert sum(data.sizes) == (21 if subset else 60)
    for x in (data.train, data.validation, data.test):
        assert torch.equal(
            data.scaling.undo(x)[:, 0, 0, 0].round().long(), data.scaling.labels.of(x)
        )


def test_what_has_no_labels_is_refused(tmp_path):
    pixels, labels = images_of_labels()
    np.savez(tmp_path / "none.npz", x=pixels)
    with pytest.raises(ValueError, match="no labels: they are looked for"):
        noneq.data.load(tmp_path / "none.npz", labels=True)
    np.savez(tmp_path / "table.npz", x=pixels.reshape(-1, 6), y=labels)
    with pytest.raises(ValueError, match="a table, and its label is a column"):
        noneq.data.load(tmp_path / "table.npz", labels=True)
    for own, said in (
        (np.full(60, 3), "all images have one label: take `model` network"),
        (np.arange(60), r"label \d+ is among the validation images, and not among the training"),
        (np.arange(60) % 20, r"label \d+ (has \d training images, too few|is among the)"),
    ):
        np.savez(tmp_path / "odd.npz", x=pixels, y=own)
        with pytest.raises(ValueError, match=said):
            noneq.data.load(tmp_path / "odd.npz", labels=True)
    recipe = choose((6,), 42, "image", model="conditional", labels=2)
    with pytest.raises(ValueError, match=r"the last 2 numbers of a row .* are no label"):
        noneq.Session(recipe, torch.randn(42, 6))
    recipe = choose((6,), 42, "image", model="conditional")
    with pytest.raises(ValueError, match=r"two labels or more, and the recipe has 0: give"):
        noneq.Session(recipe, torch.randn(42, 6))
    with pytest.raises(ValueError, match="are for `model` conditional"):
        choose((6,), 42, "image")
    with pytest.raises(ValueError, match="`score_matching` does not apply"):
        choose((6,), 42, "image", model="conditional", labels=2, score_matching=5)
    with pytest.raises(ValueError, match="label 3 is none of the model's: 4, 7"):
        Labels((4, 7), (1, 2, 3)).join(torch.zeros(1, 1, 2, 3), [3])


def test_the_mean_without_noise_keeps_its_label():
    energy = tilted()
    x = rows()
    clean = denoised(energy, x, 0.5)
    assert torch.equal(clean[:, 2:], x[:, 2:])
    one = Given(energy, x[0, 2:])
    torch.testing.assert_close(clean[:60, :2], denoised(one, x[:60, :2], 0.5))


# -- the program
@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("conditional") / "run"
    how = ["--classes", "0,1,4", "--model", "conditional", "--iterations", "40", "--renew", "off"]
    fewer = ["--walkers", "128", "--held-out", "64", "--width", "32", "--bracket.walkers", "64"]
    steps = ["--bracket.temperatures", "60", "--bracket.equilibrate", "50"]
    assert main(["train", "digits", *how, *fewer, *steps, "--out", str(folder)]) == 0
    return folder


def test_a_run_is_trained_bracketed_and_told_by_label(trained, capsys):
    run = Run(trained)
    energy, _ = run.model()
    verdict = read_verdict(run, energy)
    assert verdict.kept == "model"
    assert verdict.log_z == 0
    assert verdict.gain.value > 3 * verdict.gain.stderr
    assert [one["label"] for one in verdict.labels["each"]] == [0, 1, 4]
    worst = max(verdict.labels["each"], key=lambda one: one["within"])
    said = f"within {worst['within']:.2f} nat (label {worst['label']})"
    assert said in verdict.summary()[1] or not verdict.bracketed
    assert verdict.labels["found"] > 0.9
    assert any("finds the labels of" in said for said in verdict.summary())
    own = run.data()
    test = own.test
    # the likelihood is of images given their labels: that of the three models one by one
    total = 0.0
    for label in (0, 1, 4):
        given = Given(energy, run.scaling.labels.context(label, test))
        x = test[run.scaling.labels.of(test) == label][:, :64]
        rng = torch.Generator().manual_seed(1)
        z = noneq.log_z(given, data=x, noise=0.15, n=128, temperatures=150, rng=rng)
        assert abs(z.value) < 0.3  # normalised by 64 walkers and 60 temperatures
        total += len(x) * noneq.nll(given, x, z, noise=0.15).value
    assert total / len(test) == pytest.approx(verdict.nll["test"].value, abs=0.3)


def test_noise_is_added_to_pixels_and_never_to_labels(trained):
    run = Run(trained)
    energy, _ = run.model()
    data, verdict = run.data(), read_verdict(run, energy)
    found = score(run, data.test)
    assert float(found.expected.mean()) == pytest.approx(-verdict.nll["test"].value, abs=0.3)
    looked = noneq.Session(run.recipe, data.train, validation=data.validation).validation
    n = len(data.validation)
    assert torch.equal(looked.rows[:n, 64:], data.validation[:, 64:])
    assert not torch.equal(looked.rows[:n, :64], data.validation[:, :64])
    energies = Contents.of(run).energies
    u = mean_energy(energy, data.train, noise=0.15)
    error = float(u.std()) / math.sqrt(len(u))
    assert abs(float(energies.data.mean() - u.mean())) < error


def resembling(data, images, labels):
    """The share of images that are nearer to the mean of their label than to the others."""
    x, own = data.scaling.images(data.train).flatten(1), data.scaling.labels.of(data.train)
    means = torch.stack([x[own == c].mean(0) for c in data.scaling.labels.classes])
    nearest = torch.cdist(images.float().flatten(1), means).argmin(1)
    right = torch.tensor(data.scaling.labels.classes)[nearest] == torch.tensor(labels)
    return float(right.double().mean())


def test_samples_of_a_label_are_of_that_label(trained, tmp_path, capsys):
    out = tmp_path / "s.npz"
    assert main(["sample", str(trained), "-n", "40", "--labels", "4,0", "--out", str(out)]) == 0
    assert "label 4: drawn from" in capsys.readouterr().out
    found = np.load(out)
    assert found["labels"].tolist() == [4] * 40 + [0] * 40
    assert found["x"].shape == (80, 1, 8, 8)
    run = Run(trained)
    data = run.data()
    images = (torch.from_numpy(found["x"]) - data.scaling.shift) / data.scaling.scale
    assert resembling(data, images, [4] * 40 + [0] * 40) > 0.9
    assert main(["score", str(trained), str(out)]) == 0
    assert "80 rows" in capsys.readouterr().out
    both, one = draw(run, 60, seed=1)[0], draw_walkers(run, 10, label=4, seed=1).walkers.x
    assert set(run.scaling.labels.of(both).tolist()) == {0, 1, 4}
    assert set(run.scaling.labels.of(one).tolist()) == {4}
    how = ["--source", "ais", "--weighted", "--out", str(out)]
    assert main(["sample", str(trained), "-n", "64", "--labels", "1,4", *how]) == 0
    apart = np.load(out)
    assert np.exp(apart["log_w"]).sum() == pytest.approx(1)
    # each label has random numbers of its own: else its samples would be twins of the first one's
    assert main(["sample", str(trained), "-n", "64", "--labels", "4", *how]) == 0
    assert not np.allclose(np.load(out)["x"], apart["x"][64:])


def test_annealed_samples_of_a_label_are_those_of_its_energy(trained):
    run = Run(trained)
    drawn = draw_walkers(run, 200, "ais", label=1, weighted=True, seed=3).walkers
    again = draw_walkers(run, 60, "ais", weighted=True, seed=4).walkers
    energy, _ = run.model()
    given = Given(energy, run.scaling.labels.context(1, drawn.x))
    torch.testing.assert_close(drawn.state.u, given(drawn.x[:, :64]).detach())
    assert set(run.scaling.labels.of(drawn.x).tolist()) == {1}
    assert resembling(run.data(), drawn.x[:, :64], [1] * len(drawn)) > 0.9
    labels = run.scaling.labels.of(again.x)
    assert set(labels.tolist()) == {0, 1, 4}
    assert resembling(run.data(), again.x[:, :64], labels.tolist()) > 0.9


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sample", "RUN", "--labels", "7"], "label 7 is none of the model's: 0, 1, 4"),
        (["sample", "RUN", "--labels", "1", "--source", "chains"], "chains have labels of their"),
        (["sample", "RUN", "--out", "a.csv"], "images are no table"),
        (["sample", "RUN", "--labels", "1,1"], "--labels 1,1: name every label once"),
        (["sample", "RUN", "--out", "a.npy"], "images and their labels need an .npz file"),
        (["sample", "RUN", "--given", "a.npy", "--out", "b.npy"], "draw some by --labels"),
        (["score", "RUN", "none.npz", "--flow"], "no labels beside the images"),
        (["train", "table.csv", "--model", "conditional"], "its label is a column like the"),
    ],
)
def test_what_cannot_be_is_refused(words, said, trained, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.savez("none.npz", x=np.zeros((3, 8, 8)))
    np.savetxt("table.csv", np.random.default_rng(0).normal(size=(50, 3)), delimiter=",")
    assert main([str(trained) if word == "RUN" else word for word in words]) != 0
    assert said in capsys.readouterr().err


def test_labels_of_a_model_without_any_are_refused(tmp_path, capsys):
    how = ["--iterations", "2", "--bracket.walkers", "32", "--bracket.temperatures", "10"]
    assert main(["train", "digits", "--classes", "0,1", *how, "--out", str(tmp_path / "r")]) == 0
    assert main(["sample", str(tmp_path / "r"), "--labels", "1"]) != 0
    assert "its model knows no labels" in capsys.readouterr().err


def test_images_without_labels_are_told_theirs_and_scored_whatever_it_is(
    trained, tmp_path, capsys
):
    run = Run(trained)
    data, energy = run.data(), run.model()[0]
    pixels, labels = data.scaling.undo(data.test), data.scaling.labels.of(data.test).numpy()
    np.savez(tmp_path / "plain.npz", x=pixels.numpy())
    for out in ("o.npz", "o.csv"):
        command = ["score", str(trained), str(tmp_path / "plain.npz"), "--out"]
        assert main([*command, str(tmp_path / out)]) == 0
        assert "the most probable labels" in capsys.readouterr().out
    found = np.load(tmp_path / "o.npz")
    share = read_verdict(run, energy).labels["found"]
    assert (found["label"] == labels).mean() == pytest.approx(share)
    assert found["classes"].tolist() == [0, 1, 4]
    # p(x) = sum_c p(c) p(x | c), and p(c | x) = p(c) p(x | c) / p(x)
    shares = torch.bincount(data.scaling.labels.of(data.train))[[0, 1, 4]].double()
    shares = shares / shares.sum()
    given = torch.stack(
        [score(run, data.scaling.labels.join(data.scaling.images(data.test), [c] * len(labels))
               ).log_density for c in (0, 1, 4)], 1
    )  # fmt: skip
    joint = shares.log() + given
    own = found["log_density"] - data.scaling.log_units(data.test).numpy()
    np.testing.assert_allclose(own, joint.logsumexp(1).numpy(), atol=1e-6)
    np.testing.assert_allclose(found["probabilities"], joint.softmax(1).numpy(), atol=1e-6)
    table = np.genfromtxt(tmp_path / "o.csv", delimiter=",", names=True)
    np.testing.assert_allclose(table["p_4"], found["probabilities"][:, 2], atol=1e-6)
    assert table.dtype.names == ("row", "label", "p_0", "p_1", "p_4", "log_density", "rank",
                                 "training_percentile")  # fmt: skip
    assert found["row"].tolist() == table["row"].tolist() == list(range(1, len(labels) + 1))
    # compared with training images whatever their labels are
    train = label_scores(run, data.scaling.images(data.train)).log_density
    train = train.numpy() + data.scaling.log_units(data.train).numpy()
    below = [100 * (train < one).mean() for one in found["log_density"]]
    np.testing.assert_allclose(found["training_percentile"], below, atol=0.0051)
    np.testing.assert_allclose(table["training_percentile"], below, atol=0.0051)
    assert len({*below}) > 10
    np.savez(tmp_path / "named.npz", x=pixels.numpy(), y=labels)
    command = ["score", str(trained), str(tmp_path / "named.npz"), "--out"]
    assert main([*command, str(tmp_path / "n.csv")]) == 0
    table = np.genfromtxt(tmp_path / "n.csv", delimiter=",", names=True)
    train = score(run, data.train).log_density + data.scaling.log_units(data.train)
    below = [100 * (train.numpy() < one).mean() for one in table["log_density"]]
    np.testing.assert_allclose(table["training_percentile"], below, atol=0.0051)
    assert table.dtype.names[:2] == ("row", "log_density")
    with pytest.raises(ValueError, match=r"images of shape .2, 3., the model's .1, 8, 8."):
        label_scores(run, torch.zeros(1, 2, 3))


def test_a_shared_model_is_sampled_and_scored_with_labels(trained, tmp_path):
    run = Run(trained)
    shared = SharedModel(run)
    images = shared.sample(20, label=4, seed=2)
    assert images.shape == (20, 1, 8, 8)
    likely, other = shared.score(images, [4] * 20), shared.score(images, [0] * 20)
    assert likely.mean() > other.mean() + 5
    np.savez(tmp_path / "four.npz", x=images, y=np.full(20, 4))
    np.testing.assert_allclose(shared.score(tmp_path / "four.npz"), likely, atol=1e-3)
    with pytest.raises(ValueError, match="give labels"):
        shared.score(images)
    card = str(shared.generate_model_card())
    assert "of shape (1, 8, 8); labels 0, 1, 4" in card
    assert "model.sample(5, label=0)" in card


def test_likelihoods_with_and_without_labels_do_not_compare(trained, tmp_path, capsys):
    how = ["--iterations", "2", "--bracket.walkers", "32", "--bracket.temperatures", "10"]
    plain = str(tmp_path / "plain")
    assert main(["train", "digits", "--classes", "0,1,4", *how, "--out", plain]) == 0
    assert main(["report", str(trained), plain]) == 1
    assert "of images given their labels" in capsys.readouterr().err


def test_a_label_without_test_images_is_no_obstacle(tmp_path, capsys):
    pixels, labels = images_of_labels(75)
    labels[:12] = 9  # among the training images alone
    for name, part in (("train", slice(0, 60)), ("t10k", slice(60, 75))):
        (tmp_path / f"{name}-images-idx3-ubyte.gz").write_bytes(idx(pixels[part]))
        (tmp_path / f"{name}-labels-idx1-ubyte.gz").write_bytes(idx(labels[part]))
    how = ["--iterations", "2", "--walkers", "64", "--held-out", "32", "--width", "8"]
    how += ["--bracket.walkers", "32", "--bracket.temperatures", "10"]
    folder = tmp_path / "run"
    assert (
        main(["train", str(tmp_path), *how, "--model", "conditional", "--out", str(folder)]) == 0
    )
    run = Run(folder)
    each = read_verdict(run, run.model()[0]).labels["each"]
    assert [one["label"] for one in each] == [4, 7, 9]
    assert (each[2]["test"], each[2]["nll"], each[2]["found"]) == (0, None, None)
    assert main(["report", str(folder)]) == 0


def test_a_page_shows_each_label_and_pictures_of_images(trained, capsys):
    assert main(["report", str(trained)]) == 0
    page = (trained / "report.html").read_text()
    assert "labels found" in page
    assert "an image: distance to the nearest row" in page


def test_an_evaluation_again_starts_from_a_normalised_model(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "copy")
    run = Run(tmp_path / "copy")
    first = read_verdict(run, run.model()[0])
    second = evaluate_run(run, run.data(), how={"seed": 5})
    assert second.nll["test"].value == pytest.approx(first.nll["test"].value, abs=0.3)
    assert read_verdict(run, run.model()[0]).mark == second.mark != first.mark


def test_a_resumed_training_has_the_same_bits(tmp_path):
    own = ["--model", "conditional", "--classes", "0,1", "--walkers", "64", "--held-out", "32"]
    own += ["--width", "8", "--bracket.walkers", "32", "--bracket.temperatures", "10"]
    own += ["--bracket.equilibrate", "0", "--tau-end", "1"]
    once, twice = tmp_path / "once", tmp_path / "twice"
    assert main(["train", "digits", *own, "--iterations", "8", "--out", str(once)]) == 0
    assert main(["train", "digits", *own, "--iterations", "4", "--out", str(twice)]) == 0
    assert main(["train", "--resume", "--iterations", "8", "--out", str(twice)]) == 0
    a, b = (Run(folder).model()[0].state_dict() for folder in (once, twice))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_rows_of_a_file_are_read_with_their_labels(tmp_path):
    pixels, labels = images_of_labels()
    np.savez(tmp_path / "own.npz", x=pixels, y=labels)
    data = noneq.data.load(tmp_path / "own.npz", labels=True)
    x = rows_like(tmp_path / "own.npz", data.shape, data.scaling)
    assert data.scaling.labels.of(x).tolist() == labels.tolist()
    np.savez(tmp_path / "other.npz", x=pixels, y=labels + 1)
    with pytest.raises(ValueError, match=r"other.npz: label \d is none of the model's"):
        rows_like(tmp_path / "other.npz", data.shape, data.scaling)
