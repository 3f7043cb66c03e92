"""Engines of matrix products: each is right, deterministic, and steps back where it must."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from targets import seeded

from noneq import BernoulliRBM, numerics
from noneq.energies import evaluate


@pytest.fixture(autouse=True)
def plain():
    yield
    numerics.set_matmul_backend("torch")


def operands(dtype=torch.float32, n=70, k=33, m=41):
    rng = seeded(5)
    x = (torch.rand(n, k, generator=rng, dtype=dtype) < 0.4).to(dtype)
    w = torch.randn(k, m, generator=rng, dtype=dtype)
    return x, w, torch.randn(m, generator=rng, dtype=dtype), torch.randn(n, m, generator=rng).to(w)


@pytest.mark.parametrize("engine", numerics.MATMUL_BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_every_engine_is_right_to_rounding(engine, dtype):
    numerics.set_matmul_backend(engine)
    x, w, row, rows = operands(dtype)
    turned = w.T.contiguous().T
    for bias in (row, rows):
        for scale in (1.0, -0.37):
            exact = bias.double() + scale * (x.double() @ w.double())
            kept = [t.clone() for t in (x, w, row, rows)]
            for weights in (w, turned):
                found = numerics.product(x, weights, bias, scale=scale)
                assert found.dtype == dtype
                error = (found.double() - exact).abs().max()
                assert error < 40 * torch.finfo(dtype).eps, (bias.dim(), scale)
            assert all(map(torch.equal, kept, (x, w, row, rows))), "the operands are kept"


@pytest.mark.parametrize("engine", numerics.MATMUL_BACKENDS)
def test_every_engine_gives_the_same_bits_again(engine):
    numerics.set_matmul_backend(engine)
    x, w, row, _ = operands(n=300, k=200, m=150)
    first = numerics.product(x, w, row)
    assert all(torch.equal(first, numerics.product(x, w, row)) for _ in range(5))


@pytest.mark.parametrize("engine", numerics.MATMUL_BACKENDS)
def test_where_a_graph_is_asked_for_there_is_one(engine):
    numerics.set_matmul_backend(engine)
    x, w, row, _ = operands(torch.float32)
    for which in range(3):
        leaves = [t.clone().requires_grad_(i == which) for i, t in enumerate((x, w, row))]
        numerics.product(*leaves, scale=0.5).sum().backward()
        expected = (0.5 * w.sum(1).expand_as(x), 0.5 * x.sum(0)[:, None].expand_as(w))
        expected = (*expected, torch.full_like(row, len(x)))[which]
        torch.testing.assert_close(leaves[which].grad, expected)


@pytest.mark.parametrize("engine", numerics.MATMUL_BACKENDS)
def test_an_rbm_is_the_same_by_every_engine(engine):
    rng = seeded(6)
    w, b, c = (torch.randn(s, generator=rng) for s in ((9, 6), (9,), (6,)))
    v = (torch.rand(50, 9, generator=rng) < 0.5).float()
    model = BernoulliRBM(w, b, c)
    u, _ = evaluate(model, v)
    numerics.set_matmul_backend(engine)
    again, cache = evaluate(model, v)
    torch.testing.assert_close(again, u)
    model.zero_grad()
    evaluate(model, v, graph=True)[0].sum().backward()
    torch.testing.assert_close(model.c.grad, -cache["pre"].sigmoid().sum(0))


def test_an_unknown_engine_is_refused():
    with pytest.raises(ValueError, match="'mkl' multiplies no matrices: take one of torch, open"):
        numerics.set_matmul_backend("mkl")


def test_an_engine_that_the_build_lacks_is_refused(monkeypatch):
    monkeypatch.setattr(torch.ops, "mkldnn", object())
    with pytest.raises(RuntimeError, match="built without oneDNN: take torch or openblas"):
        numerics.set_matmul_backend("onednn")


def test_the_environment_chooses_an_engine():
    code = "from noneq import numerics; print(numerics._engine.__name__)"
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "NONEQ_PRODUCTS": "openblas"},
        cwd=Path(numerics.__file__).parent.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.split() == ["_openblas"]
