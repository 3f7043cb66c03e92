r"""Can exp(-U) be integrated? The energy along rays far out of the data.

Annealing cannot see an infinite Z: walkers leave a metastable region late or never, and report a
finite number. Along a ray ``c + r v`` the mass ``integral of r^(d-1) exp(-U) dr`` is finite only
if U outgrows ``d log r``. So the energy at a large radius R is lowered over the directions v, by
descent on the sphere, and followed to 16 R: an alarm where no doubling lifts it by ``d log 2``.
Noticed are a network that is linear far out and tilts downwards in a direction that was found, a
bounded energy, one unbounded below. The test is one-sided: a narrow cone that the descent misses
stays unseen.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from noneq.energies import Energy, evaluate

__all__ = ["falling"]

FAR = 1000.0  # radii of the data
DOUBLINGS = 4  # a ray may cross a curved valley at one of them


def falling(energy: Energy, x: Tensor, *, rays: int = 128, steps: int = 30) -> str | None:
    """Why ``exp(-U)`` has no finite integral, if a ray says so: what to tell, with what to do.

    Arguments:
        energy: U.
        x: rows (B, *shape) that it is meant for; their centre and spread set the scale.
        rays: directions, random at first, from a seed of their own.
        steps: of descent on the sphere, one evaluation of all rays each.
    """
    centre, rng = x.mean(0), torch.Generator(x.device).manual_seed(0)
    scale = float((x - centre).flatten(1).norm(dim=1).max())
    radius = FAR * (scale or 1.0)
    v = torch.randn(rays, *x.shape[1:], generator=rng, dtype=x.dtype, device=x.device)
    for i in range(steps):
        _, cache = evaluate(energy, centre + radius * _unit(v))
        v = _unit(v) - 0.9**i * _unit(_tangent(cache["g"].nan_to_num(0, 0, 0), _unit(v)))
    radii = [radius * 2.0**k for k in range(DOUBLINGS + 1)]
    u = torch.stack([evaluate(energy, centre + r * _unit(v))[0].double() for r in radii])
    growth = u.diff(dim=0).nan_to_num(math.inf, neginf=-math.inf)
    growth = torch.where(u[:-1] == -math.inf, -math.inf, growth).amax(0)
    worst = int(growth.argmin())
    if float(growth[worst]) > x[0].numel() * math.log(2):
        return None
    return (
        "exp(-U) has no finite integral: along a ray out of the data the energy goes from "
        f"{float(u[0, worst]):.4g} at distance {radii[0]:.3g} to {float(u[-1, worst]):.4g} at "
        f"{radii[-1]:.3g}, and no number of walkers would show it; add what confines, e.g. a "
        "base: noneq.Tilted(base, net)"
    )


def _along(per_ray: Tensor, v: Tensor) -> Tensor:
    return per_ray.view(-1, *[1] * (v.dim() - 1))


def _unit(v: Tensor) -> Tensor:
    return v / _along(v.flatten(1).norm(dim=1).clamp(min=1e-30), v)


def _tangent(g: Tensor, v: Tensor) -> Tensor:
    return g - _along((g * v).flatten(1).sum(1), v) * v
