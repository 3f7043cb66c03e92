"""A wide component of small mass in a mixture of Gaussians, which makes no row impossible."""

from __future__ import annotations

import torch

from noneq.energies.gaussian import GaussianMixture, moments

__all__ = ["with_background"]

WIDTH = 5.0  # standard deviations of the mixture, which are one of its background


def with_background(mixture: GaussianMixture, mass: float) -> GaussianMixture:
    """Add a Gaussian with the mean of a mixture and 25 times its covariance.

    Where columns nearly depend on each other, a row that is a little off has a negative
    log-likelihood of hundreds of nats under the Gaussians that were fitted to the others. With a
    background of mass 1 / M, M the number of rows, that is a few tens, and other rows lose 1 / M
    nat each.

    Arguments:
        mixture: the mixture, of K components.
        mass: mass of the background, in (0, 1).

    Returns:
        A mixture of K + 1 components. Its ``factor`` is that of the K components, so that moves
        that it preconditions are as long as without the background.

    >>> mixture = GaussianMixture(torch.tensor([[0.0], [1.0]]), torch.ones(2, 1, 1), torch.ones(2))
    >>> far = torch.tensor([[30.0]])
    >>> [round(float(own(far))) for own in (mixture, with_background(mixture, 0.01))]
    [422, 21]
    """
    mean, covariance = moments(mixture)
    roots = mixture.roots.double()
    masses = (1 - mass) * mixture.log_masses.double().softmax(0)
    new = GaussianMixture(
        torch.cat([mixture.means, mean[None]]),
        torch.cat([roots @ roots.mT, WIDTH**2 * covariance[None]]),
        torch.cat([masses, masses.new_tensor([mass])]),
    )
    new.factor = mixture.factor
    return new
