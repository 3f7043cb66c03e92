"""What every kernel keeps, whatever its target."""

import math

import pytest
import torch
from roster import (
    DISCRETE_EXACT,
    DISCRETE_KERNELS,
    EXACT,
    KERNELS,
    every_discrete_kernel,
    every_kernel,
    factors,
)
from targets import Counted, Net, bits, one_hots, potts, rbm, seeded, seen, start, tensors

from noneq import HMC, MALA, ULA, Walkers
from noneq.energies import Identity, evaluate
from noneq.kernels import Chain, DiscreteLangevin, RandomWalk, Repeat, State


@every_kernel
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(1,), (3,), (1, 2, 3)], ids=str)
def test_contract(name, dtype, shape):
    make, moves = KERNELS[name]
    n = 7
    for factor in factors(shape, dtype).values():
        kernel = make(0.1, factor)
        old, model = Net(shape, dtype, seed=2), Net(shape, dtype, seed=3)
        state = start(model if kernel.fresh else old, n, shape, dtype)
        before = [t.clone() for t in tensors(state)]

        model.rows.clear()
        new, increment, info = kernel(model, state, seeded(0))
        assert model.rows == [n] * moves, "one evaluation of each walker a move"

        assert new.x.shape == state.x.shape
        assert new.u.shape == increment.shape == (n,)
        assert new.cache["g"].shape == state.x.shape
        assert {t.dtype for t in (new.x, new.u, new.cache["g"], increment)} == {dtype}
        assert not any(t.requires_grad for t in (*tensors(new), increment, *info.values()))
        assert all(value.shape == (n,) for value in info.values())

        after = tensors(state)
        assert all(torch.equal(a, b) for a, b in zip(after, before, strict=True)), "inputs touched"

        u, cache = evaluate(model, new.x)  # the state belongs to the model
        torch.testing.assert_close(new.u, u)
        torch.testing.assert_close(new.cache["g"], cache["g"])
        assert torch.equal(new.aux["label"], torch.arange(n)), "aux is kept"
        assert torch.equal(new.aux["p"], state.aux["p"])

        again, same, _ = kernel(model, state, seeded(0))
        assert torch.equal(again.x, new.x)
        assert torch.equal(same, increment)
        other, _, _ = kernel(model, state, seeded(1))
        assert not torch.equal(other.x, new.x)

        if name in EXACT:
            assert torch.equal(increment, torch.zeros(n, dtype=dtype))


@every_kernel
def test_moves_do_not_depend_on_the_other_walkers_energies(name):
    # walker 0 is put elsewhere; with the same noise the others must not notice
    make, _ = KERNELS[name]
    model = Net((2,), torch.float64)
    kernel = make(0.1, factors((2,))["cholesky"])
    state = start(model, 5, (2,), torch.float64)
    x = state.x.clone()
    x[0] += 1.0
    u, cache = evaluate(model, x)
    a, da, _ = kernel(model, state, seeded(0))
    b, db, _ = kernel(model, State(x, u, cache, state.aux), seeded(0))
    torch.testing.assert_close(a.x[1:], b.x[1:], rtol=0, atol=1e-12)
    torch.testing.assert_close(da[1:], db[1:], rtol=0, atol=1e-12)


@pytest.mark.parametrize("h", [0.0, -0.1, math.nan, math.inf])
@pytest.mark.parametrize("kernel", [ULA, MALA, HMC, RandomWalk, DiscreteLangevin])
def test_step_size_errors(kernel, h):
    with pytest.raises(ValueError, match="step size h must be positive and finite"):
        kernel(h)


def test_composition_errors():
    with pytest.raises(ValueError, match="1 or more times, got 0"):
        Repeat(MALA(0.1), 0)
    with pytest.raises(ValueError, match="one kernel or more"):
        Chain(())


def test_fresh_is_what_the_first_kernel_needs():
    stale = {"ULA stale", "ULA clipped", "Repeat ULA", "Chain ULA MALA", "HMC unadjusted", "OBABO",
             "Chain OBABO GHMC"}  # fmt: skip
    assert {name for name in KERNELS if not KERNELS[name][0](0.1, Identity()).fresh} == stale
    stale = {"DiscreteLangevin unadjusted", "Repeat unadjusted"}
    assert {n for n in DISCRETE_KERNELS if not DISCRETE_KERNELS[n](0.1).fresh} == stale


@every_kernel
def test_a_stale_state_is_reweighted_first_exactly_where_the_kernel_needs_it(name):
    # what kernels that accept and reject do on a stale state themselves is silently wrong
    kernel = KERNELS[name][0](0.1, Identity())
    old, model = Net((2,), torch.float64, seed=2), Net((2,), torch.float64, seed=3)
    walkers = Walkers.at(start(old, 20, (2,), torch.float64).x, old)
    state = walkers.reweight(model).state if kernel.fresh else walkers.state
    _, increment, _ = kernel(model, state, seeded(0))
    if kernel.fresh:
        increment = increment + walkers.state.u - state.u
    moved = walkers.move(kernel, model, seeded(0))
    torch.testing.assert_close(moved.log_w, increment.double(), rtol=0, atol=1e-12)


@every_discrete_kernel
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_contract_on_discrete_sites(name, dtype):
    kernel, n = DISCRETE_KERNELS[name](0.4), 9
    moves = {"Chain": 2, "Repeat unadjusted": 2}.get(name, 1)
    for make, states in ((rbm, bits(4)), (potts, one_hots(2, 3))):
        if make is potts and name == "BlockGibbs":
            continue
        model, old = Counted(make(seed=2).to(dtype)), Counted(make(seed=3).to(dtype))
        x = states[torch.arange(n) % len(states)].to(dtype)
        state = seen(model if kernel.fresh else old, x, {"label": torch.arange(n)})
        before = [t.clone() for t in tensors(state)]

        model.rows.clear()
        new, increment, info = kernel(model, state, seeded(0))
        assert model.rows == [n] * moves, "one evaluation of each walker a move"

        assert new.x.shape == x.shape
        assert bool(model.space.contains(new.x).all())
        assert new.u.shape == increment.shape == (n,)
        assert {t.dtype for t in (new.x, new.u, new.cache["g"], increment)} == {dtype}
        assert not any(t.requires_grad for t in (*tensors(new), increment, *info.values()))
        assert all(value.shape == (n,) for value in info.values())
        after = tensors(state)
        assert all(torch.equal(a, b) for a, b in zip(after, before, strict=True)), "inputs touched"

        u, cache = evaluate(model, new.x)
        torch.testing.assert_close(new.u, u)
        assert new.cache.keys() == cache.keys()
        for key, value in cache.items():
            torch.testing.assert_close(new.cache[key], value)
        assert torch.equal(new.aux["label"], torch.arange(n)), "aux is kept"

        again, same, _ = kernel(model, state, seeded(0))
        assert torch.equal(again.x, new.x)
        assert torch.equal(same, increment)
        assert any(
            not torch.equal(kernel(model, state, seeded(s))[0].x, new.x) for s in range(1, 4)
        )
        assert (name in DISCRETE_EXACT) == bool((increment == 0).all())


def test_composed_increments_add():
    # Repeat(k, 3) and Chain((k, k, k)) are k thrice, bit for bit
    model, old = Net((2,), torch.float64, seed=3), Net((2,), torch.float64, seed=2)
    for kernel, known in ((ULA(0.1), old), (MALA(0.1), model)):
        state = start(known, 50, (2,), torch.float64)
        rng, total, accepted = seeded(0), torch.zeros(50, dtype=torch.float64), []
        one_by_one = state
        for _ in range(3):
            one_by_one, increment, info = kernel(model, one_by_one, rng)
            total = total + increment
            accepted += [float(value.mean()) for value in info.values()]
        for composed in (Repeat(kernel, 3), Chain((kernel,) * 3)):
            new, increment, info = composed(model, state, seeded(0))
            assert torch.equal(new.x, one_by_one.x)
            assert torch.equal(increment, total)
            if accepted:
                assert float(info["accept"].mean()) == pytest.approx(sum(accepted) / 3)


@pytest.mark.parametrize(
    "kernel",
    [Repeat(MALA(0.3), 3), ULA(0.2), Repeat(HMC.obabo(0.2), 2), HMC.obabo(0.4, adjusted=True)],
    ids=["MALA", "ULA", "OBABO", "GHMC"],
)
def test_parts_move_every_walker_once(kernel, monkeypatch):
    # 20 walkers by 3 at a time against one at a time, each with the noise of its own part
    def energy(x):
        return x.square().sum(1) / 2 + x[:, 0].cos()

    x = torch.randn(20, 2, generator=seeded(3), dtype=torch.float64)
    walkers = Walkers.at(x, energy)
    state = walkers.reweight(energy).state
    rng, expected, accepted = seeded(4), [], 0.0
    for i in range(0, 20, 3):
        part = State(x[i : i + 3], state.u[i : i + 3], {"g": state.cache["g"][i : i + 3]}, {})
        new, increment, info = kernel(energy, part, rng)
        expected.append((new.x, new.u, new.cache["g"], increment))
        accepted += sum(map(float, info.get("accept", []))) / 20
    monkeypatch.setattr("noneq.numerics.PART", 7)
    moved = walkers.move(kernel, energy, seeded(4))
    found = (moved.x, moved.state.u, moved.state.cache["g"], moved.log_w - walkers.log_w)
    for a, parts in zip(found, zip(*expected, strict=True), strict=True):
        torch.testing.assert_close(a, torch.cat(parts), rtol=0, atol=1e-12)
    assert float(moved.info.get("accept", 0.0)) == pytest.approx(accepted, abs=1e-6)
    assert {k: len(v) for k, v in moved.state.aux.items()} == dict.fromkeys(new.aux, 20)
