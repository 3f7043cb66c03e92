"""The settings of maximum-likelihood training by `noneq.train`, with their ranges.

Each default has its reason in docs/lab/defaults.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["Settings"]


@dataclass(frozen=True)
class Settings:
    """Hold the settings of training; defaults suit standardised data of some tens of dimensions.

    Walkers are samples with log-weights that follow the model, from which the gradient is
    computed. The base is an energy with exact samples and log Z, from which the model starts.

    Attributes:
        walkers: number of walkers (weighted samples) that the gradient is computed from, 2 or
            more.
        held_out: number of further walkers, which follow the model but are not used in the
            gradient, so that their log Z is unbiased; a multiple of 8, started at the base. None:
            no held-out walkers.
        moves: number of kernel moves of each walker in an iteration.
        tau: cost in nats to which the trust region scales every optimiser step: minus the
            logarithm of the share of the walkers' effective sample size that is left. None:
            optimiser steps are not scaled.
        longest: largest length of an optimiser step under the trust region, as a fraction of the
            norm of the parameters.
        ess_min: effective sample size, a fraction in [0, 1], below which walkers are resampled.
        renew: number of iterations between renewals, which replace the walkers by others annealed
            from the base. None: no renewals. With a forgetting factor below 1, and for RBMs, only
            the held-out walkers are renewed (docs/rbm_bias.md).
        temperatures: number of annealing steps of a renewal, each one evaluation of every walker.
        batch: number of data rows in an iteration.
        noise: standard deviation of the Gaussian noise added to each batch of data, in the units
            in which the model is trained. The model learns the density of the noisy rows.
        active: number of walkers, chosen at random, that are moved in an iteration. None: all of
            them.
        weighted: whether the gradient uses the log-weights of the walkers. False: it ignores them,
            as in persistent contrastive divergence.
        forgetting_factor: factor in [0, 1] by which log-weights are multiplied after each
            gradient. 1 is exact; less is better where many modes mix slowly, and worse where a few
            modes do not mix at all (docs/rbm_bias.md). Below 1 only the held-out walkers estimate
            log Z.
        start: start of the walkers, exact samples of the "base" or rows of the "data". From the
            data, weighted averages are right only once the walkers have mixed.
        restart: whether walkers restart at the batch in every iteration, as in contrastive
            divergence.

    A forgetting factor g < 1 keeps the variance of the log-weights bounded, at the cost of a bias.
    If a statistic of the walkers has autocorrelation r from one iteration to the next, its mean
    keeps the share ``r (1 - g) / (1 - g r)`` of the error that unweighted walkers have
    (docs/mathematics.md).

    >>> Settings(walkers=64, tau=None).walkers
    64
    >>> Settings.pcd(moves=1).weighted
    False
    """

    walkers: int = 512
    held_out: int | None = 256
    moves: int = 8
    tau: float | None = 0.1
    longest: float = 0.02
    ess_min: float = 0.5
    renew: int | None = 500
    temperatures: int = 500
    batch: int = 256
    noise: float = 0.0
    active: int | None = None
    weighted: bool = True
    forgetting_factor: float = 1.0
    start: Literal["base", "data"] = "base"
    restart: bool = False

    @classmethod
    def pcd(cls, **changes: Any) -> Settings:
        """Return settings for persistent contrastive divergence.

        Walkers (samples that follow the model) start at the data and have no weights, and
        optimiser steps are not scaled by a trust region.

        Arguments:
            changes: values of other fields of `Settings`, by name.

        Returns:
            The settings.
        """
        plain = {"weighted": False, "start": "data", "tau": None, "renew": None, "held_out": None}
        return cls(**{**plain, **changes})

    @classmethod
    def cd(cls, **changes: Any) -> Settings:
        """Return settings for contrastive divergence, with walkers restarted at every batch.

        Otherwise they are those of `Settings.pcd`, persistent contrastive divergence.

        Arguments:
            changes: values of other fields of `Settings`, by name.

        Returns:
            The settings.
        """
        return cls.pcd(**{"restart": True, **changes})

    def __post_init__(self) -> None:
        least = {
            "walkers": 2,
            "held_out": 8,
            "moves": 1,
            "renew": 1,
            "temperatures": 1,
            "batch": 1,
        }
        for name, value in least.items():
            if getattr(self, name) is not None and getattr(self, name) < value:
                raise ValueError(f"{name} must be {value} or more, got {getattr(self, name)}")
        if self.tau is not None and not self.tau > 0:
            raise ValueError(f"tau must be positive, or None for plain steps, got {self.tau}")
        if self.active is not None and self.restart:
            raise ValueError("active walkers are chosen from those that go on: not with restart")
        if self.restart and (self.weighted or self.renew):
            raise ValueError(
                "walkers that restart at the data have neither weights nor renewals: "
                "Settings.cd() is contrastive divergence"
            )
        for name in ("ess_min", "forgetting_factor"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a fraction in [0, 1], got {getattr(self, name)}")
        if self.forgetting_factor < 1 and self.weighted and self.active is not None:
            raise ValueError(
                "weights are forgotten all at once, and active walkers are touched in turn: take "
                "forgetting_factor=1, or active=None"
            )
        if self.held_out and self.held_out % 8:
            raise ValueError(
                f"held_out walkers form 8 islands: a multiple of 8, not {self.held_out}"
            )
        if self.start not in ("base", "data"):
            raise ValueError(f"start is 'base' or 'data', got {self.start!r}")
        if not self.noise >= 0:
            raise ValueError(f"noise is a standard deviation >= 0, got {self.noise}")
        if self.active is not None and not 2 <= self.active <= self.walkers:
            raise ValueError(f"active is between 2 and {self.walkers} walkers, got {self.active}")
