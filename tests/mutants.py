"""Break each formula of the package and see whether the tests notice.

    python tests/mutants.py [-v] [word ...]

Every mutant whose name holds one of the words (all without words) is a copy of the package in a
temporary folder with one piece of source replaced. Its tests, the fast ones first, run there and
one must fail. Two things prove nothing: tests that fail on the package as it is (found in a first
run and left out) and a run that is out of time. Prints the verdict, with -v the failing test, and
the seconds; exit code 1 unless every mutant is killed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from bracket_mutants import BRACKETS
from data_mutants import DATA
from estimator_mutants import ESTIMATORS
from fault_mutants import FAULTS
from guard_mutants import GUARDS
from interpolant_mutants import INTERPOLANTS
from kernel_mutants import KERNELS

ROOT = Path(__file__).resolve().parent.parent
AT_ONCE = 2
SECONDS = 300  # a run that takes longer says nothing: it may be the machine


class Mutant(NamedTuple):
    """One mistake: in ``file`` the source ``old``, which occurs once, becomes ``new``."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    """``file.py`` or ``file.py::function`` in tests/; fast ones first"""


WALKERS, WEIGHTS, ENERGIES = "walkers.py", "weights.py", "energies.py"
GAUSSIANS = "gaussians.py"

ALGEBRA = ("test_walkers.py::test_any_sequence_of_events_is_the_ratio_of_path_densities",)
PERMUTES = ("test_walkers.py::test_resampling_permutes_everything_a_walker_owns",)
MEANS = ("test_walkers.py::test_resampling_keeps_every_islands_mean_weight",)
CHANGE = ("test_walkers.py::test_a_change_between_reweight_and_move_never_gives_a_wrong_weight",)
NAMED = ("test_walkers.py::test_a_kernel_that_returns_a_weight_that_is_none_is_named",)
DEAD = ("test_walkers.py::test_an_infinite_energy_is_weight_zero_for_ever",)
LETTER = ("test_algorithm1.py::test_algorithm_1_to_the_letter",)
WEIGHED = ("test_weights.py",)
JACKKNIFE = ("test_weights.py::test_jackknife_leaves_out_one_at_a_time",)
ENERGETIC = ("test_energies.py",)
FACTORS = ("test_covariance.py",)
ANNEALED = ("test_smc.py",)
CROOKS = ("test_figures.py::test_the_log_ratio_of_work_is_the_line_of_slope_one",)
LEARNED = ("test_adaptation.py",)
WORK = ("test_work.py",)
MIRROR = ("test_smc.py::test_the_way_back_is_the_mirror_image",)
CUSTOM = ("test_paths.py",)
AWAY = ("test_support.py",)
PACED = (
    "test_cli_interpolants.py::test_the_learning_rate_falls_along_a_cosine_and_caution_lowers_it",
)
MATCHED = ("test_cli_interpolants.py::test_score_matching_follows_its_own_gradient",)
NOT_TAKEN = ("test_cli_interpolants.py::test_what_an_interpolant_cannot_take",)
AS_MANY = ("test_cli_interpolants.py::test_as_many_steps_as_asked_for_or_as_the_recipe_says",)
RESUMED = ("test_session.py::test_a_resumed_session_has_the_same_bits",)
ROLLED = ("test_run.py::test_a_rollback_restores_the_last_checkpoint_with_half_the_tau",)
GIVEN_UP = ("test_run.py::test_it_gives_up_after_three_rollbacks_and_keeps_the_last_good_state",)
FULL = ("test_checkpoint.py::test_a_full_disk_leaves_the_old_checkpoint",)
EXACT = ("test_verdict.py::test_a_tilted_gaussian_is_bracketed_and_scored",)
CHAINS = ("test_sampling.py::test_chains_are_reweighted_from_the_last_parameters_to_the_average",)
BY_WEIGHT = ("test_sampling.py::test_ordinary_samples_are_drawn_by_weight",)
SIDES = ("test_verdict.py::test_the_larger_side_and_the_training_rows",)
FROZEN = ("test_interpolant_digits.py::test_a_timed_network_at_one_time_is_a_plain_one",)
SHOWN = ("test_pictures.py::test_samples_are_drawn_by_weight_beside_noisy_data",)
REWARDS, BRIDGES = "interpolants/rewards.py", "interpolants/bridges.py"
GAUSS_MOVED = ("test_rewards.py::test_a_gaussian_tilted_by_a_line_is_the_gaussian_moved",)
ANSWERS = (
    "test_rewards.py::test_the_drift_answers_as_that_of_another_end_would",
    "test_rewards.py::test_the_answer_is_finite_at_the_start_and_the_same_on_every_path",
)

FADED = ("test_memory.py::test_the_gradient_has_the_whole_weights_and_later_ones_a_part",)
MUTANTS = (
    *(
        Mutant(*mutant)
        for mutant in (
            *KERNELS, *INTERPOLANTS, *GUARDS, *BRACKETS, *FAULTS, *DATA, *ESTIMATORS,
        )
    ),
    # -- the walkers
    Mutant("prepared: a graph of other parameters", WALKERS,
           "if current and self._u is not None:", "if self._u is not None:", CHANGE),
    Mutant("reweight: a graph handed out twice", WALKERS,
           "return ready.detach(), ready._u", "return ready, ready._u",
           ("test_walkers.py::test_gradients_can_be_accumulated",)),
    Mutant("reweight: sign", WALKERS, "self.log_w + state.u - u",
           "self.log_w - state.u + u", ALGEBRA),
    Mutant("move: sign", WALKERS, "walkers.log_w + increment,",
           "walkers.log_w - increment,", ALGEBRA),
    Mutant("move: an exact kernel on a stale state", WALKERS,
           "self.reweight(energy) if aims and not leads else self", "self", ALGEBRA),
    Mutant("move: a stale kernel reweighted as well", WALKERS,
           "self.reweight(energy) if aims and not leads else self",
           "self.reweight(energy)", ALGEBRA + LETTER),
    Mutant("resample: the order forgotten", WALKERS, "if order is None:", "if True:",
           ("test_order.py",)),
    Mutant("resample: the line taken for the walkers", WALKERS,
           "drawn = line.gather(-1, scheme(p.gather(-1, line), rng))",
           "drawn = scheme(p.gather(-1, line), rng)", ("test_order.py",)),
    Mutant("resample: weights out of line", WALKERS,
           "line.gather(-1, scheme(p.gather(-1, line), rng))",
           "line.gather(-1, scheme(p, rng))", ("test_order.py",)),
    Mutant("anneal: stale moves resampled early", "smc.py", "or kernel.fresh else 0.5",
           "or kernel.fresh else 0.9", ("test_order.py",)),
    Mutant("anneal: walkers not lined up", "smc.py", ", order=ahead)", ")", ("test_order.py",)),
    Mutant("resample: energies left behind", WALKERS, "each(lambda t: t[index], self.state)",
           "each(lambda t: t[index], self.state)._replace(u=self.state.u)", PERMUTES),
    Mutant("resample: gradients left behind", WALKERS, "each(lambda t: t[index], self.state)",
           "each(lambda t: t[index], self.state)._replace(cache=self.state.cache)", PERMUTES),
    Mutant("resample: momenta left behind", WALKERS, "each(lambda t: t[index], self.state)",
           "each(lambda t: t[index], self.state)._replace(aux=self.state.aux)", PERMUTES),
    Mutant("resample: founders left behind", WALKERS,
           "founders=self.founders[index],", "founders=self.founders,", PERMUTES),
    Mutant("resample: the graph of the old order", WALKERS,
           "founders=self.founders[index],\n            _u=None,",
           "founders=self.founders[index],",
           ("test_walkers.py::test_a_graph_belongs_to_its_positions",)),
    Mutant("resample: the mean weight forgotten", WALKERS,
           "torch.where(low[:, None], mean[:, None], log_w)",
           "torch.where(low[:, None], 0.0, log_w)", MEANS),
    Mutant("resample: every island gets the mean of all", WALKERS,
           "mean = weights.log_mean_exp(log_w)\n        n =",
           "mean = weights.log_mean_exp(log_w.flatten()).expand(self.islands)\n        n =",
           MEANS),
    Mutant("resample: weights kept", WALKERS, "self._take(index), log_w=log_w, resampled",
           "self._take(index), resampled", MEANS),
    Mutant("resample: healthy islands too", WALKERS, "torch.where(low[:, None], mean[:, None],",
           "torch.where(low[:, None] | True, mean[:, None],",
           ("test_walkers.py::test_only_islands_below_the_threshold_are_resampled",)),
    Mutant("resample: islands mixed", WALKERS, "index = (chosen + offset).flatten()",
           "index = (chosen + offset.flip(0)).flatten()",
           ("test_walkers.py::test_islands_never_exchange_members",)),
    Mutant("log_z: mean of the islands' logs", WALKERS,
           "float(weights.log_mean_exp(each_island))", "float(each_island.mean())",
           ("test_walkers.py::test_log_z_is_the_mean_of_the_islands_not_of_their_logs",)),
    Mutant("log_z: not widened for few islands", WALKERS, "return LogZ(value, few *",
           "return LogZ(value, 1.0 *", ("test_walkers.py::test_log_z_is_the_mean_of_the_islands_"
                                      "not_of_their_logs",)),
    Mutant("log_z: standard error over walkers", WALKERS, "weights.jackknife(each_island)",
           "weights.jackknife(self.log_w)",
           ("test_walkers.py::test_log_z_is_the_mean_of_the_islands_not_of_their_logs",)),
    Mutant("log_z: the start forgotten", WALKERS,
           "value = self.log_z_start + float(", "value = float(",
           ("test_walkers.py::test_log_z_is_the_mean_of_the_islands_not_of_their_logs",)),
    Mutant("mean: without weights", WALKERS,
           "torch.tensordot(p.to(f.dtype), f, 1)", "f.mean(0)",
           ("test_walkers.py::test_mean_is_weighted_and_keeps_the_graph",)),
    Mutant("equal: without weights", WALKERS,
           "torch.multinomial(self.p,", "torch.multinomial(torch.ones_like(self.p),",
           ("test_walkers.py::test_equal_draws_by_weight",)),
    Mutant("survivors: heads, not mass", WALKERS, "index_add(0, self.founders, self.p)",
           "index_add(0, self.founders, torch.ones_like(self.p) / len(self))",
           ("test_walkers.py::test_survivors_counts_founders_by_mass",)),
    Mutant("faded: weights kept", WALKERS, "(memory * self.log_w)", "self.log_w.clone()",
           ("test_walkers.py::test_faded_walkers_forget_weights_and_log_z",)),
    Mutant("step: faded before the gradient", "training.py",
           "_gradient(energy, x, walkers, optimizer, weighted)",
           "_gradient(energy, x, walkers.faded(memory), optimizer, weighted)", FADED),
    Mutant("step: nothing fades", "training.py", "walkers.faded(memory).resample",
           "walkers.resample", FADED),
    Mutant("train: memory left out", "training.py", "memory=settings.memory,", "memory=1.0,",
           ("test_memory.py::test_training_with_no_memory_weighs_by_its_last_step_alone",)),
    Mutant("train: a machine's own walkers renewed", "training.py",
           "renewed, (held, _) = renew(energy, held, None, kernel, rng, steps)",
           "renewed, (walkers, held) = renew(energy, walkers, held, kernel, rng, steps)",
           ("test_rbm.py::test_of_a_machine_the_held_out_walkers_alone_are_renewed",)),
    Mutant("train: walkers that fade renewed", "training.py",
           " or (settings.weighted and settings.memory < 1)", "",
           ("test_memory.py::test_a_network_whose_weights_fade_has_its_held_out_walkers_renewed",)),
    Mutant("put: log Z known of a part that has forgotten", WALKERS,
           "self.log_z_start if part.log_z_start == self.log_z_start else math.nan",
           "self.log_z_start",
           ("test_walkers.py::test_faded_walkers_forget_weights_and_log_z",)),
    Mutant("session: another clock", "session.py", "self.seconds = before + self.clock() - start",
           "self.seconds = before + time.perf_counter() - start",
           ("test_session.py::test_a_session_keeps_time_by_the_clock_that_it_is_given",)),
    Mutant("verdict: worse by the side that is less kind", "verdict.py",
           "self.log_z - min(self.lower.value, self.upper.value)", "0.0",
           ("test_verdict.py::test_a_model_that_is_worse_than_its_base_went_wrong",)),
    Mutant("RBM: variances that are not learned", "rbm/rbms.py",
           "Normals(centre.flatten() * precision, precision)",
           "Normals(centre.flatten() * precision, precision.detach())",
           ("test_rbm.py::test_every_parameter_is_learned_by_the_derivative_of_the_energy",)),
    Mutant("faded: the dead revived", WALKERS, "log_w.isneginf()\n        log_w = ",
           "log_w.isnan()\n        log_w = ",
           ("test_walkers.py::test_faded_walkers_stay_dead",)),
    Mutant("freshness: parameters not looked at", WALKERS,
           "known = self._seen is not None and self._seen.same_parameters(seen.mark)",
           "known = self._seen is not None", CHANGE),
    Mutant("freshness: one temperature taken for another", WALKERS,
           "known and self._seen is not None and self._seen.model is energy",
           "known", ANNEALED),
    Mutant("freshness: never", WALKERS,
           "known and self._seen is not None and self._seen.model is energy",
           "False", ("test_walkers.py::test_nothing_is_evaluated_twice",)),
    Mutant("freshness: a stale move leaves the old mark", WALKERS,
           "_seen=walkers._seen if kernel.fresh else _Seen(energy, fingerprint(energy))",
           "_seen=walkers._seen", LETTER),
    Mutant("graph: an energy's space is lost", WALKERS, "self.space = space_of(energy)",
           "pass",
           ("test_algorithm1.py::"
            "test_a_kernel_that_keeps_the_graph_knows_the_energy_it_refuses",)),
    Mutant("put: the rest taken for fresh", WALKERS,
           "resampled=max(self.resampled, part.resampled),\n            _seen=None,",
           "resampled=max(self.resampled, part.resampled),\n            _seen=part._seen,",
           ("test_walkers.py::test_untouched_walkers_telescope",)),
    Mutant("put: resamplings of the part alone", WALKERS, "max(self.resampled, part.resampled)",
           "part.resampled", ("test_walkers.py::test_resamplings_are_counted",)),
    Mutant("put: cached gradients not put", WALKERS, "state=each(into, shared, part.state),",
           "state=each(into, shared, part.state)._replace(cache=shared.cache),",
           ("test_walkers.py::test_untouched_walkers_telescope",)),
    Mutant("reweight: the dead rise", WALKERS,
           "dead = self.state.u.isposinf() | self.log_w.isneginf()",
           "dead = torch.zeros_like(u, dtype=torch.bool)", DEAD),
    Mutant("reweight: a wall undoes a fault", WALKERS, "dead & (self.log_w < math.inf)", "dead",
           ("test_walkers.py::test_nan_and_minus_infinity_are_faults_that_are_counted",)),
    Mutant("mean: the dead counted", WALKERS,
           "if not bool(alive.all()):\n            p, f", "if False:\n            p, f", DEAD),
    Mutant("reweight: the dead in the gradient", WALKERS,
           "if bool(alive.all()):", "if True:",
           ("test_walkers.py::test_the_dead_do_not_poison_gradients",)),
    Mutant("move: the dead in the gradient of Algorithm 1", WALKERS,
           "u = walkers._without_dead(energy, u)", "pass",
           ("test_walkers.py::test_the_dead_do_not_poison_the_gradients_of_algorithm_1",)),
    Mutant("fault: the energy is to blame for the kernel", WALKERS,
           "(lost or self._moved.guilty())", "lost", NAMED),
    Mutant("fault: the energy is to blame for lost positions", WALKERS,
           "(lost or self._moved.guilty())", "self._moved.guilty()", NAMED),
    Mutant("fault: the kernel is to blame for the energy", WALKERS,
           "return bool((~(self.increment < math.inf) & known).any())",
           "return bool((~(self.increment < math.inf)).any())",
           ("test_walkers.py::test_nan_and_minus_infinity_are_faults_that_are_counted",)),
    Mutant("fault: the part's move forgotten", WALKERS, "_moved=part._moved", "_moved=None",
           NAMED),
    Mutant("start: the dead alive", WALKERS, "torch.where(u == math.inf, -math.inf, 0.0)",
           "torch.zeros_like(u)",
           ("test_walkers.py::test_a_start_that_is_not_finite_is_noticed",)),
    # -- functions of weights
    Mutant("log_mean_exp: a sum", WEIGHTS, " - math.log(log_w.shape[-1])", "", WEIGHED),
    Mutant("jackknife: the standard deviation of one", WEIGHTS, "math.sqrt((n - 1) / n)",
           "math.sqrt(1 / n)", JACKKNIFE),
    Mutant("jackknife: nobody left out", WEIGHTS, "torch.cat([log_w[..., 1:], none], -1)",
           "log_w", JACKKNIFE),
    Mutant("jackknife: only those before", WEIGHTS, "t = torch.logaddexp(before, after)",
           "t = before", JACKKNIFE),
    Mutant("ess: wrong power", WEIGHTS, "normalise(log_w).square().sum(-1)",
           "normalise(log_w).pow(3).sum(-1)", WEIGHED),
    Mutant("conditional_ess: without p", WEIGHTS, "log_p = log_w.double().log_softmax(-1)",
           "log_p = (0 * log_w.double()).log_softmax(-1)", WEIGHED),
    Mutant("conditional_ess: upside down", WEIGHTS,
           "(2 * (log_p + d).logsumexp(-1) - (log_p + 2 * d).logsumexp(-1)).exp()",
           "((log_p + 2 * d).logsumexp(-1) - 2 * (log_p + d).logsumexp(-1)).exp()", WEIGHED),
    Mutant("resampling: side left", WEIGHTS, "torch.searchsorted(cumulative, u, right=True)",
           "torch.searchsorted(cumulative, u, right=False)",
           ("test_weights.py::test_the_ends_of_the_unit_interval",)),
    Mutant("resampling: not divided by the last sum", WEIGHTS,
           "cumulative = cumulative / cumulative[..., -1:]", "cumulative = cumulative.clone()",
           WEIGHED),
    Mutant("systematic: no offset", WEIGHTS, "(_rungs(p) + _uniform(p, 1, rng)) / n",
           "(_rungs(p) + 0 * _uniform(p, 1, rng)) / n", WEIGHED),
    Mutant("systematic: offset of the wrong length", WEIGHTS,
           "(_rungs(p) + _uniform(p, 1, rng)) / n", "(_rungs(p) + _uniform(p, 1, rng) / n) / n",
           WEIGHED),
    Mutant("stratified: one uniform for all", WEIGHTS, "(_rungs(p) + _uniform(p, n, rng)) / n",
           "(_rungs(p) + _uniform(p, 1, rng)) / n", WEIGHED),
    Mutant("residual: rounded", WEIGHTS, "copies = (expected * (1 + 1e-12)).floor()",
           "copies = expected.round()", WEIGHED),
    Mutant("residual: the rest drawn from all", WEIGHTS,
           "rest = (expected - copies).clamp(min=0.0)",
           "rest = expected", WEIGHED),
    # -- factors
    Mutant("Cholesky: transposes swapped", "covariance.py",
           "linear(v.flatten(1), self.root)", "(v.flatten(1) @ self.root)", FACTORS),
    Mutant("Cholesky: inverse transposed", "covariance.py",
           "linear(v.flatten(1), self.inverse)", "(v.flatten(1) @ self.inverse)", FACTORS),
    Mutant("LowRank: the stretch not a root", "covariance.py",
           "(1 + singular.square()).sqrt()", "(1 + singular.square())", FACTORS),
    Mutant("LowRank: log det without the stretch", "covariance.py",
           " + self.stretch.double().log().sum()", "", FACTORS),
    # -- energies
    Mutant("Gaussian: log Z without log det", GAUSSIANS,
           "return d / 2 * math.log(2 * math.pi) + self.factor.log_det(d)",
           "return d / 2 * math.log(2 * math.pi)", ENERGETIC),
    Mutant("Gaussian: gradient twice", GAUSSIANS, '{"g": self.factor.t_solve(z)}',
           '{"g": 2 * self.factor.t_solve(z)}', ENERGETIC),
    Mutant("Gaussian: gradient by the wrong root", GAUSSIANS, '{"g": self.factor.t_solve(z)}',
           '{"g": self.factor.solve(z)}', ENERGETIC),
    Mutant("Gaussian: samples by the wrong root", GAUSSIANS, "self.mean + self.factor.mul(xi)",
           "self.mean + self.factor.t_mul(xi)", ENERGETIC),
    Mutant("mixture: norms with the wrong sign", GAUSSIANS,
           "self.log_masses - self.log_norms", "self.log_masses + self.log_norms", ENERGETIC),
    Mutant("Tilted: gradient without the base", ENERGIES,
           "{k: base[k] + tilt[k] for", "{k: tilt[k] for", ENERGETIC),
    Mutant("path: reversed", ENERGIES, '_plus(ends["u0"], self.beta, ends["du"])',
           '_plus(ends["u0"], 1 - self.beta, ends["du"])', ANNEALED),
    Mutant("path: gradient of the end", ENERGIES, '_plus(ends["g0"], self.beta, ends["dg"])',
           'ends["g0"] + ends["dg"]',
           ("test_smc.py::test_a_path_is_the_weighted_mean_of_its_ends",)),
    Mutant("path: any tilted end shares the base", ENERGIES,
           "isinstance(end, Tilted) and end.base is start", "isinstance(end, Tilted)",
           ("test_smc.py::test_a_path_is_the_weighted_mean_of_its_ends",)),
    Mutant("path: one mark for all", ENERGIES, "-1 - next(_paths)", "-1",
           ("test_smc.py::test_a_new_path_after_an_update_is_not_taken_for_the_old_one",)),
    Mutant("fingerprint: places forgotten", ENERGIES,
           "mixed = bits * places", "mixed = bits.clone()", CHANGE),
    Mutant("wall: 0 x inf at infinite temperature", ENERGIES,
           "0.0 * u.nan_to_num(nan=0.0, posinf=0.0)", "0.0 * u",
           ("test_energies.py::test_infinite_temperature_of_a_hard_wall",
            "test_energies.py::test_a_path_to_a_hard_wall",
            "test_smc.py::test_a_hard_wall_can_be_annealed_to")),
    Mutant("path: a tiny beta rounded to 0", ENERGIES,
           "alpha=max(beta, torch.finfo(u.dtype).tiny)", "alpha=beta",
           ("test_energies.py::test_a_path_to_a_hard_wall",)),
    Mutant("wall: the pilot does not step over it", "smc.py",
           "max(low, beta + 1e-6)", "max(low, beta)",
           ("test_smc.py::test_a_hard_wall_can_be_annealed_to",)),
    # -- annealing
    Mutant("schedule: backward with the next kernel", "schedules.py",
           "self.kernels[:0:-1], strict", "self.kernels[-2::-1], strict", MIRROR),
    Mutant("schedule: backward leaves before it moves", "schedules.py",
           "yield model, _mirrored(moves)", "yield path.at(beta), _mirrored(moves)", MIRROR),
    Mutant("schedule: the start forgotten on the way back", "schedules.py",
           "yield model, None", "return", MIRROR),
    Mutant("schedule: chains backward in the same order", "schedules.py",
           "in kernel.kernels[::-1]", "in kernel.kernels",
           ("test_smc.py::test_a_chain_is_mirrored_part_by_part",)),
    Mutant("anneal: no kernel means no temperature", "smc.py",
           "for model, kernel in models:\n", "for model, kernel in (m for m in models if m[1]):\n",
           ("test_smc.py::test_annealing_backwards_gives_the_inverse_ratio", *CUSTOM)),
    Mutant("schedule: full steps only", "smc.py", ".resized(temperatures).cycled()",
           ".resized(temperatures)",
           ("test_likelihood.py::test_a_sharp_mode_without_data_never_goes_unnoticed",
            )),
    Mutant("schedule: the cycle ends with a short step", "schedules.py",
           "turn = [(len(self) - i)", "turn = [(len(self) + 1 - i)",
           ("test_smc.py::test_a_cycle_of_steps_ends_with_the_full_one",)),
    Mutant("pilot: sign of the change", "smc.py", 'change = -walkers.state.cache["du"]',
           'change = walkers.state.cache["du"]', ANNEALED),
    Mutant("pilot: on another path as far as the first trial", "smc.py",
           "while left(high) >= cess:", "while high == 1.0 and left(high) >= cess:", CUSTOM),
    Mutant("pilot: on another path the start's energies", "smc.py",
           "_left(walkers, tried.log_w - walkers.log_w)",
           "_left(walkers, tried.log_w)", CUSTOM),
    Mutant("pilot: steps not tuned", "smc.py",
           "given(kernel.tune(walkers.info), walkers)\n        kernels.append",
           "given(kernel, walkers)\n        kernels.append",
           ("test_smc.py::test_pilot_tunes_the_kernel",)),
    Mutant("adaptation: weights forgotten", "adaptation.py", "(v * p[:, None]).T @ v",
           "v.T @ v / len(v)", LEARNED),
    Mutant("adaptation: variances without weights", "adaptation.py",
           "now = v.square().mul(_column(p, x)).sum(0)", "now = v.square().mean(0)", LEARNED),
    Mutant("adaptation: the mean without weights", "adaptation.py",
           "x - (_column(p, x) * x).sum(0)", "x - x.mean(0)", LEARNED),
    Mutant("adaptation: does not lean on the old", "adaptation.py",
           "Learned(share * self.c + (1 - share) * now", "Learned(now", LEARNED),
    Mutant("adaptation: the variances as scales", "adaptation.py",
           "Diagonal(self.c.sqrt(), dtype)", "Diagonal(self.c, dtype)", LEARNED),
    Mutant("pilot: the first preconditioner for ever", "smc.py",
           "self.learned = self.learned.follow(x, p)", "pass", LEARNED),
    Mutant("Repeat: preconditioner not passed on", "kernels/compose.py",
           "Repeat(self.kernel.preconditioned(factor), self.times)", "self", LEARNED),
    # -- work
    Mutant("bennett: sides of one size", "work.py", "m = math.log(len(a) / len(b))", "m = 0.0",
           WORK),
    Mutant("bennett: sizes the wrong way round", "work.py", "m = math.log(len(a) / len(b))",
           "m = math.log(len(b) / len(a))", WORK),
    Mutant("bennett: sign of the backward work", "work.py",
           '-_log_weights(backward, "backward")', '_log_weights(backward, "backward")', WORK),
    Mutant("bennett: the start forgotten", "work.py", "LogZ(start + c", "LogZ(c", WORK),
    Mutant("bennett: error of one side", "work.py", "1 / share - 1 / len(side)",
           "(1 / share - 1 / len(side)) * (side is a)", WORK),
    Mutant("bennett: error as of independent sums", "work.py", "1 / share - 1 / len(side)",
           "1 / share", WORK),
    Mutant("bennett: resampled walkers", "work.py", "if side.resampled:", "if False:", WORK),
    Mutant("lineages: coalesced ones", "work.py", "if known else math.nan", "", WORK),
    Mutant("lineages: without the mean", "work.py", "1 / walkers.survivors - islands / n",
           "1 / walkers.survivors", WORK),
    Mutant("lineages: the islands as one", "work.py", "1 / walkers.survivors - islands / n",
           "1 / walkers.survivors - 1 / n", WORK),
    Mutant("survivors: a part counts on the whole", WALKERS, "1 + int(self.founders.max())",
           "len(self)", ("test_walkers.py::test_a_part_of_the_walkers_counts_its_own_founders",)),
    Mutant("crooks figure: sign of the backward work", "figures/work.py",
           '-_work(backward_work, "backward")', '_work(backward_work, "backward")', CROOKS),
    Mutant("crooks figure: the ratio of counts", "figures/work.py",
           "np.log(f[known] / len(there)) - np.log(b[known] / len(back))",
           "np.log(f[known]) - np.log(b[known])", CROOKS),
    Mutant("crooks figure: a line through -dF", "figures/work.py",
           "ends + log_ratio", "ends - log_ratio", CROOKS),
    # -- likelihood
    Mutant("log_z: the base's mass behind a wall", "bracket.py",
           "start.log_z() + reach.value", "start.log_z()",
           ("test_likelihood.py::test_an_energy_that_is_inf_behind_a_wall_is_none",)),
    Mutant("log_z: sign of the backward side", "bracket.py",
           "reach.value - ratio.value", "reach.value + ratio.value",
           ("test_likelihood.py::test_benign_targets_ring_no_alarm_and_are_bracketed",)),
    Mutant("log_z: the smaller side", "estimate.py",
           "return max(self.lower.value, self.upper.value)",
           "return min(self.lower.value, self.upper.value)",
           ("test_likelihood.py::test_the_value_is_the_larger_side_with_its_own_error",)),
    Mutant("log_z: backward from the data alone", "bracket.py",
           "torch.cat([data[rows].to(arrived.dtype), half])",
           "data[rows].repeat(2, *[1] * (data.dim() - 1)).to(arrived.dtype)",
           ("test_smc.py::test_backward_chains_start_half_from_data_half_from_the_model",)),
    Mutant("log_z: forward walkers start backward without their weights", "bracket.py",
           ".resample(1.0, rng).x\n    if data", ".x\n    if data",
           ("test_smc.py::test_backward_chains_start_half_from_data_half_from_the_model",)),
    Mutant("nll: sign of log Z", "likelihood.py", "float(u.mean()) + z.value",
           "float(u.mean()) - z.value",
           ("test_likelihood.py::test_nll_of_gaussian_data_under_a_gaussian_is_the_cross_entropy",
            )),
    Mutant("alarms: the sides may cross", "alarms.py",
           "if -gap > max(0.1, min(4 * stderr, 0.3)):", "if False:",
           ("test_likelihood.py::test_alarm_sides_cross",)),
    Mutant("alarms: the sides may differ", "alarms.py",
           "if gap > max(0.1, min(3 * stderr, 0.3)):", "if False:",
           ("test_likelihood.py::test_alarm_sides_differ",)),
    Mutant("alarms: not for the energies of the halves", "alarms.py",
           "u = equilibrium.double()", "u = 0 * equilibrium.double()",
           ("test_likelihood.py::test_alarm_energies_of_the_halves",)),
    Mutant("alarms: not for log Z of the halves", "alarms.py",
           "z = log_mean_exp(backward.log_w", "z = log_mean_exp(0 * backward.log_w",
           ("test_likelihood.py::test_alarm_log_z_of_the_halves",)),
    Mutant("alarms: not for the spread of the islands", "alarms.py",
           "if spread > 1:", "if False:",
           ("test_likelihood.py::test_alarm_islands_and_founders",)),
    Mutant("alarms: not for few founders", "alarms.py",
           "if forward.survivors < 2 * forward.islands:", "if False:",
           ("test_likelihood.py::test_alarm_islands_and_founders",)),
    Mutant("log_z: the fitted base lacks the noise", "bracket.py",
           "Gaussian.fit(data, noise=noise)", "Gaussian.fit(data)",
           ("test_likelihood.py::test_the_fitted_base_has_the_datas_noise",)),
    Mutant("log_z: an infinite Z is not told", "bracket.py",
           "first_of_all = (far.alarm, ", "first_of_all = (None, ",
           ("test_tails.py::test_walkers_that_stay_see_no_infinity_but_the_first_alarm_does",)),
    # -- mass away from the data
    Mutant("mass away: weights forgotten", "support.py", "away = (p * away.view_as(p))",
           "away = (away.view_as(p) / p.numel())", AWAY),
    Mutant("mass away: one row too many", "support.py", "expected = 1 - k / (len(b) + 1)",
           "expected = 1 - k / len(b)", AWAY),
    Mutant("mass away: rows compared with themselves", "support.py",
           "threshold = nearest(b, a)", "threshold = nearest(b, rows)", AWAY),
    Mutant("mass away: rows in the order they come", "support.py",
           "rows = data[torch.rand(len(data), generator=rng, device=data.device).argsort()]",
           "rows = data", AWAY),
    Mutant("mass away: each island counts the same", "support.py",
           "(away - value * p.sum(1)).square()", "(away / p.sum(1) - value).square()", AWAY),
    Mutant("mass away: the threshold is exact", "support.py",
           "variance += expected * (1 - expected) / len(b)", "pass", AWAY),
    Mutant("mass away: squares about the origin", "support.py",
           "centre = rows.mean(0)", "rows = rows.float(); centre = 0 * rows.mean(0)", AWAY),
    # -- training
    Mutant("trust region: scale without the root", "trust.py",
           "math.sqrt(tau) / (self._length * lr)", "tau / (self._length * lr)",
           ("test_trust.py::test_no_step_costs_more_than_twice_tau_whatever_the_learning_rate",)),
    Mutant("trust region: no limit to the length", "trust.py",
           "min(guess, self._limit(old, full))", "guess",
           ("test_trust.py::test_no_step_is_longer_than_a_fraction_of_the_parameters",)),
    Mutant("trust region: parameters at zero stay there", "trust.py",
           "theta.clamp(min=1.0)", "theta",
           ("test_trust.py::test_parameters_that_start_at_zero_do_move",)),
    Mutant("trust region: length without the root", "trust.py",
           "length = math.sqrt(max(cost, 1e-12)) / (scale * lr)",
           "length = max(cost, 1e-12) / (scale * lr)",
           ("test_trust.py::"
            "test_once_predicted_the_path_does_not_depend_on_the_learning_rate",)),
    Mutant("trust region: prediction without the learning rate", "trust.py",
           "math.sqrt(tau) / (self._length * lr)", "math.sqrt(tau) / self._length",
           ("test_trust.py::test_a_learning_rate_schedule_multiplies_the_length_at_once",)),
    Mutant("trust region: nothing redone", "trust.py",
           "math.isfinite(cost) and cost <= 2 * tau", "math.isfinite(cost)",
           ("test_trust.py::test_no_step_costs_more_than_twice_tau_whatever_the_learning_rate",)),
    Mutant("trust region: a rate lowered by hand goes unseen", "trust.py",
           "self._top = max(self._top, lr,", "self._top = max(lr,",
           ("test_trust.py::test_a_rate_lowered_by_hand_shortens_the_steps",)),
    Mutant("trust region: walkers that lag", "trust.py",
           "            walkers = walkers.reweight(energy)\n\n            def", "            def",
           ("test_trust.py::test_walkers_that_lag_are_brought_up_first",)),
    Mutant("trust region: schedule of the cost, not the length", "trust.py",
           "self.tau * (lr / self._top) ** 2", "self.tau * (lr / self._top)",
           ("test_trust.py::test_a_learning_rate_schedule_multiplies_the_length",)),
    Mutant("trust region: parameters left where they failed", "trust.py",
           "_place(parameters, old, None, 0.0)", "pass",
           ("test_trust.py::test_no_step_that_leaves_the_walkers_finite",)),
    Mutant("training: sign of the walkers", "training.py",
           "(data_energy - walker_energy).backward()",
           "(data_energy + walker_energy).backward()", LETTER),
    Mutant("training: walkers without weights", "training.py",
           "energy(x).mean(), walkers.mean(u)", "energy(x).mean(), u.mean()", LETTER),
    Mutant("training: Algorithm 1 moves before the step", "training.py",
           "        optimizer.step()\n        walkers = advance(walkers) if advance else walkers",
           "        walkers = advance(walkers) if advance else walkers\n        optimizer.step()",
           LETTER),
    Mutant("training: new noise for a step redone", "training.py",
           "        rng.set_state(noise)\n", "",
           ("test_training.py::test_a_redone_stale_step_has_the_same_noise",)),
    Mutant("training: always resampled", "training.py",
           ".faded(memory).resample(ess_min, rng)", ".faded(memory).resample(1.0, rng)",
           LETTER),
    Mutant("training: held-out log Z of the others", "training.py",
           "held.log_z if held else unknown", "state.walkers.log_z if held else unknown",
           ("test_algorithm1.py::test_the_held_out_log_z_is_that_of_the_held_out_walkers",)),
    Mutant("training: held-out walkers feed the gradient", "training.py",
           "walkers, kernel = state.walkers, Repeat(",
           "walkers, kernel = state.held_out or state.walkers, Repeat(",
           ("test_training.py::test_held_out_walkers_never_touch_the_parameters",)),
    Mutant("training: the light ones move", "training.py",
           "order = torch.rand(len(walkers), generator=rng, device=x.device).argsort()",
           "order = walkers.log_w.argsort()",
           ("test_algorithm1.py::test_who_moves_does_not_depend_on_the_weights",)),
    Mutant("training: noise of half the size", "data/noise.py",
           "return x + noise * xi", "return x + noise * xi / 2",
           ("test_training.py::test_noise_is_drawn_afresh_for_every_batch",)),
    Mutant("training: every renewal accepted", "renewal.py",
           "not new.survivors > walkers.survivors or", "False or",
           ("test_training.py::test_renewal_is_refused_where_fewer_founders_survive",)),
    Mutant("renewal: mass lost unseen", "renewal.py",
           "return new.log_z.value < value - noise", "return False",
           ("test_rbm_paths.py::test_renewal_that_misses_a_mode_is_refused_although_more_founders"
            "_survive",)),
    Mutant("renewal: held-out walkers not asked", "renewal.py",
           "_lost(new, held_out or walkers)", "_lost(new, walkers)",
           ("test_rbm_paths.py::test_renewal_that_misses_a_mode_is_refused_although_more_founders"
            "_survive",)),
    Mutant("renewal: straight where a path was given", "renewal.py",
           "path = energy if isinstance(energy, Path) else path_to(energy, base)",
           "path = path_to(getattr(energy, 'legs', [0])[-1].end, base) "
           "if isinstance(energy, Path) else path_to(energy, base)",
           ("test_rbm_paths.py::test_renewal_through_its_own_models_keeps_a_mode_that_the_straight"
            "_path_loses",)),
    Mutant("through models: a leg begins where it ends", "paths.py",
           "return self.legs[leg].at(along - leg)",
           "return self.legs[leg].at(1 - (along - leg))",
           ("test_rbm_paths.py::test_a_path_through_models_meets_each_of_them",)),
    Mutant("through models: the first is skipped", "paths.py",
           "self.legs: tuple[Path, ...] = (path_to(models[0], base), *between)",
           "self.legs: tuple[Path, ...] = (path_to(models[-1], base), *between)",
           ("test_rbm_paths.py::test_a_path_through_models_meets_each_of_them",)),
    Mutant("training: weights kept in contrastive divergence", "training.py",
           "if not weighted:", "if False:",
           ("test_training.py::test_without_weights_the_gradient_is_a_plain_mean",)),
    # -- walkers, trust regions and sessions that are put away and taken up again
    Mutant("restored: walkers that lag are taken for current", WALKERS,
           '"current": self._compare(energy)[2]}', '"current": True}',
           ("test_walkers.py::test_walkers_that_lag_come_back_lagging",)),
    Mutant("restored: current walkers are evaluated again", WALKERS,
           'if saved["current"] else None', "if False else None",
           ("test_walkers.py::test_current_walkers_come_back_and_nothing_is_evaluated_again",)),
    Mutant("restored: walkers without their log-weights", WALKERS,
           'return cls(**{**own, "state": State(**own["state"])}, _seen=seen)',
           'own["log_w"] = 0 * own["log_w"]\n'
           '        return cls(**{**own, "state": State(**own["state"])}, _seen=seen)',
           ("test_walkers.py::test_current_walkers_come_back_and_nothing_is_evaluated_again",)),
    Mutant("restored: resamplings not counted on", WALKERS,
           "log_w=log_w, resampled=self.resampled + 1)", "log_w=log_w, resampled=1)",
           ("test_walkers.py::test_resamplings_are_counted",)),
    Mutant("restored: optimiser left out", "session.py",
           'self.optimizer.load_state_dict(saved["optimizer"])', "pass", RESUMED),
    Mutant("restored: random numbers left out", "session.py",
           'self.rng.set_state(saved["rng"])', "pass", RESUMED),
    Mutant("restored: held-out walkers left out", "learners.py",
           "None if held is None else Walkers.from_state_dict(held, energy),", "None,", RESUMED),
    Mutant("restored: step size as the recipe starts it", "learners.py",
           'at_step(self.task.kernel, saved["step_size"])', "self.task.kernel", RESUMED),
    Mutant("command line: greys pass for bits", "data/scaling.py", "if len(other):", "if False:",
           ("test_cli_machines.py::test_what_a_machine_cannot_take",)),
    Mutant("score: greys pass for bits", "scores.py", "check_states(energy, x)", "pass",
           ("test_cli_machines.py::test_what_a_machine_cannot_take",)),
    Mutant("machine: its biases decay", "models.py", '"weight_decay": 0.0',
           '"weight_decay": decay',
           ("test_cli_machines.py::test_only_the_weights_of_a_machine_decay",)),
    Mutant("renewal: with nobody held out", "training.py",
           "if settings.restart or (_held_out_alone(energy, settings) and not settings.held_out):",
           "if settings.restart:",
           ("test_rbm.py::test_conditionals_without_held_out_walkers_need_no_base",)),
    Mutant("momentum: never given", "kernels/usual.py", "if isinstance(kernel, MALA):",
           "if False:", ("test_smc.py::test_annealing_without_a_kernel_keeps_momenta",)),
    Mutant("filters: the weakest", "figures/filters.py", "np.argsort(-np", "np.argsort(np",
           ("test_figures.py::test_filters_are_the_strongest_columns_in_order",)),
    Mutant("restored: trust region without its memory", "learners.py",
           'trust.load_state_dict(saved["trust"])',
           'trust.load_state_dict({**saved["trust"], "_length": None})', RESUMED),
    Mutant("restored: average left out", "session.py",
           'self._average.load_state_dict(saved["average"])', "pass", RESUMED),
    Mutant("restored: watch left out", "session.py",
           'self.watch = Watch(**saved["watch"])', "pass", RESUMED),
    # -- a session
    Mutant("nll: of rows between the states", "likelihood.py",
           "check_states(energy, data, noise=noise)\n    _check_owner", "_check_owner",
           ("test_rbm_paths.py::test_rows_between_the_states_are_refused_wherever_they_are_given",)),
    Mutant("resumed: on rows between the states", "training.py",
           "check_states(energy, data, noise=settings.noise)", "pass",
           ("test_rbm_paths.py::test_rows_between_the_states_are_refused_wherever_they_are_given",)),
    Mutant("watch: probabilities above 1", "session.py",
           "self.mean < self.floor - self.margin", "False",
           ("test_session.py::test_the_watch_knows_that_a_probability_is_at_most_1",)),
    Mutant("sweep: in mixed precision", "kernels/gibbs.py",
           "with without_autocast(state.x):", "if True:",
           ("test_rbm.py::test_mixed_precision_is_off_where_a_machine_moves",)),
    Mutant("slope: in mixed precision", "energies.py",
           "with without_autocast(x):  # a kernel", "if True:  # a kernel",
           ("test_rbm.py::test_mixed_precision_is_off_where_a_machine_moves",)),
    Mutant("session: decay of the average swapped", "averaging.py",
           "tuple(now), 1 - d)", "tuple(now), d)",
           ("test_session.py::test_the_average_is_the_exponential_one",)),
    Mutant("session: tau does not fall", "learners.py",
           "self.fall = recipe.fall(progress) * caution", "self.fall = caution",
           ("test_session.py::test_tau_falls_and_caution_lowers_it",)),
    Mutant("session: caution ignored", "learners.py",
           "self.fall = recipe.fall(progress) * caution", "self.fall = recipe.fall(progress)",
           ("test_session.py::test_tau_falls_and_caution_lowers_it", *ROLLED)),
    Mutant("watch: a renewal is no new beginning", "session.py",
           "self.seen, self.best = 0, math.inf", "pass",
           ("test_session.py::test_the_watch_knows_that_a_renewal_corrects_log_z",)),
    # -- interpolants from the command line
    Mutant("matching: the learning rate does not fall", "learners.py",
           "(1 + math.cos(math.pi * min(progress, 1.0))) / 2", "1.0", PACED),
    Mutant("matching: caution ignored", "learners.py", "rate * caution)", "rate)", PACED),
    Mutant("matching: counted from 0 when resumed", "learners.py",
           "done=self.trained.iteration if self.trained else 0", "done=0",
           ("test_cli_interpolants.py::test_a_resumed_session_has_the_same_bits",)),
    Mutant("matching: divergence not watched", "learners.py", "return event.loss, False",
           "return math.nan, False",
           ("test_cli_interpolants.py::"
            "test_score_matching_that_diverges_goes_back_and_gives_up",)),
    Mutant("match: gradients add up", "interpolants/matching.py",
           "optimizer.zero_grad(set_to_none=True)", "pass", MATCHED),
    Mutant("match: a loss that is none goes on", "interpolants/matching.py",
           "if not math.isfinite(value):", "if False:",
           ("test_cli_interpolants.py::test_a_loss_that_is_none_changes_nothing",)),
    Mutant("interpolant: bits pass", "models.py", "_refuse_bits(train)", "pass", NOT_TAKEN),
    Mutant("interpolant: no noise passes", "recipe.py",
           'if self.model == "interpolant" and not self.noise > 0:', "if False:", NOT_TAKEN),
    Mutant("interpolant: steps as the recipe says", "models.py", "steps = steps or recipe.steps",
           "steps = recipe.steps", AS_MANY),
    Mutant("interpolant: corrections left out", "models.py", "if not recipe.corrections:",
           "if True:", AS_MANY),
    Mutant("tuned: never", "smc.py",
           "kernel = kernel.tune(walkers.info)\n        kernels.append", "kernels.append",
           AS_MANY),
    Mutant("tuned: kernels of the warm-up", "smc.py", "tuple(kernels[warmup:])",
           "tuple(kernels[: len(models)])", ANNEALED),
    # -- checkpoints
    Mutant("checkpoint: written in place", "checkpoint.py",
           "            part.write_bytes(content)",
           "            path.write_bytes(content)\n            part.write_bytes(content)", FULL),
    Mutant("checkpoint: old tensors deleted first", "checkpoint.py",
           "        save_tensors(folder / name, tensors)\n",
           '        [old.unlink() for old in folder.glob("tensors-*")]\n'
           "        save_tensors(folder / name, tensors)\n", FULL),
    Mutant("checkpoint: half-written files stay", "checkpoint.py",
           "            part.unlink(missing_ok=True)\n    try:", "            pass\n    try:",
           ("test_checkpoint.py::test_what_a_killed_process_left_half_written_is_swept",)),
    Mutant("checkpoint: a pickle is not told", "checkpoint.py",
           'if head == b"PK" or head[:1] == b"\\x80":', "if False:",
           ("test_checkpoint.py::test_a_pickle_is_never_loaded",)),
    Mutant("checkpoint: tensors outside the folder", "checkpoint.py",
           'Path(found["tensors"]).name, found', 'found["tensors"], found',
           ("test_checkpoint.py::test_a_checkpoint_cannot_point_outside_its_folder",)),
    # -- a run
    Mutant("run: raw parameters kept as the model", "run.py",
           "session.average, session.kernel,", "session.energy, session.kernel,", GIVEN_UP),
    Mutant("run: a rollback restores nothing", "run.py",
           'self.restore(session, "good")', "pass", ROLLED),
    Mutant("run: a rollback keeps its tau", "run.py",
           "before if last else caution", "before", ROLLED),
    Mutant("run: a rollback gives the time back", "run.py",
           "        session.seconds = spent  #", "        #", ROLLED),
    Mutant("run: the end of the tries forgets them", "run.py",
           "before if last else caution", "1.0 if last else caution", GIVEN_UP),
    Mutant("run: a rollback is not saved", "run.py",
           "        self.save(session)\n        if last", "        if last", ROLLED),
    Mutant("run: metrics of what was rolled back stay", "run.py",
           "        self.metrics.trim(session.iteration, before)\n        back", "        back",
           ("test_run.py::test_metrics_of_what_was_rolled_back_are_forgotten",)),
    Mutant("run: good states of what is unhealthy", "run.py",
           "% GOOD == 0 and session.watch.healthy:", "% GOOD == 0:",
           ("test_run.py::test_no_good_state_while_the_watch_is_unhealthy",)),
    Mutant("run: back to the last checkpoint", "run.py", 'self.restore(session, "good")',
           "self.restore(session)",
           ("test_run.py::test_good_states_are_counted_in_iterations",)),
    Mutant("run: a fourth rollback", "run.py", "caution < 2.0**-TRIES", "caution < 0.5**9",
           GIVEN_UP),
    Mutant("run: resumed with other data", "run.py", 'if data.digest != own["digest"]:',
           "if False:", ("test_run.py::test_a_run_takes_no_other_data",)),
    Mutant("run: the lock outlives an error", "guard.py", "    with ExitStack() as held:",
           "    Timeout.kept = held = ExitStack()\n    if held:",
           ("test_guard.py::test_a_lock_is_released_after_an_error",)),
    Mutant("run: handlers stay", "signals.py", "signal.signal(number, handler_before)",
           "pass", ("test_guard.py::test_handlers_are_restored",)),
    Mutant("run: exit code 0 after a signal", "commands/train.py", "return 128 + stopped",
           "return 0", ("test_guard.py::test_the_exit_code_is_that_of_the_signal",)),
    Mutant("metrics: a torn line is an error", "metrics.py",
           "except (ValueError, RecursionError):\n        return None\n    fine",
           "except RecursionError:\n        return None\n    fine",
           ("test_metrics.py::test_a_line_that_was_cut_short_is_left_out",)),
    Mutant("metrics: NaN is written as it is", "metrics.py", "{key: finite(value) for",
           "{key: value for", ("test_metrics.py::test_what_json_lacks_is_null",)),
    # -- the verdict
    Mutant("verdict: NLL from the smaller side", "verdict.py", "((energy, z.value),",
           "((energy, min(z.lower.value, z.upper.value)),", SIDES),
    Mutant("verdict: the smaller side is stored", "verdict.py", "log_z=z.value,",
           "log_z=min(z.lower.value, z.upper.value),", SIDES),
    Mutant("verdict: test rows start the backward side", "verdict.py", "data=data.train,",
           "data=data.test,", SIDES),
    Mutant("verdict: any parameters will do", "verdict.py",
           "if verdict.mark != _mark(energy):", "if False:",
           ("test_verdict.py::test_other_parameters_are_refused",)),
    Mutant("scores: without log Z", "scores.py",
           "density = -mean_energy(energy, x) - verdict.log_z",
           "density = -mean_energy(energy, x)", EXACT),
    Mutant("scores: depend on a row's place", "scores.py",
           "torch.zeros_like(x[:1])", "torch.zeros_like(x)",
           ("test_cli.py::test_scores_of_noisy_models_are_densities",)),
    Mutant("watch: the best at renewals forgotten", "session.py",
           "min(self.base, self.best, self.known)", "min(self.base, self.best)",
           ("test_session.py::test_the_watch_sees_what_only_the_renewals_know",)),
    Mutant("watch: a batch is enough", "session.py", "least: int = 25", "least: int = 1",
           ("test_session.py::test_the_watch_takes_no_single_batchs_word",)),
    Mutant("models: the base's factor for the preconditioner", "models.py",
           "factor = local_covariance(", "local_covariance(",
           ("test_session.py::test_a_model_comes_back_from_its_file",)),
    Mutant("verdict: sign of the gain", "verdict.py",
           'theirs["test"] - ours["test"], splits', 'ours["test"] - theirs["test"], splits',
           EXACT),
    Mutant("verdict: a gain without log Z's error", "verdict.py",
           "math.hypot(self.gain.stderr, self.stderr)", "self.gain.stderr",
           ("test_verdict.py::test_a_gain_is_as_uncertain_as_log_z",)),
    Mutant("verdict: population without its weights", "verdict.py",
           '"log_w": z.walkers.log_w}', '"log_w": 0 * z.walkers.log_w}',
           ("test_verdict.py::test_the_population_that_is_kept_is_a_weighted_sample",)),
    # -- samples and pictures
    Mutant("sampling: ordinary samples ignore the weights", "sampling.py",
           "walkers.equal(n, rng)", "walkers.x[:n]", BY_WEIGHT + CHAINS),
    Mutant("sampling: the first of the weighted walkers", "sampling.py",
           "torch.randperm(len(walkers), generator=rng, device=walkers.log_w.device)[:n]",
           "torch.arange(n)",
           ("test_sampling.py::test_any_part_of_the_weighted_walkers_is_a_sample",)),
    Mutant("sampling: weights of others", "sampling.py", "log_w = walkers.log_w[chosen]",
           "log_w = walkers.log_w[:n]",
           ("test_sampling.py::test_a_part_of_the_walkers_keeps_their_weights",)),
    Mutant("sampling: chains not reweighted", "sampling.py",
           "from_state_dict(saved, energy).reweight(energy)", "from_state_dict(saved, energy)",
           CHAINS),
    Mutant("sampling: chains taken for the average's", "sampling.py",
           '{**trained["walkers"], "current": False}', 'trained["walkers"]', CHAINS),
    Mutant("sampling: chains without their weights", "sampling.py",
           ".reweight(energy)\n    kernel =", ".reweight(energy).faded(0.0)\n    kernel =",
           CHAINS),
    Mutant("figures: samples of any weight", "pictures.py",
           'torch.multinomial(walkers["log_w"].softmax(0),',
           'torch.multinomial((0 * walkers["log_w"]).softmax(0),', SHOWN),
    Mutant("figures: report without weights", "pictures.py",
           'model, walkers["log_w"].softmax(0), test',
           'model, (0 * walkers["log_w"]).softmax(0), test',
           ("test_pictures.py::"
            "test_the_report_shows_walkers_by_weight_and_the_verdicts_numbers",)),
    Mutant("figures: energies without weights", "figures/distributions.py",
           "density(ax, walkers, span, RED, p=p,", "density(ax, walkers, span, RED,",
           ("test_figures.py::test_a_spurious_mode_is_a_bump_to_the_left_of_its_weight",)),
    Mutant("figures: sign of the denoised mean", "sampling.py",
           "= x - noise**2 *", "= x + noise**2 *",
           ("test_pictures.py::"
            "test_a_clean_row_is_the_mean_of_the_data_given_the_noisy_one",)),
    # -- data sets
    Mutant("data: sign of the log-Jacobian", "data/scaling.py",
           "return -total if self.scale.dim() else -dim * total",
           "return total if self.scale.dim() else dim * total",
           ("test_sets.py::test_the_jacobian_is_that_of_a_change_of_variables",)),
    Mutant("data: units undone with the wrong sign", "data/scaling.py",
           "+ self.shift.to(x.device)", "- self.shift.to(x.device)",
           ("test_sets.py::test_the_jacobian_is_that_of_a_change_of_variables",)),
    Mutant("data: the split is not seeded", "data/selection.py",
           "torch.randperm(n, generator=choice.rng)", "torch.randperm(n)",
           ("test_sets.py::test_the_seed_draws_the_split_and_nothing_else_does",)),
    Mutant("data: validation rows are trained on", "data/selection.py",
           "return Parts(first, second, third, raw.columns)",
           "return Parts(np.concatenate([first, second]), second, third, raw.columns)",
           ("test_sets.py::test_every_row_is_in_one_split",)),
    Mutant("data: scaled by all rows", "data/sets.py",
           "[kind](splits[0])", "[kind](np.concatenate(splits))",
           ("test_sets.py::test_units_of_tables_are_columns_of_the_training_rows",)),
    # -- rewards
    Mutant("reward: taken off at once", REWARDS, "return u - t * r,", "return u - r,",
           GAUSS_MOVED),
    Mutant("reward: sign", REWARDS, "return u - t * r,", "return u + t * r,", GAUSS_MOVED),
    Mutant("reward: score guided downwards", REWARDS, "up = t * slope", "up = -t * slope",
           ("test_interpolants.py::test_a_reward_is_taken_off_the_energy_and_guides_the_score",)),
    Mutant("reward: the drift guided twice in time", REWARDS,
           'cache["b"] + self._answer(slope["g"], t)',
           'cache["b"] + t * self._answer(slope["g"], t)',
           ("test_rewards.py::test_whole_guidance_moves_the_drift_by_that_answer",)),
    Mutant("reward: a map of the path's drift", REWARDS, "return b + self._answer(y, t)",
           "return b", ("test_rewards.py::test_whole_guidance_moves_the_drift_by_that_answer",)),
    Mutant("coupling: the dearest", BRIDGES, "cost = -(x0", "cost = (x0",
           ("test_interpolants.py::test_a_coupling_is_the_cheapest_of_all",)),
    Mutant("response: the start's part not lifted", BRIDGES, "over * float(c.lift)",
           "over * float(c.alpha)", ANSWERS),
    Mutant("response: the bridge's noise left out", BRIDGES, "- c.gamma_d_gamma * c.beta", "",
           ANSWERS),
    Mutant("response: at the start", BRIDGES, "else 1 / float(c.d_beta)", "else 1.0", ANSWERS),
    Mutant("answer: a mixture's path without the start's covariance", "interpolants/mixtures.py",
           "p * (y.flatten(1) @ self._c0.to(y)).view_as(y)", "p * y", ANSWERS),
    Mutant("answer: of the root of the covariance", "interpolants/energies.py",
           "factor.mul(self.base.factor.t_mul(y))", "factor.mul(y)", ANSWERS),
    Mutant("answer: a velocity's, of the root", "interpolants/fields.py",
           "factor.mul(factor.t_mul(y))", "factor.mul(y)", ANSWERS),
    # -- a timed network at one time
    Mutant("frozen: time left out of the bias", "nets.py",
           "own.bias.add_(first.weight[:, dim:] @ time)", "pass", FROZEN),
    Mutant("frozen: at the end whatever the time", "nets.py",
           "first.weight.new_tensor([t])", "first.weight.new_tensor([1.0])", FROZEN),
)  # fmt: skip


def mutate(mutant: Mutant, root: Path = ROOT) -> str:
    """The source of the mutant's file with the mistake in it."""
    source = (root / "noneq" / mutant.file).read_text()
    if source.count(mutant.old) != 1 or mutant.old == mutant.new:
        raise ValueError(
            f"mutant {mutant.name!r}: its source occurs {source.count(mutant.old)} times in "
            f"noneq/{mutant.file}, not once:\n{mutant.old}"
        )
    return source.replace(mutant.old, mutant.new)


def copied(root: Path, folder: str) -> Path:
    """The package, its tests and its settings, copied from ``root`` into ``folder``."""
    away = shutil.ignore_patterns("__pycache__", ".*")
    for part in ("noneq", "tests"):
        shutil.copytree(root / part, Path(folder) / part, ignore=away)
    shutil.copy(root / "pyproject.toml", folder)
    return Path(folder)


def pytest_in(folder: Path, arguments: list[str]) -> tuple[int, str]:
    """Run pytest on the copy in ``folder``: exit code and output; code -1 if it took too long."""
    environment = dict(os.environ, PYTHONPATH=str(folder), PYTHONDONTWRITEBYTECODE="1")
    environment.setdefault("OMP_NUM_THREADS", "1")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rfE", "--tb=no"]
    try:
        done = subprocess.run(
            [*command, *arguments], cwd=folder, env=environment, timeout=SECONDS,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return -1, ""
    return done.returncode, done.stdout


def failures(output: str) -> list[str]:
    """The tests that pytest's summary says failed, e.g. ``tests/test_a.py::test_b[0-x y]``."""
    return re.findall(r"^(?:FAILED|ERROR) (\S+?(?:\[.*?\])?)(?: - .*)?$", output, re.MULTILINE)


def known_failures(mutants: list[Mutant], root: Path) -> list[str]:
    """Tests that fail on the package as it is."""
    tests = sorted({f"tests/{test}" for mutant in mutants for test in mutant.tests})
    code, output = pytest_in(root, tests)
    if code not in (0, 1):
        raise SystemExit(f"the tests do not run:\n{output}")
    return failures(output)


def verdict(mutant: Mutant, known: list[str], root: Path) -> tuple[Mutant, str, str, float]:
    """Whether the mutant was killed, by what, and how long it took."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        copy = copied(root, folder)
        (copy / "noneq" / mutant.file).write_text(mutate(mutant, root))
        skip = [f"--deselect={test}" for test in known]
        tests = list(dict.fromkeys(f"tests/{test}" for test in mutant.tests))
        code, output = pytest_in(copy, ["-x", *skip, *tests])
    # only a test that fails kills; 5: every test left out; -1: stopped by the clock
    words = {0: "SURVIVED", 1: "killed", 5: "UNTESTED", -1: "TIMEOUT"}
    by = " ".join(failures(output)[:1])
    return mutant, words.get(code, "BROKEN"), by or output[-600:], time.perf_counter() - start


def main(arguments: list[str]) -> int:
    """Run the mutants that the words select; 1 if one is not killed."""
    words = [a for a in arguments if a != "-v"]
    chosen = [m for m in MUTANTS if not words or any(word in m.name for word in words)]
    start, bad = time.perf_counter(), 0
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(AT_ONCE) as pool:
        root = copied(ROOT, folder)  # what is edited meanwhile does not matter
        for mutant in chosen:
            mutate(mutant, root)
        known = known_failures(chosen, root)
        print(f"{len(known)} tests fail without a mutant and are left out: {known}", flush=True)
        for mutant, word, by, seconds in pool.map(lambda m: verdict(m, known, root), chosen):
            bad += word != "killed"
            detail = f"  {by}" if "-v" in arguments or word == "BROKEN" else ""
            print(f"{word:8} {seconds:5.1f} s  {mutant.name}{detail}", flush=True)
    minutes = (time.perf_counter() - start) / 60
    print(f"{len(chosen) - bad} of {len(chosen)} killed in {minutes:.1f} minutes")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
