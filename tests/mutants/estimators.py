"""Mistakes in the estimators, for mutants.py."""

from __future__ import annotations

MIXED = ("test_estimators.py::test_walkers_that_have_other_masses_than_the_model_ring",)
WORSE = ("test_estimators.py::test_an_rbm_that_is_worse_than_independent_units_rings",)
RARE = ("test_estimators.py::test_a_bit_that_is_rare_does_not_ring",)
LARGER = ("test_estimators.py::test_the_larger_side_of_log_z_counts_and_its_alarms_are_told",)
TEXTS = ("test_texts.py::test_texts_have_the_probabilities_of_their_numbers",)
OTHER_TEXTS = ("test_texts.py::test_other_texts_are_refused_in_one_line",)
WHOLE = ("test_texts.py::test_integers_come_back_where_they_are_whole",)
NO_CATEGORY = ("test_texts.py::test_what_is_no_category_is_refused",)
MANY_TEXTS = ("test_texts.py::test_as_many_categories_as_there_are",)
FADE = ("test_estimators.py::test_weights_may_fade",)
UNITS = ("test_estimators.py::test_numbers_have_a_density_in_their_own_units",)
TRUTH = ("test_estimators.py::test_bits_have_a_likelihood_that_is_normalised_and_near_the_truth",)
MEAN = ("test_estimators.py::test_rows_of_probabilities_score_the_mean_over_their_bits",)
AGAIN = ("test_estimators.py::test_partial_fit_goes_on_where_it_stopped",)
CHANGED = ("test_estimators.py::test_parameters_may_change_from_call_to_call",)
ASKED = ("test_estimators.py::test_what_is_asked_for_reaches_training",)
FEATURES = ("test_estimators.py::test_a_transform_is_the_probability_of_the_hidden_units",)
AFRESH = ("test_estimators.py::test_bits_of_probabilities_are_drawn_afresh_in_every_pass",)
NARROW = ("test_estimator_streams.py::test_a_narrow_first_call_does_not_set_the_units_for_good",)
DRIFTS = ("test_estimator_streams.py::test_streams_that_drift_ring_and_shuffled_ones_do_not",)
FORGOTTEN = ("test_estimator_streams.py::test_rows_that_come_early_and_are_forgotten_ring",)
ABOVE = ("test_estimator_streams.py::test_a_log_probability_above_0_is_cut_or_rings",)
TOLD = ("test_estimator_streams.py::test_what_later_calls_contradict_is_told",)
BASE = ("test_estimator_streams.py::test_base_and_prior_are_those_of_all_calls",)
MOMENTS = ("test_estimator_streams.py::test_moments_are_those_of_all_rows",)
SAMPLE = ("test_estimator_streams.py::test_the_sample_is_uniform_over_the_stream_and_by_weight",)
ASIDE = (
    "test_estimator_streams.py::"
    "test_rows_set_aside_are_the_same_in_every_pass_and_are_not_learned_from",
)
REPEAT = ("test_estimator_streams.py::test_of_rows_that_repeat_none_is_set_aside",)
COMMON = (
    "test_estimator_streams.py::test_a_rare_bit_does_not_make_a_drift_and_a_common_one_does",
)
HASHED = ("test_estimator_streams.py::test_equal_rows_have_equal_hashes_wherever_they_stand",)
BITS = ("test_estimator_streams.py::test_rows_of_bits_are_told_in_sparse_rows_too",)
OFTEN = ("test_estimator_rows.py::test_a_pass_takes_each_row_as_often_as_it_weighs",)
WINDOWS = ("test_estimator_rows.py::test_sparse_rows_are_made_dense_a_window_at_a_time",)
RATIOS = (
    "test_estimator_rows.py::test_only_ratios_of_weights_count_and_rows_of_weight_0_not_at_all",
)
WEIGHTED = ("test_estimator_rows.py::test_base_and_sample_of_weighted_rows_are_weighted",)
HEART = ("test_estimator_rows.py::test_rows_learned_by_heart_ring",)
PULLED = ("test_estimator_rows.py::test_a_prior_pulls_to_its_centre_by_its_strength",)
SPARSE = (
    "test_estimator_rows.py::test_extremes_and_parts_of_sparse_rows_are_those_of_dense_ones",
)

#: name, file, source, what it becomes, tests: see mutants.Mutant
ESTIMATORS = (
    # -- log Z, scores, samples
    ("estimator: doubts unheard", "fitted:Fitted._log_z", "[*found.alarms, *self._doubts(found)]",
     "[*found.alarms]", (* MIXED, * WORSE)),
    ("estimator: a rare bit's variance by the samples alone",
     "estimators_alarms:_against_walkers",
     "torch.maximum(x.var(0), p @ (walkers.x - means[1]).square())", "x.var(0)", RARE),
    ("estimator: the smaller side of log Z", "fitted:Fitted._log_z",
     "self._z.value, self._z.stderr", "self._z.interval[0].value, self._z.stderr", LARGER),
    ("estimator: memory left out", "rbm:RBM._recipe", "forgetting_factor=self.forgetting_factor)",
     "forgetting_factor=1.0)", FADE),
    ("estimator: units: the Jacobian's sign", "fitted:Fitted.score_samples",
     "score -= np.log(units.scale).sum()", "score += np.log(units.scale).sum()", UNITS),
    ("estimator: scores of the model without log Z", "fitted:Fitted.score_samples",
     ".cpu().numpy() - z.value", ".cpu().numpy()", TRUTH),
    ("estimator: samples and sweeps in the model's units", "units:Units.array",
     ".cpu().numpy() * self.scale + self.mean", ".cpu().numpy()", UNITS),
    ("estimator: a sweep in the model's units", "fitted:Fitted.gibbs",
     "self._units.array(torch.cat(swept))", "torch.cat(swept).cpu().numpy()", UNITS),
    ("estimator: rows in their own units", "units:Units.tensor",
     "(x.astype(np.float64) - self.mean) / self.scale", "x.astype(np.float64)", UNITS),
    ("estimator: bits of a row by the wrong side", "density:energies",
     "(u < p[:, None]).to(rows)", "(u > p[:, None]).to(rows)", MEAN),
    ("estimator: draws by position", "arrays:uniform", "default_rng(crc32(row.tobytes()))",
     "default_rng()", MEAN),
    ("estimator: an old log Z after more training", "rbm:RBM._train", "self._z = None",
     'self._z = getattr(self, "_z", None)', AGAIN),
    ("estimator: a pass starts anew", "estimators_training:Training.go",
     "if self.state is not None:", "if False:", AGAIN),
    ("estimator: features without their bias", "fitted:Fitted.transform",
     "model.features(tensor)", "model.features(tensor * 0)", FEATURES),
    ("estimator: a log-probability above 0 unheard", "fitted:Fitted.score_samples",
     "self._ring(alarms)\n        return", "pass\n        return", ABOVE),
    ("estimator: each row for itself below 1", "density:impossible",
     "np.unique(hashes(x), return_index=True)[1]", "[int(score.argmax())]", ABOVE),
    ("estimator: the error of log Z an alarm", "density:impossible",
     "slack = [], 1e-6 + 4 * stderr", "slack = [], 1e-6", ABOVE),
    ("estimator: above 0 by the error of log Z", "density:impossible",
     "np.where((score > 0) & (score <= slack)", "np.where((score < 0) & (score > slack)", ABOVE),
    # -- streams
    ("stream: units of the first call", "rbm:RBM._given",
     "self._units = Units.of(kind, history.moments, device)",
     "self._units = Units.of(kind, history.moments, device) if first else self._units", NARROW),
    ("stream: base and prior of the first call", "estimators_training:Training.go",
     "self.family.adapt(session)", "self.state or self.family.adapt(session)", BASE),
    ("stream: a prior as strong as at the first call", "estimators_training:_Bits._adapt_base",
     'biases["centre"], biases["strength"] = logits, strength', 'biases["centre"] = logits', BASE),
    ("stream: the learning rate of the first call", "estimators_training:_WithPriors.adapt",
     'group["lr"] = choices.lr', "pass", CHANGED),
    ("estimator: the live parameters", "estimators_training:Training.go",
     "copy.deepcopy(session.average)", "copy.deepcopy(session.energy)", ASKED),
    ("estimator: a speed that does not fall", "estimators_training:PassSettings.speed",
     "min(1.0, 2 * (1 - done / self.passes)) ** 2", "1.0", ASKED),
    ("estimator: a speed that falls from the start", "estimators_training:PassSettings.speed",
     "2 * (1 - done / self.passes)", "1 - done / self.passes", ASKED),
    ("estimator: a speed within a pass", "estimators_training:PassSettings.speed",
     "math.floor(progress * self.passes + 1e-9)", "progress * self.passes", ASKED),
    ("estimator: a stream that ends", "rbm:RBM._train", "if ends else None", "if True else None",
     AGAIN),
    ("stream: moments without what lies between", "streams:Moments.merged",
     "share * other.var + between", "share * other.var", MOMENTS),
    ("stream: moments without weights", "streams:Moments.of", "p = weight / weight.sum()",
     "p = np.ones_like(weight) / len(weight)", MOMENTS),
    ("stream: rows by the sum of weights", "streams:Moments.rows", "self.weight**2 / self.square",
     "self.weight", MOMENTS),
    ("stream: a sample of the last rows", "streams:History._sample",
     "best = np.sort(np.argsort(priority)[:KEPT])", "best = np.arange(len(priority))[-KEPT:]",
     SAMPLE),
    ("stream: a sample without weights", "streams:History._sample",
     ".exponential(size=len(weight)) / weight", ".exponential(size=len(weight)) * weight", SAMPLE),
    ("stream: rows set aside that are learned from", "streams:History._split",
     "np.setdiff1d(np.arange(len(found)), out)", "np.arange(len(found))", ASIDE),
    ("stream: rows that give way are lost", "streams:History._split", "        if late:\n",
     "        if False:\n", ASIDE),
    ("stream: distinct rows by one too many", "streams:History.distinct",
     "(MOST - 1) / float(self._hashes[-1])", "2 * (MOST - 1) / float(self._hashes[-1])", ASIDE),
    ("stream: repeated rows set aside", "streams:History.repeats",
     "return self._unlike < 0.75 * self._seen", "return False", REPEAT),
    ("stream: a drift by the mean's error alone", "streams:apart",
     " + delta * (whole.high - whole.low) / (3 * n)", "", COMMON),
    ("stream: the last call not compared", "streams:History.drift", "if self._last is not None:",
     "if self._last is None:", (* DRIFTS, * TOLD)),
    ("stream: drifts unheard", "fitted:Fitted._doubts", "            history.drift(),\n", "",
     DRIFTS),
    ("stream: halves not compared", "estimators_alarms:",
     "    yield from _between_halves(model, evidence)\n", "", FORGOTTEN),
    ("stream: what was chosen forgotten", "fitted:Fitted._checked",
     'chosen=self.visible == "auto"', "chosen=False", TOLD),
    ("stream: bits among numbers unheard", "estimators_alarms:mistaken_for_numbers",
     "if history.bits > 0.5:", "if history.bits > 2:", TOLD),
    # -- weights, sparse rows
    ("passes: rows without weights", "passes:Passes._drawn",
     "if not self._equal():\n            u =", "if False:\n            u =", OFTEN),
    ("passes: each draw for itself", "passes:Passes._drawn",
     "(np.arange(n) + u) * (edges[-1] / n)", "np.random.default_rng(0).random(n) * edges[-1]",
     OFTEN),
    ("passes: probabilities drawn once", "passes:Passes.__init__",
     'and bits != "drawn" and self._equal()', "and self._equal()", AFRESH),
    ("passes: windows in the rows' order", "passes:Passes._drawn",
     "torch.randperm(n, generator=self.rng, device=self.rng.device).cpu().numpy()",
     "np.arange(n)", WINDOWS),
    ("passes: the first window again and again", "passes:Passes._rows",
     "order[k * self.size : (k + 1) * self.size]", "order[: self.size]", WINDOWS),
    ("weights: rows of weight 0 learned from", "checks:weighted",
     "(x, weight) if weight.all() else (x[weight > 0], weight[weight > 0])", "(x, weight)",
     RATIOS),
    ("weights: a base without them", "estimators_training:_Bits._logits",
     "moments.mean * n + 0.5", "(moments.low + moments.high) / 2 * n + 0.5", WEIGHTED),
    ("hashes: minus zero", "arrays:hashes", "part.astype(np.float64) + 0.0",
     "part.astype(np.float64)", HASHED),
    ("arrays: sparse rows all bits", "arrays:rows_of_bits", "(x.data != 0) & (x.data != 1)",
     "(x.data != 0) & (x.data != x.data)", BITS),
    ("arrays: a part for all", "arrays:parts", "size = max(1, PART // (copies * x.shape[1]))",
     "size = x.shape[0]", SPARSE),
    # -- frames with texts
    ("frames: in any order", "estimator_frames:_codes", "float(k)", "float(len(levels) - 1 - k)",
     TEXTS),
    ("frames: another text is missing", "estimator_frames:_codes", "    if other:",
     "    if False:", OTHER_TEXTS),
    ("frames: texts of categories sorted", "estimator_frames:_categories",
     "one for one in order if one in known", "one for one in sorted(known)", TEXTS),
    ("frames: integers anyhow", "estimator_frames:Frames.frame",
     'kind in "iub" and not (whole and whole[j])', "False", WHOLE),
    ("frames: free text is categories", "estimator_frames:_categories",
     'if isinstance(found, str) and found != "constant"', "if False", NO_CATEGORY),
    ("frames: texts are numbers", "data_arrays:_cells", "if j in texts:", "if False:", MANY_TEXTS),
    # -- priors, rows by heart
    ("prior: away from its centre", "priors:PriorAdam.step", "p.grad.add_(p - group",
     "p.grad.sub_(p - group", PULLED),
    ("prior: about 0", "priors:PriorAdam.step", 'p.grad.add_(p - group["centre"]',
     "p.grad.add_(p", PULLED),
    ("prior: as strong for many units", "priors:strengths", "hidden / (4 * SPREAD**2 * rows)",
     "1 / (4 * SPREAD**2 * rows)", PULLED),
    ("prior: as strong for many rows", "priors:strengths", "return decay, 1 / rows",
     "return decay, 1.0", PULLED),
    ("misfit: rows set aside not looked at", "estimators_alarms:_against_independent_units",
     "if len(weight) < 8:", "if len(weight) < 1e9:", HEART),
)  # fmt: skip
