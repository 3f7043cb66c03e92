"""Learners, which do the iterations of a training: weighted maximum likelihood or score matching.

A learner keeps the state that passes between iterations, e.g. the weighted samples (walkers). A
`noneq.Session`, i.e. one training in memory, keeps the parameters, optimiser and generator.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor, nn

from noneq.energies import Solvable
from noneq.kernels import Kernel, Refreshed
from noneq.likelihood.score import mean_energy
from noneq.run.checkpoint import moved
from noneq.run.recipe import Recipe
from noneq.spaces import Discrete, space_of
from noneq.training import Record, ScoreMatchingRecord, TrainState, TrustRegion, train
from noneq.training.rates import set_learning_rate
from noneq.walkers import Walkers

__all__ = [
    "Learner", "LikelihoodLearner", "Observed", "TrainingContext",
    "at_step",
]  # fmt: skip

Observed: TypeAlias = Record | ScoreMatchingRecord
"""The type of the record of one iteration, by maximum likelihood or by score matching."""


@dataclass(frozen=True)
class TrainingContext:
    """The objects with which a `Learner` trains, made by a `noneq.Session` (a training in memory).

    Attributes:
        recipe: all settings of the training.
        energy: model that is being trained, an energy U(x).
        data: M rows to train on, each of shape ``shape``; (M, *shape).
        kernel: MCMC kernel that samples the model, with the step size before it is adapted.
        optimizer: optimiser of the model's parameters.
        rng: source of randomness, on the data's device.
        validation: validation rows (N, *shape), which choose among parameters; None: none do.
    """

    recipe: Recipe
    energy: nn.Module
    data: Tensor
    kernel: Kernel
    optimizer: torch.optim.Optimizer
    rng: torch.Generator
    validation: Tensor | None = None


class Learner(Protocol):
    """The protocol of an object that does the iterations of a session, i.e. one training.

    Attributes:
        trained: state after the last iteration, a `TrainState` or a `ScoreMatchingRecord`; None
            before the first iteration.
        pretraining: whether the iterations so far have not changed the model yet.
        origin: number of iterations before those that changed the model.
    """

    trained: Any
    pretraining: bool
    origin: int

    def divergence_thresholds(self) -> dict[str, Any]:
        """Return arguments of `noneq.run.divergence.DivergenceMonitor`, by name.

        They are thresholds of the NLL or loss, by which a divergence of the training is detected.
        """

    def iterate(self) -> Iterator[Any]:
        """Yield the record of each iteration, without end, starting from the present state."""

    def set_rate(self, progress: float, backoff: float) -> None:
        """Set the size of the coming steps: tau (the trust region's size) or the learning rate.

        It depends on ``progress``, the fraction of the training that is done, and falls with
        ``backoff``, which is 1 at first and is halved by each rollback after a divergence.
        """

    def monitored_metric(self, record: Any) -> tuple[float, bool]:
        """Return the number by which divergence is detected, and whether log Z is a new estimate.

        The number, from the record of an iteration, is the batch's NLL (nats) or the loss.
        """

    def metrics(self, record: Any) -> dict[str, Any]:
        """Return the metrics of an iteration by name, for the file metrics.jsonl of a run."""

    def progress_line(self, record: Any, volume: float = 0.0) -> str:
        """Return a line of text with an iteration's main metrics, for a terminal.

        ``volume`` is subtracted from NLLs, see `noneq.data.Scaling.log_volume`.
        """

    def state_dict(self) -> dict[str, Any] | None:
        """Return the state after the last iteration as a dictionary; None before training."""

    def load_state_dict(self, saved: Mapping[str, Any] | None) -> None:
        """Set the state from a dictionary that `state_dict` returned, to continue training."""


def at_step(kernel: Kernel, h: float) -> Kernel:
    """Change the step size of an MCMC kernel to h.

    Returns:
        A copy of the kernel with this step size, or the kernel itself if it has none.
    """
    if isinstance(kernel, Refreshed):
        return replace(kernel, kernel=at_step(kernel.kernel, h))
    if not hasattr(kernel, "h"):
        return kernel
    changed: Kernel = replace(kernel, h=h)  # type: ignore[type-var]
    return changed


class LikelihoodLearner:
    """Trains the model in a `TrainingContext` by weighted maximum likelihood, `noneq.train`."""

    pretraining, origin = False, 0

    def __init__(self, context: TrainingContext) -> None:
        self.context = context
        self.trained: TrainState | None = None
        self.speed = 1.0  # factor of tau
        self.renewals = 0

    def divergence_thresholds(self) -> dict[str, Any]:
        """Return thresholds of the NLL, in nats, by which a divergence is detected, by name.

        ``base`` is the NLL of the energy that training starts from, ``margin`` a tolerance above
        it, and ``floor`` the least NLL that a model can have.
        """
        context, base = self.context, self.context.energy.base
        assert isinstance(base, Solvable)
        noise = context.recipe.train.noise
        rows = mean_energy(base, context.data[:5000], noise=noise, draws=1) + base.log_z()
        tolerance = 5 * float(rows.std()) / math.sqrt(context.recipe.train.batch)
        return {
            "base": float(rows.mean()),
            "margin": max(3.0, context.data[0].numel() / 20) + tolerance,
            "floor": 0.0 if isinstance(space_of(base), Discrete) else -math.inf,
        }

    def iterate(self) -> Iterator[Record]:
        """Yield the records of `noneq.train`, and keep the state of the latest one."""
        context, settings = self.context, self.context.recipe.train
        if settings.tau:
            settings = replace(settings, tau=settings.tau * self.speed)
        records = train(
            context.energy, context.data, settings,
            optimizer=context.optimizer, kernel=None if self.trained else context.kernel,
            rng=context.rng, resume=self.trained,
        )  # fmt: skip
        for record in records:
            self.trained = record.state
            self.renewals += bool(record.renewed)
            yield record

    def set_rate(self, progress: float, backoff: float) -> None:
        """Set tau, the size of the trust region, or without one the learning rate.

        Both fall with ``progress``, the fraction of the training that is done, and with
        ``backoff``, a factor that each rollback after a divergence halves.
        """
        recipe, trust = self.context.recipe, self.trained.trust if self.trained else None
        self.speed = recipe.train.speed(progress) * backoff
        if trust is not None:
            trust.tau = recipe.train.tau * self.speed
        if recipe.train.tau is None:
            set_learning_rate(self.context.optimizer, recipe.optimizer.lr * math.sqrt(self.speed))

    def monitored_metric(self, record: Observed) -> tuple[float, bool]:
        """Return an iteration's NLL in nats, and whether annealing estimated log Z anew."""
        assert isinstance(record, Record)
        return record.nll, bool(record.renewed)

    def metrics(self, record: Observed) -> dict[str, Any]:
        """Return metrics by name, e.g. ``nll`` (nats), ``ess`` (a fraction) and ``log_z``."""
        assert isinstance(record, Record)
        state, trust = record.state, record.state.trust
        return {
            "data_energy": record.data_energy, "walker_energy": record.data_energy - record.loss,
            "nll": record.nll, "ess": record.ess,
            "effective_ancestors": state.walkers.effective_ancestors,
            "resampled": state.walkers.weights.resampled, "acceptance": record.acceptance,
            "step_size": getattr(state.kernel, "h", math.nan), "faults": record.faults,
            "log_z": record.log_z.value, "log_z_held_out": record.log_z_held_out.value,
            "log_z_held_out_stderr": record.log_z_held_out.stderr,
            "scale": record.scale, "cost": record.cost, "tau": trust.tau if trust else math.nan,
            "redone": trust.redone if trust else 0, "renewed": record.renewed,
        }  # fmt: skip

    def progress_line(self, record: Observed, volume: float = 0.0) -> str:
        """Return a line of text with NLL, effective sample size, acceptance and step's cost."""
        assert isinstance(record, Record)
        trust, walkers = record.state.trust, record.state.walkers
        parts = [f"iteration {record.iteration}"]
        if record.nll == record.nll:
            parts.append(f"NLL ~ {record.nll - volume:.2f}")
        parts.append(f"ESS {record.ess:.2f}")
        if record.acceptance == record.acceptance:  # not NaN: the kernel accepts or rejects
            parts.append(f"accept {record.acceptance:.2f}")
        if trust is not None:
            parts.append(f"step cost {record.cost:.3f} (bound {2 * trust.tau:.3f})")
        parts += [f"renewals {self.renewals}"] if self.renewals else []
        parts.append(f"resampled {walkers.weights.resampled}")
        return ", ".join(parts)

    def state_dict(self) -> dict[str, Any] | None:
        """Return weighted samples, step size and trust region by name; None before training."""
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
        """Set the state from a dictionary that `state_dict` returned, on the data's device."""
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
