"""What one iteration of a session is: weighted maximum likelihood, or score matching.

A learner keeps what goes on from one iteration to the next besides parameters, optimiser and
generator, which are the session's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor, nn

from noneq.energies import Solvable
from noneq.kernels import Kernel
from noneq.likelihood.score import mean_energy
from noneq.models.interpolants import TimedEnergy
from noneq.run.checkpoint import moved
from noneq.run.recipe import Recipe
from noneq.spaces import Discrete, space_of
from noneq.training import Matched, Record, TrainState, TrustRegion, match, train
from noneq.walkers import Walkers

__all__ = [
    "Learner", "LikelihoodLearner", "Observed", "ScoreMatchingLearner", "TrainingContext",
    "at_step",
]  # fmt: skip

Observed: TypeAlias = Record | Matched
"""What an iteration yields."""


@dataclass(frozen=True)
class TrainingContext:
    """What is trained, on what and by what: a session's own, shared with its learner."""

    recipe: Recipe
    energy: nn.Module
    data: Tensor
    kernel: Kernel
    optimizer: torch.optim.Optimizer
    rng: torch.Generator


class Learner(Protocol):
    """A way to train.

    Attributes:
        trained: where it stands, a `TrainState` or a `Matched`; None before the first iteration.
    """

    trained: Any

    def divergence_thresholds(self) -> dict[str, Any]:
        """What a `noneq.run.divergence.DivergenceMonitor` of it begins with."""

    def iterate(self) -> Iterator[Any]:
        """Go on from ``trained`` for as long as the caller iterates."""

    def set_rate(self, progress: float, backoff: float) -> None:
        """Set the speed of the next iteration by how much of the budget is spent."""

    def monitored_metric(self, record: Any) -> tuple[float, bool]:
        """The number that tells whether it diverges, and whether it begins anew."""

    def metrics(self, record: Any) -> dict[str, Any]:
        """What metrics.jsonl keeps of an iteration."""

    def progress_line(self, record: Any) -> str:
        """What a terminal shows of an iteration."""

    def state_dict(self) -> dict[str, Any] | None:
        """``trained`` as a tree of tensors and numbers."""

    def load_state_dict(self, saved: Mapping[str, Any] | None) -> None:
        """Stand where a `state_dict` was made."""


def at_step(kernel: Kernel, h: float) -> Kernel:
    """The kernel with that step size, if it has one."""
    if not hasattr(kernel, "h"):
        return kernel
    changed: Kernel = replace(kernel, h=h)  # type: ignore[type-var]
    return changed


class LikelihoodLearner:
    """Weighted maximum likelihood, `noneq.train`: tau falls, or the learning rate."""

    def __init__(self, context: TrainingContext) -> None:
        self.context = context
        self.trained: TrainState | None = None
        self.speed = 1.0  # what tau is multiplied by
        self.renewals = 0

    def divergence_thresholds(self) -> dict[str, Any]:
        """The base's NLL, and what a batch's may stray."""
        context, base = self.context, self.context.energy.base
        assert isinstance(base, Solvable)
        noise = context.recipe.train.noise
        rows = mean_energy(base, context.data[:5000], noise=noise, draws=1) + base.log_z()
        stray = 5 * float(rows.std()) / math.sqrt(context.recipe.train.batch)
        return {
            "base": float(rows.mean()),
            "margin": max(3.0, context.data[0].numel() / 20) + stray,
            "floor": 0.0 if isinstance(space_of(base), Discrete) else -math.inf,
        }

    def iterate(self) -> Iterator[Record]:
        """Records, ``trained`` their state."""
        context, settings = self.context, self.context.recipe.train
        if settings.tau:
            settings = replace(settings, tau=settings.tau * self.speed)
        records = train(
            context.energy,
            context.data,
            settings,
            optimizer=context.optimizer,
            kernel=None if self.trained else context.kernel,
            rng=context.rng,
            resume=self.trained,
        )
        for record in records:
            self.trained = record.state
            self.renewals += bool(record.renewed)
            yield record

    def set_rate(self, progress: float, backoff: float) -> None:
        """Tau falls linearly, the learning rate of a run without a trust region as its root."""
        recipe, trust = self.context.recipe, self.trained.trust if self.trained else None
        self.speed = recipe.train.speed(progress) * backoff
        if trust is not None:
            trust.tau = recipe.train.tau * self.speed
        if recipe.train.tau is None:
            _set_rate(self.context.optimizer, recipe.optimizer.lr * math.sqrt(self.speed))

    def monitored_metric(self, record: Observed) -> tuple[float, bool]:
        """The running NLL; a renewal knows log Z anew."""
        assert isinstance(record, Record)
        return record.nll, bool(record.renewed)

    def metrics(self, record: Observed) -> dict[str, Any]:
        """Energies, weights, log Z, the kernel and the trust region."""
        assert isinstance(record, Record)
        state, trust = record.state, record.state.trust
        return {
            "data_energy": record.data_energy,
            "walker_energy": record.data_energy - record.loss,
            "nll": record.nll,
            "ess": record.ess,
            "survivors": state.walkers.effective_ancestors,
            "resampled": state.walkers.weights.resampled,
            "acceptance": record.acceptance,
            "step_size": getattr(state.kernel, "h", math.nan),
            "faults": record.faults,
            "log_z": record.log_z.value,
            "log_z_held_out": record.log_z_held_out.value,
            "log_z_held_out_stderr": record.log_z_held_out.stderr,
            "scale": record.scale,
            "cost": record.cost,
            "tau": trust.tau if trust else math.nan,
            "redone": trust.redone if trust else 0,
            "renewed": record.renewed,
        }

    def progress_line(self, record: Observed) -> str:
        """NLL, effective sample size, acceptance, and what the last step cost."""
        assert isinstance(record, Record)
        trust, walkers = record.state.trust, record.state.walkers
        parts = [f"iteration {record.iteration}"]
        if record.nll == record.nll:
            parts.append(f"NLL ~ {record.nll:.2f}")
        parts.append(f"ESS {record.ess:.2f}")
        if record.acceptance == record.acceptance:  # not NaN: the kernel accepts or rejects
            parts.append(f"accept {record.acceptance:.2f}")
        if trust is not None:
            parts.append(f"step cost {record.cost:.3f} (bound {2 * trust.tau:.3f})")
        parts += [f"renewals {self.renewals}"] if self.renewals else []
        parts.append(f"resampled {walkers.weights.resampled}")
        return ", ".join(parts)

    def state_dict(self) -> dict[str, Any] | None:
        """Walkers, step size, trust region."""
        trained, energy = self.trained, self.context.energy
        if trained is None:
            return None
        return {
            "iteration": trained.iteration,
            "walkers": trained.walkers.state_dict(energy),
            "held_out": trained.held_out and trained.held_out.state_dict(energy),
            "step_size": getattr(trained.kernel, "h", math.nan),
            "trust": trained.trust and trained.trust.state_dict(),
        }

    def load_state_dict(self, saved: Mapping[str, Any] | None) -> None:
        """On the data's device."""
        self.trained = None
        if saved is None:
            return
        saved, energy = moved(saved, self.context.data.device), self.context.energy
        held, trust, settings = saved["held_out"], None, self.context.recipe.train
        if settings.tau is not None:  # the recipe says whether there is one
            trust = TrustRegion(settings.tau, longest=settings.longest)
            trust.load_state_dict(saved["trust"] or {})
        self.trained = TrainState(
            saved["iteration"],
            Walkers.from_state_dict(saved["walkers"], energy),
            None if held is None else Walkers.from_state_dict(held, energy),
            at_step(self.context.kernel, saved["step_size"]),
            trust,
        )


class ScoreMatchingLearner:
    """Denoising score matching, `noneq.training.match`: the learning rate falls to 0."""

    def __init__(self, context: TrainingContext) -> None:
        assert isinstance(context.energy, TimedEnergy)
        self.context, self.energy = context, context.energy
        self.trained: Matched | None = None

    def divergence_thresholds(self) -> dict[str, Any]:
        """The base's loss, and what a batch's may stray; no score at all has a loss of 1."""
        energy, data = self.energy, self.context.data
        rng = torch.Generator(data.device).manual_seed(0)
        size = (16, self.context.recipe.train.batch)
        which = torch.randint(len(data), size, generator=rng, device=data.device)
        losses = torch.stack([energy.score_loss(data[rows], rng).detach() for rows in which])
        stray = 5 * float(losses.std())
        return {"base": float(losses.mean()), "margin": 1.0 + stray, "kind": "loss"}

    def iterate(self) -> Iterator[Matched]:
        """Records of `match`, ``trained`` the last."""
        context = self.context
        for record in match(
            self.energy,
            context.data,
            batch=context.recipe.train.batch,
            optimizer=context.optimizer,
            rng=context.rng,
            done=self.trained.iteration if self.trained else 0,
        ):
            self.trained = record
            yield record

    def set_rate(self, progress: float, backoff: float) -> None:
        """``lr (1 + cos(pi progress)) / 2``."""
        rate = self.context.recipe.optimizer.lr * (1 + math.cos(math.pi * min(progress, 1.0))) / 2
        _set_rate(self.context.optimizer, rate * backoff)

    def monitored_metric(self, record: Observed) -> tuple[float, bool]:
        """The loss."""
        return record.loss, False

    def metrics(self, record: Observed) -> dict[str, Any]:
        """The learning rate; the loss every learner tells."""
        assert isinstance(record, Matched)
        return {"rate": record.rate}

    def progress_line(self, record: Observed) -> str:
        """Loss and learning rate."""
        assert isinstance(record, Matched)
        return f"iteration {record.iteration}, loss {record.loss:.3f}, rate {record.rate:.1e}"

    def state_dict(self) -> dict[str, Any] | None:
        """The iterations done."""
        return {"iteration": self.trained.iteration} if self.trained else None

    def load_state_dict(self, saved: Mapping[str, Any] | None) -> None:
        """There is nothing else to restore."""
        self.trained = None
        if saved is not None:
            self.trained = Matched(saved["iteration"], 0.0, math.nan, math.nan)


def _set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
