"""`check_kernel`: right kernels pass, and each way of being wrong is named."""

import math
from dataclasses import dataclass

import pytest
import torch
from roster import DISCRETE_KERNELS, KERNELS

from noneq import HMC, MALA, ULA, check_kernel
from noneq.energies import Diagonal, evaluate
from noneq.kernels import DiscreteLangevin, RandomWalk, State, Stepped, metropolis
from noneq.spaces import Box, Discrete, Real, require

FACTOR = Diagonal(torch.tensor([1.0, 0.6]))


@pytest.mark.parametrize("name", KERNELS)
def test_every_kernel_of_continuous_variables_passes(name):
    check_kernel(KERNELS[name][0](0.2, FACTOR))


@pytest.mark.parametrize("name", DISCRETE_KERNELS)
def test_every_kernel_of_discrete_variables_passes(name):
    check_kernel(DISCRETE_KERNELS[name](0.4))


def test_the_dtype_is_that_of_the_walkers():
    check_kernel(MALA(0.2, Diagonal(torch.tensor([1.0, 0.6]), torch.float64)), dtype=torch.float64)
    with pytest.raises(ValueError, match=r"R\^n: it returns x in torch.float64 for walkers in"):
        check_kernel(MALA(0.2, Diagonal(torch.tensor([1.0, 0.6]), torch.float64)))


# -- kernels that are wrong, each in one way


@dataclass(frozen=True)
class Walk(Stepped):
    """A random walk; what is wrong with it is in ``wrong``."""

    h: float = 0.3
    wrong: str = ""

    fresh = True

    def __call__(self, model, state, rng):
        if self.wrong != "not refusing":
            require(model, self, Real, Box)
        noise = torch.randn(state.x.shape, generator=rng, dtype=state.x.dtype)
        if self.wrong == "global noise":
            noise = torch.randn(state.x.shape)
        if self.wrong == "own generator":
            rng = torch.Generator().manual_seed(0)
            noise = torch.randn(state.x.shape, generator=rng, dtype=state.x.dtype)
        if self.wrong == "drift":
            noise = noise + 0.3
        y = state.x + math.sqrt(2 * self.h) * noise
        if self.wrong == "in place":
            y = state.x.copy_(y)
        if self.wrong == "double":
            y = y.double()
        u, cache = evaluate(model, y)
        if self.wrong == "graph":
            u = u.requires_grad_(True)
        new = State(y, u, cache, state.aux)
        ratio = state.u - u if self.wrong != "sign" else u - state.u
        if self.wrong == "everything":
            return new, torch.zeros_like(u), {}
        new, increment, info = metropolis(state, new, ratio, rng)
        return self.spoilt(new, increment, info, cache)

    def spoilt(self, new, increment, info, cache):
        if self.wrong == "cache":
            new = new._replace(cache=cache)
        if self.wrong == "aux":
            new = new._replace(aux={})
        if self.wrong == "mixed up":
            new = new._replace(aux={k: v.flip(0) for k, v in new.aux.items()})
        if self.wrong == "transposed":
            new = new._replace(aux={**new.aux, "v": new.x[:, :1].T})
        if self.wrong == "per coordinate":
            increment = torch.zeros_like(new.x)
        if self.wrong == "info":
            info = {"accept": new.u[:2]}
        if self.wrong == "no info":
            return new, increment, None
        if self.wrong == "weight":
            increment = increment + 0.05
        if self.wrong == "nan":
            increment = increment * math.nan
        return new, increment, info


WRONG_WALKS = {
    "not refusing": r"\{0, 1\}\^n: it moves walkers out of the space: reject them, or refuse it",
    "global noise": "moves otherwise when asked again with the same rng",
    "own generator": "makes the same move whatever rng",
    "drift": "does not sample the model: the mean of a feature is",
    "in place": "writes into the state that it is given",
    "double": r"returns x in torch.float64 for walkers in torch.float32",
    "graph": "returns u with its graph",
    "sign": "does not sample the model|has a wrong weight",
    "everything": "does not sample the model|has a wrong weight|out of the space",
    "cache": "a cache that are not the model's",
    "aux": "does not keep state.aux",
    "mixed up": "does not keep state.aux",
    "transposed": r"returns v of shape \(1, 16\): the first dimension",
    "per coordinate": r"an increment of shape \(16, 2\) for 16 walkers",
    "info": "other things than tensors of one number",
    "no info": "does not return",
    "weight": "has a wrong weight: E w is 1.3",
    "nan": "returns increments that are NaN",
}


@pytest.mark.parametrize("wrong", WRONG_WALKS)
def test_a_wrong_walk_is_told(wrong):
    with pytest.raises(ValueError, match="Walk on .*(" + WRONG_WALKS[wrong] + ")"):
        check_kernel(Walk(wrong=wrong))


def test_the_walk_itself_is_right():
    check_kernel(Walk())


@dataclass(frozen=True)
class Moved(Stepped):
    """Another kernel with something done to it."""

    kernel: object
    change: object
    fresh: bool = False

    def __call__(self, model, state, rng):
        return self.change(self.kernel, model, state, rng)


def without_weight(kernel, model, state, rng):
    new, increment, info = kernel(model, state, rng)
    return new, 0 * increment, info


def twice(kernel, model, state, rng):
    new, increment, info = kernel(model, state, rng)
    return new, increment + state.u - evaluate(model, state.x)[0], info


def clipped(kernel, model, state, rng):
    class Unbounded:
        def __call__(self, x):
            return model(x)

        def evaluate(self, x, previous_cache=None, graph=False):
            return evaluate(model, x)

    space = require(model, kernel, Real, Box)
    new, increment, info = kernel(Unbounded(), state, rng)
    if isinstance(space, Box):
        y = space.nearest(new.x)
        u, cache = evaluate(model, y)
        increment = increment + new.u.nan_to_num(posinf=0.0) - u
        increment = torch.where(torch.isfinite(new.u), increment, state.u - u)
        new = State(y, u, cache, new.aux)
    return new, increment, info


def half(kernel, model, state, rng):
    new, increment, info = kernel(model, state, rng)
    g, last = new.cache["g"].flatten(1), state.cache["g"].flatten(1)
    return new, increment - kernel.h / 4 * (last.square().sum(1) - g.square().sum(1)), info


def without_flip(kernel, model, state, rng):
    new, increment, info = kernel(model, state, rng)
    stayed = (new.x == state.x).flatten(1).all(1, keepdim=True)
    return new._replace(aux={**new.aux, "v": new.aux["v"] * (1 - 2.0 * stayed)}), increment, info


def test_wrong_weights_are_told():
    for kernel, change, told in (
        (ULA(0.2), without_weight, "increments are all 0: if it leaves the model invariant, say"),
        (ULA(0.2), twice, "has a wrong weight"),
        (ULA(0.2), half, "has a wrong weight|does not sample"),
        (ULA(0.1), clipped, r"box from .* has a wrong weight|does not sample"),
        (DiscreteLangevin(0.5, adjusted=False), without_weight, "increments are all 0"),
        (DiscreteLangevin(0.5, adjusted=False), twice, "has a wrong weight"),
    ):
        with pytest.raises(ValueError, match=told):
            check_kernel(Moved(kernel, change))


def test_an_accepting_kernel_that_takes_stale_states_is_told():
    def stale(kernel, model, state, rng):
        return kernel(model, state, rng)

    with pytest.raises(ValueError, match="a walker that is rejected keeps its own"):
        check_kernel(Moved(MALA(0.3), stale))

    def refreshed(kernel, model, state, rng):  # the difference of the energies is lost
        u, cache = evaluate(model, state.x)
        return kernel(model, state._replace(u=u, cache=cache), rng)

    with pytest.raises(ValueError, match=r"wrong weight: .* say fresh = True"):
        check_kernel(Moved(MALA(0.3), refreshed))


def test_a_kernel_with_a_memory_is_told():
    class Remembers(HMC):
        momenta = {}  # noqa: RUF012

        def __call__(self, model, state, rng):
            v = self.momenta.get(state.x.shape)
            aux = state.aux if v is None else {**state.aux, "v": v}
            new, increment, info = super().__call__(model, state._replace(aux=aux), rng)
            self.momenta[state.x.shape] = new.aux["v"]
            return new._replace(aux=state.aux), increment, info

    with pytest.raises(ValueError, match=r"a momentum belongs in state.aux"):
        check_kernel(Remembers(0.2, leapfrog_steps=1, friction=0.3))


def test_a_momentum_that_does_not_turn_round_is_told():
    kernel = HMC.obabo(0.7, friction=0.1, adjusted=True)
    check_kernel(kernel)
    with pytest.raises(ValueError, match="does not sample the model"):
        check_kernel(Moved(kernel, without_flip, fresh=True))


def test_a_momentum_left_where_it_was_is_told():
    # it looks like a function of the state, yet resampling cannot permute it with its walker
    class Left(HMC):
        momenta = []  # noqa: RUF012

        def __call__(self, model, state, rng):
            if len(state.x) < 1000 or not self.momenta or "v" not in state.aux:
                self.momenta.clear()
            else:
                state = state._replace(aux={**state.aux, "v": self.momenta.pop()})
            new, increment, info = super().__call__(model, state, rng)
            self.momenta.append(new.aux["v"])
            return new, increment, info

    kernel = Left(0.1, leapfrog_steps=1, friction=0.02, adjusted=False)
    check_kernel(HMC(0.1, leapfrog_steps=1, friction=0.02, adjusted=False))
    with pytest.raises(ValueError, match=r"does not sample the model|has a wrong weight"):
        check_kernel(kernel)


def test_a_kernel_that_changes_when_it_is_tuned_is_told():
    class Tuned(Walk):
        def adapt(self, info):
            object.__setattr__(self, "h", self.h * 2)
            return self

    with pytest.raises(ValueError, match="is changed by adapt, scaled or preconditioned"):
        check_kernel(Tuned())

    class Loosened(Walk):
        def scaled(self, by):
            return ULA(self.h * by)

    with pytest.raises(ValueError, match="is fresh or not depending on how it is tuned"):
        check_kernel(Loosened())


def test_steps_at_which_nothing_can_be_seen_are_told():
    with pytest.raises(ValueError, match=r"leaves 9\d% of the walkers where they are in 4 moves"):
        check_kernel(RandomWalk(100.0))
    with pytest.raises(ValueError, match=r"an effective sample size of .* take a smaller step"):
        check_kernel(ULA(0.8))


def test_what_is_no_kernel_at_all_is_told():
    class Bare:
        fresh = True

    with pytest.raises(
        ValueError, match=r"Bare has no adapt: derive it from noneq.kernels.Stepped"
    ):
        check_kernel(Bare())

    class Nowhere(Walk):
        def __call__(self, model, state, rng):
            raise ValueError("not this one")

    with pytest.raises(ValueError, match=r"Nowhere moves walkers nowhere, .*R\^n: not this one"):
        check_kernel(Nowhere())

    class Broken(Walk):
        def __call__(self, model, state, rng):
            require(model, self, Discrete)
            return state.x @ torch.zeros(7, 7)

    with pytest.raises(ValueError, match=r"Broken on \{0, 1\}\^n: it fails \(mat1 and"):
        check_kernel(Broken())
