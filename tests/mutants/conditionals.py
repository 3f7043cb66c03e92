"""Mistakes in conditional distributions and in samples of some coordinates given the others."""

from __future__ import annotations

__all__ = ["CONDITIONALS"]

TEXTBOOK = ("test_conditional.py::test_gaussians_have_the_conditionals_of_textbooks",)
MOMENTS = ("test_conditional.py::test_samples_of_a_mixture_have_its_conditional_moments",)
ROOT = ("test_conditional.py::test_the_factor_is_a_square_root_that_keeps_what_is_given",)
COMPLETED = ("test_conditional.py::test_a_mixture_is_completed_from_one_gaussian",)
CURVED = ("test_conditional.py::test_a_curved_density_is_integrated",)
SPREAD = ("test_conditional.py::test_draws_of_a_row_are_spread_and_unordered",)
FILLED = ("test_samples.py::test_missing_values_are_those_of_the_model_given_the_others",)
CELLS = ("test_cli.py::test_blank_cells_are_filled_in",)
TEXTS = ("test_cli_tables.py::test_categories_and_counts_are_given_and_filled_in",)
BLANK = ("test_gaps.py::test_blank_cells_are_missing",)
PARTS = ("test_conditional.py::test_parts_of_the_rows_are_completed_one_after_the_other",)
WITHIN = ("test_cli_tables.py::test_draws_given_a_category_are_of_the_model_within_its_interval",)
STAYS = ("test_context.py::test_no_kernel_moves_a_context",)
DENSITY = ("test_context.py::test_the_base_has_the_density_of_a_gaussian_around_each_centre",)
DRAWN = (
    "test_context.py::test_samples_of_the_base_have_its_moments_and_the_contexts_of_the_data",
)
TRAINED = (
    "test_context.py::test_training_learns_each_density_and_its_log_z_is_that_of_quadrature",
)
PRODUCT = ("test_composed.py::test_a_product_of_gaussians_is_the_gaussian_of_their_precisions",)
UNION = ("test_composed.py::test_a_union_is_normalised_and_has_the_mean_of_its_parts",)
LABELLED = "test_given_labels.py::"
NORMALISED = (LABELLED + "test_each_label_is_normalised_by_its_own_log_z",)
PROPORTIONS = (LABELLED + "test_walkers_of_all_labels_have_the_proportions_and_means_of_the_rows",)
ISLANDS = (LABELLED + "test_the_mass_away_from_data_is_that_of_images_and_labels_together",)
NAMED = (LABELLED + "test_an_alarm_names_its_label",)
BAYES = (LABELLED + "test_labels_are_found_by_bayes_theorem_with_the_shares_of_the_training_rows",)
TOLD = (LABELLED + "test_a_run_is_trained_bracketed_and_told_by_label",)
PIXELS = (LABELLED + "test_noise_is_added_to_pixels_and_never_to_labels",)
OF_A_LABEL = (LABELLED + "test_samples_of_a_label_are_of_that_label",)
ANNEALED = (LABELLED + "test_annealed_samples_of_a_label_are_those_of_its_energy",)
BESIDE = (LABELLED + "test_labels_stay_beside_their_images",)
KEPT_LABEL = (LABELLED + "test_the_mean_without_noise_keeps_its_label",)

DIFFER = "test_differences.py::"
CHANCE = (DIFFER + "test_chance_alone_is_hardly_ever_found",)
PAIR = (DIFFER + "test_a_blurred_pair_is_found_and_named",)
SUREST = (DIFFER + "test_what_is_found_is_the_surest_of_the_shares",)
GAP = (DIFFER + "test_a_gap_that_the_model_fills_is_found",)
WEIGHED = (DIFFER + "test_weights_count_and_few_of_them_prove_nothing",)
MORE = (DIFFER + "test_a_pair_is_listed_only_where_it_says_more_than_its_columns",)
EACH = (DIFFER + "test_shares_of_categories_are_compared_one_by_one",)
ONE = (DIFFER + "test_one_gaussian_is_that_of_the_standardised_columns",)
TWICE = (DIFFER + "test_one_gaussian_is_not_told_twice",)
IN_RANGE = "test_in_range.py::"
TRUNCATED = (IN_RANGE + "test_samples_within_range_are_of_the_truncated_gaussian",)
FILLED_IN = (IN_RANGE + "test_filled_values_are_within_range_and_given_ones_are_kept",)
OUTSIDE = (IN_RANGE + "test_values_outside_are_found",)
RANGES = (IN_RANGE + "test_the_range_is_that_of_the_training_rows",)

CONDITIONALS = (
    ("differences: of one comparison", "differences:differences", "2 * comparisons", "2", CHANCE),
    ("differences: rows alone are uncertain", "differences:differences",
     "p_model, many, independent)", "p_model, many, 1e9)", CHANCE),
    ("differences: samples without weights", "differences:differences", "weights / mass",
     "group.samples / group.samples.sum()", WEIGHED),
    ("differences: all walkers are independent", "differences:differences",
     "shrink * mass**2", "mass**2", WEIGHED),
    ("differences: any pair", "differences:_listed",
     "one.size > max(alone.get(i, 0.0), alone.get(j, 0.0)) + 3 * one.stderr", "True", MORE),
    ("differences: categories in an order", "shares:Events.of", "x[:, None] == levels",
     "x[:, None] <= levels", EACH),
    ("differences: of shares of one side", "shares:evidence_of",
     "rel_entr(q, r) + rel_entr(1 - q, 1 - r)", "rel_entr(q, r)", SUREST),
    ("differences: the error of rows alone", "differences:differences",
     "math.hypot(error_of(both[0], many), error_of(both[1], independent))",
     "error_of(both[0], many)",
     SUREST),
    ("differences: no gaps", "shares:Events.of", "np.diff(one, axis=1)", "0 * one[:, 1:]", GAP),
    ("differences: groups overlap", "differences:_groups", "(y > low) & (y <= high)", "y <= high",
     CHANCE),
    ("differences: the smallest first", "differences:_listed", "key=lambda one: -one.size",
     "key=lambda one: one.size", MORE),
    ("simplest: of the spread rows as they are", "simplest:one_gaussian",
     "volume=plain.log_volume(rows[name])", "volume=0 * plain.log_volume(rows[name])", ONE),
    ("simplest: of mapped columns", "simplest:one_gaussian", "scaling.standardised(split.x)",
     "split.x", ONE),
    ("simplest: twice", "simplest:one_gaussian", "if own or bits", "if bits", TWICE),
    ("range: walkers outside are kept", "in_range:inside_range", "~outside_range(run, walkers.x)",
     "outside_range(run, walkers.x)", TRUNCATED),
    ("range: the mass is a number of walkers", "in_range:inside_range",
     "float(walkers.p[chosen].sum())", "1.0", TRUNCATED),
    ("range: below only", "within:outside", "(values < low) | (values > high)", "values < low",
     OUTSIDE),
    ("range: that of all rows", "cells:Cells.with_ranges", "values.min(0)", "-values.max(0)",
     RANGES),
    ("range: filled values as they come", "fill:_inside", "order.gather(1, at)", "at", FILLED_IN),
    ("range: given values count", "fill:fill_file", "np.where(np.isnan(repeated), rows, np.nan)",
     "rows", FILLED_IN),
    ("labels: log Z taken away twice", "by_label:normalised", "torch.tensor([z.value",
     "torch.tensor([-z.value", NORMALISED),
    ("labels: equally frequent", "by_label:normalised", "c.double().mean(0).tolist()",
     "[1 / k] * k", NORMALISED),
    ("labels: without an error", "by_label:normalised", "LogZ(0.0, z.stderr)", "LogZ(0.0, 0.0)",
     NORMALISED),
    ("labels: one side", "by_label:normalised", "z.interval[0].value - z.value", "0.0",
     NORMALISED),
    ("labels: alarms without a name", "by_label:normalised", "f\"label {label}: {alarm}\"",
     "alarm", NAMED),
    ("labels: walkers of one weight", "by_label:_joined", "own.weights.log_p + math.log(p)",
     "own.weights.log_p", PROPORTIONS),
    ("labels: ancestors of the first", "by_label:_joined", "own.weights.ancestors + i",
     "own.weights.ancestors", PROPORTIONS),
    ("labels: found without their shares", "by_label:_found", "contexts, shares)", "contexts)",
     BAYES),
    ("labels: found by the model for both", "by_label:results_by_label", "_found(base, ",
     "_found(energy, ", BAYES),
    ("labels: the model is not normalised on disk", "evaluation:evaluate_run",
     "or run.scaling.labels is not None", "", TOLD),
    ("labels: twins of another label", "sample:sample", "seed + APART * i", "seed", OF_A_LABEL),
    ("labels: weights of each add up to one", "sample:sample", "- math.log(len(taken))", "- 0",
     OF_A_LABEL),
    ("labels: estimates that are no numbers", "by_label:normalised",
     "if not math.isfinite(z.value):", "if False:",
     (LABELLED + "test_an_estimate_that_is_no_number_leaves_the_model_as_it_was",)),
    ("labels: walkers of each label by themselves", "by_label:_joined",
     "torch.cat(own, 1).flatten(0, 1)", "torch.cat([*parts])", ISLANDS),
    ("labels: the label that is known best", "label_words:known_labels", "max(labels",
     "min(labels", TOLD),
    ("labels: noise of rows that are looked at", "validation:Validation.start",
     ", held=context_size(base)", "", PIXELS),
    ("labels: noise of rows that are drawn", "contents:_energies", ", held=held", "", PIXELS),
    ("labels: stored samples of any label", "samples:draw_walkers",
     "if stored is not None and context is not None:", "if False:", OF_A_LABEL),
    ("labels: annealed samples of the first label", "samples:_annealed",
     "given = Given(energy, context)", "given = Given(energy, context.roll(1))", ANNEALED),
    ("labels: in another order", "selection:_split", "own[0][some]", "own[0][: len(some)]",
     BESIDE),
    ("labels: drawn apart from their images", "selection:_taken", "labels[rows] if",
     "labels[: len(rows)] if", BESIDE),
    ("labels: denoised, too", "denoising:denoised", "step[..., -held:] = 0", "pass", KEPT_LABEL),
    ("conditioned: no determinant", "conditioned:Conditioned.__init__",
     "low.diagonal(dim1=1, dim2=2).log().sum(1) + k / 2", "k / 2", TEXTBOOK),
    ("conditioned: dimensions of all", "conditioned:Conditioned.__init__",
     "+ k / 2 * math", "+ d / 2 * math", TEXTBOOK),
    ("conditioned: components as likely as before", "conditioned:Conditioned.__init__",
     "log_masses[:, None] - z.square().sum(1) / 2 - norm[:, None]",
     "log_masses[:, None] + 0 * z.sum(1)", MOMENTS),
    ("conditioned: components equally likely", "conditioned:Conditioned.__init__",
     "(log_masses[:, None] - z", "(-z", MOMENTS),
    ("conditioned: the mean does not move", "conditioned:Conditioned.__init__",
     "+ root[:, k:, :k] @ z", "+ 0 * (root[:, k:, :k] @ z)", TEXTBOOK),
    ("conditioned: as wide as before", "conditioned:Conditioned.__init__",
     "= root[:, k:, k:]", "= torch.linalg.cholesky(covariances[:, m][:, :, m])", TEXTBOOK),
    ("conditioned: means of the first component", "conditioned:Conditioned.sample",
     "which[..., None]", "0 * which[..., None]", MOMENTS),
    ("conditioned: the transposed root", "conditioned:Conditioned.sample",
     "self._roots[self._pattern, k].mT", "self._roots[self._pattern, k]", MOMENTS),
    ("factor: the transposed root", "conditioned:RowFactor.mul", "self.roots.mT", "self.roots",
     ROOT),
    ("factor: given coordinates move", "conditioned:RowFactor._each", " * self.missing", "", ROOT),
    ("complete: without the base's density", "conditional:_taken",
     "base.log_z() + given.log_density +", "base.log_z() +", COMPLETED),
    ("complete: without the base's log Z", "conditional:_taken", "base.log_z() + given",
     "given", COMPLETED),
    ("complete: without weights", "conditional:_taken",
     "+ reductions.log_mean_exp(log_w)", "", COMPLETED),
    ("complete: walkers of any weight", "conditional:_taken", "p = reductions.normalise(log_w)",
     "p = reductions.normalise(0 * log_w)",
     ("test_conditional.py::test_walkers_are_drawn_by_weight",)),
    ("complete: rows share their walkers", "conditional:_start", "GROUPS * len(given.x)", "1",
     COMPLETED),
    ("complete: samples in order", "conditional:_taken", "index.gather(1, shuffled)", "index",
     SPREAD),
    ("complete: standard errors not widened", "conditional:_taken",
     "math.sqrt((GROUPS - 1) / (GROUPS - 3))", "0.3", COMPLETED),
    ("complete: ancestors without weights", "conditional:_taken",
     "walkers.weights.ancestors, p.flatten()",
     "walkers.weights.ancestors, torch.full_like(p, 1 / p.shape[1]).flatten()",
     ("test_conditional.py::test_walkers_are_drawn_by_weight",)),
    ("complete: all rows at once", "conditional:_parts", "PART // (n * d)", "len(x)", PARTS),
    ("complete: the pilot takes one step", "conditional:conditional_schedule",
     "betas.append(_bisect(beta, left, CESS))", "betas.append(1.0)",
     ("test_conditional.py::test_a_far_model_takes_more_temperatures",)),
    ("fill: rows of the base", "filling:fill", "complete(energy, base, given, count",
     "complete(base, base, given, count", FILLED),
    ("fill: rows out of order", "filling:fill", "filled[gaps] = found.x",
     "filled[: len(found.x)] = found.x", FILLED),
    ("fill: draws of an interval are as likely", "filling:_likely", "log_p + volume.to(log_p)",
     "0 * log_p", WITHIN),
    ("fill: the density of the base stays", "filling:_chosen",
     "found.log_z.view_as(log_q) - log_q", "found.log_z.view_as(log_q)", WITHIN),
    ("fill: the first draw alone", "filling:_chosen", "x[chosen, rows", "x[0 * chosen, rows",
     WITHIN),
    ("fill: given values are rounded", "cli_fill:fill_file",
     "np.where(np.isnan(repeated), rows, repeated)", "rows", CELLS),
    ("fill: samples out of order", "cli_fill:fill_file", "np.repeat(values, count, 0)",
     "np.tile(values, (count, 1))", CELLS),
    ("gaps: columns in the file's order", "data_units:matched",
     "keep = [names.index(c.name) for c in columns]", "keep = list(range(len(columns)))", BLANK),
    ("gaps: what is missing is the mean", "gaps:_scaled", "x.masked_fill(missing, math.nan)", "x",
     BLANK),
    ("gaps: words are missing", "data_units:_check", "raw.faults.among(\"words\", numbers)",
     "None", ("test_gaps.py::test_anything_else_is_refused_in_one_line",)),
    ("gaps: texts that are missing are the first category", "data_units:_codes",
     "for text in texts), np.nan]", "for text in texts), 0.0]", TEXTS),
    ("fill: texts of other categories", "sample:with_texts", "rows[:, j].astype(int)",
     "rows[:, j].astype(int) - 1", TEXTS),
    ("gaps: values in the middle of their cells", "gaps:_scaled",
     "x = scaling.apply(torch.where(missing, known.to(values), values), rng)",
     "x = scaling.apply(torch.where(missing, known.to(values), values))",
     ("test_gaps.py::test_repeated_values_are_drawn_from_their_cells",)),
    ("context: moves with the rest", "conditional_gaussian:Held._moved",
     "v.new_zeros(len(v), self.held)", "v[:, -self.held :]", STAYS),
    ("context: any kernel may move it", "spaces:_check_held", "held != space.size", "False",
     STAYS),
    ("context: noise reaches it", "random:add_noise", "if held:", "if False:", TRAINED),
    ("context: a mean without it", "conditional_gaussian:ConditionalGaussian._off",
     " - x[:, -k:] @ self.slope.T", "", DENSITY),
    ("context: no gradient to it", "conditional_gaussian:ConditionalGaussian.evaluate",
     "-g @ self.slope", "0 * (g @ self.slope)", DENSITY),
    ("context: samples of one context", "conditional_gaussian:ConditionalGaussian.sample",
     "self.contexts[which]", "self.contexts[0 * which]", DRAWN),
    ("context: log Z without the dimension", "conditional_gaussian:ConditionalGaussian.log_z",
     "d / 2 * math", "0 * math", DENSITY),
    ("context: none is given", "context:Given.forward", "self.context)",
     "0 * self.context)",
     ("test_context.py::test_one_context_is_an_energy_as_any_other",)),
    ("posterior: without p(c)", "context:log_joint", "if masses is None else",
     "if True else", ("test_context.py::test_bayes_tells_the_label",)),
    ("product: without powers", "composed:Product.combined", "u) @ powers", "u).sum(1)", PRODUCT),
    ("union: without log Z", "composed:Union.__init__",
     ".log() - known", ".log()", UNION),
    ("union: equal shares", "composed:Union.combined", "log_p.softmax(1)",
     "torch.full_like(log_p, 1 / log_p.shape[1])",
     ("test_composed.py::test_gradients_are_those_of_automatic_differentiation",)),
)  # fmt: skip
