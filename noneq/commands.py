"""What the commands do, and what they say about it."""

from __future__ import annotations

import importlib
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from noneq import checkpoint
from noneq.console import say, show_table, tracked, training_bar
from noneq.data import DataSet, add_noise, load, read, rows_like
from noneq.energies import Energy, evaluate
from noneq.likelihood import energy_of, log_z, nll
from noneq.recipe import choose
from noneq.run import RolledBack, Run, interrupts
from noneq.sampling import draw
from noneq.session import Session
from noneq.training import Record
from noneq.verdict import Verdict, judge, read_verdict
from noneq.verdict import score as log_density

__all__ = ["audit", "bracket", "report", "sample", "score", "train"]

Mode = Literal["new", "overwrite", "resume"]


# -- train


def train(
    source: str,
    out: Path | None,
    chosen: Mapping[str, Any],
    changes: Mapping[str, Any],
    *,
    seed: int,
    device: str,
    mode: Mode,
    every: float,
) -> int:
    """``noneq train``; returns the exit code."""
    if not source and out is None:
        raise ValueError("noneq train DATA: 'digits', or a file of rows (noneq train --help)")
    folder = out or Path("runs") / Path(source).stem
    if mode == "resume":
        run, data = _reopened(folder, source, changes)
    else:
        data = load(source, **chosen)
        recipe = choose(data.shape, len(data.train), data.kind, discrete=data.discrete, **changes)
        run = Run.create(
            folder,
            data,
            recipe,
            seed=seed,
            device=_device(device),
            overwrite=mode == "overwrite",
            **chosen,
        )
    _introduce(run, data)
    with run.locked():
        stopped = _train(run, data, resume=mode == "resume", every=every)
        if stopped:
            return 128 + stopped
        verdict = judge(run, data, track=tracked)
        _draw_samples(run, data)
    _conclude(run, verdict)
    return 0


def _reopened(folder: Path, source: str, changes: Mapping[str, Any]) -> tuple[Run, DataSet]:
    """The run and its data, both as they were."""
    run = Run(folder)
    own = run.config["data"]
    chosen = {key: own[key] for key in ("classes", "subset", "binary")}
    data = load(source or own["source"], **chosen)
    if data.digest != own["digest"]:
        raise ValueError(
            f"{source or own['source']}: is not what {folder} was trained on ({own['source']}, "
            "with other values); name that, or train a new run (--out)"
        )
    run.extend(changes)
    return run, data


def _introduce(run: Run, data: DataSet) -> None:
    """Every choice, before anything happens."""
    say(f"{data.source}: {data.summary()}")
    say(f"run folder {run.folder}, {run.device}, seed {run.seed}; the recipe (all are options):")
    choices = [
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in run.recipe.plain().items()
    ]
    for line in textwrap.wrap(", ".join(choices), 96):
        say(f"  {line}", style="dim")


def _train(run: Run, data: DataSet, *, resume: bool, every: float) -> int:
    """Train to the end of the budget; returns the signal that came in between, or 0."""
    if run.recipe.threads:
        torch.set_num_threads(run.recipe.threads)
    session = Session(run.recipe, data.train.to(run.device), run.seed)
    if resume:
        run.restore(session)
        say(f"going on at iteration {session.iteration}")
    again = f"noneq train --out {run.folder} --resume"

    def noted() -> None:
        say("\nsaving after this iteration; Ctrl-C again stops at once, at the last checkpoint")

    with interrupts(noted) as interrupted, training_bar() as show:
        for event in run.train(session, stop=interrupted, every=every):
            if isinstance(event, RolledBack):
                say(f"DIVERGED {event.reason}", style="bold red")
                say(f"  back at iteration {event.iteration}, tau multiplied by {event.caution:g}")
            else:
                show(session.progress, session.seconds, _line(event, run))
    if session.progress < 1:
        say(f"interrupted at iteration {session.iteration}; all is saved. Go on: {again}")
        return interrupted()
    say(f"trained {session.iteration} iterations in {session.seconds:.0f} s; bracketing log Z")
    say(f"  (interrupted there: noneq logz {run.folder})", style="dim")
    return 0


def _line(record: Record, run: Run) -> str:
    """What one iteration says of itself."""
    trust, walkers = record.state.trust, record.state.walkers
    parts = [f"iteration {record.iteration}"]
    if record.nll == record.nll:
        parts.append(f"NLL ~ {record.nll:.2f}")
    parts += [f"ESS {record.ess:.2f}", f"accept {record.acceptance:.2f}"]
    if trust is not None:
        parts.append(f"tau {record.cost:.3f} of {trust.tau:.3f}")
    if run.recipe.renew:
        parts.append(f"renewals {record.iteration // run.recipe.renew}")
    parts.append(f"resampled {walkers.resampled}")
    return ", ".join(parts)


def _draw_samples(run: Run, data: DataSet) -> None:
    """samples.png: data, samples, denoised samples."""
    from noneq.figures import samples_figure

    energy, _ = run.model()
    rng = torch.Generator(run.device).manual_seed(run.seed)
    found = checkpoint.load_tensors(run.folder / "population.safetensors", run.device)
    x = found["x"][torch.multinomial(found["log_w"].softmax(0), 64, True, generator=rng)]
    noise = run.recipe.noise
    shown = add_noise(data.train[:64], noise, torch.Generator().manual_seed(0))
    denoised = _denoised(run, energy, x) if noise else None
    figure = samples_figure(shown, x, denoised, data.columns)
    checkpoint.write(run.folder / "samples.png", lambda path: figure.savefig(path, dpi=110))


def _denoised(run: Run, energy: Energy, x: Tensor) -> Tensor:
    """The mean of the data given a noisy row, ``x - sigma^2 grad U`` (Tweedie's formula)."""
    mean: Tensor = x - run.recipe.noise**2 * evaluate(energy, x)[1]["g"]
    return mean


def _conclude(run: Run, verdict: Verdict) -> None:
    """The likelihoods, the verdict in words, what to do next."""
    _likelihoods(verdict)
    for sentence in verdict.words():
        say(sentence, style="" if verdict.bracketed else "bold")
    say(f"samples: {run.folder / 'samples.png'}")
    say("next:")
    for command in (
        f"noneq report {run.folder}",
        f"noneq sample {run.folder} -n 64 --out samples.npz",
        f"noneq score {run.folder} data.npy --out scores.npz",
    ):
        say(f"  {command}", style="cyan")


def _likelihoods(verdict: Verdict) -> None:
    model = "model" if verdict.bracketed else "model (NOT bracketed)"
    say(f"log Z between {verdict.lower} and {verdict.upper}")
    show_table(
        f"Nats a row, smaller is better; ± over the rows, and ± {verdict.stderr:.2f} of log Z",
        ["", *verdict.nll],
        [
            ["Gaussian base, exact", *map(str, verdict.base.values())],
            [model, *map(str, verdict.nll.values())],
        ],
    )


# -- the others


def sample(run: Path, n: int, out: Path, *, weighted: bool, denoise: bool, **how: Any) -> None:
    """``noneq sample``."""
    if out.suffix not in (".npz", ".npy"):
        raise ValueError(f"{out}: samples go to .npz (x, log_w) or .npy (x)")
    if weighted and out.suffix == ".npy":
        raise ValueError(f"{out}: weights need an .npz file")
    opened = Run(run)
    if denoise and not opened.recipe.noise:
        raise ValueError(f"{run}: was trained without noise: there is nothing to remove")
    x, log_w = draw(opened, n, weighted=weighted, track=tracked, **how)
    if denoise:
        x = _denoised(opened, opened.model()[0], x)
    arrays = {"x": opened.scaling.undo(x.cpu()).numpy()}
    if weighted:
        arrays["log_w"] = log_w.cpu().numpy()
    _save(out, arrays)
    kind = "weighted walkers" if weighted else "samples"
    say(f"{out}: {len(x)} {kind} of shape {tuple(x.shape[1:])}, in the data's units")


def score(run: Path, data: Path, out: Path | None) -> None:
    """``noneq score``."""
    opened = Run(run)
    x = rows_like(data, opened.shape, opened.scaling, columns=opened.config["data"]["columns"])
    found, verdict = log_density(opened, x)
    jacobian = opened.scaling.log_jacobian(x[0].numel())
    mean = float(found.mean())
    say(
        f"{data}: {len(x)} rows, NLL {-mean:.2f} nats a row (log Z ± {verdict.stderr:.2f}), "
        f"{-mean - jacobian:.2f} in the file's units"
    )
    for alarm in verdict.alarms:
        say(f"  alarm: {alarm}", style="bold")
    if out is not None:
        arrays = {
            "log_density": found.cpu().numpy(),
            "log_z": np.array(verdict.log_z),
            "log_z_stderr": np.array(verdict.stderr),
            "alarms": np.array(verdict.alarms, dtype=str),
            "log_jacobian": np.array(jacobian),
        }
        _save(out, arrays)
        say(f"{out}: {', '.join(arrays)}")


def bracket(run: Path, how: Mapping[str, Any]) -> None:
    """``noneq logz RUN``."""
    opened = Run(run)
    data = _data_of(opened)
    if opened.recipe.threads:
        torch.set_num_threads(opened.recipe.threads)
    with opened.locked():
        verdict = judge(opened, data, how=how, track=tracked)
        _draw_samples(opened, data)
    _conclude(opened, verdict)


def report(run: Path, out: Path | None) -> None:
    """``noneq report``; of a run that is not bracketed yet, what there is."""
    from noneq.figures import Energies, Samples, report_figure

    opened = Run(run)
    data, noise = _data_of(opened), opened.recipe.noise
    energy, _ = opened.model()
    verdict, words, energies, samples = (
        None,
        "not bracketed yet: noneq logz brackets it",
        None,
        None,
    )
    if (opened.folder / "likelihood.json").exists():
        verdict = read_verdict(opened, energy)
        words = "\n".join(verdict.words())
        rng = torch.Generator().manual_seed(0)
        walkers = checkpoint.load_tensors(opened.folder / "population.safetensors", opened.device)
        train, test = (add_noise(part, noise, rng) for part in (data.train, data.test))
        p = walkers["log_w"].softmax(0)
        u, v, held = (energy_of(energy, x.to(opened.device)) for x in (train, walkers["x"], test))
        energies = Energies(u, v, p, held)
        x = walkers["x"][torch.multinomial(p.cpu(), 400, True, generator=rng)]
        denoised = _denoised(opened, energy, x) if noise else None
        samples = Samples(train[:400], x, denoised, data.columns)
    figure = report_figure(
        run.name,
        words,
        opened.metrics(),
        estimate=None if verdict is None else _bracket_of(verdict),
        energies=energies,
        samples=samples,
    )
    path = out or opened.folder / "report.png"
    checkpoint.write(path, lambda part: figure.savefig(part, dpi=100))
    say(f"{path}: training, log Z, weights, energies and samples on one page")


def _bracket_of(verdict: Verdict) -> dict[str, Any]:
    """The verdict as the figures want it."""
    plain = verdict.plain()
    sides = {name: plain[name]["value"] for name in ("lower", "upper")}
    errors = {f"{name}_stderr": plain[name]["stderr"] for name in ("lower", "upper")}
    nll = {
        name: {"value": m["value"], "stderr_z": verdict.stderr, "stderr_data": m["stderr"]}
        for name, m in plain["nll"].items()
    }
    base = {
        "value": verdict.base["test"].value,
        "stderr_z": 0.0,
        "stderr_data": verdict.base["test"].stderr,
    }
    return {**sides, **errors, "alarms": plain["alarms"], "nll": {**nll, "base": base}}


def _data_of(run: Run) -> DataSet:
    """The data that a run was trained on."""
    own = run.config["data"]
    data = load(own["source"], **{key: own[key] for key in ("classes", "subset", "binary")})
    if data.digest != own["digest"]:
        raise ValueError(f"{own['source']}: is not what {run.folder} was trained on any more")
    return data


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
    """``noneq logz --energy``."""
    if data is None:
        raise ValueError("an audit needs --data: rows that the model was trained on")
    where = _device(device)
    energy = _built(name, weights)
    if isinstance(energy, torch.nn.Module):
        energy = energy.to(where).eval()
    x = read(data).x.to(where)
    rng = torch.Generator(where).manual_seed(how["seed"])
    settings = {key: value for key, value in how.items() if key != "seed"}
    z = log_z(energy, data=x, noise=noise, rng=rng, track=tracked, **settings)
    say(str(z))
    rows = x if test is None else read(test).x.to(where)
    say(f"NLL of {test or data}: {nll(energy, rows, z, noise=noise)}")


def _built(name: str, weights: Path | None) -> Energy:
    """The energy that ``module:function`` returns, with its weights."""
    module, colon, function = name.partition(":")
    if not colon:
        raise ValueError(f"--energy {name}: module:function is meant, as models:build")
    sys.path.insert(0, str(Path.cwd()))
    try:
        made = getattr(importlib.import_module(module), function)
    except ModuleNotFoundError as error:
        raise ValueError(f"--energy {name}: {error} (the working folder is searched)") from error
    except AttributeError:
        raise ValueError(f"--energy {name}: module {module} has no {function}") from None
    energy: Energy = made if isinstance(made, torch.nn.Module) else made()
    if weights is None:
        return energy
    if not isinstance(energy, torch.nn.Module):
        raise ValueError(
            f"--weights are for a torch.nn.Module; {name} gave {type(energy).__name__}"
        )
    try:
        energy.load_state_dict(checkpoint.load_tensors(weights))
    except RuntimeError as error:
        reason = "; ".join(line.strip() for line in str(error).splitlines()[1:3])
        raise ValueError(f"{weights}: does not fit {name}: {reason}") from error
    return energy


def _save(path: Path, arrays: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        checkpoint.write(path, lambda part: np.save(part, arrays["x"]))
    else:
        checkpoint.write(path, lambda part: np.savez(part, **arrays))


def _device(name: str) -> str:
    chosen = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.zeros(1, device=chosen, dtype=torch.float64)
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"--device {chosen}: cannot be used here ({reason})") from error
    return chosen
