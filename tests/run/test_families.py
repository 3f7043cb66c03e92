"""A kind of model that noneq does not know: trained, resumed, sampled, scored and drawn.

The stub below is all that is written: `FAMILIES` is the only place where kinds are told apart.
"""

import math
import subprocess
from dataclasses import dataclass
from pathlib import Path

import known
import numpy as np
import pytest
import torch
from torch import nn

import noneq
from noneq.cli.main import main
from noneq.data import load
from noneq.energies import Gaussian, Identity, Tilted
from noneq.kernels import HMC
from noneq.run import Recipe, Run, Session, choose, supervise
from noneq.run.evaluation import evaluate_run
from noneq.run.families import FAMILIES, Family, Size
from noneq.run.recipe import Bracket, Budget, Likelihood
from noneq.run.samples import draw
from noneq.run.scores import score


@dataclass(frozen=True)
class Wave:
    """The choices of the stub: how many waves, and the step of a move."""

    waves: int = 3
    h: float = 0.3


class Waves(nn.Module):
    """``f(x) = sum_k a_k cos(k sum_i x_i)``, with a = 0 at first."""

    def __init__(self, waves):
        super().__init__()
        self.a = nn.Parameter(torch.zeros(waves))

    def forward(self, x):
        k = torch.arange(1, len(self.a) + 1, device=x.device)
        return torch.cos(k * x.flatten(1).sum(1, keepdim=True)) @ self.a


class Wavy(Family):
    """The stub: a standard Gaussian tilted by waves, moved by Hamiltonian Monte Carlo."""

    kind, model, origin = "wave", Wave, "round base"

    def defaults(self, data):
        bracket = Bracket(walkers=64, temperatures=20, equilibrate=20, cycled=False)
        train = Likelihood(walkers=64, held_out=16, moves=1, batch=min(32, data.rows), renew=None)
        return Recipe(self.kind, Wave(), train, bracket=bracket, budget=Budget(iterations=6))

    def _tilted(self, recipe, shape):
        return Tilted(Gaussian(torch.zeros(tuple(shape)), Identity()), Waves(recipe.model.waves))

    def build(self, recipe, rows, seed=0):
        return self._tilted(recipe, rows.shape[1:]).to(rows.device), self.kernel(recipe, None)

    def empty(self, recipe, shape, tensors):
        return self._tilted(recipe, shape)

    def kernel(self, recipe, factor):
        return HMC(recipe.model.h, Identity(), 2)

    def parameter_groups(self, energy, weight_decay):
        return [{"params": [energy.net.a], "weight_decay": weight_decay}]

    def size(self, recipe, shape):
        return Size("waves", recipe.model.waves, math.prod(shape))


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run of the stub that has been trained, its data and its session."""
    monkeypatch.setitem(FAMILIES, "wave", Wavy())
    np.save(tmp_path / "rows.npy", known.rows())
    data = load(tmp_path / "rows.npy")
    recipe = choose(data.shape, len(data.train), data.kind, model="wave", waves=2)
    session = Session(recipe, data.train)
    how = {"classes": None, "subset": None, "binary": False}
    made = Run.create(tmp_path / "r", data, session, **how)
    for _ in supervise(made, session, stop=lambda: session.iteration == 3):
        pass
    return made, data, session


def test_it_is_trained_resumed_sampled_and_scored(run):
    made, data, session = run
    assert session.iteration == 3
    again = Session(made.recipe, data.train)
    made.restore(again)
    for _ in supervise(made, again):
        pass
    assert again.iteration == 6
    energy, kernel = Run(made.folder).model()
    assert isinstance(kernel, HMC)
    assert float(energy.net.a.detach().abs().max()) > 0
    verdict = evaluate_run(made, data)
    assert verdict.origin == "round base"
    x, _ = draw(made, 10)
    assert x.shape == (10, 2)
    assert bool(torch.isfinite(score(made, data.test).log_density).all())


def test_the_program_resumes_samples_scores_and_draws_it(run, tmp_path):
    folder, rows = str(run[0].folder), str(tmp_path / "rows.npy")
    assert main(["train", "--out", folder, "--resume"]) == 0
    assert main(["sample", folder, "-n", "4", "--out", str(tmp_path / "s.npz")]) == 0
    assert main(["score", folder, rows]) == 0
    assert main(["logz", folder]) == 0
    assert main(["report", folder]) == 0
    assert (run[0].folder / "report.html").exists()


def test_nobody_else_asks_which_kind_a_model_is():
    package = Path(noneq.__file__).parent
    asked = r"recipe\.kind (==|!=|in )|isinstance\([^)]*(RBM|TimedEnergy|Tilted)\b"
    found = subprocess.run(
        ["grep", "-rlE", asked, str(package), "--include=*.py"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    inside = {str(Path(line).relative_to(package)) for line in found.stdout.split()}
    allowed = {"run/families/rbm.py", "run/families/interpolant.py", "run/score_matching.py"}
    # a geometric path to a tilted base goes by the tilt alone
    assert inside <= {*allowed, "energies/paths.py"}, inside
