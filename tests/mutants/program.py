"""Mistakes in the command line, recipes, kinds of models and settings of training."""

from __future__ import annotations

__all__ = ["PROGRAM"]

BAR = ("test_progress.py",)
FLAGS = ("test_advice.py",)
GOOD = ("test_resume.py::test_a_damaged_state_is_told_with_the_way_out",)
OPTIONS = ("test_options.py",)
NEAREST = ("test_cli.py::test_an_unknown_option_names_the_nearest",)
WRONG = ("test_cli.py::test_what_is_asked_wrongly",)
PAGE_SAFE = ("test_html.py::test_no_text_leaves_its_place",)
PAGE_UNITS = ("test_html.py::test_the_page_has_the_verdicts_numbers_and_fetches_nothing",)
PAGE_ROWS = ("test_html.py::test_the_least_likely_row_comes_first",)
PAGE_HEAD = ("test_html.py::test_the_headline_says_whether_to_believe",)
COMPARED = "test_comparison.py::test_"
PAGE_REFUSES = (COMPARED + "runs_that_do_not_compare_are_refused",)
PAGE_PAIRS = ("test_html.py::test_runs_are_compared_row_by_row",)
SCORE_LEVEL = ("test_verdict.py::test_the_scores_of_noisy_rows_are_the_verdicts",)
REPORT = ("test_cli.py::test_a_report",)
TABLES = ("test_cli.py::test_tables_are_read_as_they_were_written",)
SAMPLES = ("test_cli.py::test_samples",)
DENOISED = ("test_cli.py::test_denoised_samples_are_the_means_given_the_noisy_ones",)
EXIT = ("test_cli.py::test_the_exit_code_is_the_commands",)
NO_SAMPLES = ("test_cli.py::test_samples_that_cannot_be",)
SCORES = ("test_cli.py::test_scores_are_the_models",)
EQUAL_RANKS = ("test_cli_scores.py::test_equal_rows_have_the_smallest_of_their_ranks",)
BY_HAND = ("test_cli_scores.py::test_ranks_and_percentages_are_those_counted_by_hand",)
ROWS = ("test_cli_scores.py::test_a_score_has_its_line_and_the_identifiers_of_its_row",)
NOISY = ("test_cli_scores.py::test_of_a_model_with_noise_the_mean_over_it_is_written",)
UNITS = ("test_cli.py::test_rows_in_other_units_are_noticed",)
BINARY = ("test_cli.py::test_binary_samples_are_binary",)
SUMMARY = ("test_summary.py",)

APART = ("test_recipe.py::test_every_choice_can_be_made_otherwise",)
OWN = ("test_recipe.py::test_an_rbm_has_choices_of_its_own",)
TAKEN = ("test_cli_interpolants.py::test_what_an_interpolant_cannot_take",)
WHOLE = ("test_recipe.py::test_a_section_can_be_given_whole",)
STORED = ("test_recipe.py::test_a_recipe_survives_a_file",)
BACK = ("test_session.py::test_a_model_comes_back_from_its_file",)
ANOTHER = ("test_session.py::test_the_parameters_of_another_model",)
NULL = ("test_metrics.py::test_what_json_lacks_is_null",)
KINDS = ("test_kinds.py",)
DECAY = ("test_cli_rbm.py::test_only_the_weights_of_an_rbm_decay",)
RATES = ("test_rates.py",)
CHOSEN = ("test_bases.py::test_rows_of_two_modes_choose_a_mixture",)
HALF = ("test_bases.py::test_a_mixture_must_be_better_by_a_standard_error",)
WORK = ("test_bases.py::test_work_is_counted_and_bounded",)
SCORED = (
    "test_bases.py::test_candidates_are_scored_by_validation_rows_with_the_noise_of_the_training",
)
MORE = ("test_bases.py::test_numbers_of_components_end_where_two_in_a_row_are_worse",)
RIDGE = ("test_energies.py::test_a_ridge_takes_the_place_of_shrinkage_and_floor",)
TYPES = ("test_recipe.py::test_a_value_of_another_type_is_refused_by_its_name",)
DEVICE = ("test_session.py::test_random_numbers_of_another_kind_of_device_are_refused",)
COUNTED = ("test_work.py::test_evaluations_are_those_of_the_network",)
LOOKED = ("test_work.py::test_score_matching_and_looks_are_counted",)
SHORTENED = ("test_work.py::test_a_bracket_is_shortened_in_proportion_and_not_without_end",)
ONLY = ("test_work.py::test_only_the_default_is_shortened_and_it_says_so",)
CANNOT = ("test_training.py::test_settings_that_cannot_be",)
TEXTBOOK = ("test_training.py::test_contrastive_divergence_by_name_is_the_textbooks",)
RESTARTING = ("test_training.py::test_restarting_walkers_have_neither_weights_nor_renewals",)
FORGOTTEN = ("test_forgetting.py::test_what_a_memory_cannot_be_is_refused",)

SHIFTS = ("test_shifts.py",)
REPEATED = ("test_cli.py::test_a_run_is_repeated_by_its_config",)

PROGRAM = (
    ("bar: a notebook taken for a terminal", "console:_live",
     ' and "JPY_PARENT_PID" not in os.environ', "", ("test_console.py",)),
    ("bar: a step more than asked for", "progress:show_progress",
     "islice(steps, total)", "islice(steps, total and total + 1)", BAR),
    ("bar: shown by its start alone", "progress:_shown", "finally:\n        handle.update(bar)",
     "finally:\n        pass", BAR),
    # -- options
    ("advice: every name is an option", "advice:_flag", "if name in _NAMES", "if True", FLAGS),
    ("advice: an option with a low line", "advice:_flag", 'name.replace("_", "-")', "name",
     FLAGS),
    ("advice: the bracket's fields are no options", "advice:", 'f"bracket.{f.name}" for f in',
     "f.name for f in", FLAGS),
    ("advice: from the damaged state again", "advice:_resume", "if found[2]", "if False", GOOD),
    ("options: minutes are seconds", "cli_values:seconds", '"m": 60', '"m": 1',
     ("test_cli.py::test_a_budget_is_a_time",)),
    ("options: a budget of no time", "cli_values:seconds", " or not float(found[1])", "", OPTIONS),
    ("options: off is a word", "options:given", 'None if value == "off" else value', "value",
     OPTIONS),
    ("options: what is off was not given", "options:given", "if value is not None}",
     'if value not in (None, "off")}', OPTIONS),
    ("options: a list with spaces", "cli_values:integers", '.replace(" ", ",")', "", OPTIONS),
    ("options: an empty list is a choice", "cli_values:integers", "return None", "return ()",
     OPTIONS),
    ("options: the bracket's go unchecked", "options:check_names", 'if "bracket" in own',
     "if False", NEAREST),
    ("options: any name passes", "options:check_names", "and name not in options", "and False",
     NEAREST),
    ("options: what is None is not called off", "options:_help", '.replace("None: ", "off: ")',
     "", OPTIONS),
    ("options: off is no value", "options:_shown", 'Literal["off"] | kind | None', "kind | None",
     GOOD),
    ("program: an error is a success", "command:", "sys.exit(main())", "main()", EXIT),
    # -- commands
    ("report: a page in any format", "cli_report:report", 'out.suffix != ".html" and',
     "False and", REPORT),
    ("report: out is ignored", "cli_report:report", "path = out or", "path =", REPORT),
    ("report: damage is not told", "cli_report:report", "echo_damage(run)", "pass", REPORT),
    ("report: text ends the element of a script", "html_page:_script",
     'text.replace("<", r"\\u003c")', "text", PAGE_SAFE),
    ("report: units are not added", "html_likelihoods:likelihoods",
     "mean.value - own[split], mean", "mean.value, mean", PAGE_UNITS),
    ("report: the likeliest rows are shown", "run_page:_unlikely", "argsort(descending=True)",
     "argsort()", PAGE_ROWS),
    ("report: alarms do not change the headline", "run_page:headline", "if not verdict.bracketed",
     "if False", PAGE_HEAD),
    ("comparison: other data are compared", "html_differences:_rows",
     'if one["digest"] == two["digest"] or said', "if True or said",
     (COMPARED + "rows_that_differ_are_counted",)),
    ("comparison: of other kinds of values", "html_differences:_differences",
     "if _quantity(first) != _quantity(run)", "if False", PAGE_REFUSES),
    ("comparison: a column that the other lacks", "html_differences:_columns",
     "((b, mine, other), (a, other, mine))", "((a, mine, other), (b, other, mine))",
     (COMPARED + "columns_that_differ_are_named",)),
    ("comparison: with itself by another name", "html_differences:check_comparable",
     "run.folder.resolve() for run in runs", "run.folder for run in runs",
     (COMPARED + "a_run_is_not_compared_with_itself",)),
    ("comparison: no run is worse than its base", "comparison:_beats_base",
     'verdict.kept == "model" and sure', "True",
     (COMPARED + "the_headline_names_the_lowest_and_those_no_better_than_their_bases",)),
    ("comparison: that of other runs is replaced", "comparison:_mark", "own[above:]", "own[-1:0]",
     (COMPARED + "only_a_page_of_the_same_runs_is_replaced",)),
    ("report: any file is replaced", "html_page:check_replaceable", "if there != mark:",
     "if False:", (COMPARED + "only_a_page_of_the_same_runs_is_replaced",)),
    ("report: a file of anybody is replaced", "html_page:check_replaceable",
     "    else:\n        raise FileExistsError(", "    else:\n        there = mark\n        str(",
     (COMPARED + "only_a_page_of_the_same_runs_is_replaced",)),
    ("report: a point is not seen", "html_figures:curve", "alone.any()", "False",
     ("test_points.py::test_a_single_logged_iteration_is_drawn_and_told",)),
    ("report: an interrupted run seems to be done", "unfinished:unfinished", ">= 1", ">= 0",
     ("test_cli.py::test_the_report_of_a_run_without_a_bracket_says_what_to_type",)),
    ("comparison: the wrong one is better", "comparison:_gap", "b.nll - a.nll", "a.nll - b.nll",
     PAGE_PAIRS),
    ("comparison: log Z has no error", "comparison:_gap",
     "math.hypot(gap.stderr, a.verdict.stderr, b.verdict.stderr)", "gap.stderr",
     ("test_html.py::test_a_gap_has_the_errors_of_both_log_z",)),
    ("report: as many samples as are drawn", "html_samples:_columns", "min(len(drawn), effective)",
     "len(drawn)", ("test_html.py::"
     "test_errors_of_a_models_means_are_by_its_effective_samples",)),
    ("likelihoods: the first rows of all draws", "run_likelihoods:splits_of",
     "[:, :n].flatten(0, 1)", "[:1].flatten(0, 1)[:n]",
     ("test_html.py::test_many_rows_are_thinned_with_all_of_their_draws",)),
    ("scores: the error that all rows share stays", "scores:_of_noisy",
     "u + (own.mean() - u.mean())", "u", SCORE_LEVEL),
    ("sample: in the model's units", "sample:_save", "run.scaling.undo(x)", "x",
     SAMPLES),
    ("sample: weights where they are not asked for", "sample:sample",
     "log_w.cpu() if weighted else None", "log_w.cpu()", SAMPLES),
    ("sample: weights lost in an .npy", "sample:_check", 'if weighted and out.suffix == ".npy":',
     "if False:", NO_SAMPLES),
    ("table: digits are lost", "atomic:save_table", ".tolist()", ".astype('f4').tolist()", TABLES),
    ("table: the first lines alone", "atomic:save_table", "range(0, len(values), BLOCK)",
     "range(0, 1)", ("test_checkpoint.py::test_a_long_table_is_written_whole",)),
    ("score: in other units", "cli_score:score", ".numpy() + _or_zero(jacobian)",
     ".numpy() - _or_zero(jacobian)", SCORES),
    ("ranks: 1 is the most likely", "ranks:ranks", "np.sort(log_density), log_density",
     "np.sort(-log_density), -log_density", EQUAL_RANKS),
    ("ranks: equal rows have the largest", "ranks:ranks", 'side="left"', 'side="right"',
     EQUAL_RANKS),
    ("ranks: equal training rows are less likely", "ranks:percentiles", 'side="left"',
     'side="right"', EQUAL_RANKS),
    ("ranks: training rows in other units", "ranks:training_densities",
     "found = found + run", "found = found - run", BY_HAND),
    ("ranks: the percentage given the label", "ranks:training_densities", "and not labels:",
     "and labels:",
     ("test_given_labels.py::"
      "test_images_without_labels_are_told_theirs_and_scored_whatever_it_is",)),
    ("score: the mean over no noise", "cli_score:_save",
     "expected if run.recipe.train.noise else {}", "expected", ROWS),
    ("score: identifiers take names away", "scored:columns_of", "if k in taken", "if False",
     NOISY),
    ("score: the mean in other units", "cli_score:_tell", "own -= float(jacobian.mean())",
     "own += float(jacobian.mean())", SCORES),
    ("sample: the noise stays", "sample:sample", "x = denoised(", "_ = denoised(", DENOISED),
    ("sample: half the noise stays", "sample:sample", "x, opened.recipe.train.noise)",
     "x, opened.recipe.train.noise / 2)", DENOISED),
    ("score: sign of the mean", "cli_score:_tell", "-float(found.expected.mean())",
     "float(found.expected.mean())", SCORES),
    ("score: rows far below go unnoticed", "cli_score:_tell", "if abs(found.unlike) > 3",
     "if found.unlike > 3", UNITS),
    ("score: bits have units", "cli_score:_log_jacobian",
     "if scaling.threshold is not None:", "if False:", BINARY),
    ("score: the means are written twice", "cli_score:score", "found.log_density.cpu()",
     "found.expected.cpu()",
     ("test_cli.py::test_scores_of_noisy_models_are_densities",)),
    ("summary: not bracketed is a success", "summary:summarise", "return 1", "return 0", SUMMARY),
    ("summary: as many temperatures again", "summary:summarise",
     "{4 * run.recipe.bracket.temperatures}", "{run.recipe.bracket.temperatures}", SUMMARY),
    ("summary: advice for another kind of model", "summary:summarise", "run.family.calmer",
     "run.family.remedies", SUMMARY),
    ("summary: an interrupt is a success", "summary:summarise", "        raise\n",
     "        return 0\n", SUMMARY),
    ("summary: as many walkers again", "summary:next_commands", "{2 * verdict.how['walkers']}",
     "{verdict.how['walkers']}", SUMMARY),
    ("summary: more walkers for what is bracketed", "summary:next_commands",
     "if not verdict.bracketed:", "if verdict.bracketed:", SUMMARY),
    ("summary: the table calls it bracketed", "summary:_likelihoods",
     '"model" if verdict.bracketed', '"model" if True', SUMMARY),
    ("summary: exact means between", "summary:_likelihoods", "if verdict.exact", "if False",
     ("test_cli_rbm.py::test_an_rbm_of_bits_lives_as_any_run",)),
    # -- recipes
    ("choices: a name is the bracket's", "choosing:_section", ' if s != "bracket"', "", TAKEN),
    ("choices: what does not apply passes", "choosing:_section", "break", "pass", OWN),
    ("choices: of one kind of model", "choosing:_every_name", "for family in FAMILIES.values()",
     'for family in (FAMILIES["network"],)', OWN),
    ("choices: a section replaces the others", "choosing:with_changes",
     "replace(recipe, **changed)", "type(recipe)(recipe.kind, **changed)", APART),
    ("choices: what has no effect is shown", "choosing:applicable",
     "not in family.not_applicable", "not in ()", OWN),
    ("choices: the bracket's hide the training's", "choosing:applicable",
     'if section == "bracket"', "if False", WHOLE),
    ("choices: a stored bracket is not read", "choosing:read_recipe",
     'Bracket(**plain["bracket"])', "Bracket()", STORED),
    ("choices: a stored optimiser is not read", "choosing:read_recipe",
     'Optimizer(**plain["optimizer"])', "Optimizer()", STORED),
    # -- kinds of models
    ("family: a trust region once more", "families_base:Family.after_divergence",
     "if recipe.train.tau is None:", "if False:", KINDS),
    ("family: the default learning rate", "families_base:Family.optimizer", ", lr=choices.lr",
     "", KINDS),
    ("family: no weight decay", "families_base:Family.optimizer",
     "choices.weight_decay", "0.0", KINDS),
    ("family: temperatures are those of the recipe", "families_base:Family.annealing_schedule",
     "temperatures or recipe", "recipe", KINDS),
    ("family: as many as the pilot took", "families_base:Family.annealing_schedule",
     ".resized(steps)", "", KINDS),
    ("family: a kind that does not exist", "families:family_of", "if kind not in FAMILIES",
     "if False", WHOLE),
    ("rbm: more hidden units than rows", "families_rbm:_RBMFamily.defaults",
     ", data.rows // 10)", ")", KINDS),
    ("rbm: a batch larger than the data", "families_rbm:_RBMFamily.defaults",
     "min(512, data.rows)", "512", KINDS),
    ("rbm: parameters without the visible units", "families_rbm:_RBMFamily.size",
     "math.prod(shape) * hidden", "hidden", ("test_footprint.py",)),
    ("rbm: weights decay as biases", "families_rbm:_RBMFamily.parameter_groups",
     "[energy.w], rest", "[energy.w, *rest], []", DECAY),
    ("rbm: images forget nothing", "families_rbm:BernoulliRBMFamily._train",
     'if data.kind == "image"', "if False", OWN),
    ("rbm: tables forget", "families_rbm:BernoulliRBMFamily._train", 'if data.kind == "image"',
     "if True", OWN),
    ("rbm: bits are grey", "families_rbm:BernoulliRBMFamily.shown", "2 * rows - 1", "rows",
     KINDS),
    ("rbm: discrete numbers without noise", "families_rbm:GaussianRBMFamily._train",
     "0.1 if data.discrete", "0.0 if data.discrete", OWN),
    ("rbm: fitted to rows without noise", "families_rbm:_RBMFamily.build",
     "from_data(noisy,", "from_data(rows,", KINDS),
    # -- the base that validation rows choose
    ("base: one Gaussian without its log Z", "bases:_Search._score", " + fitted.log_z()", "",
     CHOSEN),
    ("base: scored without noise", "bases:_Search._score", "noise=noise, draws=draws",
     "draws=draws", SCORED),
    ("base: fitted without noise", "bases:_Search._score", "self.train, noise=noise",
     "self.train, noise=0.0", SCORED),
    ("base: any gain is enough", "bases:_Search.best", "grouped_stderr(gain, self.rows)",
     "0", HALF),
    ("base: work is not counted", "bases:_Search._score", "self.spent += cost", "pass", WORK),
    ("base: ever more components", "bases:_Search.mixtures", "worse == 2", "False", MORE),
    ("base: larger ridges alone", "bases:_Search._descend", "for step in (1, -1)",
     "for step in (1,)", MORE),
    ("Gaussian: shrunk beside its ridge", "gaussian:Gaussian.fit", "shrunk=ridge is None",
     "shrunk=True", RIDGE),
    # -- files
    ("json: tuples keep what JSON lacks", "json_numbers:without_nan", "isinstance(value, tuple)",
     "False", NULL),
    ("json: infinity is a number", "json_numbers:without_nan", "not math.isfinite(value)",
     "math.isnan(value)", NULL),
    ("model file: the base's covariance for the clusters'", "storing:_has_clusters", "> 1",
     "> 10**9", BACK),
    ("model file: one cluster is a pooled covariance", "storing:_has_clusters", "> 1", "> 0",
     BACK),
    ("model file: clusters forgotten in reading", "storing:load_model",
     "factor = pooled.to(device)", "pass", BACK),
    ("model file: any parameters", "storing:load_model", "energy.load_state_dict(rest)",
     "energy.load_state_dict(rest, strict=False)", ANOTHER),
    # -- the bracket's share of the work
    ("work: no proposals of the base", "work:_of_a_move",
     ' + bool(getattr(model, "refresh", False))', "", COUNTED),
    ("work: one leapfrog step", "work:_of_a_move", '"leapfrog_steps", 1', '"leaps", 1', COUNTED),
    ("work: two starts fewer", "work:evaluations_of_bracket", "+ 2 * more", "", COUNTED),
    ("work: score matching is free", "work:evaluations_of_training", "scores * matched + ", "",
     LOOKED),
    ("work: looks are free", "work:evaluations_of_training", " + looks * cost_of_a_look", " + 0 *",
     LOOKED),
    ("work: no least bracket", "work:bracket_within", "max(LEAST, ", "max(0, ", SHORTENED),
    ("work: more than there was", "work:bracket_within", "min(n, max(", "max(1, max(", SHORTENED),
    ("work: the user's bracket, too", "work:within_share",
     "not perceptron or recipe.bracket != run.family.defaults(data).bracket", "False", ONLY),
    ("work: no 30 seconds", "work:within_share",
     'max(most, _in_seconds(recipe, about["shape"]))', "most", ONLY),
    ("work: what was asked for, too", "evaluation:evaluate_run",
     'if not set(how or {}) - {"seed"}:', "if True:", ONLY),
    # -- settings of training
    ("rate: it rises again", "rates:cosine", "min(progress, 1.0)", "progress", RATES),
    ("rate: half a cosine", "rates:cosine", "math.pi * min", "math.pi / 2 * min", RATES),
    ("rate: of the first group", "rates:set_learning_rate", "in optimizer.param_groups",
     "in optimizer.param_groups[:1]", RATES),
    ("settings: any type", "choosing:with_changes",
     "check_types(type(getattr(recipe, name)), new)", "pass", TYPES),
    ("settings: True is a number", "ranges:check_types", "kind is not bool and isinstance",
     "False and isinstance", TYPES),
    ("session: another device's random numbers half way", "session:Session.load_state_dict",
     'self._set_random_state(saved["rng"])\n', 'self.seconds = 1.0\n', DEVICE),
    ("settings: chains with weights", "settings:Settings.pcd", '"weighted": False',
     '"weighted": True', TEXTBOOK),
    ("settings: chains under a trust region", "settings:Settings.pcd", '"tau": None, ', "",
     TEXTBOOK),
    ("settings: chains that go on", "settings:Settings.cd", '"restart": True', '"restart": False',
     TEXTBOOK),
    ("settings: a name given is not taken", "settings:Settings.pcd", "{**plain, **changes}",
     "{**changes, **plain}", RESTARTING),
    ("settings: one walker", "settings:Settings.__post_init__", '"walkers": 2', '"walkers": 1',
     CANNOT),
    ("settings: islands of unequal size", "settings:Settings.__post_init__",
     "self.held_out % 8", "self.held_out % 4", CANNOT),
    ("settings: NaN is a fraction", "settings:Settings.__post_init__",
     "if not 0 <= getattr(self, name) <= 1:",
     "if getattr(self, name) < 0 or getattr(self, name) > 1:", FORGOTTEN),
    ("settings: more walkers move than there are", "settings:Settings.__post_init__",
     "<= self.active <= self.walkers", "<= self.active", CANNOT),
    ("active: a stale kernel pays twice", "loop:_iterate", "if not moves.fresh:", "if False:",
     ("test_training.py::test_active_walkers_of_a_stale_kernel_are_moved_before_the_loss",)),
    ("shifts: the edge forgotten", "shifts:moved", 'mode="replicate"', 'mode="constant"', SHIFTS),
    ("shifts: originals left out", "shifts:with_shifts", "[rows] * copies", "rows[:0]", SHIFTS),
    ("shifts: another share", "shifts:with_shifts", "4 * (1 - share) / share", "4 / share",
     SHIFTS),
    ("shifts: always", "shifts:choose_shifts",
     "if float(gain.mean()) > float(gain.std()) / len(gain) ** 0.5:", "if True:", SHIFTS),
    ("shifts: never", "shifts:choose_shifts", "share = best", "pass", SHIFTS),
    ("shifts: a share given is chosen again", "shifts:choose_shifts",
     'getattr(model, "shifted", 0.0) != "chosen"', "False", SHIFTS),
    ("shifts: reported of moved images, too", "session:Session.__init__",
     'with_shifts(data, getattr(recipe.model, "shifted", 0.0))', "data", SHIFTS),
    ("settings: weights forgotten in turn", "settings:Settings.__post_init__",
     "if self.forgetting_factor < 1 and", "if False and", FORGOTTEN),
    ("repeating: another seed", "repeating:recall", 'config["seed"]', "0", REPEATED),
    ("repeating: changes are forgotten", "repeating:recall",
     'for name, value in changes.items() if name != "model"', "for name, value in ()", REPEATED),
    ("repeating: all columns", "repeating:recall", 'own.get("table", {})', "{}", REPEATED),
    ("repeating: of any values", "repeating:recall", '"binary", "digest")', '"binary")', REPEATED),
)  # fmt: skip
