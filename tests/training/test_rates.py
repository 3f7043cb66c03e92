"""Learning rates: along a cosine, and the same for all parameters."""

import pytest
import torch
from torch import nn, optim

from noneq.training.rates import cosine, set_learning_rate


def test_a_cosine_falls_from_one_to_zero_and_stays_there():
    factors = [cosine(p) for p in (0.0, 0.25, 0.5, 1.0, 1.01, 2.0)]
    assert factors == pytest.approx([1, (1 + 0.5**0.5) / 2, 0.5, 0, 0, 0])


def test_all_parameters_have_the_rate_that_is_set():
    first, second = (nn.Parameter(torch.zeros(1)) for _ in range(2))
    optimizer = optim.SGD([{"params": [first]}, {"params": [second], "lr": 9.0}], lr=1.0)
    set_learning_rate(optimizer, 0.5)
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.5]
