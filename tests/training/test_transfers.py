"""Transfers from the device in an iteration of training, counted: each makes a GPU's host wait."""

import itertools

import pytest
import torch
from torch import optim
from torch.utils._python_dispatch import TorchDispatchMode

from noneq import MLP, Gaussian, Tilted
from noneq.training import Settings, train

#: operations that read a tensor's values on the host
READS = ("_local_scalar_dense", "aten.equal", "nonzero")
DATA = torch.randn(200, 3, generator=torch.Generator().manual_seed(1)) + 1.0


class Counter(TorchDispatchMode):
    """Counts reads; `torch.Tensor.tolist`, which is one, has no operation of its own on a CPU."""

    def __init__(self, patch):
        super().__init__()
        self.count = 0
        tolist = torch.Tensor.tolist

        def counted(tensor):
            self.count += 1
            return tolist(tensor)

        patch.setattr(torch.Tensor, "tolist", counted)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += any(name in str(func) for name in READS)
        return func(*args, **(kwargs or {}))


CASES = {
    # whether the parameters are those of before, the weights, the record
    "plain steps": (Settings(64, None, 3, None, renew=None, batch=32), 3),
    # and what the step costs, read with the weights
    "trust region": (Settings(64, None, 3, renew=None, batch=32), 3),
    # and their weights after the step
    "held out": (Settings(64, 64, 3, renew=None, batch=32), 3),
}


@pytest.mark.parametrize("name", CASES)
def test_an_iteration_reads_the_device_few_times(name, monkeypatch):
    settings, expected = CASES[name]
    torch.manual_seed(0)
    energy = Tilted(Gaussian.fit(DATA), MLP(3, width=16))
    records = train(energy, DATA, settings, optimizer=optim.SGD(energy.parameters(), lr=1e-3))
    list(itertools.islice(records, 2))
    counts = []
    with Counter(monkeypatch) as counter:
        for _ in range(10):
            counter.count = 0
            record = next(records)
            counts.append(counter.count)
    # a step that is redone and a resampling, which are rare, cost a read or two more
    assert sorted(counts)[5] == expected
    assert record.iteration == 12
