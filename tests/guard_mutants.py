"""Mistakes in what guards a likelihood: tails, exact log Z, marks, checks; for mutants.py."""

from __future__ import annotations

RAYS, REGIONS, TAILS, LIKELIHOOD = "rays.py", "regions.py", "tails.py", "likelihood.py"

RAY = ("test_tails.py::test_a_ray_tells_an_energy_without_a_finite_integral",)
TOLD = (
    "test_tails.py::test_infinite_integrals_and_heavy_tails_are_told_from_finite_and_light_ones",
)
POWERS = ("test_tails.py::test_products_of_powers_have_an_integral_where_every_factor_has",)
STUDENT = (
    "test_tails.py::test_student_densities_are_heavy_and_have_an_integral_if_nu_is_positive",
)
TURNED = ("test_tails.py::test_an_axis_that_is_no_coordinate_is_found",)
NARROWS = ("test_tails.py::test_a_tube_that_narrows_is_weighed_by_its_widths",)
SIDE = ("test_tails.py::test_a_ray_on_the_side_of_a_valley_proves_nothing",)
WIDE = ("test_tails.py::test_a_cone_is_enough_where_widths_would_cost_too_much",)
MAY = ("test_tails.py::test_what_may_have_no_integral_is_said_to",)
NO_TAILS = ("test_tails.py::test_sites_and_boxes_have_no_tails",)
KNOWN = ("test_likelihood.py::test_a_known_log_z_is_used_wherever_there_is_one",)
UNKNOWN = ("test_likelihood.py::test_what_has_no_log_z_of_its_own_has_none_known",)
TOO_MANY = ("test_likelihood.py::test_a_sum_over_too_many_states_is_not_begun",)

#: name, file, source, what it becomes, tests: see mutants.Mutant
GUARDS = (
    # -- infinite Z
    ("rays: axes forgotten", RAYS, "[axes, -axes, v,", "[v,", TOLD),
    ("rays: polished upwards", RAYS, "_unit(v - step * g)", "_unit(v + step * g)", TURNED),
    ("rays: not polished", RAYS, "v, along])", "v, v])", TURNED),
    ("rays: not through two points", RAYS, "origin[-len(across) :] += across", "pass", TOLD),
    ("rays: a mean for a centre", RAYS, "self.rows.median(0).values", "self.rows.mean(0)",
     STUDENT),
    ("rays: the farthest row for a scale", RAYS, "float(lengths.median())",
     "float(lengths.max())", STUDENT),
    ("regions: the ray alone", REGIONS, "PROBES = 16", "PROBES = 0", POWERS),
    ("regions: no cones", REGIONS, "CONES = (0.1, 1e-2, 1e-3)", "CONES = (1e9,)", WIDE),
    ("regions: no tubes", REGIONS, "if 0 < len(across) <= MOST else found", "if False else found",
     TOLD),
    ("regions: every tube as wide as it began", REGIONS, "(32 * gamma + 0.1).floor() / 32",
     "0 * gamma", TOLD + NARROWS),
    ("regions: volume of a tube", REGIONS, "(1 + float(gamma.sum()))", "1", RAY + TOLD),
    ("regions: length forgotten", REGIONS, "(1 + float(gamma.sum()))", "float(gamma.sum())",
     TOLD),
    ("regions: octaves forgotten", REGIONS, "(u.diff(dim=1) / octaves)", "(u.diff(dim=1) / 1)",
     TOLD),
    ("regions: -inf is no number", REGIONS,
     "torch.where(u[:, :-1] == -math.inf, -math.inf, found)", "found", RAY),
    ("regions: for ever", REGIONS, "EVER = 100.0", "EVER = 0.0", MAY),
    ("regions: on the side of a valley", REGIONS, "if not (first.centred and last.centred):",
     "if False:", SIDE),
    ("regions: half of the cone of a box", REGIONS, "amax(0) <= u + 1", "amin(0) <= u + 1",
     TOLD),
    ("tails: dimensions forgotten", TAILS, "= d * math.log(2)", "= math.log(2)", RAY),
    ("tails: near only", TAILS, "doubt = far.doubt(field, found, None)", "doubt = _Doubt()", TOLD),
    ("tails: far only", TAILS, "if doubt.certainty < PROVEN:", "if False:", TURNED),
    ("tails: rounding taken for a confinement", TAILS, "if told else PROVEN", "", TURNED),
    ("tails: sites", TAILS, "if isinstance(space, Discrete):", "if False:", NO_TAILS),
    ("tails: a box", TAILS, "bool(torch.isfinite(space.high - space.low).all())", "False",
     NO_TAILS),
    ("tails: half a space is a box", TAILS, "torch.isfinite(space.high - space.low)",
     "~torch.isnan(space.high - space.low)", TOLD),
    ("tails: an exponential is heavy", TAILS, "LINEAR = 0.75", "LINEAR = 1.25", TOLD),
    ("tails: only powers are heavy", TAILS, "LINEAR = 0.75", "LINEAR = 0.25", TOLD),
    ("tails: what falls is heavy", TAILS, "& (rises >= -noise)", "", TOLD),
    # -- a log Z that is known
    ("known log Z: never", LIKELIHOOD, "if not isinstance(energy, Solvable) or",
     "if isinstance(energy, Solvable) or", KNOWN),
    ("known log Z: of anything", LIKELIHOOD, "if not isinstance(energy, Solvable) or", "if",
     UNKNOWN),
    ("known log Z: attributes taken for methods", LIKELIHOOD,
     "if not all(callable(getattr(energy, name)) for", "if not all(True for", UNKNOWN),
    ("known log Z: any sum", LIKELIHOOD, "> most * (1 + 1e-9)", "> math.inf", TOO_MANY),
    ("states: of the hidden layer", "rbm/machine.py",
     "min(len(self.c) * math.log(2), self.layer.log_states)", "len(self.c) * math.log(2)",
     TOO_MANY),
)  # fmt: skip
