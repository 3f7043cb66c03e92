"""How to train: the settings of `noneq.train`, with their ranges.

Each default has its reason in docs/lab/defaults.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["Settings"]


@dataclass(frozen=True)
class Settings:
    """How to train; the defaults work on standardised data of some tens of dimensions.

    Attributes:
        walkers: walkers that feed the gradient.
        held_out: walkers on the same path that never do, so that their log Z is unbiased, a
            multiple of 8; None: none. They start at the base, as renewals do.
        moves: kernel moves of each walker an iteration.
        tau: trust region: nats of effective sample size that an optimiser step may cost; None:
            plain steps.
        longest: no step of the trust region is longer than this fraction of the parameters.
        ess_min: resample below this effective sample size, a fraction.
        renew: iterations between renewals of the walkers by annealing from the base; None: never.
            Where weights are forgotten, and of an energy that draws from its own conditionals,
            the held-out walkers alone are renewed (docs/rbm_bias.md).
        temperatures: steps of a renewal's annealing, each one evaluation of every walker.
        batch: data rows an iteration.
        noise: standard deviation of the Gaussian noise added to the data, in the units that they
            are trained in, afresh in every batch; what is learned is the density of noisy rows.
        active: move only this many walkers an iteration, chosen at random; None: all.
        weighted: False drops the weights (persistent contrastive divergence).
        forgetting_factor: what the log-weights are multiplied by after each gradient; 1: exact.
            Less than 1 is better where many modes mix slowly, worse where few do not mix at all
            (docs/rbm_bias.md); log Z is then told by the held-out walkers only.
        start: where the walkers start, at the base or at the data. From the data averages are
            right only once the walkers have mixed.
        restart: restart the walkers at the batch in every iteration (contrastive divergence).

    With a forgetting factor g below 1, of the lag behind a moving model, in a mode of the sampler
    whose autocorrelation is r an iteration, the share ``r (1 - g) / (1 - g r)`` stays
    uncorrected, as does that share of the bias of an unadjusted kernel; but weights no longer spread without end, and walkers are hardly ever resampled.
    Derived in docs/mathematics.md.

    >>> Settings(walkers=64, tau=None).walkers
    64
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
        """Persistent contrastive divergence: chains from the data, no weights, plain steps."""
        plain = {"weighted": False, "start": "data", "tau": None, "renew": None, "held_out": None}
        return cls(**{**plain, **changes})

    @classmethod
    def cd(cls, **changes: Any) -> Settings:
        """Contrastive divergence: the same, restarted at the batch in every iteration."""
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
