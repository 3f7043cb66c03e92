"""Several populations that are moved by one call of a kernel."""

import pytest
import torch
from targets import seeded

from noneq.energies import Gaussian, Identity, Tilted
from noneq.kernels import HMC, MALA, ULA, Repeat
from noneq.models import MLP
from noneq.walkers import Walkers, move_together

BASE = Gaussian(torch.zeros(2, dtype=torch.float64), Identity())


def model(seed=0):
    torch.manual_seed(seed)
    energy = Tilted(BASE, MLP(2, width=8)).double()
    with torch.no_grad():  # a network's last layer starts at zero
        for p in energy.parameters():
            p.add_(0.3 * torch.randn_like(p))
    return energy


@pytest.mark.parametrize(
    "kernel", [Repeat(MALA(0.3), 3), HMC(0.3), ULA(0.1)], ids=lambda k: str(k)[:6]
)
def test_walkers_move_as_in_one_population(kernel):
    # of other weights, and stale: both are taken to the new model, as one population is
    energy = model()
    walkers = Walkers.sample(BASE, 12, seeded(1), islands=1)
    index = torch.arange(12)
    parts = [walkers[index[:8]], walkers[index[8:]]]
    whole = walkers.move(kernel, energy, seeded(2))
    first, second = move_together(parts, kernel, energy, seeded(2))
    assert torch.equal(torch.cat([first.x, second.x]), whole.x)
    assert torch.equal(torch.cat([first.log_w, second.log_w]), whole.log_w)
    assert torch.equal(torch.cat([first.state.u, second.state.u]), whole.state.u)
    assert first.state.cache.keys() == whole.state.cache.keys()
    again = first.move(kernel, energy, seeded(3)).move(kernel, energy, seeded(4))
    assert again.log_w.isfinite().all()


def test_each_population_has_its_own_weights_and_observations():
    energy = model()
    near = Walkers.sample(BASE, 8, seeded(1), islands=2)
    far = Walkers.at(50 + torch.zeros(4, 2, dtype=torch.float64), energy, log_z=3.0)
    accepted = move_together([near, far], MALA(1.9), energy, seeded(2))
    assert [len(one) for one in accepted] == [8, 4]
    assert [one.islands for one in accepted] == [2, 1]
    assert accepted[1].log_z.value == 3.0
    apart = [float(one.info["accept"]) for one in accepted]
    assert apart[0] != apart[1]
    moves = (accepted[1].x != far.x).any(1).double()
    assert float(accepted[1].info["accept"]) == pytest.approx(float(moves.mean()))


def test_a_momentum_that_only_one_has_is_drawn_anew():
    energy, kernel = model(), HMC.obabo(0.3, adjusted=True)
    one = Walkers.sample(BASE, 8, seeded(1)).move(kernel, energy, seeded(2))
    other = Walkers.sample(BASE, 8, seeded(3))
    assert one.state.aux
    assert not other.state.aux
    both = move_together([one, other], kernel, energy, seeded(4))
    assert all(each.state.aux.keys() == one.state.aux.keys() for each in both)


def test_populations_of_two_spaces_are_refused():
    energy = model()
    one = Walkers.sample(BASE, 8, seeded(1))
    other = Walkers.at(torch.zeros(8, 3, dtype=torch.float64), lambda x: x.square().sum(1))
    with pytest.raises((ValueError, RuntimeError)):
        move_together([one, other], MALA(0.1), energy, seeded(2))
