"""Mistakes in the estimator of densities."""

from __future__ import annotations

__all__ = ["DENSITIES"]

FILE = "test_energy_density.py"
NORMAL = (f"{FILE}::test_a_normal_variable_is_its_base_with_an_exact_density",)
SKEWED = (f"{FILE}::test_skewed_columns_are_mapped_and_densities_are_in_their_units",)
RING = (f"{FILE}::test_a_ring_is_learned_and_its_density_is_normalised",)
DRAWN = (f"{FILE}::test_samples_are_of_the_model_whose_density_is_told",)
GIVEN = (f"{FILE}::test_missing_values_of_a_base_are_exact",)
MISSING = (f"{FILE}::test_missing_values_are_drawn_given_the_others",)
RANKED = (f"{FILE}::test_anomalies_are_ranked_among_the_training_rows",)
LOSES = (f"{FILE}::test_a_model_that_validation_rows_lose_by_is_its_base",)
FAILS = (f"{FILE}::test_a_training_that_fails_keeps_what_validation_chose",)
FEW = (f"{FILE}::test_few_rows_are_not_trained_on",)
HELD = (f"{FILE}::test_ten_rows_or_more_are_set_aside",)
REFUSED = (f"{FILE}::test_rows_without_a_density_are_refused_in_one_line",)
ALONE = (f"{FILE}::test_rows_score_alike_alone_and_together",)
KINDS = (f"{FILE}::test_integers_atoms_and_few_values_have_probabilities",)
EIGHTHS = (f"{FILE}::test_repeated_values_are_drawn_once_in_each_eighth_of_their_interval",)
ASIDE = ("test_arrays.py",)

DENSITIES = (
    ("density: in the model's units", "densities:TrainedDensity._scores",
     "learned.scaling.log_jacobian(values.shape[1]) - learned.z.value", "-learned.z.value",
     NORMAL),
    ("density: not normalised", "densities:TrainedDensity._scores", " - learned.z.value", "",
     NORMAL),
    ("density: slopes of the columns forgotten", "densities:TrainedDensity._scores",
     "volume - energies.cpu()", "-energies.cpu()", SKEWED),
    ("density: cells without their volume", "spreading:states",
     "volume = scaling.cells.log_volume(y, torch.ones_like(scaling.scale))", "pass", KINDS),
    ("density: one draw of cells", "spreading:places", "(order.T + 0.5) / DRAWS",
     "(order.T[:1] + 0.5) / DRAWS", EIGHTHS),
    ("density: what is missing is 0", "spreading:conditions", "x.masked_fill(missing, torch.nan)",
     "x", KINDS),
    ("arrays: no value repeats", "data_arrays:of_array", "None if cells.trivial else cells",
     "None", KINDS + ASIDE),
    ("density: of float32", "densities:TrainedDensity._scores", ".double()", ".float()", ALONE),
    ("density: a score without weights", "densities:TrainedDensity.score",
     "np.average(found, weights=weight)", "np.average(found)", NORMAL),
    ("density: samples of the base", "densities:TrainedDensity.sample",
     "if learned.energy is learned.base:", "if True:", DRAWN),
    ("density: a walker is taken twice", "densities:TrainedDensity.sample",
     "n_samples * float(walkers.p.max()) <= 1", "True", DRAWN),
    ("density: completed from the base", "densities:TrainedDensity.sample_conditional",
     "if learned.energy is learned.base:", "if True:", MISSING),
    ("density: what is given is rounded", "densities:TrainedDensity.sample_conditional",
     "np.where(np.isnan(given), found, given)", "found", SKEWED),
    ("density: anomalies above the threshold", "densities:TrainedDensity.predict", "< 0, -1, 1",
     "> 0, -1, 1", RANKED),
    ("density: ranks from above", "densities:TrainedDensity.anomaly_rank", 'side="left"',
     'side="right"', RANKED),
    ("density: another quantile", "energy_density:EnergyDensity.fit",
     "self._fitted_scores, self.contamination", "self._fitted_scores, 0.5", RANKED),
    ("density: constant columns pass", "energy_density:EnergyDensity._check_columns",
     "if len(constant):", "if False:", REFUSED),
    ("density: equal rows pass", "energy_density:EnergyDensity._check_columns",
     "if len(constant) == x.shape[1]:", "if False:", REFUSED),
    ("learning: a worse model is kept", "learning:Learning._evaluated",
     "self._loss(energy, base, z) > 0", "False", LOSES),
    ("learning: the base always", "learning:Learning._evaluated",
     "self._loss(energy, base, z) > 0", "True", RING),
    ("learning: the loss without log Z", "learning:Learning._loss", " + z.value", "", LOSES),
    ("learning: the loss without the base's log Z", "learning:Learning._loss",
     " - base.log_z()", "", (f"{FILE}::test_the_loss_is_that_of_normalised_densities",)),
    ("learning: alarms of the bracket are not told", "learning:Learning._evaluated",
     "self.alarms += z.alarms", "pass", (f"{FILE}::test_alarms_of_the_bracket_are_told",)),
    ("learning: a failure is not told", "learning:Learning._train",
     'self.alarms.append(f"training ended at iteration {session.iteration}: {error}")', "pass",
     FAILS),
    ("learning: few rows are trained on", "learning:Learning._recipe",
     "else max(ENOUGH, columns)", "else FEW", FEW),
    ("learning: one row is enough to validate", "learning:rows_to_hold",
     "max(LEAST, round(fraction * rows))", "round(fraction * rows)", HELD),
    ("arrays: validation rows are trained on", "data_arrays:of_array",
     "values[first], values[second]", "values, values[second]", ASIDE),
    ("arrays: copies on both sides", "data_arrays:of_array",
     "parted(values, order, (len(values) - held, held))",
     "np.split(order, [len(values) - held])", ASIDE),
)  # fmt: skip
