"""The base that validation rows choose: which one, always the same, and kept by a run."""

import json
import math

import numpy as np
import pytest
import torch
from command_line import QUICK, refused, rows

from noneq import GaussianMixture, Run, Session
from noneq.cli.main import main
from noneq.energies import Gaussian
from noneq.run import bases, choose
from noneq.run.bases import choose_base, fit_base
from noneq.run.candidates import Candidate, compared, named
from noneq.run.choosing import with_changes
from noneq.run.families import family_of
from noneq.run.recipe import InterpolantModel, NetworkModel
from noneq.run.storing import load_model, save_model

SMALL = {"width": 2, "depth": 1, "clusters": None, "walkers": 64, "held_out": 16, "iterations": 2}


def normal(n, d, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def modes(n, d=2):
    """Rows of two separate Gaussians, three times as many of the first."""
    x = normal(n, d, seed=1) * 0.4
    x[: n // 4] += 3.0
    return x[torch.randperm(n, generator=torch.Generator().manual_seed(2))]


def collinear(n):
    """Eight columns, of which four nearly are sums of the others."""
    x = normal(n, 4, seed=3)
    return torch.cat([x, x @ normal(4, 4, seed=4) + 1e-3 * normal(n, 4, seed=5)], 1)


def chosen(x, validation, seed=0, **changes):
    recipe = choose(tuple(x.shape[1:]), len(x), "table", **{**SMALL, **changes})
    return choose_base(recipe, x, validation, seed)


def nll(base, x):
    return float(base(x).double().mean()) + base.log_z()


def test_rows_of_two_modes_choose_a_mixture():
    x = modes(800)
    recipe, candidates = chosen(x[:600], x[600:])
    assert (recipe.model.base, recipe.model.components) == ("mixture", 2)
    assert recipe.model.ridge in bases.WIDTHS
    energy, _ = family_of("network").build(recipe, x[:600])
    assert isinstance(energy.base, GaussianMixture)
    # the mixture's entropy, ln 4 - 3/4 ln 3 and that of a Gaussian of sd 0.4 in two dimensions
    entropy = math.log(4) - 0.75 * math.log(3) + math.log(2 * math.pi * math.e * 0.16)
    best = min(one.nll for one in candidates)
    assert best == pytest.approx(entropy, abs=0.15)
    assert min(one.nll for one in candidates if one.base == "full") > best + 0.5


def test_nearly_collinear_columns_choose_a_ridge():
    x = collinear(300)
    recipe, candidates = chosen(x[:150], x[150:])
    plain = candidates[0]
    assert plain[:3] == ("full", None, None)
    assert recipe.model.base == "full"
    assert recipe.model.ridge <= 1e-4
    assert min(one.nll for one in candidates) < plain.nll - 5


def test_few_rows_of_many_columns_choose_a_diagonal_or_a_ridge_of_low_rank():
    x, factors = normal(48, 2200, seed=6), normal(5, 2200, seed=7)
    recipe, candidates = chosen(x[:40], x[40:])
    assert recipe.model.base == "diagonal"
    assert "full" not in {one.base for one in candidates}
    best = min(one.nll for one in candidates)
    entropy = 2200 * math.log(2 * math.pi * math.e) / 2
    # means and variances of 40 rows cost half a nat for each in 40, and a little more
    assert best == pytest.approx(entropy + 2200 / 40, rel=0.02)
    assert max(one.nll for one in candidates) > 1.5 * best  # low rank without a ridge
    common = normal(48, 5, seed=8) @ factors + x
    recipe, candidates = chosen(common[:40], common[40:])
    assert (recipe.model.base, recipe.model.ridge) == ("low-rank", 0.3)
    assert min(one.nll for one in candidates) < candidates[0].nll - 1000
    assert named(candidates[0]) == "one Gaussian, diagonal"
    few, _ = chosen(x[:40], x[40:42])  # too few to choose by
    assert few.model.base == "diagonal"


def test_rows_of_one_gaussian_keep_it():
    x = normal(900, 3) @ normal(3, 3, seed=9)
    recipe, candidates = chosen(x[:600], x[600:])
    assert (recipe.model.base, recipe.model.components) == ("full", None)
    assert {one.components for one in candidates} >= {None, 2}


def test_a_mixture_must_be_better_by_a_standard_error():
    search = bases._Search(choose((1,), 20, "table"), normal(20, 1), normal(20, 1, seed=1), 0)
    noise = normal(20, 1, seed=2)[:, 0].double()
    losses = torch.full((20,), 3.0).double()
    noise = (noise - noise.mean()) / noise.std()
    for gain, base in ((0.9, "full"), (1.1, "mixture")):
        other = losses + noise - gain / math.sqrt(20)
        tried = [("mixture", 2, 0.1, other), ("full", None, None, losses)]
        search.tried = [(Candidate(*one, float(u.mean()), 0.0), u) for *one, u in tried]
        assert search.best().base == base, gain
    # among the Gaussians alone the lowest mean decides
    search.tried[1:] += [(Candidate("full", None, 0.1, 2.9, 0.0), losses - 0.1 + noise)]
    search.tried = search.tried[1:]
    assert search.best().ridge == 0.1


def test_candidates_are_scored_by_validation_rows_with_the_noise_of_the_training():
    x = modes(400)
    noisy = {"noise": 0.5}
    recipe, candidates = chosen(x[:300], x[300:], **noisy)
    for one in (candidates[0], min(candidates, key=lambda c: c.nll)):
        model = NetworkModel(base=one.base, components=one.components, ridge=one.ridge)
        base = fit_base(model, x[:300], noise=0.5, seed=0)
        again = x[300:].repeat(400, 1)
        assert nll(base, again + 0.5 * normal(*again.shape, seed=6)) == pytest.approx(
            one.nll, abs=0.05
        )
    assert recipe.train.noise == 0.5


def test_the_recipe_builds_the_base_that_was_scored():
    x = modes(300, 3)
    first, scored = chosen(x[:200], x[200:], seed=3)
    again, same = chosen(x[:200].clone(), x[200:].clone(), seed=3)
    assert first == again
    assert scored == same
    energies = [family_of("network").build(first, x[:200], seed=3)[0] for _ in range(2)]
    for name, tensor in energies[0].base.state_dict().items():
        assert torch.equal(tensor, energies[1].base.state_dict()[name]), name
    own = first.model
    (one,) = [c for c in scored if c[:3] == (own.base, own.components, own.ridge)]
    assert nll(energies[0].base, x[200:]) == pytest.approx(one.nll, abs=1e-5)


def test_work_is_counted_and_bounded(monkeypatch):
    x = modes(400)
    _, all_of_them = chosen(x[:300], x[300:])
    spent = [bases.operations(one.base, one.components or 1, 300, 2) for one in all_of_them]
    assert sum(spent) < bases.BUDGET / 100
    for many in (1, 8, 9):
        monkeypatch.setattr(bases, "BUDGET", sum(spent[:many]))
        _, candidates = chosen(x[:300], x[300:])
        assert candidates == all_of_them[:many]
    monkeypatch.setattr(bases, "BUDGET", 0)
    recipe, candidates = chosen(x[:300], x[300:])
    assert (recipe.model.base, candidates) == ("full", ())


def test_a_choice_sees_so_many_rows_at_most(monkeypatch):
    x = modes(400)
    monkeypatch.setattr(bases, "ROWS", 100)
    recipe, few = chosen(x[:300], x[300:])
    kept = bases.some(x[:300], 100)
    assert len(torch.unique(kept, dim=0)) == 100
    _, same = chosen(kept, x[300:])
    assert few == same
    # a mixture is fitted to them alone; one Gaussian is built of all rows
    for model, least in ((recipe.model, 100), (NetworkModel(), 300)):
        whole = fit_base(model, x[:300], noise=0.0, seed=0)
        own = fit_base(model, kept if least == 100 else x[:300], noise=0.0, seed=0)
        for name, tensor in whole.state_dict().items():
            assert torch.equal(tensor, own.state_dict()[name])


def test_numbers_of_components_end_where_two_in_a_row_are_worse(monkeypatch):
    asked = []

    def scored(self, base, components, ridge):
        asked.append((components, ridge))
        number = {2: 5.0, 3: 5.5, 5: 4.0, 8: 4.5, 12: 4.2, 20: 0.0}.get(components, 9.0)
        return Candidate(base, components, ridge, number + abs((ridge or 0) - 0.1), 0.0)

    monkeypatch.setattr(bases._Search, "_score", scored)
    search = bases._Search(choose((1,), 400, "table"), normal(400, 1), normal(50, 1), 0)
    search.mixtures()
    assert [k for k, _ in asked if k] == [2, 2, 2, 3, 3, 3, 5, 5, 5, 8, 8, 8, 12, 12, 12]
    # from 0.03 up to 0.1, and on while it improves; then from the best of the last number
    assert [w for _, w in asked[:6]] == [0.03, 0.1, 0.3, 0.1, 0.3, 0.03]


def test_many_columns_have_no_mixtures():
    x = normal(60, 120)
    recipe, candidates = chosen(x[:40], x[40:])
    assert {one.base for one in candidates} == {"full", "diagonal", "low-rank"}  # of 40 rows
    assert recipe.model.components is None


@pytest.mark.parametrize(
    "x",
    [
        normal(5, 3),
        normal(60, 1),
        torch.cat([normal(60, 2), torch.ones(60, 1)], 1),
        torch.ones(60, 2),
        torch.cat([modes(30), modes(30)]),
    ],
    ids=["five rows", "one column", "a constant column", "equal rows", "copies"],
)
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_poor_rows_have_a_base_too(x, noise):
    validation = x[len(x) // 2 :]
    recipe, candidates = chosen(x, validation, noise=noise)
    assert recipe.model.base in {"full", "mixture"}
    # copies of fewer than ten rows choose nothing
    assert bool(candidates) == (len(torch.unique(validation, dim=0)) >= 10)
    assert all(math.isfinite(one.nll) and math.isfinite(one.stderr) for one in candidates)
    assert max((one.components or 1) * 8 for one in [*candidates, Candidate("", 1, 0, 0, 0)]) <= (
        max(8, len(x))
    )
    if len(torch.unique(x, dim=0)) > 1 or noise:
        energy, _ = family_of("network").build(recipe, x)
        assert bool(torch.isfinite(energy(x)).all())


def test_a_fit_that_fails_is_no_candidate(monkeypatch):
    def failing(model, rows, **how):
        if model.base == "mixture" or model.ridge == 1e-6:
            raise ValueError("ill-defined")
        return fit_base(model, rows, **how)

    x = modes(200)
    monkeypatch.setattr(bases, "fit_base", failing)
    recipe, candidates = chosen(x[:150], x[150:])
    assert recipe.model.base == "full"
    assert [one.ridge for one in candidates] == [None, *bases.RIDGES[1:]]


def test_other_bases_and_kinds_are_left_alone():
    x = modes(100)
    for model, changes in (("network", {"base": "diagonal"}), ("gaussian-rbm", {}), ("rbm", {})):
        recipe = choose((2,), 100, "table", model=model, **changes)
        assert choose_base(recipe, x, x) == (recipe, ())


def test_a_session_whose_base_is_not_chosen_starts_at_a_full_gaussian():
    x = modes(100)
    recipe = choose((2,), 100, "table", **SMALL)
    assert recipe.model.base == "chosen"
    base = Session(recipe, x).energy.base
    plain = Gaussian.fit(x)
    assert torch.equal(base.factor.root, plain.factor.root)


def test_what_settings_cannot_be():
    for wrong in (
        {"base": "mixture"},
        {"components": 3},
        {"base": "mixture", "components": 0},
        {"base": "chosen", "ridge": 0.1},
        {"base": "full", "ridge": 0.0},
        {"base": "round"},
    ):
        with pytest.raises(ValueError, match=r"base|components|ridge"):
            NetworkModel(**wrong)
    with pytest.raises(ValueError, match="`base` is one of full, diagonal, low-rank, got 'mix"):
        InterpolantModel(base="mixture")
    model = NetworkModel(base="mixture", components=41)
    with pytest.raises(ValueError, match="`components` must be at most the 40 training rows"):
        fit_base(model, modes(40), noise=0.0, seed=0)


@pytest.mark.parametrize("ridge", [None, 0.01])
@pytest.mark.parametrize("clusters", [None, 3])
def test_a_mixture_comes_back_from_its_file(tmp_path, clusters, ridge):
    x = modes(100)
    own = {"base": "mixture", "components": 3, "ridge": ridge, "clusters": clusters}
    recipe = with_changes(choose((2,), 100, "table", **SMALL), own)
    energy, kernel = family_of("network").build(recipe, x)
    save_model(tmp_path / "m.safetensors", energy, kernel, recipe)
    again, move = load_model(tmp_path / "m.safetensors", recipe, (2,))
    assert torch.equal(again(x), energy(x))
    assert torch.equal(move.factor.root, kernel.factor.root)
    if clusters is None:
        assert torch.equal(move.factor.root, energy.base.factor.root)


def test_what_was_chosen_is_told():
    gaussians = [Candidate("full", None, None, 12.0, 1.0), Candidate("full", None, 1e-3, 6.5, 1.0)]
    two = Candidate("mixture", 2, 0.01, 2.25, 1.0)
    three = Candidate("mixture", 3, 0.01, 2.5, 1.0)
    for model, told in (
        (
            NetworkModel("mixture", 2, 0.01),
            "mixture of 2, ridge 0.01: 2.25 (one Gaussian, ridge 0.001: 6.50, "
            "one Gaussian: 12.00)",
        ),
        (
            NetworkModel("full", None, 1e-3),
            "one Gaussian, ridge 0.001: 6.50 (mixture of 2, ridge 0.01: 2.25, "
            "one Gaussian: 12.00)",
        ),
        (
            NetworkModel("full"),
            "one Gaussian: 12.00 (mixture of 2, ridge 0.01: 2.25)",
        ),
    ):
        assert compared(model, [*gaussians, three, two]) == told
    assert compared(NetworkModel("full"), gaussians[:1]) == "one Gaussian: 12.00"
    assert named(Candidate("low-rank", None, None, 0, 0)) == "one Gaussian, low-rank"


def test_the_program_chooses_records_and_keeps_the_base(tmp_path, capsys):
    data, folder = tmp_path / "rows.npy", tmp_path / "run"
    np.save(data, rows(300))
    assert main(["train", str(data), "--out", str(folder), "--iterations", "6", *QUICK]) == 0
    told = capsys.readouterr().out
    assert "base by validation NLL: mixture of 2, ridge" in told
    run = Run(folder)
    config = json.loads((folder / "config.json").read_text())
    assert run.recipe.model.base == "mixture"
    assert len(config["bases"]) > 8
    assert set(config["bases"][0]) == set(Candidate._fields)
    own = run.recipe.model
    (best,) = [
        one
        for one in config["bases"]
        if (one["base"], one["components"], one["ridge"]) == (own.base, own.components, own.ridge)
        and one["columns"] == run.scaling.columns
        and not one["network"]
    ]
    found = json.loads((folder / "likelihood.json").read_text())
    assert found["base"]["validation"]["value"] == pytest.approx(best["nll"], abs=1e-4)

    again = ["train", "--out", folder, "--resume", "--iterations", "8"]
    assert "--resume keeps the base that was chosen" in refused([*again, "--base", "full"], capsys)
    assert main(list(map(str, again))) == 0
    assert Run(folder).recipe.model == own
    assert len(Run(folder).config["bases"]) == len(config["bases"])
    for words in (
        ["sample", folder, "-n", "4", "--out", tmp_path / "s.npz"],
        ["score", folder, data, "--out", tmp_path / "u.npz"],
        ["logz", folder],
        ["report", folder],
    ):
        assert main(list(map(str, words))) == 0, words


def test_a_base_that_is_named_is_not_chosen(tmp_path, capsys):
    data, folder = tmp_path / "rows.npy", tmp_path / "run"
    np.save(data, rows(300))
    named = ["--base", "mixture", "--components", "3", "--iterations", "2"]
    assert main(["train", str(data), "--out", str(folder), *named, *QUICK]) == 0
    assert "base by validation" not in capsys.readouterr().out
    assert Run(folder).config["bases"] == []
    energy, _ = Run(folder).model()
    assert len(energy.base.means) == 3
