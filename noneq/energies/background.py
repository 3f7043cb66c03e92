"""A wide component of small mass, the background, which makes no row nearly impossible.

Where columns nearly depend on each other, a row that is a little off has a negative log-likelihood
of hundreds of nats under a model that was trained on the others. With a background of mass 1 / M,
M the number of rows, that is a few tens of nats, and other rows lose 1 / M nat each.

A network that is added to a mixture with such a component may make deep modes far out, where the
energy of the background grows slowly. `Foreground` therefore leaves the background as it is.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from noneq.energies.composite import Tilted
from noneq.energies.covariance import Cholesky
from noneq.energies.gaussian import Gaussian, GaussianMixture, moments
from noneq.spaces import space_of

__all__ = ["Foreground", "with_background", "without_background"]

WIDTH = 5.0  # standard deviations of the base, which are one of the background
MOST = 30.0  # exp(-MOST) is nothing beside 1


class Foreground(nn.Module):
    r"""Tilts all components of a mixture of Gaussians by a network, but not the last one.

    With f the network, and r(x) the posterior probability of the last component given x,

        ``f'(x) = -log((1 - r(x)) exp(-f(x) - c) + r(x))``,

    so that ``exp(-U_mixture - f')`` is the sum of the tilted other components and of the last one
    as it is. If c is the change of log Z that the tilt makes, the last component keeps its share.
    Where f + c = 0, f' = 0, to the bit. Derived in docs/mathematics.md.

    Arguments:
        net: network f, ``(B, *shape) -> (B,)``.
        mixture: the mixture; it is not a submodule, but that of the model around.
        shift: number c.

    Attributes:
        shift: number c, 0-d.

    >>> mixture = GaussianMixture(torch.tensor([[0.0], [0.0]]), torch.ones(2, 1, 1), torch.ones(2))
    >>> x = torch.tensor([[1.0], [2.0]])
    >>> Foreground(nn.Flatten(0), mixture)(x)  # -log(exp(-f) / 2 + 1/2), f = 1, 2
    tensor([0.3799, 0.5662])
    """

    shift: Tensor

    def __init__(self, net: nn.Module, mixture: GaussianMixture, shift: float = 0.0) -> None:
        super().__init__()
        self.net, self.space = net, space_of(net)
        self._mixture = (mixture,)
        self.register_buffer("shift", mixture.means.new_tensor(shift))

    @classmethod
    def model(cls, net: nn.Module, mixture: GaussianMixture, shift: float = 0.0) -> Tilted:
        """Make the energy ``U_mixture + f'``.

        Arguments:
            net: network f, ``(B, *shape) -> (B,)``.
            mixture: mixture whose last component is not tilted.
            shift: number that is added to f.

        Returns:
            The energy, with the mixture as its base.
        """
        return Tilted(mixture, cls(net, mixture, shift))

    def forward(self, x: Tensor) -> Tensor:
        """Return the numbers ``f'(x)`` (B,) for the rows of x (B, *shape)."""
        f: Tensor = self.net(x) + self.shift
        log_r = self._mixture[0].log_responsibilities(x)
        back, front = log_r[:, -1], log_r[:, :-1].logsumexp(1)
        near = back < front
        # log of the sum of both, over the one of the two that is larger at f = 0
        lesser = torch.where(near, back, front)
        tilted = lesser + torch.where(near, f, -f)
        ratio = torch.log1p(tilted.clamp(max=MOST).exp() - lesser.exp())
        return torch.where(
            tilted > MOST,
            torch.where(near, -lesser, -tilted),
            torch.where(near, f, 0.0) - ratio,
        )


def with_background(
    base: Gaussian | GaussianMixture, mass: float, *, mapped: bool = False
) -> GaussianMixture:
    """Add a background to a base: a Gaussian of its mean and 25 times its covariance.

    Arguments:
        base: Gaussian, or mixture of K Gaussians.
        mass: mass of the background, in (0, 1); the base has the rest.
        mapped: whether columns were mapped to normal variables. These hold what is far out in one
            column by themselves, and are mapped back along Cauchy tails, so that so wide a
            background would have absurd values in the file's units. With C the base's covariance,
            that of the background is then ``2 C + diag(C) / 2``.

    Returns:
        A mixture of K + 1 components, the last of which is the background. Its ``factor`` is that
        of the base, so that moves that it preconditions are as long as before.

    Raises:
        ValueError: the mass is not between 0 and 1.

    >>> mixture = GaussianMixture(torch.tensor([[0.0], [1.0]]), torch.ones(2, 1, 1), torch.ones(2))
    >>> far = torch.tensor([[30.0]])
    >>> [round(float(own(far))) for own in (mixture, with_background(mixture, 0.01))]
    [422, 21]
    """
    mean, covariance = moments(base)
    if isinstance(base, Gaussian):
        means, covariances, masses = mean[None], covariance[None], covariance.new_ones(1)
    else:
        roots = base.roots.double()
        means, covariances = base.means, roots @ roots.mT
        masses = base.log_masses.double().softmax(0)
    wide = WIDTH**2 * covariance
    if mapped:
        wide = 2 * covariance + covariance.diag().diag() / 2
    new = GaussianMixture(
        torch.cat([means, mean[None]]),
        torch.cat([covariances, wide[None]]),
        torch.cat([(1 - mass) * masses, masses.new_tensor([mass])]),
    )
    new.factor = base.factor
    return new


def without_background(mixture: GaussianMixture) -> Gaussian | GaussianMixture:
    """Leave out the last component of a mixture: the inverse of `with_background`.

    Arguments:
        mixture: mixture of two Gaussians or more.

    Returns:
        The other components, of masses that sum to 1; a Gaussian if there is one.

    >>> mixture = GaussianMixture(torch.zeros(2, 1), torch.ones(2, 1, 1), torch.ones(2))
    >>> type(without_background(mixture)).__name__
    'Gaussian'
    """
    roots, means = mixture.roots[:-1].double(), mixture.means[:-1]
    covariances = roots @ roots.mT
    if len(means) == 1:
        return Gaussian(means[0], Cholesky(covariances[0], means.dtype)).to(means.device)
    masses = mixture.log_masses[:-1].double().softmax(0)
    new = GaussianMixture(means, covariances, masses)
    new.factor = mixture.factor
    return new
