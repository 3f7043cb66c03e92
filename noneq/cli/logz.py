"""``noneq logz``: estimate log Z of a trained run (`bracket`) or of any other energy (`audit`).

Both bracket log Z, i.e. estimate log Z by forward and by backward annealing. An audit imports and
runs the code of a module that the user names.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from noneq.cli.console import echo, listening, tracked
from noneq.cli.results import keep_result
from noneq.cli.summary import summarise
from noneq.data import read
from noneq.energies import Energy
from noneq.likelihood import log_z, nll
from noneq.numerics import resolve_device
from noneq.run import Run
from noneq.run.checkpoint import load_tensors
from noneq.run.memory import check_walkers

__all__ = ["audit", "bracket"]


def bracket(run: Path, how: Mapping[str, Any], device: str, data: Path | None = None) -> int:
    """Bracket log Z of a trained run and print the results, as ``noneq logz RUN`` does.

    A bracket is a pair of estimates of log Z, by forward and by backward annealing.

    Arguments:
        run: folder of the training run.
        how: settings of the annealing that differ from those of the run, by name, see
            `noneq.run.evaluation.evaluate_run`.
        device: torch device; empty: the device of the run.
        data: file of the run's rows; None: where the run read them.

    Returns:
        The exit code of the program: 0, or 1 if log Z could not be estimated.

    Raises:
        ValueError: the annealing needs more memory than there is.
    """
    opened = Run(run, device, source=str(data or ""))
    n = how.get("walkers", opened.recipe.bracket.walkers)
    check_walkers(f"--bracket.walkers {n}", n, opened.shape, opened.device)
    rows = opened.data()
    if opened.recipe.budget.threads:
        torch.set_num_threads(opened.recipe.budget.threads)
    with opened.locked():
        return summarise(opened, rows, how)


def audit(
    name: str,
    weights: Path | None,
    data: Path | None,
    test: Path | None,
    *,
    noise: float,
    how: Mapping[str, Any],
    device: str,
) -> None:
    """Bracket log Z of any energy and print likelihoods, as ``noneq logz --energy`` does.

    A bracket is a pair of estimates of log Z, by forward and by backward annealing.

    Arguments:
        name: name "module:attribute" of the energy, a torch module, or of a function without
            arguments that returns the energy.
        weights: safetensors file of the energy's state_dict; None: the parameters that the energy
            has are used.
        data: file of rows that the model was trained on, in the model's units; not None.
        test: file of rows whose likelihood is reported; None: the rows of ``data``.
        noise: standard deviation of the Gaussian noise that was added to the training rows.
        how: ``seed`` of the random numbers and, optionally, ``walkers`` (the number of weighted
            samples, which is the argument n of `noneq.log_z`), ``temperatures`` and
            ``equilibrate`` (arguments of `noneq.log_z`).
        device: torch device; empty: cuda if there is one, else cpu.

    Raises:
        ValueError: energy, weights and rows do not fit together, or an energy is not finite.
    """
    if "cycled" in how:
        raise ValueError("--bracket.cycled is for runs: an audit's annealing is always cycled")
    if data is None:
        raise ValueError("an audit needs --data: rows that the model was trained on")
    where = torch.device(resolve_device(device))
    energy = _built(name, weights, how["seed"])
    dtype = torch.float32
    if isinstance(energy, torch.nn.Module):
        energy = energy.to(where).eval()
        dtype = next((p.dtype for p in energy.parameters()), dtype)
    x, rows = (read(path).x.to(where, dtype) for path in (data, test or data))
    if rows.shape[1:] != x.shape[1:]:
        raise ValueError(f"{test}: rows {tuple(rows.shape[1:])}, {data}: {tuple(x.shape[1:])}")
    check_walkers(
        f"--bracket.walkers {how.get('walkers', 0)}", how.get("walkers", 0), x.shape[1:], where
    )
    rng = torch.Generator(where).manual_seed(how["seed"])
    names = {"walkers": "n", "temperatures": "temperatures", "equilibrate": "equilibrate"}
    settings = {names[key]: value for key, value in how.items() if key in names}
    try:
        with listening():
            z = log_z(energy, data=x, noise=noise, rng=rng, track=tracked, **settings)
    except FloatingPointError as error:
        raise ValueError(f"{name}: {_without_training(str(error))}") from error
    found = nll(energy, rows, z, noise=noise)
    echo(str(z))
    echo(f"NLL of {test or data}: {found}")
    away = z.off_support_mass
    keep_result(
        bracketed=z.bracketed,
        log_z=z.value,
        stderr=z.stderr,
        forward=z.forward._asdict(),
        backward=z.backward._asdict(),
        alarms=list(z.alarms),
        off_support_mass=None if away is None else away._asdict(),
        nll=asdict(found),
    )


def _without_training(text: str) -> str:
    """Replace advice about training in an error message by advice about the energy's code."""
    fault, training, _ = text.partition("; where it is being trained")
    return f"{fault}; clamp its inputs or its logarithms, or use float64" if training else text


def _built(name: str, weights: Path | None, seed: int) -> Energy:
    """Import the energy "module:attribute", or call the function there, and load its weights."""
    module, colon, attribute = name.partition(":")
    if not colon:
        raise ValueError(f"--energy {name}: module:function is meant, as models:build")
    if str(Path.cwd()) not in sys.path:  # last: no file here takes the place of a library
        sys.path.append(str(Path.cwd()))
    try:
        made = getattr(importlib.import_module(module), attribute)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            energy: Energy = made if isinstance(made, torch.nn.Module) else made()
    except Exception as error:
        raise ValueError(
            f"--energy {name}: {type(error).__name__}: {error} (a function without arguments that "
            "returns the energy is meant; the working folder is searched)"
        ) from error
    if weights is None:
        if isinstance(energy, torch.nn.Module) and list(energy.parameters()):
            echo(f"no --weights: the parameters are as {name} left them", "bold")
        return energy
    if not isinstance(energy, torch.nn.Module):
        raise ValueError(
            f"--weights are for a torch.nn.Module, {name} gave {type(energy).__name__}"
        )
    try:
        energy.load_state_dict(load_tensors(weights, own=False))
    except RuntimeError as error:
        reason = "; ".join(line.strip() for line in str(error).splitlines()[1:3])
        raise ValueError(f"{weights}: does not fit {name}: {reason}") from error
    return energy
