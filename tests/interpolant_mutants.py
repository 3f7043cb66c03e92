"""Mistakes in interpolants, their paths and the kernels that lead along them, for mutants.py."""

from __future__ import annotations

SDE, BRIDGES, MIXTURES = "kernels/sde.py", "interpolants/bridges.py", "interpolants/mixtures.py"
FIELDS, TIMED = "interpolants/fields.py", "interpolants/energies.py"
DRIFTED, REWARDS = "interpolants/drifted.py", "interpolants/rewards.py"

STEP = ("test_sde.py::test_the_increment_is_the_ratio_of_the_path_densities",)
MAPPED = ("test_sde.py::test_a_flow_weighs_by_the_determinant_of_its_map",)
TRACES = ("test_sde.py::test_a_trace_estimate_is_unbiased_for_the_terms_it_takes",)
FOLDS = ("test_sde.py::test_a_map_that_folds_is_named",)
REFUSED = ("test_sde.py::test_what_is_no_transport_is_refused",)
EXACTLY = ("test_sde.py::test_with_exact_fields_little_is_lost_in_ten_steps",)
WALLED = ("test_sde.py::test_an_energy_that_is_infinite_on_the_path_is_named",)
WEIGHTS = ("test_sde.py::test_weights_are_exact_though_the_fields_are_wrong",)
BACK = ("test_sde.py::test_back_and_forth_agree_by_crooks",)
TRIED = ("test_sde.py::test_a_pilot_tries_one_noise_at_several_lengths",)
CHAINED = ("test_sde.py::test_a_chain_leads_as_its_first_kernel_does",)
ALONG = ("test_sde.py::test_a_schedule_may_change_the_kernel_with_time",)
BRACKETED = ("test_sde.py::test_log_z_is_bracketed_along_a_drift",)
ENDS = ("test_interpolants.py::test_the_ends_are_the_ends",)
SLOPES = ("test_interpolants.py::test_slopes_are_derivatives",)
DRAWN = ("test_interpolants.py::test_what_is_drawn_lies_on_the_line_between_its_ends",)
CARRIES = ("test_interpolants.py::test_the_drift_carries_the_density",)
MINIMISE = ("test_interpolants.py::test_the_exact_fields_minimise_both_losses",)
SCORED = (
    "test_interpolants.py::test_the_score_is_the_slope_of_the_energy_and_the_ends_are_the_ends",
)
LEARNED = ("test_interpolants.py::test_velocity_and_denoiser_give_drift_and_score",)
BETWEEN = ("test_interpolants.py::test_weights_at_the_end_do_not_ask_for_energies_between",)
STEEP = ("test_interpolants.py::test_an_end_that_is_steep_at_the_start_is_not_asked_there",)
LIFTED = ("test_interpolants.py::test_the_drift_of_an_energy_is_that_of_its_score",)
GAUSSIAN = (
    "test_interpolants.py::test_before_any_training_a_timed_energy_is_a_gaussian_at_every_time",
)
MATCHED = ("test_interpolants.py::test_score_matching_has_its_least_value_at_the_truth",)
GUIDED = ("test_interpolants.py::test_a_reward_is_taken_off_the_energy_and_guides_the_score",)
SHAPES = ("test_interpolants.py::test_what_cannot_be_is_refused_with_a_reason",)
LACKING = ("test_rewards.py::test_a_path_of_ones_own_that_lacks_a_field_is_named",)

#: name, file, source, what it becomes, tests: see mutants.Mutant
INTERPOLANTS = (
    # -- Euler-Maruyama
    ("SDE: sign of xi.D", SDE, "- e.flatten() * _dot(middle", "+ e.flatten() * _dot(middle", STEP),
    ("SDE: xi.D without the sign of time", SDE, "e = turn * root / (2 * self.eps)",
     "e = root / (2 * self.eps)", STEP),
    ("SDE: without |D|^2", SDE, "difference, value=0.5)", "difference, value=0.0)", STEP),
    ("SDE: |D|^2 without its half", SDE, "difference, value=0.5)", "difference, value=1.0)",
     STEP),
    ("SDE: sign of |D|^2", SDE, "difference, value=0.5)", "difference, value=-0.5)", STEP),
    ("SDE: e of the step for that of the noise", SDE, "e = turn * root / (2 * self.eps)",
     "e = turn * root", STEP),
    ("SDE: e without the two", SDE, "e = turn * root / (2 * self.eps)",
     "e = turn * root / self.eps", STEP),
    ("SDE: noise without the two", SDE, "(2 * self.eps * h.abs()).sqrt()",
     "(self.eps * h.abs()).sqrt()", STEP),
    ("SDE: the score keeps its sign on the way back", SDE, "self._drift(state.cache, turn)",
     "self._drift(state.cache, turn.abs())", STEP),
    ("SDE: the score of the way back keeps its sign", SDE, "self._drift(cache, -turn)",
     "self._drift(cache, -turn.abs())", STEP),
    ("SDE: the way back by the drift of the way there", SDE, "self._drift(cache, -turn)",
     "self._drift(cache, turn)", STEP),
    ("SDE: the way back by the old fields", SDE, "self._drift(cache, -turn)",
     "self._drift(state.cache, -turn)", STEP),
    ("SDE: backward in time is forward", SDE, "(h * a)", "(h.abs() * a)", STEP),
    ("SDE: L for its inverse", SDE, 'self.factor.solve(cache["b"])', 'self.factor.mul(cache["b"])',
     STEP),
    ("SDE: L for its transpose", SDE, "self.factor.t_mul(s)", "self.factor.mul(s)", STEP),
    ("SDE: the step left whitened", SDE, "y = self.factor.mul((h * a)", "y = ((h * a)", STEP),
    ("SDE: the score is up the energy", SDE, '(cache["g"], -1.0)', '(cache["g"], 1.0)', EXACTLY),
    ("SDE: the wall is weight zero", SDE, "increment.masked_fill_(u.isposinf(), math.nan)",
     "increment", WALLED),
    ("SDE: no diffusivity", SDE, "math.isfinite(self.eps) and self.eps > 0", "True", REFUSED),
    # -- maps
    ("flow: without its determinant", SDE, "_supported(state.u - u + log_det, u)",
     "_supported(state.u - u, u)", MAPPED),
    ("flow: sign of the determinant", SDE, "_supported(state.u - u + log_det, u)",
     "_supported(state.u - u - log_det, u)", MAPPED),
    ("flow: Heun without its half", SDE, "(end - t) * (b + again) / 2", "(end - t) * (b + again)",
     MAPPED),
    ("flow: Heun's second drift at the old time", SDE, "drift(x + (end - t) * b, end)",
     "drift(x + (end - t) * b, t)", MAPPED),
    ("flow: sign of the series", SDE, "(-1) ** (k + 1) / k", "(-1) ** k / k", TRACES),
    ("flow: the series without its k", SDE, "(-1) ** (k + 1) / k", "(-1) ** (k + 1)", TRACES),
    ("flow: h div b", SDE, "for k in range(1, self.terms + 1)", "for k in range(1, 2)", TRACES),
    ("flow: probes added up", SDE, "* _dot(v, probe) / self.probes", "* _dot(v, probe)", TRACES),
    ("flow: a fold has a weight", SDE, "torch.where(sign > 0, log_det, math.nan)", "log_det",
     FOLDS),
    # -- schedules of interpolants
    ("linear: slope of alpha", BRIDGES, "1 - t, t, -one, one, t - 1", "1 - t, t, one, one, t - 1",
     SLOPES),
    ("linear: alpha alpha'", BRIDGES, "1 - t, t, -one, one, t - 1", "1 - t, t, -one, one, 1 - t",
     SLOPES),
    ("trigonometric: slope of alpha", BRIDGES, "cos, sin, -k * sin, k * cos",
     "cos, sin, k * sin, k * cos", SLOPES),
    ("trigonometric: slope of beta", BRIDGES, "cos, sin, -k * sin, k * cos",
     "cos, sin, -k * sin, cos", SLOPES),
    ("trigonometric: alpha alpha'", BRIDGES, "k * cos, -k * sin * cos", "k * cos, k * sin * cos",
     SLOPES),
    ("trigonometric: an end that is nearly one", BRIDGES, "(k * (1 - t)).sin()", "(k * t).cos()",
     ENDS),
    ("variance preserving: slope of alpha", BRIDGES, "-t / alpha.clamp(min=1 / _STEEP)",
     "-1 / alpha.clamp(min=1 / _STEEP)", SLOPES),
    ("variance preserving: an infinite slope", BRIDGES, "-t / alpha.clamp(min=1 / _STEEP)",
     "-t / alpha", ENDS),
    ("variance preserving: alpha alpha'", BRIDGES, "torch.ones_like(t), -t\n",
     "torch.ones_like(t), -t / 2\n", SLOPES),
    ("bridge: gamma without its root", BRIDGES, "(t * (1 - t)).clamp(min=0.0).sqrt()",
     "(t * (1 - t)).clamp(min=0.0)", SLOPES),
    ("bridge: gamma gamma' without its half", BRIDGES, "self.noise**2 * (1 - 2 * t) / 2",
     "self.noise**2 * (1 - 2 * t)", SLOPES),
    ("bridge: drawn without noise", BRIDGES, " + c.gamma * z", "", DRAWN),
    ("bridge: velocity to the other end", BRIDGES, "c.d_alpha * x0 + c.d_beta * x1",
     "c.d_beta * x0 + c.d_alpha * x1", DRAWN),
    ("bridge: a loss per number", BRIDGES, ".flatten(1).sum(1).mean()", ".mean()",
     ("test_interpolants.py::test_a_loss_is_a_mean_over_rows_of_squared_lengths",)),
    ("bridge: the denoiser learns the velocity", BRIDGES, "_square(eta(self.x, self.t), self.z)",
     "_square(eta(self.x, self.t), self.velocity)",
     ("test_interpolants.py::test_a_loss_is_a_mean_over_rows_of_squared_lengths",)),
    # -- exact fields of mixtures
    ("mixture path: half of the spread's slope", MIXTURES, "half = c.alpha_d_alpha * self._c0",
     "half = 2 * c.alpha_d_alpha * self._c0", CARRIES),
    ("mixture path: alpha alpha' of alpha'", MIXTURES, "half = c.alpha_d_alpha * self._c0",
     "half = c.d_alpha * self._c0", CARRIES),
    ("mixture path: the bridge's noise does not change", MIXTURES, " + c.gamma_d_gamma * eye", "",
     CARRIES),
    ("mixture path: no noise of the bridge", MIXTURES, " + c.gamma**2 * eye", "", CARRIES),
    ("mixture path: means that stay", MIXTURES, "moving = c.d_alpha * self._m0 + c.d_beta",
     "moving = c.d_beta", CARRIES),
    ("mixture path: all components alike", MIXTURES, "(self._log_masses - norms)", "(-norms)",
     SCORED),
    ("mixture path: components without norms", MIXTURES, "(self._log_masses - norms)",
     "(self._log_masses + 0 * norms)", CARRIES),
    ("mixture path: sign of the gradient", MIXTURES, "(r * y).sum(0).view_as(x), b",
     "-(r * y).sum(0).view_as(x), b", SCORED),
    # -- learned fields
    ("one-sided score: the wrong velocity", FIELDS, "(c.d_beta * x - c.beta * v)",
     "(c.d_beta * x + c.beta * v)", LEARNED),
    ("one-sided score: the determinant", FIELDS, "(c.alpha * c.d_beta - c.d_alpha * c.beta)",
     "(c.alpha * c.d_beta + c.d_alpha * c.beta)", LEARNED),
    ("one-sided score: sign", FIELDS, "return -factor.t_solve", "return factor.t_solve", LEARNED),
    ("one-sided score: not centred", FIELDS, "factor.solve(first - self.base.mean)",
     "factor.solve(first)", LEARNED),
    ("one-sided score: not whitened", FIELDS,
     "factor.t_solve(factor.solve(first - self.base.mean))", "(first - self.base.mean)", LEARNED),
    ("denoiser: sign of the score", FIELDS, "return -self._call(self.denoiser",
     "return self._call(self.denoiser", LEARNED),
    ("denoiser: the velocity for the drift", FIELDS,
     "b = v - c.gamma_d_gamma * s if self.denoiser else v", "b = v", LEARNED),
    ("denoiser: the velocity for a flow's drift", FIELDS,
     "return v - c.gamma_d_gamma * s", "return v", LEARNED),
    ("denoiser: the ends as the network says", FIELDS,
     "self._score(x, t, v, c) if g is None else -g\n            b",
     "self._score(x, t, v, c)\n            b", LEARNED),
    ("denoiser: a flow leaves its ends without a slope", FIELDS,
     "g = slope_with_graph(self.end if t else self.base, x)", "g = self.gradient(x, t)",
     ("test_sde.py::test_a_flow_with_a_denoiser_weighs_its_first_and_last_step",)),
    ("velocity path: temperatures swapped", FIELDS, "t * u + (1 - t) * self.base(x)",
     "(1 - t) * u + t * self.base(x)", LEARNED),
    ("velocity path: one end for both", FIELDS,
     "u, cache = evaluate(self.end if t else self.base, x)",
     "u, cache = evaluate(self.end, x)", LEARNED),
    ("velocity path: always the energies between", FIELDS,
     "if not self.between:\n            return torch", "if False:\n            return torch",
     BETWEEN),
    ("velocity path: the end asked at the start", FIELDS,
     "if t in (0.0, 1.0):\n            return", "if t == 2:\n            return", STEEP),
    ("velocity path: energies of any shape", FIELDS, "if u.shape != x.shape[:1]:", "if False:",
     SHAPES),
    # -- one energy for all times
    ("timed energy: the lift's sign", TIMED, "- c.lift * self._covary(df)",
     "+ c.lift * self._covary(df)", LIFTED),
    ("timed energy: lifted without the covariance", TIMED,
     "return self.base.factor.mul(self.base.factor.t_mul(y))", "return y", LIFTED),
    ("timed energy: the lift itself", BRIDGES, "self.alpha_d_alpha * self.beta",
     "self.d_alpha * self.beta", LIFTED),
    ("timed energy: the Gaussian does not widen", TIMED,
     "rate = (c.alpha_d_alpha + c.beta * c.d_beta) / c.width", "rate = 0 * c.width", GAUSSIAN),
    ("timed energy: not normalised", TIMED, " + len(self.variance) / 2 * c.width.log()", "",
     GAUSSIAN),
    ("timed energy: f without beta", TIMED, "self.energy._gaussian(u, c) + c.beta * f",
     "self.energy._gaussian(u, c) + f", LIFTED),
    ("timed energy: f's slope without beta", TIMED, " + c.beta * df", " + df", LIFTED),
    ("timed energy: called without beta", TIMED, "self._gaussian(self.base(x), c) + c.beta * f",
     "self._gaussian(self.base(x), c) + f", LIFTED),
    ("score matching: weights of the data's spread", TIMED,
     "+ c.beta**2 * self.noise**2).sqrt()", ").sqrt()", MATCHED),
    ("score matching: blamed on tau", "bracket.py", 'getattr(energy, "remedy", "smaller tau")',
     '"smaller tau"', ("test_likelihood.py::test_alarm_energies_of_the_halves",)),
    ("score matching: sign", TIMED, "(root * s + zeta)", "(root * s - zeta)", MATCHED),
    ("score matching: no weighting", TIMED, "(root * s + zeta)", "(s + zeta)", MATCHED),
    ("score matching: data that stay", TIMED, "xi = c.beta * self._within(x) + root * zeta",
     "xi = self._within(x) + root * zeta", MATCHED),
    # -- rewards
    ("reward: sign in the energy", REWARDS, "return u - t * r", "return u + t * r", GUIDED),
    ("reward: sign in the gradient", REWARDS, "cache[k] - up for k", "cache[k] + up for k",
     GUIDED),
    ("reward: sign in the score", REWARDS, "cache[k] + up for k", "cache[k] - up for k",
     ("test_interpolants.py::test_a_reward_guides_a_learned_score_and_kernels_that_follow_one",)),
    ("reward: the gradient that kernels follow", REWARDS, 'g - t * slope["g"]', "g",
     ("test_interpolants.py::test_a_reward_guides_a_learned_score_and_kernels_that_follow_one",)),
    ("reward: all of it at all times", REWARDS, 'up = t * slope["g"]', 'up = slope["g"]', GUIDED),
    ("reward: walls at the start", REWARDS, "if t == 0:  # only", "if False:  # only",
     ("test_rewards.py::test_a_reward_that_is_not_finite_at_the_start_is_named",)),
    # -- who leads whom
    ("transport: reweighted before", "walkers.py", "if aims and not leads else self",
     "if aims or leads else self", EXACTLY),
    ("transport: keeps a graph", "walkers.py", "if graph and leads:", "if False:", REFUSED),
    ("transport: reweighted on the way", "smc.py", "if kernel is None or not transports(kernel):",
     "if True:", EXACTLY),
    ("transport: those out of the support are buried", "walkers.py",
     "dead = dead if leads else dead | u.isposinf()", "dead = dead | u.isposinf()", WALLED),
    ("transport: a chain is none", "kernels/compose.py", "return transports(self.kernels[0])",
     "return False", CHAINED),
    ("transport: a repeat is none", "kernels/compose.py", "return transports(self.kernel)",
     "return False", CHAINED),
    ("schedule: led down after the corrections of the next", "schedules.py",
     "            if moves is not None:\n                yield model, _mirrored(moves)\n"
     "            model = path.at(beta)\n",
     "            model = path.at(beta)\n"
     "            if moves is not None:\n                yield model, _mirrored(moves)\n", BACK),
    ("schedule: nothing leads down", "schedules.py", "if leads is not None:", "if False:", BACK),
    ("schedule: down by the kernel of the next step", "schedules.py",
     "self.betas[-2::-1], self.kernels[:0:-1]", "self.betas[-2::-1], self.kernels[-2::-1]",
     ("test_sde.py::test_the_way_back_leads_down_the_steps_that_led_up",)),
    ("schedule: a kernel of the step's end", "schedules.py", "middles = [(a + b) / 2 for",
     "middles = [b for", ALONG),
    ("schedule: turns not counted", "schedules.py",
     "for k in self.kernels[1:] for part", "for k in self.kernels[:1] for part", BRACKETED),
    ("schedule: a map has a way back", "schedules.py", 'getattr(kernel, "reversible", True)',
     "True", ("test_sde.py::test_a_flow_has_no_way_back",)),
    ("pilot: a transport tried by reweighting", "smc.py",
     "if transports(kernel):  # it is the move that costs", "if False:", TRIED),
    ("pilot: other noise at every trial", "smc.py", "            rng.set_state(noise)\n", "",
     TRIED),
    ("timed energy: a Gaussian of one width", TIMED, "return u / c.width", "return u", LIFTED),
    ("timed energy: its slope of one width", TIMED, 'base["g"] / c.width', 'base["g"]', LIFTED),
    ("timed energy: not as wide", BRIDGES, "return self.alpha**2 + self.beta**2",
     "return (self.alpha + self.beta) ** 2", GAUSSIAN),
    ("path: a time outside", DRIFTED, 'check_beta(t, "a time")', "pass", SHAPES),
    ("path: without a drift", DRIFTED, '"b" not in cache or ', "", LACKING),
    ("path: without a score", DRIFTED, ' or cache.keys().isdisjoint("gs")', "", LACKING),
    ("path: a drift of another shape", DRIFTED,
     "if field in cache and cache[field].shape != x.shape:", "if False:", REFUSED),
)  # fmt: skip
