"""Compiled energies, by a backend of torch.compile that needs no compiler for C++."""

import copy
import math

import pytest
import torch

import noneq
from noneq import testing
from noneq.energies import (
    Boxed,
    Compiled,
    Gaussian,
    GeometricPath,
    Identity,
    Tilted,
    evaluate,
    fingerprint,
    path_to,
)
from noneq.models import MLP


def compiled(energy):
    return Compiled(energy, backend="eager")


def tilted(dim=3):
    net = MLP(dim, width=8)
    with torch.no_grad():
        for p in net.parameters():
            p.normal_(generator=torch.Generator().manual_seed(0))
    return Tilted(Gaussian(torch.arange(dim).float(), Identity(1.3)), net)


def boxed():
    return Boxed(
        testing.banana().energy, torch.tensor([-1.0, -2.0]), torch.tensor([math.inf, 1.5])
    )


ENERGIES = {"function": (lambda: testing.banana().energy, 2), "network": (tilted, 3),
            "box": (boxed, 2)}  # fmt: skip


def rows(dim, n=40):
    return 2 * torch.randn(n, dim, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", ENERGIES)
def test_energies_and_gradients_are_those_of_the_energy(name):
    make, dim = ENERGIES[name]
    energy, x = make(), rows(dim)
    u, cache = evaluate(energy, x)
    own, found = evaluate(compiled(energy), x)
    inside = u < math.inf
    assert name != "box" or not inside.all()
    torch.testing.assert_close(own, u)
    torch.testing.assert_close(found["g"][inside], cache["g"][inside])
    assert not own.requires_grad


@pytest.mark.parametrize("name", ENERGIES)
def test_the_path_of_a_compiled_energy_is_the_geometric_one(name):
    make, dim = ENERGIES[name]
    energy, x = make(), rows(dim)
    base = getattr(energy, "base", None) or Gaussian(torch.ones(dim), Identity(2.0))
    own, path = path_to(compiled(energy), base), GeometricPath(base, energy)
    assert (own.tilt is None) == (path.tilt is None)
    for beta in (0.0, 0.3, 1.0):
        u, cache = evaluate(path.at(beta), x)
        v, found = evaluate(own.at(beta), x)
        inside = u < math.inf
        torch.testing.assert_close(v, u)
        torch.testing.assert_close(found["du"], cache["du"])
        torch.testing.assert_close(found["g"][inside], cache["g"][inside])


def test_outside_of_both_ends_the_path_is_infinite():
    wide = Boxed(Gaussian(torch.zeros(2), Identity(2.0)), -3.0, math.inf)
    for path in (GeometricPath(wide, boxed()), path_to(compiled(boxed()), wide)):
        u, cache = evaluate(path.at(0.5), torch.tensor([[-9.0, 0.0], [2.0, 2.0], [0.0, 0.0]]))
        for value in (u, cache["du"]):
            assert value.isposinf().tolist() == [True, True, False]


def test_log_z_of_a_compiled_energy_is_that_of_the_energy():
    target, base = testing.banana(), Gaussian(torch.zeros(2), Identity(1.6))
    z = [
        noneq.log_z(energy, base=base, n=256, temperatures=50,
                    rng=torch.Generator().manual_seed(0), data=rows(2))
        for energy in (target.energy, compiled(target.energy))
    ]  # fmt: skip
    assert z[1].value == pytest.approx(z[0].value, abs=0.02)  # rounding changes a few rejections
    assert abs(z[1].value - target.log_z) < 0.1


def test_a_loss_reaches_the_parameters_of_a_compiled_energy():
    energy, x = tilted(), rows(3)
    own = compiled(energy)
    for one in (energy, own):
        energy.zero_grad()
        evaluate(one, x, graph=True)[0].sum().backward()
        grads = [p.grad.clone() for p in energy.net.parameters()]
        if one is energy:
            expected = grads
    torch.testing.assert_close(grads, expected)
    before = fingerprint(own)
    with torch.no_grad():
        next(energy.net.parameters()).mul_(2)
    assert bool(fingerprint(own) != before)
    torch.testing.assert_close(evaluate(own, x)[0], evaluate(energy, x)[0])  # not the old weights


def test_an_energy_that_chooses_its_path_keeps_it():
    class Chooses(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.own = noneq.energies.ModelsPath(tilted().base, [tilted()])

        def forward(self, x):
            return x.square().sum(1)

        def path_from(self, base):
            return self.own

    energy = Chooses()
    assert compiled(energy).path_from(tilted().base) is energy.own


def test_what_cannot_be_compiled_is_refused():
    with pytest.raises(ValueError, match="discrete"):
        compiled(noneq.BernoulliRBM.from_data((rows(3) > 0).float(), 2))
    wrong = compiled(lambda x: x.square().sum(1, keepdim=True))
    base = Gaussian(torch.zeros(3), Identity())
    for energy in (wrong, wrong.path_from(base).at(0.5)):
        with pytest.raises(ValueError, match="returned shape"):
            evaluate(energy, rows(3))


def test_a_copy_has_a_program_of_its_own():
    own, x = compiled(tilted()), rows(3)
    u = evaluate(own, x)[0]
    average = torch.optim.swa_utils.AveragedModel(own).module
    for copied in (copy.deepcopy(own), average):
        with torch.no_grad():
            for p in copied.energy.net.parameters():
                p.zero_()
        torch.testing.assert_close(evaluate(copied, x)[0], copied(x))
        assert not torch.allclose(evaluate(copied, x)[0], u)
    torch.testing.assert_close(evaluate(own, x)[0], u)
    assert own.base is own.energy.base
    assert not hasattr(compiled(testing.banana().energy), "base")


def test_many_energies_are_compiled_each():
    """torch compiles at most eight variants of one function, and then silently no more."""
    made = []

    def counting(graph, inputs):
        made.append(graph)
        return graph.forward

    for k in range(10):
        own = Compiled(lambda x, k=k: (k + 1) * x.square().sum(1), backend=counting)
        evaluate(own, rows(2))
    assert len(made) == 10
