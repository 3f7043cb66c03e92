"""Mistakes in each formula of the package, which the tests must notice.

Each is keyed to a definition, ``module:Class.method``, and a fragment of its source; where the
modules are is told by one table, so that moving a file edits one line. ``make mutants`` runs them.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import NamedTuple

from mutants.brackets import BRACKETS
from mutants.conditionals import CONDITIONALS
from mutants.core import CORE
from mutants.data import DATA
from mutants.densities import DENSITIES
from mutants.estimators import ESTIMATORS
from mutants.faults import FAULTS
from mutants.figures import FIGURES
from mutants.guards import GUARDS
from mutants.interpolants import INTERPOLANTS
from mutants.kernels import KERNELS
from mutants.program import PROGRAM
from mutants.testing import TESTING

__all__ = ["MODULES", "MUTANTS", "ROOT", "Mutant", "mutate", "source_of", "test_file"]

ROOT = Path(__file__).resolve().parent.parent.parent

MODULES = {
    "context": "energies/context.py",
    "conditional_gaussian": "energies/conditional_gaussian.py",
    "composed": "energies/composed.py",
    "advice": "cli/advice.py",
    "evaluation": "run/evaluation.py",
    "families_interpolant": "run/families/interpolant.py",
    "families": "run/families/__init__.py",
    "families_rbm": "run/families/rbm.py",
    "families_network": "run/families/network.py",
    "families_on_gaussian": "run/families/on_gaussian.py",
    "families_base": "run/families/base.py",
    "choosing": "run/choosing.py",
    "supervise": "run/supervise.py",
    "storing": "run/storing.py",
    "alarms": "likelihood/alarms.py",
    "algebra": "models/rbm/algebra.py",
    "arrays": "estimators/arrays.py",
    "atomic": "run/atomic.py",
    "average": "training/average.py",
    "backward": "likelihood/backward.py",
    "background": "energies/background.py",
    "bases": "run/bases.py",
    "run_background": "run/background.py",
    "bennett": "likelihood/bennett.py",
    "bracket": "likelihood/bracket.py",
    "batches": "training/batches.py",
    "by_label": "run/by_label.py",
    "label_words": "run/label_words.py",
    "axes": "report/axes.py",
    "chains": "testing/chains.py",
    "checkpoint": "run/checkpoint.py",
    "checks": "estimators/checks.py",
    "checksums": "run/checksums.py",
    "cifar": "data/cifar.py",
    "classes": "data/classes.py",
    "cli_fill": "cli/fill.py",
    "cli_report": "cli/report.py",
    "cli_score": "cli/score.py",
    "scored": "cli/scored.py",
    "origin": "data/origin.py",
    "unusual": "data/unusual.py",
    "ranks": "run/ranks.py",
    "cli_values": "cli/values.py",
    "cells": "data/cells.py",
    "columns": "data/columns.py",
    "data_kinds": "data/kinds.py",
    "identifiers": "data/identifiers.py",
    "encoding": "data/encoding.py",
    "headers": "data/headers.py",
    "labels": "data/labels.py",
    "standards": "data/standards.py",
    "tables": "data/tables.py",
    "data_units": "data/units.py",
    "compose": "kernels/compose.py",
    "convolutions": "models/convolutions.py",
    "composite": "energies/composite.py",
    "conditional": "annealing/conditional.py",
    "conditioned": "energies/conditioned.py",
    "console": "cli/console.py",
    "covariance": "energies/covariance.py",
    "crooks": "report/crooks.py",
    "data_arrays": "data/arrays.py",
    "data_checks": "data/checks.py",
    "dataset": "data/dataset.py",
    "default": "kernels/default.py",
    "densities": "estimators/densities.py",
    "spreading": "estimators/spreading.py",
    "density": "estimators/density.py",
    "denoising": "energies/denoising.py",
    "determinism": "energies/determinism.py",
    "command": "__main__.py",
    "digits": "data/digits.py",
    "discrete": "kernels/discrete.py",
    "distributions": "report/distributions.py",
    "divergence": "run/divergence.py",
    "compiled": "energies/compiled.py",
    "energies_base": "energies/base.py",
    "energies_checks": "energies/checks.py",
    "energies_mixture": "energies/mixture.py",
    "energy_density": "estimators/energy_density.py",
    "energy": "models/interpolants/energy.py",
    "estimate": "likelihood/estimate.py",
    "estimators_alarms": "estimators/alarms.py",
    "estimators_training": "estimators/training.py",
    "faults": "walkers/faults.py",
    "exact": "testing/exact.py",
    "files": "data/files.py",
    "filling": "run/filling.py",
    "filters": "report/filters.py",
    "fingerprint": "energies/fingerprint.py",
    "fitted": "estimators/fitted.py",
    "data_coordinates": "data/coordinates.py",
    "peaks": "data/peaks.py",
    "data_flows": "data/flows.py",
    "data_maps": "data/maps.py",
    "run_flows": "run/flows.py",
    "flow": "models/interpolants/flow.py",
    "folder": "run/folder.py",
    "forward": "likelihood/forward.py",
    "frames": "data/frames.py",
    "gaps": "data/gaps.py",
    "gaussian": "energies/gaussian.py",
    "geometry": "testing/geometry.py",
    "gibbs": "kernels/gibbs.py",
    "graph": "walkers/graph.py",
    "hmc": "kernels/hmc.py",
    "idx": "data/idx.py",
    "independent": "energies/independent.py",
    "inner": "models/inner.py",
    "integrability": "likelihood/integrability.py",
    "interpolants_mixture": "models/interpolants/mixture.py",
    "interpolants_path": "models/interpolants/path.py",
    "json_numbers": "run/json_numbers.py",
    "kernels": "testing/kernels.py",
    "kernels_base": "kernels/base.py",
    "langevin": "kernels/langevin.py",
    "iteration": "training/iteration.py",
    "layers": "models/rbm/layers.py",
    "learners": "run/learners.py",
    "pretraining": "run/pretraining.py",
    "score_stage": "run/score_stage.py",
    "run_starts": "run/starts.py",
    "combined": "models/combined.py",
    "comparison": "report/html/comparison.py",
    "html_differences": "report/html/differences.py",
    "html_figures": "report/html/figures.py",
    "unfinished": "run/unfinished.py",
    "contents": "report/contents.py",
    "marginals": "models/interpolants/marginals.py",
    "independence": "kernels/independence.py",
    "score_learner": "run/score_matching.py",
    "learning": "estimators/learning.py",
    "likelihood_score": "likelihood/score.py",
    "lines": "data/lines.py",
    "lock": "run/lock.py",
    "logz": "cli/logz.py",
    "loop": "training/loop.py",
    "rbms": "models/rbm/rbms.py",
    "main": "cli/main.py",
    "margins": "data/margins.py",
    "run_coordinates": "run/coordinates.py",
    "memory": "run/memory.py",
    "metrics": "run/metrics.py",
    "moves": "walkers/moves.py",
    "networks": "models/networks.py",
    "npy": "data/npy.py",
    "numerics": "numerics.py",
    "options": "cli/options.py",
    "oracles": "testing/oracles.py",
    "passes": "estimators/passes.py",
    "page": "report/page.py",
    "paths": "energies/paths.py",
    "pictures": "report/pictures.py",
    "parameters": "models/parameters.py",
    "pilot": "annealing/pilot.py",
    "plaintext": "data/plaintext.py",
    "population": "annealing/population.py",
    "preconditioner": "kernels/preconditioner.py",
    "priors": "estimators/priors.py",
    "random": "random.py",
    "random_walk": "kernels/random_walk.py",
    "rates": "training/rates.py",
    "rays": "likelihood/rays.py",
    "rbm": "estimators/rbm.py",
    "rbm_base": "models/rbm/base.py",
    "rbm_path": "models/rbm/path.py",
    "readers": "data/readers.py",
    "recipe": "run/recipe.py",
    "notebook": "walkers/notebook.py",
    "progress": "run/progress.py",
    "records": "training/records.py",
    "readings": "walkers/readings.py",
    "reductions": "walkers/reductions.py",
    "regions": "likelihood/regions.py",
    "renewal": "training/renewal.py",
    "repeating": "cli/repeating.py",
    "repeats": "data/repeats.py",
    "report_training": "report/training.py",
    "resampling": "walkers/resampling.py",
    "reward": "models/interpolants/reward.py",
    "sample": "cli/sample.py",
    "samples": "run/samples.py",
    "scaling": "data/scaling.py",
    "schedule": "annealing/schedule.py",
    "schedules": "models/interpolants/schedules.py",
    "score_matching": "training/score_matching.py",
    "scores": "run/scores.py",
    "selection": "data/selection.py",
    "series": "report/series.py",
    "estimator_frames": "estimators/frames.py",
    "html_page": "report/html/page.py",
    "html_rows": "report/html/rows.py",
    "ranges": "run/ranges.py",
    "run_likelihoods": "run/likelihoods.py",
    "run_page": "report/html/run_page.py",
    "session": "run/session.py",
    "settings": "training/settings.py",
    "signals": "cli/signals.py",
    "smc": "annealing/smc.py",
    "spaces": "spaces.py",
    "staging": "run/staging.py",
    "shifts": "run/shifts.py",
    "starts": "likelihood/starts.py",
    "streams": "estimators/streams.py",
    "summary": "cli/summary.py",
    "differences": "run/differences.py",
    "shares": "run/shares.py",
    "simplest": "run/simplest.py",
    "in_range": "run/in_range.py",
    "within": "data/within.py",
    "stored": "data/stored.py",
    "blocks": "data/blocks.py",
    "fill": "cli/fill.py",
    "html_samples": "report/html/samples.py",
    "html_likelihoods": "report/html/likelihoods.py",
    "verdict_file": "run/verdict_file.py",
    "support": "likelihood/support.py",
    "targets": "testing/targets.py",
    "testing_discrete": "testing/discrete.py",
    "train": "cli/train.py",
    "together": "walkers/together.py",
    "transport": "kernels/transport.py",
    "trust": "training/trust.py",
    "unsolved": "testing/unsolved.py",
    "units": "estimators/units.py",
    "velocity": "models/interpolants/velocity.py",
    "validation": "run/validation.py",
    "shrinkage": "run/shrinkage.py",
    "work": "run/work.py",
    "verdict": "run/verdict.py",
    "walkers": "walkers/walkers.py",
    "weights": "walkers/weights.py",
}


class Mutant(NamedTuple):
    """One mistake: the source ``old``, which occurs once in a definition, becomes ``new``."""

    name: str
    where: str
    """``module:Class.method``, the module as in `MODULES`; ``module:`` for its top level"""
    old: str
    new: str
    tests: tuple[str, ...]
    """``file.py`` or ``file.py::function``; fast ones first"""


LISTS = (
    KERNELS, INTERPOLANTS, GUARDS, BRACKETS, FAULTS, DATA, ESTIMATORS, DENSITIES, CONDITIONALS,
    CORE, TESTING, PROGRAM, FIGURES,
)  # fmt: skip
MUTANTS = tuple(Mutant(*mutant) for mutants in LISTS for mutant in mutants)


def source_of(mutant: Mutant, root: Path = ROOT) -> Path:
    """The file that the mutant changes."""
    return root / "noneq" / MODULES[mutant.where.partition(":")[0]]


def test_file(name: str) -> str:
    """The path of a test file, from the root; a name without folders is looked for."""
    if (ROOT / "tests" / name).exists():
        return f"tests/{name}"
    (found,) = (ROOT / "tests").rglob(name)
    return str(found.relative_to(ROOT))


test_file.__test__ = False  # type: ignore[attr-defined]


def mutate(mutant: Mutant, root: Path = ROOT) -> str:
    """The source of the mutant's file with the mistake in it."""
    source = source_of(mutant, root).read_text()
    first, last = _lines(source, mutant.where.partition(":")[2])
    lines = source.splitlines(keepends=True)
    own = "".join(lines[first:last])
    if own.count(mutant.old) != 1 or mutant.old == mutant.new:
        raise ValueError(
            f"mutant {mutant.name!r}: its source occurs {own.count(mutant.old)} times in "
            f"{mutant.where}, not once:\n{mutant.old}"
        )
    return "".join([*lines[:first], own.replace(mutant.old, mutant.new), *lines[last:]])


def _lines(source: str, qualified: str) -> tuple[int, int]:
    """From which line to which a definition goes, decorators included."""
    node: ast.AST = ast.parse(source)
    if not qualified:
        return 0, len(source.splitlines())
    for part in qualified.split("."):
        inside = (n for n in ast.walk(node) if isinstance(n, ast.FunctionDef | ast.ClassDef))
        node = [n for n in inside if n.name == part and n is not node][-1]  # overloads come first
    assert isinstance(node, ast.FunctionDef | ast.ClassDef)
    above = [node.lineno, *(d.lineno for d in node.decorator_list)]
    return min(above) - 1, node.end_lineno or node.lineno
