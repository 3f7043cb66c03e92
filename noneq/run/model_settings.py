"""The sections of a recipe that describe a model: its kind of base, its network, its size.

Each kind of model (`noneq.run.families`) has one of them. The command line shows every field as an
option, with its description here as the help; so this file imports nothing heavy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from noneq.run.ranges import check_among, check_finite, check_least, check_positive

__all__ = ["ConditionalModel", "InterpolantModel", "NetworkModel", "RBMModel"]

GAUSSIANS = ("full", "diagonal", "low-rank")


@dataclass(frozen=True)
class NetworkModel:
    """Settings of an energy that is the sum of the energy of a base and of a network.

    Attributes:
        base: base, from which training starts: a Gaussian of full, diagonal or low-rank
            covariance, a mixture of Gaussians, or (chosen) the Gaussian or mixture under which the
            validation rows have the highest likelihood.
        components: number of Gaussians of a mixture; None: one Gaussian.
        ridge: increase of each variance of the base, as a fraction of the variance of the column;
            None: a Gaussian is shrunk after Ledoit and Wolf, a mixture has 0.001.
        clusters: number of Gaussian clusters of the data whose pooled covariance preconditions
            the MCMC moves; None, or with a mixture chosen as base: the covariance of the base
            does.
        net: kind of the energy network: a perceptron (mlp), the inner product of the row with
            the vectors of one (inner-product), or a convolutional network (convnet, resnet).
        width: number of hidden units of each layer of a perceptron, or of channels after the first
            layer of a convolutional network.
        depth: number of hidden layers of a perceptron, or of halvings of the resolution in a
            convolutional network.
        networks: number of energy networks whose average tilts the base.
        whiten: whether the networks see rows of covariance I, made of the columns by the
            covariance of the base.
        dropout: probability with which a hidden unit is set to 0 while scores are matched.
        leapfrog_steps: leapfrog steps of a move: 1 is MALA, more are Hamiltonian Monte Carlo.
        step_size: step size of the first MCMC move; it is then adapted to a target acceptance.
        refresh: whether each move also proposes a new sample of the base to every walker, which
            lets walkers mix where base and model are a few nats apart.
        spline_flow: whether a neural spline flow is tried as coordinates of a table, in which base
            and network are then those of nearly normal rows; it needs the extra ``noneq[flow]``.
        background: whether the trained model gets a background, a Gaussian five times as wide as
            a base of full covariance (of mapped columns: 1.6 times), of mass 1 / rows, which makes
            no row nearly impossible.
        shifted: share of images moved by one pixel among the training rows, 0 or from 0.1 to 0.8,
            or (chosen) the share under which the validation rows are most likely.
    """

    base: Literal["chosen", "full", "diagonal", "low-rank", "mixture"] = "full"
    components: int | None = None
    ridge: float | None = None
    clusters: int | None = None
    net: Literal["mlp", "inner-product", "convnet", "resnet"] = "mlp"
    width: int = 256
    depth: int = 2
    networks: int = 1
    whiten: bool = False
    dropout: float = 0.0
    leapfrog_steps: int = 1
    step_size: float = 0.3
    refresh: bool = False
    spline_flow: bool = False
    background: bool = False
    shifted: float | Literal["chosen"] = 0.0

    def __post_init__(self) -> None:
        if self.shifted not in ("chosen", 0) and not 0.1 <= float(self.shifted) <= 0.8:
            raise ValueError(
                f"`shifted` is a share of the images, 0 or from 0.1 to 0.8, got {self.shifted}"
            )
        check_positive(
            self, "components", "clusters", "width", "depth", "networks", "leapfrog_steps"
        )
        check_finite(self, "step_size")
        check_among(self, "net", ("mlp", "inner-product", "convnet", "resnet"))
        if not 0 <= self.dropout < 1:
            raise ValueError(
                f"`dropout` is a probability, 0 or more and below 1, got {self.dropout:g}"
            )
        check_among(self, "base", ("chosen", *GAUSSIANS, "mixture"))
        if self.ridge is not None:
            check_finite(self, "ridge")
        if self.base == "mixture" and self.components is None:
            raise ValueError("`base` mixture needs `components`, the number of its Gaussians")
        if self.base != "mixture" and self.components is not None:
            raise ValueError(
                "`components` is the number of Gaussians of `base` mixture: give both, or neither"
            )
        if self.base == "chosen" and self.ridge is not None:
            raise ValueError("`ridge` is chosen with the `base`: name a base, or leave it out")


@dataclass(frozen=True)
class ConditionalModel:
    """Settings of an energy of images given their labels: Gaussians, one a label, and a network.

    Attributes:
        base: covariance of the Gaussians, one for all labels: full, diagonal or low-rank.
        labels: number of labels of the images, which the command line knows.
        width: number of hidden units of each layer of the perceptron, which all labels share.
        depth: number of hidden layers of the perceptron, which has an output for each label.
        leapfrog_steps: leapfrog steps of a move: 1 is MALA, more are Hamiltonian Monte Carlo.
        step_size: step size of the first MCMC move; it is then adapted to a target acceptance.
    """

    base: Literal["full", "diagonal", "low-rank"] = "full"
    labels: int = 0
    width: int = 256
    depth: int = 2
    leapfrog_steps: int = 1
    step_size: float = 0.3

    def __post_init__(self) -> None:
        check_among(self, "base", GAUSSIANS)
        check_positive(self, "width", "depth", "leapfrog_steps")
        check_least(self, "labels")
        check_finite(self, "step_size")


@dataclass(frozen=True)
class RBMModel:
    """Settings of a restricted Boltzmann machine (RBM), of binary or of real visible units.

    Attributes:
        hidden: number of hidden units of the RBM.
    """

    hidden: int = 500

    def __post_init__(self) -> None:
        check_positive(self, "hidden")


@dataclass(frozen=True)
class InterpolantModel:
    """Settings of an energy U(x, t) for times t between a Gaussian and the data (score matching).

    Attributes:
        base: covariance of the Gaussian base: full, diagonal or low-rank.
        clusters: number of Gaussian clusters of the data whose pooled covariance preconditions
            the MCMC moves; None: the covariance of the base does.
        width: number of hidden units of each layer of the energy network.
        depth: number of hidden layers of the energy network.
        leapfrog_steps: leapfrog steps of a move that corrects samples: 1 is MALA, more are
            Hamiltonian Monte Carlo.
        step_size: step size of the first move that corrects samples; it is then adapted to a
            target acceptance.
        steps: number of Euler-Maruyama steps from the base to a sample.
        eps: diffusivity of the Euler-Maruyama steps: a larger one mixes more and lowers the
            effective sample size.
        corrections: number of MCMC moves after each Euler-Maruyama step, under the energy at the
            time that the step has reached.
    """

    base: Literal["full", "diagonal", "low-rank"] = "full"
    clusters: int | None = None
    width: int = 256
    depth: int = 2
    leapfrog_steps: int = 1
    step_size: float = 0.3
    steps: int = 100
    eps: float = 1.0
    corrections: int = 4

    def __post_init__(self) -> None:
        check_among(self, "base", GAUSSIANS)
        check_positive(self, "clusters", "width", "depth", "leapfrog_steps", "steps")
        check_finite(self, "step_size", "eps")
        check_least(self, "corrections")
