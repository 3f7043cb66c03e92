"""The path to a known energy along a learned velocity field.

The field is learned by least squares from pairs of samples of the start and the end.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from noneq.energies import Cache, Energy, Gaussian, Solvable, evaluate
from noneq.energies.base import shape_message
from noneq.models.interpolants.path import DriftedPath, gradient_with_graph
from noneq.models.interpolants.schedules import Coefficients, Interpolant
from noneq.spaces import space_of

__all__ = ["VelocityPath"]

_LEAST = 0.02  # alpha or gamma by which a denoiser is divided


class VelocityPath(DriftedPath):
    """Connect a base U_0 to an energy U_1 by a learned velocity field, accurate or not.

    The networks learn, for ``x_t = alpha(t) x_0 + beta(t) x_1 + gamma(t) z`` with samples x_0 of
    U_0, x_1 of U_1 and z standard normal (`Interpolant`), the velocity
    ``v = E[alpha' x_0 + beta' x_1 | x_t]`` and the denoiser ``eta = E[z | x_t]``; primes are time
    derivatives. With a denoiser the score is ``s = -eta / gamma`` and the drift, the velocity
    field along which samples are carried, is ``b = v - gamma gamma' s``. Without a denoiser gamma
    = 0, x_0 is Gaussian, N(m_0, C_0), b = v and

        ``E[x_0 | x_t] = (beta' x_t - beta b) / (alpha beta' - alpha' beta)``,
        ``s = -C_0^-1 (E[x_0 | x_t] - m_0) / alpha``.

    At t = 0 and t = 1 the score is that of U_0 and U_1. Between, samples are weighted for the
    energy ``(1 - t) U_0 + t U_1``, on which only the resampling depends: the weights at the end
    are right in any case.

    Arguments:
        interpolant: interpolant with which the networks were trained.
        base: solvable energy U_0, i.e. one with exact samples and log Z.
        end: energy U_1.
        velocity: network or function v, ``(B, *shape), (B,) -> (B, *shape)``, of rows and times.
        denoiser: network or function eta of the same signature; None if the interpolant has
            ``noise=0``.
        between: whether to evaluate ``(1 - t) U_0 + t U_1`` at times between 0 and 1. If False,
            the energy is 0 there and only weights at the end have a meaning, which saves
            evaluations of an expensive U_1. `noneq.population` then does not resample between the
            ends (with `noneq.anneal` set ``ess_min=0``), and kernels that use the energy cannot be
            used there.

    Raises:
        ValueError: the interpolant has noise and there is no denoiser, or has no noise and there
            is one; or the interpolant has no noise and the base is not a Gaussian.
    """

    def __init__(
        self,
        interpolant: Interpolant,
        base: Solvable,
        end: Energy,
        velocity: Callable[[Tensor, Tensor], Tensor],
        denoiser: Callable[[Tensor, Tensor], Tensor] | None = None,
        *,
        between: bool = True,
    ) -> None:
        super().__init__(base)
        if (denoiser is None) == (interpolant.noise > 0):
            raise ValueError(
                "an interpolant with noise needs a denoiser, one without noise has none: its "
                f"score follows from the velocity; noise is {interpolant.noise}"
            )
        if denoiser is None and not isinstance(base, Gaussian):
            raise ValueError(
                "without noise the score follows from the velocity only where the base is a "
                f"noneq.Gaussian, not a {type(base).__name__}: give the interpolant noise and a "
                "denoiser"
            )
        self.interpolant = interpolant
        self.end = end
        self.velocity = velocity
        self.denoiser = denoiser
        self.between = between
        self.space = space_of(end)

    def fields(self, x: Tensor, t: float) -> tuple[Tensor, Cache]:
        """Compute the energies ``(1 - t) U_0 + t U_1``, the drift (velocity field) and the score.

        Arguments:
            x: positions (B, *shape).
            t: time in [0, 1].

        Returns:
            The energies (B,), from U_0 at the start and U_1 at the end of the path, or 0 between
            the ends if the path was made with ``between=False``; and a dictionary of the drift
            ``b`` and the score ``s``, both (B, *shape) and without an autograd graph.
        """
        with torch.no_grad():
            c = self.interpolant.at(t)
            v = self._call(self.velocity, x, t)
            u, g = self._energy(x, t)
            s = self._score(x, t, v, c) if g is None else -g
            b = v - c.gamma_d_gamma * s if self.denoiser else v
            return u, {"b": b, "s": s}

    def drift(self, x: Tensor, t: float) -> Tensor:
        """Compute the drift (velocity field) ``b(x, t)`` of the path, differentiable in x.

        Arguments:
            x: positions (B, *shape).
            t: time in [0, 1].

        Returns:
            The drift (B, *shape).
        """
        v = self._call(self.velocity, x, t)
        if self.denoiser is None:
            return v
        c, g = self.interpolant.at(t), None
        if t in (0.0, 1.0):  # with its own slope: a map's determinant asks for it
            g = gradient_with_graph(self.end if t else self.base, x)
        s = self._score(x, t, v, c) if g is None else -g
        return v - c.gamma_d_gamma * s

    def energy_gradient(self, x: Tensor, t: float) -> Tensor | None:
        """Compute the gradient of ``(1 - t) U_0 + t U_1``, U_0 and U_1 the energies of the ends.

        Arguments:
            x: positions (B, *shape).
            t: time in [0, 1].

        Returns:
            The gradient (B, *shape); None if U_0 or U_1 has no gradient.

        Raises:
            ValueError: 0 < t < 1, and the path was made with ``between=False``.
        """
        if t in (0.0, 1.0):
            return self._energy(x, t)[1]
        if not self.between:
            raise ValueError(
                "between=False leaves no energy to move by on the way: take between=True, or a "
                "schedule without corrections"
            )
        ends = [evaluate(energy, x)[1].get("g") for energy in (self.base, self.end)]
        if ends[0] is None or ends[1] is None:
            return None
        return (1 - t) * ends[0] + t * ends[1]

    def answer(self, y: Tensor, t: float) -> Tensor | None:
        """Compute how much the drift (velocity field) b changes if ``t y`` is added to the score.

        Arguments:
            y: vectors (B, *shape), e.g. the gradients of a reward.
            t: time in [0, 1].

        Returns:
            The change of the drift (B, *shape); None if the base is not a Gaussian, since b then
            does not follow from the score.
        """
        if not isinstance(self.base, Gaussian):
            return None
        (p, q), factor = self.interpolant.response(t), self.base.factor
        return p * factor.mul(factor.t_mul(y)) + q * y

    def _call(self, net: Callable[[Tensor, Tensor], Tensor], x: Tensor, t: float) -> Tensor:
        found = net(x, x.new_full((len(x),), t))
        if found.shape != x.shape:
            raise ValueError(
                f"{type(net).__name__} returned shape {tuple(found.shape)} for rows of shape "
                f"{tuple(x.shape)}: a field is a vector at every row"
            )
        return found

    def _score(self, x: Tensor, t: float, v: Tensor, c: Coefficients) -> Tensor:
        if self.denoiser is not None:
            return -self._call(self.denoiser, x, t) / c.gamma.clamp(min=_LEAST)
        assert isinstance(self.base, Gaussian)
        first = (c.d_beta * x - c.beta * v) / (c.alpha * c.d_beta - c.d_alpha * c.beta)
        factor = self.base.factor
        return -factor.t_solve(factor.solve(first - self.base.mean)) / c.alpha.clamp(min=_LEAST)

    def _energy(self, x: Tensor, t: float) -> tuple[Tensor, Tensor | None]:
        """Compute the energy, and at either end its gradient, if it has one."""
        if t in (0.0, 1.0):
            u, cache = evaluate(self.end if t else self.base, x)
            return u, cache.get("g")
        if not self.between:
            return torch.zeros_like(x.flatten(1)[:, 0]), None
        u = self.end(x)
        if u.shape != x.shape[:1]:
            raise ValueError(shape_message(self.end, u, x))
        return t * u + (1 - t) * self.base(x), None
