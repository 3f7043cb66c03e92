"""Mistakes in what guards a likelihood: tails, exact log Z, marks, checks; for mutants.py."""

from __future__ import annotations

RAYS, REGIONS, TAILS, LIKELIHOOD = "rays.py", "regions.py", "tails.py", "likelihood.py"

RAY = ("test_integrability.py::test_a_ray_tells_an_energy_without_a_finite_integral",)
TOLD = (
    "test_integrability.py::test_infinite_integrals_and_heavy_tails_are_told_from_finite_and_light_ones",
)
POWERS = (
    "test_integrability.py::test_products_of_powers_have_an_integral_where_every_factor_has",
)
STUDENT = (
    "test_integrability.py::test_student_densities_are_heavy_and_have_an_integral_if_nu_is_positive",
)
TURNED = ("test_integrability.py::test_an_axis_that_is_no_coordinate_is_found",)
NARROWS = ("test_integrability.py::test_a_tube_that_narrows_is_weighed_by_its_widths",)
SIDE = ("test_integrability.py::test_a_ray_on_the_side_of_a_valley_proves_nothing",)
CONE = ("test_integrability.py::test_a_cone_without_walls_is_found_if_it_is_narrow",)
WIDE = ("test_integrability.py::test_a_cone_is_enough_where_widths_would_cost_too_much",)
MAY = ("test_integrability.py::test_what_may_have_no_integral_is_said_to",)
NO_TAILS = ("test_integrability.py::test_sites_and_boxes_have_no_tails",)
KNOWN = ("test_likelihood.py::test_a_known_log_z_is_used_wherever_there_is_one",)
UNKNOWN = ("test_likelihood.py::test_what_has_no_log_z_of_its_own_has_none_known",)
TOO_MANY = ("test_likelihood.py::test_a_sum_over_too_many_states_is_not_begun",)

GUARD = "test_guards.py::test_"
UNITS = (GUARD + "a_mixture_is_fitted_in_any_units",)
OWNER = (GUARD + "a_log_z_is_refused_for_another_closure",)
HELD = (GUARD + "a_tensor_that_is_not_registered_is_seen_to_change",)
CACHES = (GUARD + "an_attribute_that_every_call_changes_is_no_parameter",)
COPIES = (GUARD + "copies_of_rows_tell_nothing_new",)
GROUPS = (GUARD + "the_error_of_unequal_groups_covers_the_mean",)
STORED = (GUARD + "a_state_dict_is_what_safetensors_stores",)
COMPILED = (GUARD + "a_compiled_network_is_trained",)
HALF = (GUARD + "low_precision_inside_is_refused",)
PLACES = (GUARD + "labels_bound_to_places_are_refused",)
WRITES = (GUARD + "an_energy_that_writes_into_its_rows_is_refused",)
COUNTS = (GUARD + "an_energy_that_counts_its_calls_is_refused",)
RARE = (GUARD + "a_rare_infinity_is_seen_when_it_is_asked_for_often",)
COARSE = (GUARD + "the_resolution_of_large_energies_is_told",)
GAP = ("test_verdict.py::test_the_gap_of_overfitting",)
GAUSSIANS, ENERGIES, CHECKS = "gaussians.py", "energies.py", "checks.py"

#: name, file, source, what it becomes, tests: see mutants.Mutant
GUARDS = (
    # -- infinite Z
    ("rays: axes forgotten", "rays:rays_of", "[axes, -axes, v,", "[v,", TOLD),
    ("rays: polished upwards", "rays:_polished", "_unit(v - step * g)", "_unit(v + step * g)",
     TURNED),
    ("rays: not polished", "rays:rays_of", "v, along])", "v, v])", TURNED),
    ("rays: not through two points", "rays:rays_of", "origin[-len(across) :] += across", "pass",
     TOLD),
    ("rays: a mean for a centre", "rays:Field.__init__", "self.rows.median(0).values",
     "self.rows.mean(0)", STUDENT),
    ("rays: the farthest row for a scale", "rays:Field.__init__", "float(lengths.median())",
     "float(lengths.max())", STUDENT),
    ("regions: the ray alone", "regions:", "PROBES = 16", "PROBES = 0", POWERS),
    ("regions: no cones", "regions:", "CONES = (0.1, 1e-2, 1e-3)", "CONES = (1e9,)", CONE),
    ("regions: no tubes", "regions:Ray.finding", "if 0 < len(across) <= MOST else found",
     "if False else found", TOLD),
    ("regions: every tube as wide as it began", "regions:Ray._tube",
     "(32 * gamma + 0.1).floor() / 32", "0 * gamma", TOLD + NARROWS),
    ("regions: volume of a tube", "regions:Ray._excess", "(1 + float(gamma.sum()))", "1",
     RAY + TOLD),
    ("regions: length forgotten", "regions:Ray._excess", "(1 + float(gamma.sum()))",
     "float(gamma.sum())", TOLD),
    ("regions: octaves forgotten", "regions:rise", "(u.diff(dim=1) / octaves)",
     "(u.diff(dim=1) / 1)", TOLD),
    ("regions: -inf is no number", "regions:rise",
     "torch.where(u[:, :-1] == -math.inf, -math.inf, found)", "found", RAY),
    ("regions: for ever", "regions:", "EVER = 100.0", "EVER = 0.0", MAY),
    ("regions: on the side of a valley", "regions:Ray._tube",
     "if not (first.centred and last.centred):", "if False:", SIDE),
    ("regions: half of the cone of a box", "regions:Ray._widths", "amax(0) <= u + 1",
     "amin(0) <= u + 1", TOLD),
    ("tails: dimensions forgotten", "integrability:_Growth.doubt", "= d * math.log(2)",
     "= math.log(2)", RAY),
    ("tails: near only", "integrability:tails", "doubt = far.doubt(field, found, None)",
     "doubt = _Doubt()", TOLD),
    ("tails: far only", "integrability:tails", "if doubt.certainty < PROVEN:", "if False:",
     TURNED),
    ("tails: rounding taken for a confinement", "integrability:_Growth.doubt",
     "if resolved else PROVEN", "", TURNED),
    ("tails: sites", "integrability:tails", "if isinstance(space, Discrete):", "if False:",
     NO_TAILS),
    ("tails: a box", "integrability:tails", "bool(torch.isfinite(space.high - space.low).all())",
     "False", NO_TAILS),
    ("tails: half a space is a box", "integrability:tails",
     "torch.isfinite(space.high - space.low)", "~torch.isnan(space.high - space.low)", TOLD),
    ("tails: an exponential is heavy", "integrability:", "LINEAR = 0.75", "LINEAR = 1.25", TOLD),
    ("tails: only powers are heavy", "integrability:", "LINEAR = 0.75", "LINEAR = 0.25", TOLD),
    ("tails: what falls is heavy", "integrability:_Growth.slow", "& (rises >= -noise)", "", TOLD),
    # -- a log Z that is known
    ("known log Z: never", "likelihood_score:known_log_z",
     "if not isinstance(energy, Solvable) or", "if isinstance(energy, Solvable) or", KNOWN),
    ("known log Z: of anything", "likelihood_score:known_log_z",
     "if not isinstance(energy, Solvable) or", "if", UNKNOWN),
    ("known log Z: attributes taken for methods", "likelihood_score:known_log_z",
     "if not all(callable(getattr(energy, name)) for", "if not all(True for", UNKNOWN),
    ("known log Z: any sum", "likelihood_score:known_log_z", "> most * (1 + 1e-9)", "> math.inf",
     TOO_MANY),
    ("states: of the hidden layer", "algebra:Algebra.states",
     "min(len(self.c) * math.log(2), self.layer.log_states)", "len(self.c) * math.log(2)",
     TOO_MANY),
    # -- units, owners, copies, files
    ("mixture: not standardised", "gaussian:GaussianMixture.fit", "((flat - mean) / scale).cpu()",
     "flat.cpu()", UNITS),
    ("mixture: noise in other units", "gaussian:GaussianMixture.fit",
     "(least - common * scale.square()).diag()", "0.0", UNITS),
    ("nll: any energy's log Z", "likelihood_score:_check_owner", "if bool((apart > 1e-4 *",
     "if bool((apart > 1e9 *", OWNER),
    ("nll: a cache is a parameter", "likelihood_score:_check_owner",
     " or not bool(before == mark)", "", CACHES),
    ("fingerprint: containers", "fingerprint:_parts_of", "if isinstance(value, list | tuple):",
     "if False:", HELD),
    ("fingerprint: dictionaries", "fingerprint:_parts_of", "if isinstance(value, dict):",
     "if False:", HELD),
    ("fingerprint: closures", "fingerprint:_parts_of", "if isinstance(value, FunctionType):",
     "if False:", HELD),
    ("nll: copies count", "likelihood_score:nll", "grouped_stderr(u, data)",
     "float(u.std()) / math.sqrt(len(u))", COPIES),
    ("equal rows: each mean once", "likelihood_score:grouped_stderr", "sums.square().sum()",
     "(sums.square() / group.bincount()).sum()", GROUPS),
    ("roots: column by column", "covariance:Cholesky.__init__", "root.to(dtype).contiguous()",
     "root.to(dtype)", STORED),
    ("compiled: buffers given away", "energies_base:_keep_buffers",
     "config.donated_buffer = False", "pass", COMPILED),
    # -- energies that are none
    ("check: half inside", "determinism:_check_values", "if asked.half is not None:", "if False:",
     HALF),
    ("check: places", "determinism:_check_same_energies",
     '(asked.turned.flip(0), 1e-4, "in another order of the rows"),', "", PLACES),
    ("check: places that f = 0 hides", "determinism:_check_same_gradients",
     '(turned, "in another order of the rows"),', "", PLACES),
    ("check: writes", "determinism:check_energy", "if not torch.equal(x, kept):", "if False:",
     WRITES),
    ("check: asked twice", "determinism:", "OFTEN = 8", "OFTEN = 0", COUNTS),
    ("unsteady: never", "determinism:unsteady", "if not wrong:", "if True:", RARE),
    ("unsteady: asked once", "determinism:unsteady", "for _ in range(calls))]",
     "for _ in range(0))]", RARE),
    ("resolution: of float64", "energies_checks:resolution", "torch.finfo(u.dtype).eps", "1.2e-7",
     COARSE),
    ("memorised: validation's error alone", "verdict:Verdict.memorised",
     "math.hypot(train.stderr, validation.stderr)", "validation.stderr", GAP),
)  # fmt: skip
