"""Are numbers of a device those of the processor, and of the same device a second time?

Enters its checks into `benchmarks.device_checks.CHECKS`.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import nn

import noneq
from benchmarks.device_checks import Where, check, tilted, two, wide
from benchmarks.device_report import Outcome, close
from noneq import MLP, Gaussian, Settings, Walkers
from noneq.energies import Energy, evaluate
from noneq.energies import fingerprint as optional_fingerprint
from noneq.models import ConvNet, ResNet
from noneq.numerics import full_precision
from noneq.walkers.resampling import multinomial, residual, stratified, systematic

__all__ = ["fingerprint"]


def fingerprint(energy: Energy) -> int:
    """Compute the hash of an energy's parameters, as a number.

    Arguments:
        energy: energy with parameters.

    Returns:
        The hash.
    """
    mark = optional_fingerprint(energy)
    assert mark is not None
    return int(mark)


def _nets() -> dict[str, tuple[nn.Module, tuple[int, ...]]]:
    torch.manual_seed(0)
    nets: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
        "MLP": (MLP((64,), 64), (64,)),
        "ConvNet": (ConvNet((1, 28, 28), 8), (1, 28, 28)),
        "ResNet": (ResNet((3, 32, 32), 8), (3, 32, 32)),
    }
    for net, _ in nets.values():
        for p in net.parameters():  # the last layer is zero
            nn.init.normal_(p, std=0.05)
    return nets


@check("energies and gradients of networks in float64, as on the processor")
def _(at: Where) -> Outcome:
    off = {}
    for name, (net, shape) in _nets().items():
        x = torch.randn(16, *shape, generator=torch.Generator().manual_seed(0)).double()
        u, cache = evaluate(net.double(), x)
        v, other = evaluate(net.to(at.device), x.to(at.device))
        gaps = (v.cpu() - u).abs() / u.abs(), (other["g"].cpu() - cache["g"]).abs()
        off[name] = max(float(gap.max()) for gap in gaps)
    return close(max(off.values()), 1e-10, f"largest difference of {', '.join(off)}")


@check("energies of networks in float32 within full_precision, as on the processor")
def _(at: Where) -> Outcome:
    off = {}
    for name, (net, shape) in _nets().items():
        x = torch.randn(16, *shape, generator=torch.Generator().manual_seed(0))
        net = net.to(at.device)
        with torch.no_grad():
            with full_precision():
                u = net(x.to(at.device)).double()
            rounded = net(x.to(at.device)).double()
            exact = net.double()(x.double().to(at.device))
        gaps = [float(((v - exact).abs() / exact.abs()).max()) for v in (u, rounded)]
        off[name] = gaps
    shown = ", ".join(f"{name} {a:.0e} (default {b:.0e})" for name, (a, b) in off.items())
    return Outcome(max(a for a, _ in off.values()) < 1e-4, f"relative errors: {shown}", off)


@check("full_precision within a program that has chosen TensorFloat-32")
def _(at: Where) -> Outcome:
    off, before = {}, torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        for name, (net, shape) in _nets().items():
            x = torch.randn(16, *shape, generator=torch.Generator().manual_seed(0)).to(at.device)
            net = net.to(at.device)
            with torch.no_grad(), full_precision():
                u = net(x).double()
            evaluate(net, x)  # with the program's own precision again
            with torch.no_grad():
                exact = net.double()(x.double())
            off[name] = float(((u - exact).abs() / exact.abs()).max())
    finally:
        torch.set_float32_matmul_precision(before)
    shown = ", ".join(f"{name} {gap:.0e}" for name, gap in off.items())
    return Outcome(max(off.values()) < 1e-4, f"relative errors: {shown}", off)


@check("fingerprints, by which log Z knows its parameters, as on the processor")
def _(at: Where) -> Outcome:
    nets = [net for net, _ in _nets().values()]
    nets += [Gaussian.fit(torch.randn(50, 3, generator=torch.Generator().manual_seed(0)))]
    nets += [nn.Linear(2000, 300)]
    here = [fingerprint(net) for net in nets]
    there = [fingerprint(net.to(at.device)) for net in nets]
    return Outcome(
        here == there, f"{sum(a == b for a, b in zip(here, there, strict=True))} of {len(nets)}"
    )


@check("log-weights, ESS, means and log Z, as on the processor")
def _(at: Where) -> Outcome:
    base, found = wide(at), []
    walkers = Walkers.sample(base, 4096, at.rng()).reweight(two(at))
    cpu = Where(torch.device("cpu"), at.small, at.folder)
    other = Walkers.at(walkers.x.cpu(), wide(cpu), log_z=base.log_z(), islands=8)
    other = other.reweight(two(cpu))
    found = [
        walkers.log_z.value - other.log_z.value,
        walkers.log_z.stderr - other.log_z.stderr,
        walkers.ess - other.ess,
        float((walkers.mean(walkers.x).cpu() - other.mean(other.x)).abs().max()),
        float((walkers.log_w.cpu() - other.log_w).abs().max()),
    ]
    return close(max(map(abs, found)), 1e-10, "largest difference")


@check("resampling by four schemes keeps log Z and means")
def _(at: Where) -> Outcome:
    walkers = Walkers.sample(wide(at), at.size(65536, 4096), at.rng()).reweight(two(at))
    before, off = walkers.mean(walkers.x), 0.0
    for scheme in (systematic, stratified, multinomial, residual):
        after = walkers.resample(1.0, at.rng(3), scheme)
        if abs(after.log_z.value - walkers.log_z.value) > 1e-9:
            return Outcome(False, f"{scheme.__name__} changed log Z")
        spread = walkers.x.std(0) / math.sqrt(len(walkers) * walkers.ess)
        off = max(off, float(((after.mean(after.x) - before).abs() / spread).max()))
    return Outcome(off < 5, f"means off by at most {off:.1f} standard errors")


@check("the same seed gives the same bits, twice on this device")
def _(at: Where) -> Outcome:
    rows, marks = two(at).sample(500, at.rng(2)).float(), []
    settings = Settings(walkers=256, held_out=64, renew=3, temperatures=20, moves=3)
    for _ in range(2):
        energy = tilted(rows)
        records = noneq.train(energy, rows, settings, rng=at.rng())
        last = [record.loss for record in itertools.islice(records, 8)][-1]
        marks.append((fingerprint(energy), last))
    return Outcome(marks[0] == marks[1], f"losses {marks[0][1]!r}, {marks[1][1]!r}")
