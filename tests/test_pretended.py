"""All runs on another device: the checks of `benchmarks.gpu`, on a GPU that is pretended.

What a GPU computes otherwise, and where the host waits for it, is seen on a GPU alone.
"""

import copy
import io
from contextlib import redirect_stdout

import numpy as np
import pytest
import torch
from pretended import There, pretended_gpu
from torch import nn

from benchmarks.device_checks import CHECKS, Where
from benchmarks.device_program import COMMANDS  # which enters its checks
from noneq.cli.main import main
from noneq.data import digits

ALONE = [name for name in CHECKS if not name.startswith((COMMANDS, "a run of the device"))]


@pytest.mark.parametrize("name", ALONE)
def test_the_checks_pass_on_another_device(name, tmp_path):
    with pretended_gpu():
        found = CHECKS[name](Where(torch.device("cuda"), small=True, folder=tmp_path))
        assert found.ok, found.text
        if name.startswith("a run: "):  # whose folder the other one needs
            other = next(check for check in CHECKS if check.startswith("a run of the device"))
            found = CHECKS[other](Where(torch.device("cuda"), small=True, folder=tmp_path))
            assert found.ok, found.text


BRACKET = "--bracket.walkers 32 --bracket.temperatures 12 --bracket.equilibrate 12"
FEW = "--walkers 32 --batch 64 --held-out 16 --moves 1"
LINES = {
    "digits": [
        f"train digits --classes 0,1 --subset 60,60 --width 8 --iterations 8 {BRACKET} {FEW}",
        "score RUN some.npy --out s.npz",
        "sample RUN -n 8 --out s.npz",
        "sample RUN -n 4 --source chains --weighted --out s.npz",
        "sample RUN -n 4 --denoise --out s.npy",
        "train --resume --iterations 9",
        "score RUN some.npy --device cpu",
        "sample RUN -n 4 --source ais --out s.npy --device cpu",
    ],
    "table": [
        f"train rows.csv --iterations 6 {BRACKET} --walkers 32 --batch 64",
        "score RUN rows.csv --out s.csv",
        "sample RUN -n 8 --out s.csv",
        "train --resume --iterations 8",
    ],
    "bits": [
        f"train digits --binary --model rbm --hidden 6 --iterations 6 {BRACKET} {FEW}",
        "sample RUN -n 4 --out s.npz",
        f"logz RUN {BRACKET}",
        "report RUN",
        "train --resume --iterations 8",
    ],
    "path": [
        f"train two.npy --model interpolant --width 8 --iterations 6 {BRACKET}",
        "score RUN two.npy --flow",
        "sample RUN -n 4 --source steps --out s.npz",
        "sample RUN --given gaps.npy --out full.npy",
    ],
}


@pytest.mark.parametrize("name", LINES)
def test_the_commands_work_on_another_device(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    np.save("some.npy", np.rint(8 * digits().test[:20].numpy() + 8).reshape(-1, 8, 8))
    two = rng.normal(size=(120, 2)) @ np.array([[1, 0.8], [0, 0.6]])
    np.save("two.npy", two)
    np.save("gaps.npy", np.where(np.eye(2) > 0, np.nan, two[:2]))
    counts, colours = rng.poisson(3, 120), rng.choice(["red", "blue"], 120)
    lines = [f"{a},{b},{c},{k}" for (a, b), c, k in zip(two, counts, colours, strict=True)]
    (tmp_path / "rows.csv").write_text("\n".join(["a,b,count,colour", *lines]) + "\n")
    with pretended_gpu(), redirect_stdout(io.StringIO()):
        for line in LINES[name]:
            words = line.replace("RUN", "run").split()
            words += ["--out", "run"] if words[0] == "train" else []
            words += [] if "--device" in words else ["--device", "cuda"]
            assert main(words) == 0, (line, capsys.readouterr().err)


def refuses(work):
    try:
        work()
    except (RuntimeError, TypeError):
        return True
    return False


def test_what_fails_on_a_gpu_fails():
    with pretended_gpu():
        there, here = torch.ones(3, device="cuda"), torch.arange(3)
        rng, other = torch.Generator("cuda"), torch.Generator()
        wrong = {
            "two devices": lambda: there + here,
            "an index": lambda: here[here.to("cuda")],
            "a stack": lambda: torch.stack([there.sum(), torch.tensor(1.0)]),
            "numpy": lambda: there.numpy(),
            "asarray": lambda: np.asarray(there),
            "a generator": lambda: torch.rand(3, generator=rng),
            "a generator there": lambda: torch.rand(3, device="cuda", generator=other),
            "in place": lambda: there.normal_(generator=other),
            "a state": lambda: other.set_state(rng.get_state()),
            "a state there": lambda: rng.set_state(other.get_state()),
            "a network": lambda: nn.Linear(3, 2)(there),
        }
        for name, work in wrong.items():
            assert refuses(work), name


def test_what_works_on_a_gpu_works():
    with pretended_gpu():
        there, rng = torch.ones(3, device="cuda"), torch.Generator("cuda").manual_seed(0)
        net = nn.Linear(3, 2).to("cuda")
        net(there).sum().backward()
        torch.optim.Adam(net.parameters()).step()
        found = [
            there * torch.tensor(2.0), there[torch.arange(2)], there.double(), there.sum(),
            torch.randn(2, device="cuda", generator=rng), torch.zeros_like(there),
            there[there > 0], net.weight, net.weight.grad, copy.deepcopy(net).bias,
            torch.ones(2).to(there),
            *torch.autograd.grad(net(there).sum(), net.bias), there.max(0).values,
        ]  # fmt: skip
        for tensor in found:
            assert isinstance(tensor, There)
            assert tensor.device.type == "cuda"
        assert there.cpu().numpy().sum() == 3
        state = rng.get_state()
        one = torch.rand(2, device="cuda", generator=rng)
        rng.set_state(state)
        assert torch.equal(one, torch.rand(2, device="cuda", generator=rng))
    assert not isinstance(torch.ones(2), There)
