"""One run of log Z by noneq, by blackjax and by particles: a function of the seed.

What is the same and what is not is told in `experiments.log_z.smc_peers`. Importing this confines
the process to one core, before jax starts its threads.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import blackjax  # noqa: E402
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import particles  # noqa: E402
import torch  # noqa: E402
from particles import smc_samplers  # noqa: E402

import noneq  # noqa: E402
from experiments.log_z.targets import Target  # noqa: E402

__all__ = ["Run", "Setting", "blackjaxs", "ours", "random_walks", "schedule_of"]

vars(np)["float"] = float  # particles 0.3 still calls it so

Run = Callable[[int], float]  # a seed -> log Z


@dataclass(frozen=True)
class Setting:
    """What both libraries are told; ``leapfrog_steps`` 0 is MALA, ``ess`` 0 the frozen schedule.

    A finite ``friction`` keeps a part of the momentum from move to move: generalised HMC.
    """

    n: int
    temperatures: int
    moves: int
    leapfrog_steps: int = 0
    ess: float = 0.0
    friction: float = math.inf

    @property
    def name(self) -> str:
        """For people."""
        kernel = f"HMC {self.leapfrog_steps}" if self.leapfrog_steps else "MALA"
        kernel = kernel if math.isinf(self.friction) else f"GHMC {self.leapfrog_steps}"
        steps = f"ESS {self.ess}" if self.ess else f"{self.temperatures}"
        return f"{self.n} x {steps} x {self.moves} {kernel}"

    @property
    def target_accept(self) -> float:
        """Acceptance to steer to: noneq's defaults."""
        return 0.8 if math.isfinite(self.friction) else 0.65 if self.leapfrog_steps else 0.6

    def kernel(self, base: noneq.Gaussian) -> noneq.kernels.Repeat:
        """At first."""
        h = 1.3 * len(base.mean) ** (-1 / 3)
        move: noneq.MALA | noneq.HMC = noneq.MALA(h, base.factor)
        if self.leapfrog_steps:
            move = noneq.HMC(
                h / 2,
                base.factor,
                self.leapfrog_steps,
                self.friction,
                target_accept=self.target_accept,
            )
        return noneq.kernels.Repeat(move, self.moves)


def schedule_of(t: Target, setting: Setting) -> noneq.Schedule:
    """The temperatures and steps that both get."""
    rng = torch.Generator().manual_seed(1)
    found = noneq.pilot(t.path(), setting.kernel(t.base), rng, n=256)
    return found.resized(setting.temperatures)


def ours(t: Target, setting: Setting, schedule: noneq.Schedule | None) -> Run:
    """noneq, resampling where it does by itself; without a schedule the pilot is in the run."""
    path = t.compiled()

    def run(seed: int) -> float:
        rng = torch.Generator().manual_seed(seed)
        frozen = schedule or noneq.pilot(path, setting.kernel(path.start), rng, cess=setting.ess)
        walkers = noneq.Walkers.sample(path.start, setting.n, rng, islands=1)
        models = frozen.forward(path)
        return noneq.anneal(models, walkers, rng).log_z.value

    return run


def blackjaxs(t: Target, setting: Setting, schedule: noneq.Schedule | None) -> Run:
    """blackjax, one compiled program a run."""
    tilt, d, offset = t.tilt(jnp), t.dim, t.base.log_z()
    algorithm = blackjax.hmc if setting.leapfrog_steps else blackjax.mala
    step = algorithm.build_kernel()
    if setting.leapfrog_steps:
        one = jnp.ones(d)
        step = partial(step, inverse_mass_matrix=one, num_integration_steps=setting.leapfrog_steps)
    parts = (
        lambda z: -(z * z).sum() / 2,
        lambda z: -tilt(z),
        step,
        algorithm.init,
        blackjax.smc.resampling.systematic,
    )

    def size(h: Any) -> dict[str, Any]:
        return {"step_size": (jnp.sqrt(2 * h) if setting.leapfrog_steps else h)[None]}

    def start(key: Any) -> Any:
        state = blackjax.tempered_smc.init(jax.random.normal(key, (setting.n, d)))
        return state._replace(tempering_param=jnp.float32(0))

    def frozen(key: Any, betas: Any, steps: Any) -> Any:
        kernel = blackjax.tempered_smc.build_kernel(*parts)

        def body(state: Any, at: Any) -> Any:
            key, beta, h = at
            state, info = kernel(key, state, setting.moves, beta, size(h))
            return state, info.log_likelihood_increment

        first, key = jax.random.split(key)
        keys = jax.random.split(key, len(betas))
        return jax.lax.scan(body, start(first), (keys, betas, steps))[1].sum()

    def adaptive(key: Any) -> Any:
        kernel = blackjax.adaptive_tempered_smc.build_kernel(*parts, setting.ess)

        def body(at: Any) -> Any:
            state, key, h, log_z = at
            key, own = jax.random.split(key)
            state, info = kernel(own, state, setting.moves, size(h))
            accept = info.update_info.acceptance_rate.mean()
            h = h * jnp.exp((accept - setting.target_accept) / 2)
            return state, key, h, log_z + info.log_likelihood_increment

        first, key = jax.random.split(key)
        h = jnp.float32(1.3 * d ** (-1 / 3) / (2 if setting.leapfrog_steps else 1))
        at = (start(first), key, h, jnp.float32(0))
        return jax.lax.while_loop(lambda at: at[0].tempering_param < 1, body, at)[3]

    if schedule is None:
        program = jax.jit(adaptive)
    else:
        # it moves first and weighs then: a temperature's step goes with the one before
        steps = jnp.array([kernel.kernel.h for kernel in schedule.kernels[:-1]])
        program = jax.jit(partial(frozen, betas=jnp.array(schedule.betas[1:]), steps=steps))
    return lambda seed: float(program(jax.random.key(seed))) + offset


class Prior:
    """What particles wants of a base, N(0, scale^2)."""

    def __init__(self, dim: int, scale: float) -> None:
        self.dim, self.scale = dim, scale

    def rvs(self, size: int) -> Any:
        """Samples (size, d)."""
        return np.random.standard_normal((size, self.dim)) * self.scale  # noqa: NPY002

    def logpdf(self, x: Any) -> Any:
        """Up to its norm, which the base's log Z makes good."""
        return -((x / self.scale) ** 2).sum(-1) / 2


def random_walks(t: Target, chains: int) -> Run:
    """particles with its defaults: waste-free chains of 10 states, ESS 0.5."""
    formula, scale = t.formula(np), float(t.root[0, 0])

    class Bridge(smc_samplers.TemperingBridge):  # type: ignore[misc]
        def logtarget(self, theta: Any) -> Any:
            return -formula(theta)

    def run(seed: int) -> float:
        np.random.seed(seed)  # noqa: NPY002
        bridge = Bridge(base_dist=Prior(t.dim, scale))
        smc = particles.SMC(fk=smc_samplers.AdaptiveTempering(model=bridge), N=chains)
        smc.run()
        return float(smc.logLt) + t.base.log_z()

    return run
