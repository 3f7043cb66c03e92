"""What a run came to: the words for every case, the file, and runs whose log Z is exact."""

import json
import math
from dataclasses import replace

import known
import pytest
import torch

from noneq.likelihood.support import Share
from noneq.run import checkpoint, evaluation, scores
from noneq.run.evaluation import evaluate_run
from noneq.run.scores import score
from noneq.run.verdict import Mean, Verdict
from noneq.run.verdict_file import read_verdict, stored_fingerprint
from noneq.walkers import LogZ

SAID = Verdict(
    mark=7,
    log_z=2.5,
    stderr=0.03,
    forward=Mean(2.4, 0.03),
    backward=Mean(2.5, 0.04),
    alarms=(),
    off_support_mass=Share(0.02, 0.01, 0.01),
    nll={"train": Mean(5.0, 0.1), "validation": Mean(5.1, 0.2), "test": Mean(5.2, 0.2)},
    base={"train": Mean(8.0, 0.1), "validation": Mean(8.1, 0.2), "test": Mean(8.2, 0.2)},
    gain=Mean(3.0, 0.2),
    how={"walkers": 64, "temperatures": 20, "equilibrate": 20, "seed": 7},
)


def summary(**changes):
    return replace(SAID, **changes).summary()


# -- words


def test_better_worse_and_neither():
    assert "better than its Gaussian base by 3.00 ± 0.20" in summary()[0]
    assert "WORSE than its Gaussian base by 3.00 ± 0.20" in summary(gain=Mean(-3.0, 0.2))[0]
    for gain in (Mean(0.5, 0.2), Mean(-0.5, 0.2), Mean(3.0, math.nan), Mean(0.0, 0.0)):
        (said, *_) = summary(gain=gain)
        assert "cannot be distinguished from its Gaussian base" in said
        assert "better" not in said
        assert "WORSE" not in said


def test_a_training_that_the_validation_rows_ended_is_not_to_go_on():
    assert "(`iterations`) may gain more" in summary(gain=Mean(0.1, 0.2))[0]
    assert "a longer one is of no use" in summary(gain=Mean(0.1, 0.2), ended_early=True)[0]


def test_a_gain_is_as_uncertain_as_log_z():
    # the same error for every row: pairing does not remove it
    assert "better" in summary(gain=Mean(1.0, 0.1), stderr=0.1)[0]
    (said, *_) = summary(gain=Mean(1.0, 0.1), stderr=0.4)
    assert "cannot be distinguished" in said
    assert f"1.00 ± {math.hypot(0.1, 0.4):.2f}" in said


def test_what_is_bracketed_and_within_what():
    crossed = replace(SAID, forward=Mean(2.5, 0.03), backward=Mean(2.4, 0.04))
    assert crossed.within == pytest.approx(0.15)
    assert crossed.interval == (Mean(2.4, 0.04), Mean(2.5, 0.03))
    assert SAID.interval == (SAID.forward, SAID.backward)
    assert SAID.bracketed
    assert "is bracketed: log Z is known within 0.15 nat" in summary()[1]
    assert len(summary()) == 2


def test_what_is_not_bracketed_and_why():
    raised = ("the sides cross", "few founders")
    assert not replace(SAID, alarms=raised).bracketed
    said = summary(alarms=raised)
    assert "NOT bracketed: do not quote the NLLs of the model." in said[0]
    assert said[1:] == ["  alarm: the sides cross", "  alarm: few founders"]
    assert not any("better" in one for one in said)  # nobody knows
    assert not any("no alarm was raised" in one for one in said)


def test_a_model_that_is_worse_than_its_base_went_wrong():
    lost = "Training went wrong: take smaller steps (`lr`, `tau`)."
    assert summary(gain=Mean(-3.0, 0.2))[0].endswith(lost)
    assert lost not in " ".join(summary())
    # not bracketed, 3 nats between the sides: bad enough by the smaller log Z, too, or not
    doubtful = {"alarms": ("the sides cross",), "log_z": 5.5, "backward": Mean(5.5, 0.04)}
    said = summary(gain=Mean(-9.0, 0.2), **doubtful)
    assert said[2] == (
        "Even by the more favourable estimate of log Z it is 5.9 nats a row WORSE than its "
        f"Gaussian base. {lost}"
    )
    assert lost not in " ".join(summary(gain=Mean(-3.2, 0.2), **doubtful))


def test_what_is_exact():
    side = Mean(2.5, 0.0)
    said = summary(forward=side, backward=side, stderr=0.0)
    assert said[1] == "Its likelihood is exact: log Z is known without error."


def test_the_gap_of_overfitting():
    def gap(validation, stderr=0.1, gain=3.0):
        nll = {**SAID.nll, "validation": Mean(validation, stderr)}
        return [s for s in summary(nll=nll, gain=Mean(gain, 0.2)) if "training rows" in s]

    (said,) = gap(6.0)
    assert (
        "memorised training rows: their NLL is 1.00 ± 0.14 nats lower than that of the val" in said
    )
    assert (
        "more weight decay (`weight_decay`), fewer iterations (`iterations`) or more noise" in said
    )
    assert not gap(4.0)  # better on rows that it has not seen: no fault
    assert not gap(6.0, stderr=0.5)  # may be chance
    assert not gap(6.0, stderr=math.nan)
    assert not gap(6.0, gain=20.0)  # little of what it learned
    assert gap(6.0, gain=-3.0)


def test_mass_where_there_are_no_data():
    def away(*share):
        return [s for s in summary(off_support_mass=Share(*share)) if "spurious" in s]

    (said,) = away(0.3, 0.05, 0.01)
    assert "30% of its mass lies farther from the data" in said
    assert "a perfect model has 1% there" in said
    assert not away(0.04, 0.001, 0.01)  # too little to matter
    assert not away(0.3, 0.1, 0.01)  # may be chance
    assert len(summary(off_support_mass=None)) == 2


def test_the_mean_of_one_row_has_no_error():
    assert Mean.of(torch.tensor([1.0, 2.0, 6.0]).double()) == Mean(
        3.0, pytest.approx(7**0.5 / 3**0.5)
    )
    one = Mean.of(torch.tensor([2.0]).double())
    assert one.value == 2
    assert math.isnan(one.stderr)


def test_copies_of_a_row_tell_nothing_new():
    values, rows = torch.tensor([1.0, 2.0, 6.0]).double(), torch.tensor([[0.0], [3.0], [1.0]])
    once, often = Mean.of(values, rows), Mean.of(values.repeat(50), rows.repeat(50, 1))
    assert often.value == pytest.approx(once.value)
    assert often.stderr == pytest.approx(once.stderr)


# -- likelihood.json


@pytest.fixture
def begun(tmp_path):
    run, data, session = known.begun(tmp_path)
    run.save(session)
    return run, data, session


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"alarms": ("one", "two"), "off_support_mass": None},
        {"gain": Mean(1.0, math.nan), "nll": {**SAID.nll, "test": Mean(math.inf, math.nan)}},
        {"off_support_mass": Share(0.1, math.nan, 0.0)},
    ],
)
def test_a_verdict_comes_back_from_its_file(begun, changes):
    run, _, session = begun
    written = replace(SAID, mark=stored_fingerprint(session.average), **changes)
    checkpoint.save_json(run.folder / "likelihood.json", written.plain())
    found = read_verdict(run, session.average)
    # JSON lacks infinity as well: what is not finite comes back as "not known"
    assert repr(found) == repr(written).replace("inf", "nan")
    assert found.summary() == written.summary()


@pytest.mark.parametrize(
    "text",
    ["", '{"mark": 7', "[]", "7", "{}", '{"forward": 1}', "\x00"],
)
def test_a_damaged_file(begun, text):
    run, _, session = begun
    (run.folder / "likelihood.json").write_text(text)
    with pytest.raises(
        ValueError, match=r"likelihood.json: damaged .* `evaluate_run\(.*r\)` makes it"
    ):
        read_verdict(run, session.average)


@pytest.mark.parametrize("name", ["nll", "forward", "alarms", "off_support_mass", "gain", "how"])
def test_a_file_with_something_else_in_it(begun, name):
    run, _, session = begun
    plain = replace(SAID, mark=stored_fingerprint(session.average)).plain()
    del plain[name]
    for damaged in (plain, {**plain, name: 3}) if name != "how" else (plain,):
        checkpoint.save_json(run.folder / "likelihood.json", damaged)
        with pytest.raises(ValueError, match="damaged"):
            read_verdict(run, session.average)


def test_no_file_yet(begun):
    run, _, session = begun
    with pytest.raises(FileNotFoundError, match="log Z is not known yet; `evaluate_run"):
        read_verdict(run, session.average)


def test_other_parameters_are_refused(begun):
    run, data, session = begun
    evaluate_run(run, data)
    assert read_verdict(run, run.model()[0]).mark == stored_fingerprint(session.average)
    known.tilt(session.average, [0.1, 0.0])
    with pytest.raises(ValueError, match="belongs to other parameters than model"):
        read_verdict(run, session.average)
    run.save(session)
    with pytest.raises(ValueError, match="other parameters"):
        score(run, data.test)


# -- runs whose log Z is known


def test_an_untrained_run_is_its_base(begun):
    run, data, session = begun
    found = evaluate_run(run, data)
    exact = session.energy.base.log_z()
    assert found.forward.value == pytest.approx(exact, abs=1e-5)
    assert found.backward.value == pytest.approx(exact, abs=1e-5)
    assert found.bracketed
    for name in ("train", "validation", "test"):
        assert found.nll[name].value == pytest.approx(found.base[name].value, abs=1e-5)
    assert found.kept == "base"
    assert "nothing was learned beyond it" in found.summary()[0]


def test_a_tilted_gaussian_is_bracketed_and_scored(begun):
    run, data, session = begun
    known.tilt(session.average, [0.7, -0.4])
    run.save(session)
    mean, cov, exact = known.exact(session.average, [0.7, -0.4])
    found = evaluate_run(run, data, how={"walkers": 256, "temperatures": 40, "seed": 1})
    assert found.how == {
        "walkers": 256,
        "temperatures": 40,
        "equilibrate": 20,
        "cycled": True,
        "seed": 1,
    }
    for side in (found.forward, found.backward):
        assert side.stderr < 0.05
        assert abs(side.value - exact) < 4 * side.stderr
    # likelihoods: of every split, with the larger side; the base's are exact
    normal = torch.distributions.MultivariateNormal(mean, cov)
    base = torch.distributions.MultivariateNormal(session.energy.base.mean.double(), cov)
    off = found.log_z - exact
    for name in ("train", "validation", "test"):
        x = getattr(data, name).double()
        ours, theirs = -normal.log_prob(x), -base.log_prob(x)
        assert found.nll[name].value == pytest.approx(float(ours.mean()) + off, abs=1e-4)
        assert found.base[name].value == pytest.approx(float(theirs.mean()), abs=1e-4)
        stderr = float(ours.std()) / math.sqrt(len(x))
        assert found.nll[name].stderr == pytest.approx(stderr, rel=1e-3)
    gain = theirs - ours  # of the test rows, paired
    assert found.gain.value == pytest.approx(float(gain.mean()) - off, abs=1e-4)
    assert found.gain.stderr == pytest.approx(float(gain.std()) / math.sqrt(len(x)), rel=1e-3)
    # scores: a normalised log-density of the rows
    scores = score(run, data.test)
    assert scores.verdict == found
    torch.testing.assert_close(scores.log_density, normal.log_prob(x) - off, rtol=0, atol=1e-4)
    assert torch.equal(scores.expected, scores.log_density)  # no noise
    assert abs(scores.unlike) < 1


def test_the_scores_of_noisy_rows_are_the_verdicts(tmp_path, monkeypatch):
    # differences by the same noise for all rows, of which two pairs are enough for a Gaussian
    monkeypatch.setattr(scores, "SAME", 2)
    run, data, session = known.begun(tmp_path, noise=0.5)
    known.tilt(session.average, [0.6, -0.4])
    run.save(session)
    verdict = evaluate_run(run, data)
    found = -scores.score(run, data.train).expected
    mean, cov, exact = known.exact(run.model()[0], [0.6, -0.4])
    normal = torch.distributions.MultivariateNormal(mean, cov)
    # E log p(x + s xi) = log p(x) - s^2 tr(C^-1) / 2, of which differences have no error
    clean = -normal.log_prob(data.train.double())
    torch.testing.assert_close(found - found.mean(), clean - clean.mean(), rtol=0, atol=1e-4)
    # the level by independent noise: 210 x 20 draws, whose deviations are 0.9 nats at most
    level = 0.125 * float(torch.linalg.inv(cov).trace()) + verdict.log_z - exact
    assert float(found.mean()) == pytest.approx(float(clean.mean()) + level, abs=0.03)
    assert float(found.mean()) == pytest.approx(verdict.nll["train"].value, abs=0.04)
    # one row alone has 2,000 draws: what all rows have in common has a small error, too
    one = -float(scores.score(run, data.train[:1]).expected[0])
    assert one == pytest.approx(float(clean[0]) + level, abs=0.06)


def test_the_population_that_is_kept_is_a_weighted_sample(begun):
    # annealed in one step, so small that nobody is resampled and the weights do it
    run, data, session = begun
    known.tilt(session.average, [0.27, -0.09])
    run.save(session)
    mean, _, _ = known.exact(session.average, [0.27, -0.09])
    evaluate_run(run, data, how={"walkers": 65_536, "temperatures": 1, "seed": 2})
    kept = checkpoint.load_tensors(run.folder / "population.safetensors")
    off = kept["x"].double() - mean

    def deviation(p):
        """Of the mean, in standard errors."""
        return float(((p @ off) / (p.square() @ off.square()).sqrt()).abs().max())

    assert torch.equal(kept["ancestors"], torch.arange(65_536))
    assert deviation(kept["log_w"].softmax(0)) < 4
    assert deviation(torch.full((65_536,), 1 / 65_536).double()) > 8


def test_the_larger_side_and_the_training_rows(begun, monkeypatch):
    # the likelihoods are never optimistic; test rows start no backward chain
    run, data, session = begun
    known.tilt(session.average, [0.1, 0.0])  # of its base, log Z is known
    run.save(session)
    seen = {}

    def lopsided(energy, **how):
        seen.update(how)
        z = real(energy, **how)
        return replace(z, forward=LogZ(1.0, 0.1), backward=LogZ(3.0, 0.2))

    real = evaluation.log_z
    monkeypatch.setattr(evaluation, "log_z", lopsided)
    found = evaluate_run(run, data)
    assert torch.equal(seen["data"], data.train)
    assert (found.log_z, found.stderr) == (3.0, 0.2)
    assert (found.forward, found.backward) == (Mean(1.0, 0.1), Mean(3.0, 0.2))
    base = session.energy.base
    for name in ("train", "validation", "test"):
        gap, x = found.nll[name].value - found.base[name].value, getattr(data, name)
        tilt = float((session.average(x) - base(x)).detach().mean())
        assert gap == pytest.approx(tilt + 3.0 - base.log_z(), abs=1e-5)
    assert found.gain.value == pytest.approx(-gap, abs=1e-5)
    assert json.loads((run.folder / "likelihood.json").read_text())["backward"]["value"] == 3.0
