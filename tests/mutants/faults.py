"""Mistakes in what keeps a run through faults: files, folders, locks, signals; for mutants.py."""

from __future__ import annotations

CHECKPOINT, CHECKSUMS, FOLDERS = "checkpoint.py", "checksums.py", "folders.py"
GUARD, SIGNALS, RUN = "guard.py", "signals.py", "run.py"
METRICS, CONSOLE, TRAIN = "metrics.py", "console.py", "commands/train.py"

STORED = ("faults/test_store.py::test_interrupted_stores_lose_no_checkpoint",)
POWER = ("faults/test_disk.py::test_a_power_cut_leaves_the_old_checkpoint_or_the_new",)
BYTES = ("faults/test_disk.py::test_every_byte_of_a_checkpoint_counts",)
PARTS = ("test_checkpoint.py::test_every_part_of_a_large_file_counts",)
UNKNOWN = ("test_checkpoint.py::test_tensors_are_kept_while_nobody_knows_which_are_needed",)
SAME = ("test_checkpoint.py::test_the_same_tensors_are_the_same_file",)
NO_RUN = ("test_staging.py::test_a_config_that_is_not_noneqs_is_no_run",)
LINKS = ("test_staging.py::test_a_run_that_links_elsewhere_is_not_replaced",)
LINK = ("test_staging.py::test_a_run_that_is_a_link_is_not_replaced",)
FOREIGN = ("test_staging.py::test_a_run_with_something_else_in_it_is_not_replaced",)
LOCK_ALONE = ("test_staging.py::test_a_lock_does_not_make_a_run_of_a_folder",)
HELD = ("test_staging.py::test_a_folder_with_a_lock_alone_may_be_another_process_s",)
LATE = ("test_staging.py::test_a_run_that_came_before_the_lock_was_ours_stays",)
GOES = ("test_staging.py::test_what_the_old_run_came_to_goes_with_it",)
SETTLED = ("test_staging.py::test_a_reader_settles_what_a_kill_left",)
OTHERS = ("test_staging.py::test_a_run_whose_folder_became_another_s_writes_nothing_there",)
NUMBER = ("test_staging.py::test_a_lock_that_is_held_may_hold_a_number",)
NONE = ("faults/test_full.py::test_a_new_run_that_does_not_fit_is_none",)
UNCHANGED = ("faults/test_full.py::test_an_overwrite_that_does_not_fit_changes_nothing",)
TOLD = ("faults/test_full.py::test_what_a_training_run_says",)
OVERWRITTEN = (
    "faults/test_overwrite.py::test_an_interrupt_at_any_moment_leaves_the_old_run_or_the_new",
)
BY_HAND = ("test_lock.py::test_a_lock_file_removed_by_hand_admits_nobody",)
NETWORK = ("test_lock.py::test_a_folder_that_cannot_be_locked_has_its_lock_file",)
IGNORED = ("test_lock.py::test_a_signal_that_is_ignored_stays_ignored",)
AGAIN = ("test_lock.py::test_what_comes_again_by_itself_does_not_stop_the_saving",)
INSISTENT = ("test_lock.py::test_the_first_signal_is_noted_and_the_second_stops",)
NOTED = ("test_lock.py::test_a_signal_is_noted_though_nothing_can_be_said",)
THESE = ("test_lock.py::test_the_signals_are_these",)
CODES = ("test_lock.py::test_outside_of_training_a_signal_stops_with_its_exit_code",)
AT_ONCE = ("test_resume.py::test_a_run_from_its_good_state_is_saved_at_once",)
WAY_OUT = ("test_resume.py::test_a_good_state_that_is_damaged_is_no_way_out",)
OFFERED = ("test_resume.py::test_a_damaged_state_is_told_with_the_way_out",)
MENDED = ("test_resume.py::test_the_file_that_is_damaged_is_told_with_what_mends_it",)
LINE = ("test_metrics.py::test_a_damaged_line_costs_that_line_and_is_told",)
CUT = ("test_metrics.py::test_a_line_that_a_kill_cut_short_is_no_damage",)
ROLLBACK = ("test_metrics.py::test_a_rollback_that_the_checkpoint_knows_nothing_of_is_forgotten",)
LOST = ("test_console.py::test_an_output_that_is_lost_is_told_once_and_stops_nothing",)
ESCAPED = ("test_console.py::test_what_the_encoding_lacks_is_escaped",)
NARROW = ("test_console.py::test_progress_fits_in_80_columns",)

#: name, file, source, what it becomes, tests: see mutants.Mutant
FAULTS = (
    # -- a checkpoint
    ("store: what is deleted depends on how it ended", "checkpoint:store",
     "    finally:\n        sweep(folder)",
     "    except BaseException:\n        (folder / name).unlink(missing_ok=True)\n        "
     "raise\n" "    sweep(folder)", STORED),
    ("store: a name is not final", "atomic:write",
     "        part.replace(path)\n        sync_folder(path.parent)", "        part.replace(path)",
     POWER),
    ("store: old tensors deleted before the new are final", "checkpoint:sweep",
     "        sync_folder(folder)  # the old", "        # the old", POWER),
    ("store: a file's content is not final", "atomic:write",
     "            os.fsync(file.fileno())", "            pass", POWER),
    ("sweep: nobody knows which tensors, all go", "checkpoint:sweep",
     "tensors it names\n        return", "tensors it names\n        kept = None", UNKNOWN),
    ("checksum: not compared", "checksums:check_checksum", "if found.hexdigest() != stored:",
     "if False:", BYTES),
    ("checksum: may be missing", "checksums:check_checksum", "            if required:",
     "            if False:", BYTES),
    ("checksum: a part left out", "checksums:check_checksum", "            found.update(part)",
     "            pass", PARTS),
    ("checksum: of the head alone", "checksums:add_checksum", "    found.update(rest)\n", "",
     PARTS),
    ("checksum: of JSON is not looked at", "checkpoint:load_json",
     "        check_checksum(path)\n        found = json", "        found = json", BYTES),
    ("checksum: of tensors is not looked at", "checkpoint:load_tensors",
     "        check_checksum(path, required=own)\n", "", BYTES),
    ("tensors: the metadata in a random order", "checkpoint:save_tensors",
     "    content = save(own)\n", "    content = save(own, metadata={KEY: BLANK, **about})\n",
     SAME),
    # -- a folder
    ("vacant: any config.json is a run's", "staging:_holds_run",
     'isinstance(found.get("noneq"), str)', "True", NO_RUN),
    ("vacant: links are files", "staging:_is_file", "path.is_file() and not path.is_symlink()",
     "path.is_file()", LINKS),
    ("vacant: links are folders", "staging:_foreign", "path.is_dir() and not path.is_symlink()",
     "path.is_dir()", LINKS),
    ("vacant: a link to a run", "staging:check_vacant", "    if folder.is_symlink():",
     "    if False:", LINK),
    ("vacant: files of others", "staging:check_vacant", "        if other is not None:",
     "        if False:", FOREIGN),
    ("vacant: any file called lock", "staging:_is_lock", "(held or not path.stat().st_size)",
     "True", LOCK_ALONE),
    ("vacant: an empty lock alone", "staging:_is_lock", "(held or not path.stat().st_size)",
     "not path.stat().st_size", NUMBER),
    ("create: not under the lock", "folder:Run.create",
     "            with locked(folder):\n                check_vacant",
     "            if True:\n                check_vacant", HELD),
    ("create: vacant before the lock is enough", "folder:Run.create",
     "                check_vacant(folder, overwrite=overwrite, held=True)\n", "", LATE),
    ("create: the first checkpoint comes later", "folder:Run.create",
     "                    save_session(new, session)\n", "", NONE),
    ("create: written in place", "folder:Run.create", "with staged(folder) as new:",
     "for new in [folder]:", UNCHANGED),
    ("staged: what failed stays", "staging:staged",
     "        shutil.rmtree(new, ignore_errors=True)\n        raise", "        raise", NONE),
    ("settle: what the old run came to stays", "staging:settle",
     "            (folder / name).unlink(missing_ok=True)", "            pass", GOES),
    ("settle: old tensors stay", "staging:settle", "            sweep(folder / name)",
     "            pass", GOES),
    ("settle: a kill in the middle is the end", "staging:settle", "    if unsettled(folder):\n",
     "    if unsettled(folder) and (folder / NEW).exists():\n", SETTLED),
    ("settle: not by who locks it", "lock:locked", "        settle(folder)\n", "", SETTLED),
    ("settle: not by a reader", "folder:Run.__init__", "        if unsettled(self.folder):",
     "        if False:", SETTLED + OVERWRITTEN),
    ("run: locked though it is another's", "folder:Run.locked",
     "            self.check_own()\n            yield", "            yield", OTHERS),
    ("run: saved though it is another's", "folder:Run.save",
     "        self.check_own()\n        save", "        save", OTHERS),
    ("run: its id is not its own", "folder:Run.create",
     '            "id": secrets.token_hex(8),\n', "", GOES),
    ("run: what is full is told as broken", "staging:disk_error", "if error.errno in _FULL",
     "if False", TOLD),
    # -- a lock
    ("lock: the file alone", "lock:_folder_locked",
     "fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)", "pass", BY_HAND),
    ("lock: the folder alone", "lock:locked",
     "            held.enter_context(FileLock(folder / LOCK, timeout=0))\n", "", NETWORK),
    # -- signals
    ("signals: one that is ignored is not", "signals:_handled", "not in (signal.SIG_IGN, None)",
     "is not None", IGNORED),
    ("signals: any second one stops", "signals:_handled.handler",
     "if not came or number in _INSISTENT:", "if True:", AGAIN),
    ("signals: no second one stops", "signals:_handled.handler",
     "if not came or number in _INSISTENT:", "if not came:", INSISTENT),
    ("signals: what cannot be said stops", "signals:interrupts.note",
     "with suppress(OSError, RuntimeError):", "with suppress(KeyError):", NOTED),
    ("signals: a terminal that closes kills", "signals:", '"SIGTERM", "SIGHUP",', '"SIGTERM",',
     THESE),
    ("signals: one exit code for all", "main:main",
     "128 + (stop.number if isinstance(stop, StoppedError) else signal.SIGINT)", "130", CODES),
    # -- resuming
    ("resume: a damaged state stays", "train:train", "                run.save(session)  #",
     "                pass  #", AT_ONCE),
    ("resume: from state in any case", "train:train", "run.restore(session, start)",
     "run.restore(session)", OFFERED),
    ("resume: the way out is where it was", "checkpoint:way_out",
     '"good" if which == "state" else "state"', '"good"', WAY_OUT),
    ("resume: no way out is told", "folder:Run.restore",
     "{error}; {checkpoint.way_out(self.folder, which)}", "{error}", OFFERED),
    ("population: what makes it anew is not told", "contents:load_population",
     "{error}; `evaluate_run({run.folder})` makes it anew", "{error}", MENDED),
    # -- metrics
    ("metrics: a damaged line ends the file", "metrics:Metrics.read",
     "                damaged.append(number)", "                damaged.append(number)\n"
     "                break", LINE),
    ("metrics: no damage is told", "metrics:Metrics.read",
     "                damaged.append(number)", "                pass", LINE),
    ("metrics: a kill is told as damage", "metrics:Metrics.read", "elif number < len(lines):",
     "else:", CUT),
    ("metrics: a rollback twice", "metrics:Metrics.trim",
     'row["iteration"] <= iteration and row.get("backoff", backoff) >= backoff',
     'row["iteration"] <= iteration', ROLLBACK),
    # -- the output
    ("output: an error of it stops the run", "console:_Output._do",
     "except (OSError, ValueError) as error:", "except ZeroDivisionError as error:", LOST),
    ("output: told again and again", "console:_Output._do", "if out is None or out is self.lost:",
     "if out is None:", LOST),
    ("output: what the encoding lacks stops the run", "console:_Output.write",
     '"backslashreplace"', '"strict"', ESCAPED),
    ("progress: cut off in a narrow terminal", "console:training_bar.show",
     ', no_wrap=False, overflow="fold"', "", NARROW),
)  # fmt: skip
