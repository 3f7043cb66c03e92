"""Mistakes in reading files, splitting rows and showing names, for mutants.py."""

from __future__ import annotations

LINES, FRAMES, FILES = "data/lines.py", "data/frames.py", "data/files.py"
REPEATS, READERS, IDX = "data/repeats.py", "data/readers.py", "data/idx.py"
COLUMNS, DEVICES, PLAIN = "data/columns.py", "devices.py", "plaintext.py"

TOGETHER = ("test_repeats.py::test_equal_rows_are_on_one_side_of_the_split",)
EQUAL = ("test_repeats.py::test_equal_rows_of_every_kind_of_number_are_found",)
NATURE = ("test_repeats.py::test_rows_that_are_equal_by_nature_are_split_one_by_one",)
PUBLISHED = (
    "test_repeats.py::test_a_published_test_file_stays_as_it_is_and_what_it_shares_is_told",
)
DOUBTFUL = ("test_readers.py::test_what_could_be_read_wrong_is_refused",)
FIRST = ("test_readers.py::test_first_rows_that_count_up_are_rows",)
WHOLE = ("test_readers.py::test_whole_numbers_of_arrays_are_held_exactly_or_refused",)
BLOCKS = ("test_readers.py::test_a_file_that_is_longer_than_a_block",)
TILDE = ("test_readers.py::test_a_name_that_begins_as_a_home_folder_does",)
FLOAT32 = ("test_readers.py::test_what_float32_cannot_hold_is_refused",)
COLUMN = ("test_frames.py::test_columns_that_are_no_numbers",)
INDEX = ("test_frames.py::test_every_kind_of_number_and_an_index_that_is_no_column",)
FAR = ("test_frames.py::test_the_row_that_is_named_counts_from_the_beginning",)
LYING = ("test_file_limits.py::test_a_header_that_lies_is_found_before_memory_is_taken",)
TOO_LARGE = ("test_file_limits.py::test_an_array_that_this_machine_cannot_hold_is_refused",)
PIPES = ("test_file_limits.py::test_pipes_and_devices_are_no_files",)
PLACES = ("test_unusual.py::test_the_line_of_a_fault_below_a_line_break_in_quotes",)
IDENTIFY = (
    "test_unusual.py::test_what_identifies_rows",
    "test_unusual.py::test_identifiers_without_names_are_found_by_number",
)
UNUSUAL = (
    "test_unusual.py::test_what_is_outside_the_range_and_off_the_grid",
    "test_unusual.py::test_a_rounded_column_has_exceptions",
)
ENDLESS = ("test_file_limits.py::test_a_line_without_end_is_refused",)
CIFAR = ("test_cifar.py",)
DRAWN = ("test_names.py::test_names_are_drawn_as_they_are",)
TERMINAL = ("test_names.py::test_a_terminal_gets_no_character_that_it_acts_on",)
ASKED = ("test_footprint.py::test_what_no_memory_holds_is_refused_with_its_size",)
MAPPED = ("data/test_margins.py",)
BACKGROUND = ("test_background.py",)
PEAKS = (
    "test_margins.py::test_peaks_stay_apart_where_each_is_normal",
    "test_margins.py::test_a_dip_is_between_two_peaks_of_some_mass",
)
FLOWS = ("test_spline_flow.py",)
TRAINED = (
    "test_flow_coordinates.py::test_the_nll_that_chooses_is_that_of_the_standardised_rows",
    "test_flow_coordinates.py::"
    "test_the_lowest_nll_is_kept_and_rows_that_gain_nothing_end_the_training",
    "test_flow_coordinates.py::test_the_best_of_the_tried_goes_on",
)
CHOSEN = (
    "test_flow_coordinates.py::test_a_flow_is_chosen_where_mixtures_are_poor_and_is_then_alone",
)
KINDS = ("test_column_kinds.py",)
TABLES = ("test_cli_tables.py",)
NOT_DATA = ("test_data.py::test_what_is_not_data",)
HOLES = ("test_data.py::test_holes_are_counted_and_located",)
CONSTANT = ("test_data.py::test_constant_columns_need_noise",)
DETERMINED = ("test_data.py::test_columns_that_others_determine_have_no_density",)
DISCRETE = ("test_dataset.py::test_discrete",)
CLASSES = ("test_dataset.py::test_classes",)
CHOICES = ("test_dataset.py::test_choices_that_cannot_be",)
LABELS = ("test_dataset.py::test_classes_need_labels_that_are_integers",)
DRAWS = ("test_dataset.py::test_rows_of_a_class_are_drawn_at_random_and_in_order",)
SHARES = ("test_dataset.py::test_shares_sum_and_stay_within_what_there_is",)
THINNED = ("test_dataset.py::test_thinning_keeps_proportions",)
DIGITS = ("test_data.py::test_digits_are_split_once_and_for_all",)
OF_DIGITS = ("test_dataset.py::test_classes_of_digits_come_from_each_split_in_proportion",)
ARRAYS = ("test_readers.py::test_arrays_that_are_no_rows_of_numbers",)
SEARCHED = ("test_cli.py::test_the_working_folder_is_searched_after_every_library",)

#: what `mutants.Mutant` is made of
STORED = "test_stored.py::"
ONCE = (STORED + "test_each_row_comes_once_in_a_pass_and_none_that_is_held_out",)
ORDER = (STORED + "test_the_order_is_that_of_the_seed",)
PLACE = (STORED + "test_a_place_is_found_again",)
SAME_BITS = (STORED + "test_a_training_goes_on_with_the_same_bits",)
SPREAD_1 = (STORED + "test_standardised_rows_have_mean_0_and_spread_1",)
DRAWN_ROWS = (STORED + "test_samples_are_all_of_the_rows_that_are_not_held_out",)

DATA = (
    ("on disk: the same order in every pass", "stored:StoredRows._window",
     "(self.seed, 3, *name)", "(self.seed, 3, number)", ORDER),
    ("on disk: blocks in the order of the file", "stored:StoredRows._windows",
     "rng.permutation(len(sizes)).tolist()", "range(len(sizes))", PLACE + ONCE),
    ("on disk: rows held out come, too", "stored:StoredRows._block", "(held - first)] = False",
     "(held - first)] = True", ONCE),
    ("on disk: a batch ends with its window", "stored:StoredRows.__iter__",
     "start, k = min(stop, ends[k + 1]), k + 1", "start, k = stop, k + 1", ONCE),
    ("on disk: a pass begins at its first batch", "stored:StoredRows.load_state_dict",
     'int(saved["taken"])', "0", PLACE + SAME_BITS),
    ("on disk: any pass", "stored:StoredRows.load_state_dict", 'int(saved["epoch"])', "0", PLACE),
    ("on disk: spread within blocks alone", "stored:StoredRows.standardised",
     ".square().sum(0) + apart", ".square().sum(0)", SPREAD_1),
    ("on disk: single precision before the mean is taken away", "blocks:_exact",
     "np.float32 if np.can_cast(dtype, np.float32) else np.float64", "np.float32", SPREAD_1),
    ("on disk: samples are held out", "stored:StoredRows.sample",
     "chosen + np.searchsorted(before, chosen, side=\"right\")", "chosen", DRAWN_ROWS),
    ("on disk: one row off", "stored:StoredRows.sample", 'side="right"', 'side="left"',
     DRAWN_ROWS),
    # -- columns mapped to normal variables
    ("margins: no tail", "margins:Margins._shares", "+ self.tail * low,", "+ 0 * low,", MAPPED),
    ("margins: peaks are pressed together", "margins:_column", "has_peaks(gaussians)",
     "False", PEAKS),
    ("margins: tried together alone", "run_coordinates:_maps", "if same", "if True", PEAKS),
    ("background: beside the whole base", "background:with_background", "(1 - mass) * ", "",
     BACKGROUND),
    ("background: as wide as the base", "background:with_background", "WIDTH**2 * ", "",
     BACKGROUND),
    ("background: mapped columns as others", "background:with_background",
     "    if mapped:", "    if False:", BACKGROUND),
    ("background: mapped columns that depend on each other", "background:with_background",
     " + covariance.diag().diag() / 2", "", BACKGROUND),
    ("background: preconditions the moves", "background:with_background",
     "new.factor = base.factor", "", BACKGROUND),
    ("background: tilted, too", "background:Foreground.forward",
     "torch.where(near, -lesser, -tilted)", "torch.where(near, f, -tilted)", BACKGROUND),
    ("background: large numbers", "background:Foreground.forward", "tilted > MOST",
     "tilted > math.inf", BACKGROUND),
    ("background: far out as near", "background:Foreground.forward", "near = back < front",
     "near = back < back + 1", BACKGROUND),
    ("background: without the shift", "background:Foreground.forward", " + self.shift", "",
     BACKGROUND),
    ("background: of few rows too much", "run_background:finished_base", "min(1 / rows, MASS)",
     "1 / rows",     BACKGROUND),
    ("background: of any covariance", "run_background:finished_base",
     " if full else base", "", BACKGROUND),
    ("background: two of them", "run_background:finished_base",
     'if isinstance(getattr(energy, "net", None), Foreground)', "if False", BACKGROUND),
    ("background: whatever log Z is", "run_background:finished_model",
     "net.shift.fill_(z.value - own.log_z())", "pass", BACKGROUND),
    ("background: log Z as it was", "run_background:_with_background",
     "math.log(front + e)", "z.value", BACKGROUND),
    ("background: errors as they were", "run_background:_with_background",
     "z.stderr * front / (front + e)", "z.stderr", BACKGROUND),
    ("background: no sample of it", "run_background:_joined",
     "share / DRAWN)", "0.0)", BACKGROUND),
    ("background: none for an estimator", "learning:Learning._base_alone",
     "base = finished_base(recipe.model, base, self.data.sizes[0], mapped=mapped)", "pass",
     BACKGROUND),
    ("peaks: any dip", "peaks:has_peaks", "DIP * ", "", PEAKS),
    ("peaks: of any mass", "peaks:has_peaks", "aside & ", "", PEAKS),
    ("peaks: the higher one counts", "peaks:has_peaks", "np.minimum(below, above)",
     "np.maximum(below, above)", PEAKS),
    ("margins: slope without the normal's", "margins:Margins._map", "- log_normal", "", MAPPED),
    ("margins: right half of the wrong sign", "margins:Margins._map",
     "-torch.special.ndtri(high", "torch.special.ndtri(high", MAPPED),
    ("margins: the inverse seeks the other way", "margins:Margins.undo",
     "less = found < z", "less = found > z", MAPPED),
    ("margins: the most Gaussians", "margins:_mixture", "criterion < best[0]",
     "criterion > best[0]", MAPPED),
    ("margins: density without the tail's weight", "margins:Margins._log_density",
     "math.log(self.tail) + cauchy", "cauchy", MAPPED),
    ("margins: left out of the samples", "scaling:Scaling.undo",
     "self.standardised(self.images(x))", "self.images(x)",
     MAPPED),
    ("margins: sign of the volume in likelihoods", "run_likelihoods:nll_of_splits", "- own.volume",
     "+ own.volume", MAPPED),
    ("margins: no volume in scores", "scores:_density", "volume - mean_energy(energy, x)",
     "-mean_energy(energy, x)", MAPPED),
    ("margins: candidates in other units", "run_coordinates:_proposal",
     "nll=o.nll - volume", "nll=o.nll + volume", MAPPED),
    ("margins: forgotten at a resume", "folder:Run.data", "mapped(data, self.scaling)", "data",
     MAPPED),
    # -- coordinates of a spline flow
    ("flows: volume without that of the turn", "data_flows:SplineFlow.apply",
     "log_det + self._log_det", "log_det", FLOWS),
    ("flows: undone around 0", "data_flows:SplineFlow.undo", "+ self.mean", "", FLOWS),
    ("flows: undone without the turn", "data_flows:SplineFlow.undo", "@ self._back",
     "@ self.turn", FLOWS),
    ("flows: equal rows come back unequal", "data_flows:SplineFlow.undo", ".float().double()", "",
     ("test_spline_flow.py::test_equal_rows_stay_equal_wherever_they_stand",)),
    ("flows: another mean in the file", "data_flows:SplineFlow.tensors",
     '"mean": self.mean,', '"mean": 1.001 * self.mean,', FLOWS),
    ("maps: the volume of the last map alone", "data_maps:Chained.apply",
     "total = total + volume", "total = volume", FLOWS),
    ("maps: undone in their order", "data_maps:Chained.undo", "reversed(self.maps)", "self.maps",
     FLOWS),
    ("flows: forgotten by the coordinates", "scaling:Scaling.coordinates",
     "(self.margins, self.flow)", "(self.margins,)", FLOWS),
    ("flows: trained in other units", "run_flows:_Training._nll", "- self.volume",
     "+ self.volume", TRAINED),
    ("flows: volume without the whitening", "run_flows:_Training.__init__",
     "volume + float(torch.linalg.slogdet(self.turn)[1])", "volume", TRAINED),
    ("flows: the last parameters are kept", "run_flows:_Training.go_on", "if nll < self.best:",
     "if True:", TRAINED),
    ("flows: no end of a training that gains nothing", "run_flows:_Training.go_on",
     "else self.idle + 1", "else self.idle", TRAINED),
    ("flows: the worst is trained on", "run_flows:train_flow", "best = min(courses",
     "best = max(courses", TRAINED),
    ("flows: a second start", "run_coordinates:propose", "or best.data.scaling.flow", "",
     ("test_flow_coordinates.py::"
      "test_a_mixture_in_a_flows_coordinates_has_no_second_start",)),
    ("flows: left out of the rows", "data_coordinates:mapped", "flow=scaling.flow", "flow=None",
     CHOSEN),
    ("flows: rows are filled in", "gaps:check_apart", "if scaling.flow is not None:", "if False:",
     ("test_flow_coordinates.py::test_an_estimator_with_a_flow",)),
    ("flows: an old file stays", "staging:settle", "if not _has_flow(folder):", "if False:",
     ("test_flow_coordinates.py::"
      "test_a_damaged_or_missing_flow_is_told_and_another_run_leaves_none",)),
    # -- kinds of columns, and intervals of their values
    ("kinds: a frequent year is an atom", "data_kinds:_atoms", "share[i] > OFTEN * own", "True",
     KINDS),
    ("kinds: no value is an atom", "data_kinds:_atoms", "(share > ATOM)", "(share > 1)",
     KINDS),
    ("kinds: copies of rows are ties", "data_kinds:kind_of", "many == distinct and", "False and",
     KINDS),
    ("kinds: the step of a grid is its smallest gap", "data_kinds:grid_of",
     "np.gcd.reduce(np.diff(near).astype(np.int64))", "np.diff(near).min()", KINDS),
    ("kinds: even numbers identify the rows", "identifiers:identifies",
     "(steps == steps[0]).all()", "False", KINDS),
    ("kinds: integers that differ by chance identify the rows", "identifiers:identifies",
     "(cells > n and n * (n - 1) / 2 < UNLIKELY * cells)", "False", KINDS),
    ("kinds: ties off any grid are continuous", "data_kinds:_gap", "return float(np.median(gaps))",
     "return 0.0 * float(np.median(gaps))", KINDS),
    ("kinds: copies of rows make cells", "data_kinds:_gap", "- copies <=", "<=", KINDS),
    ("cells: ties off any grid are rounded", "cells:Cells.collect", "masked_fill(loose, 0.0)",
     "masked_fill(loose & False, 0.0)", KINDS),
    ("kinds: every large number is near a decimal", "data_kinds:_mostly",
     "np.minimum(1e-6 + 1e-12 * np.abs(scaled), 0.01)", "1e-6 * (1 + np.abs(scaled))", KINDS),
    ("margins: the inverse ends after one step", "margins:Margins.undo",
     "> CLOSE * (1 + last.abs())", "> 1.0 + 0 * last.abs()", MAPPED),
    ("repeats: rows are told apart by their last value", "repeats:_hashes",
     "_mixed(found ^ word)", "_mixed(word)", TOGETHER + EQUAL),
    ("cells: decimals that are not the file's", "cells:_rounded",
     "(start.round() + k * steps.round()) / 10**digits", "offset + step * k", KINDS),
    ("cells: values are at an end of their cell", "cells:Cells.spread", "(u - 0.5)", "u", KINDS),
    ("cells: values above an atom stay", "cells:Cells.spread", "moved = below * column.width",
     "moved = 0 * below", KINDS),
    ("cells: categories overlap", "cells:_placed", "0.5 + NARROW *", "0.5 + 2 * NARROW *", KINDS),
    ("cells: draws without the mass outside", "cells:_log_q", "NARROW * INSIDE", "NARROW", KINDS),
    ("cells: uniform draws of categories", "cells:_log_q", "return normal -",
     "return 0 * normal -", KINDS),
    ("cells: sign of the scale", "cells:Cells._widths", "widths - scale.log()",
     "widths + scale.log()", KINDS),
    ("cells: width of a cell forgotten", "cells:Cells._widths",
     "c.step if c.counted else torch.nan", "1.0 if c.counted else torch.nan", KINDS),
    ("cells: width of an atom forgotten", "cells:Cells._widths", "math.log(column.width) -",
     "-", KINDS),
    ("cells: units of columns with probabilities", "cells:Cells.log_units",
     "self._widths(y, scale).isnan()", "self._widths(y, scale) == self._widths(y, scale)", KINDS),
    ("margins: uniform variables twice in the density", "margins:Margins._log_density",
     "(mass / (end - start)).log()", "(2 * mass / (end - start)).log()", KINDS),
    ("margins: uniform variables in one tail", "margins:Margins._shares",
     "right = right + (mass * (1 - part)).sum(-1)", "pass", KINDS),
    ("margins: atoms without their weight", "margins:_column",
     "other[:, 0] *= 1 - weights.sum()", "pass", KINDS),
    ("margins: cells of a grid beside all of the Gaussians", "margins:_column",
     "gaussians[:, 0] *= 1 - times.sum() / n", "pass", KINDS),
    ("data: rows with zeros are copies", "repeats:observations",
     "OFTEN * _expected(values, several)", "0 * _expected(values, several)", KINDS),
    ("data: draws are forgotten in the mean", "run_likelihoods:_mean", "view(-1, len(own.units))",
     "view(len(own.units), -1).T", TABLES),
    ("tables: texts are numbered in their order of appearance", "data_units:_codes",
     "enumerate(column.texts)", "enumerate(texts)", KINDS),
    ("tables: rows with gaps are kept", "tables:complete_rows", "found.rows(~rows)", "found",
     KINDS),
    ("tables: the choice is forgotten at a resume", "folder:Run.data", '**own.get("table", {})',
     "", TABLES),
    ("score: draws are rows", "scores:score", "density.view(draws, -1).mean(0), ", "density, ",
     TABLES),
    # -- rows that repeat others
    ("data: copies of a row are parted", "repeats:parted",
     "return np.split(together, bounds[nearest])", "return np.split(order, cuts)", TOGETHER),
    ("data: a copy counts from its own place", "repeats:parted", "places = starts[kinds]",
     "places = np.arange(len(order))", TOGETHER),
    ("data: states that repeat are kept together", "repeats:observations",
     "if by_nature(values, first):", "if False:", NATURE),
    ("data: threefold copies pass for nature", "repeats:by_nature",
     " or np.gcd.reduce(times) > 1:", ":", TOGETHER),
    ("data: copies of numbers pass for nature", "repeats:by_nature", "return width == 1 or all(",
     "return width >= 1 or all(", TOGETHER),
    ("data: minus zero is another row", "repeats:_hashes",
     'part = part + 0.0 if part.dtype.kind == "f" else part', "part = part.copy()", TOGETHER),
    ("data: rows shared within a split count", "repeats:repeats_in", "(first[s:e] < s)",
     "(first[s:e] < e)", TOGETHER),
    ("data: copies in a training file are parted", "selection:_published",
     "parted(raw.values, order, (n - held, held))", "np.split(order, [n - held])", PUBLISHED),
    # -- numbers that are not what they look like
    ("text: 2^53 + 1 is rounded", "lines:_numbers", "large = np.abs(values) >= EXACT",
     "large = np.abs(values) > EXACT", DOUBTFUL),
    ("text: digits are not looked at", "lines:_is_held", "int(word[:400]) == int(value)",
     "int(word[:400]) != 0", DOUBTFUL),
    ("text: names that are numbers are a row", "headers:check_names",
     "if not names and _count_up(first, values):", "if False:", DOUBTFUL),
    ("text: rows that count up are names", "headers:_count_up",
     " or (np.diff(below[0]) == steps).all():", ":", FIRST),
    ("text: counts that count up are names", "headers:_count_up", "(real or width > 3)", "True",
     FIRST),
    ("text: a decimal comma parts columns", "lines:_refuse_commas", "if _COMMA.fullmatch(line):",
     "if False:", DOUBTFUL),
    ("text: lines are ragged", "lines:_check_widths", "if len(other):", "if False:", BLOCKS),
    ("text: lines are counted from 0 in each block", "lines:_blocks",
     "        number += len(texts)\n", "        number = 1\n", BLOCKS),
    ("text: rows are counted as lines", "lines:_split", "[lines.numbers[i] for i in ends[:-1]]",
     "lines.numbers[: len(rows)]", PLACES),
    ("text: a row is where it ends", "lines:_split", "for i in ends[:-1]]",
     "- 1 + lines.numbers[0] for i in ends[1:]]", PLACES),
    ("origin: constants identify rows", "identifiers:is_identifier", "return why in",
     "return bool(why) or why in", IDENTIFY),
    ("origin: numbers are read as numbers", "origin:_positions", "int(one) - 1 for",
     "int(one) for", IDENTIFY),
    ("unusual: the largest value is outside", "unusual:unusual_values", "(own > column.high)",
     "(own >= column.high)", UNUSUAL),
    ("unusual: grids begin at 0", "unusual:_off_grid", "(values - column.offset) / column.step",
     "values / column.step", UNUSUAL),
    ("unusual: a value in twenty is off any grid", "unusual:_off_grid",
     "rare = not column.counted and not column.offset and", "rare =", UNUSUAL),
    ("text: a line may have no end", "lines:_blocks", "len(rest) > LONGEST or", "False and",
     ENDLESS),
    ("arrays: 2^53 + 1 is rounded", "readers:_plain", "    _check_integers(x)\n", "", WHOLE),
    ("arrays: float32 overflows", "readers:read", "if lost.any():", "if False:", FLOAT32),
    ("frames: 2^53 + 1 is rounded", "frames:_numbers", "int(integer) != int(values[k])", "False",
     COLUMN),
    ("frames: an index is a column", "frames:_table", "if name not in index", "if True", INDEX),
    ("frames: rows are counted in each piece", "frames:_table", "        row += len(values)\n",
     "", FAR),
    ("columns: gaps are counted once", "columns:Faults.note", "times=known.times + times",
     "times=times", BLOCKS),
    # -- files that are not what they look like
    ("files: a header is believed", "files:check_size", "if needs > min(there, most):",
     "if False:", LYING),
    ("files: a packed size is believed", "files:check_size",
     "DEFLATED * packed if packed else there", "there", LYING),
    ("files: a negative size is believed", "files:count", "if any(size < 0 for size in shape):",
     "if False:", LYING),
    ("files: devices are files", "files:regular", "not stat.S_ISREG(path.stat().st_mode)",
     "stat.S_ISFIFO(path.stat().st_mode)", PIPES),
    ("files: ~ is always the home folder", "files:existing_path",
     "return path if path.exists() else path.expanduser()", "return path.expanduser()", TILDE),
    ("files: more values than the sizes tell", "idx:_array", "if file.read(1):", "if False:",
     LYING),
    ("cifar: part of a record is left out", "cifar:_file", "if not size or size % record:",
     "if not size:", CIFAR),
    ("cifar: any class is one", "cifar:_file", "if int(rows[:, i].max()) >= most:", "if False:",
     CIFAR),
    ("cifar: the first byte is the class", "cifar:_file", "rows[:, first - 1]", "rows[:, 0]",
     CIFAR),
    ("cifar: channels last", "cifar:", "SHAPE = (3, 32, 32)", "SHAPE = (32, 32, 3)", CIFAR),
    ("cifar: batches in alphabetical order", "cifar:_batches", "for name in names]",
     "for name in sorted(names)]", CIFAR),
    ("cifar: test images are in the batches", "cifar:cifar_folder", "return training, test if",
     "return training, None if", CIFAR),
    ("memory: anything fits", "numerics:check_fits", "if need > there:", "if False:", TOO_LARGE),
    ("memory: an optimiser keeps nothing", "memory:footprint", "TRAINED * FLOAT * parameters",
     "FLOAT * parameters", ASKED),
    ("memory: the default is to blame", "memory:check_recipe",
     'name = min((*needs, "model.depth"), key=without)',
     'name = max((*needs, "model.depth"), key=without)', ASKED),
    # -- rows that no density fits
    ("checks: infinity is a number", "data_checks:check_rows", "~torch.isfinite(data.flatten(1))",
     "torch.isnan(data.flatten(1))", HOLES),
    ("checks: rows of holes alone count", "data_checks:check_rows", "bad.any(1)", "bad.all(1)",
     HOLES),
    ("checks: one row is enough", "data_checks:check_data", "least=2", "least=1", NOT_DATA),
    ("checks: noise does not help", "data_checks:check_data", "if constant and not noise > 0:",
     "if constant:", CONSTANT),
    ("checks: few rows determine columns", "data_checks:check_data", "min(512, len(flat) - 1)",
     "512", DETERMINED),
    ("checks: near is equal", "data_checks:check_data", "least < 1e-9", "least < 1e-3",
     DETERMINED),
    ("discrete: yes and no are numbers", "data_checks:is_discrete", "distinct <= 2",
     "distinct <= 1", DISCRETE),
    ("discrete: half of the columns", "data_checks:is_discrete", ">= 0.9", ">= 0.5", DISCRETE),
    ("discrete: few rows repeat values", "data_checks:is_discrete", "min(256, len(values) / 4)",
     "256", DISCRETE),
    ("discrete: many values are few", "data_checks:is_discrete", "min(256, len(values) / 4)",
     "len(values) / 4", DISCRETE),
    # -- classes
    ("labels: infinity is a class", "classes:whole", " & np.isfinite(labels)", "", LABELS),
    ("classes: more rows than there are", "classes:wanted", "number > there[c]",
     "number > len(labels)", CHOICES),
    ("classes: of all classes", "classes:choose", "labels == c", "labels >= 0", CLASSES),
    ("classes: the first rows", "classes:choose", "rows[order[:number]]", "rows[:number]", DRAWS),
    ("classes: in any order", "classes:choose", "np.sort(np.concatenate(chosen))",
     "np.concatenate(chosen)", DRAWS),
    ("classes: the smallest remainder", "classes:share", "given[i] - exact[i]",
     "exact[i] - given[i]", SHARES),
    ("classes: as many as the largest", "classes:thinned", "most = min(", "most = max(", THINNED),
    ("digits: another split", "digits:raw_digits", "manual_seed(0)", "manual_seed(1)", DIGITS),
    ("digits: other units", "digits:digits", ".float() / 8 - 1", ".float() / 16", DIGITS),
    ("digits: labels in another order", "digits:raw_digits", "found.target[order]",
     "found.target", OF_DIGITS),
    ("npz: any array is x", "npy:npz", "names[0] if len(names) == 1 else None", "names[0]",
     ARRAYS),
    ("npy: objects are not told", "npy:_array", "if dtype.hasobject:", "if False:", ARRAYS),
    ("npy: a header is believed", "npy:_array",
     "    check_size(shape, dtype, size - file.tell(), packed)\n", "", LYING),
    # -- names
    ("names: dollars are mathematics", "plaintext:literal", '.replace("$", r"\\$")', "", DRAWN),
    ("names: escape characters are characters", "plaintext:visible", "if text.isprintable():",
     "if True:", TERMINAL),
    ("names: titles are markup", "console:show_table", "title=Text(visible(title))",
     "title=title", TERMINAL),
    ("audit: files here take a library's place", "logz:_built",
     "sys.path.append(str(Path.cwd()))", "sys.path.insert(0, str(Path.cwd()))", SEARCHED),
)  # fmt: skip
