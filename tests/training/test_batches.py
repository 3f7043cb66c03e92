"""Batches of a tensor, and of an iterable such as a DataLoader: the same training."""

import itertools

import pytest
import torch
from targets import seeded
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import noneq
from noneq import Settings

ROWS = torch.randn(96, 2, generator=seeded(0)) @ torch.tensor([[1.0, 0.6], [0.0, 0.5]])
SETTINGS = Settings(walkers=64, held_out=32, moves=2, batch=32, renew=None)


def energy():
    with noneq.random.seeded(0):
        return noneq.Tilted(noneq.Gaussian.fit(ROWS), noneq.MLP(2, width=8))


def trained(data, settings=SETTINGS, iterations=6, resume=None, model=None):
    """The records of a few iterations."""
    model = energy() if model is None else model
    records = noneq.train(model, data, settings, rng=seeded(1), resume=resume)
    return list(itertools.islice(records, iterations))


class Noted:
    """Batches of 32 rows in turn, which are counted."""

    def __init__(self, batches):
        self.batches, self.begun = batches, 0

    def __iter__(self):
        self.begun += 1
        return iter(self.batches)


PARTS = ROWS.split(32)


def test_batches_are_taken_in_turn_and_begun_anew():
    loader, model = Noted(PARTS), energy()
    first, *_ = trained(loader, iterations=7, model=model)
    assert loader.begun == 3  # 7 batches are two rounds of three and one
    assert first.data_energy == pytest.approx(float(model.base(PARTS[0]).mean()), rel=1e-6)


def test_every_batch_is_learned_from_once_a_round():
    seen = []
    model = energy()
    forward = model.forward

    def noted(x):
        seen.append(x)
        return forward(x)

    model.forward = noted
    loader = Noted(PARTS)
    trained(loader, iterations=6, model=model)
    order = [k for x in seen for k, part in enumerate(PARTS) if torch.equal(x, part)]
    assert order == [0, 1, 2, 0, 1, 2]
    assert loader.begun == 2


@pytest.mark.parametrize(
    "loader",
    [
        DataLoader(TensorDataset(ROWS), batch_size=32),  # of tuples
        DataLoader(TensorDataset(ROWS, torch.arange(96)), batch_size=32),  # with labels
        itertools.cycle(PARTS),
        (part for _ in range(9) for part in PARTS),
    ],
    ids=["DataLoader", "labels", "endless", "generator"],
)
def test_what_is_iterated_is_trained_on(loader):
    exact = trained(Noted(PARTS))
    found = trained(loader)
    assert [one.data_energy for one in found] == [one.data_energy for one in exact]


class Stream(IterableDataset):
    def __iter__(self):
        rng = seeded(5)
        while True:
            yield torch.randn(2, generator=rng)


def test_a_stream_has_no_end():
    assert trained(DataLoader(Stream(), batch_size=16), iterations=9)[-1].iteration == 9


def test_walkers_start_at_as_many_rows_as_there_are_walkers():
    settings = Settings(walkers=80, start="data", weighted=False, renew=None, held_out=None)
    (record,) = trained(Noted(PARTS), settings, iterations=1)
    assert len(record.state.walkers) == 80
    model = energy()
    state = noneq.training.loop._begin(
        model, noneq.training.batches.batches_of(Noted(PARTS), model), settings, None, seeded(1)
    )[0]
    assert torch.equal(state.walkers.x, ROWS[:80])


def test_a_resumed_training_goes_on_with_the_loader():
    model = energy()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    batches = itertools.cycle(PARTS)
    rng = seeded(1)
    records = noneq.train(model, batches, SETTINGS, optimizer=optimizer, rng=rng)
    for record in itertools.islice(records, 3):
        state = record.state
    again = noneq.train(model, batches, SETTINGS, optimizer=optimizer, rng=rng, resume=state)
    last = [next(again).iteration for _ in range(3)][-1]
    assert last == 6


@pytest.mark.parametrize(
    ("batches", "error", "message"),
    [
        ([], ValueError, "the batches have ended"),
        ([ROWS.tolist()], TypeError, "data must be a torch tensor, got list"),
        ([torch.arange(6).view(3, 2)], TypeError, "data must be floating point"),
        ([ROWS[:32], ROWS[:32, :1]], ValueError, "rows of shape .1,., and the first one had"),
        ([ROWS[:32], ROWS[:32] / 0], ValueError, "NaN or infinite"),
    ],
)
def test_batches_that_cannot_be(batches, error, message):
    with pytest.raises(error, match=message):
        trained(Noted([[one] for one in batches]))


def test_a_generator_that_ends_is_told():
    with pytest.raises(ValueError, match="give an iterable that begins anew"):
        trained((part for part in PARTS), iterations=4)


def test_discrete_batches_must_be_states():
    bits = (torch.rand(32, 6, generator=seeded(2)) < 0.4).float()
    rbm = noneq.BernoulliRBM.from_data(bits, hidden=3)
    settings = Settings(walkers=32, held_out=None, renew=None)
    with pytest.raises(ValueError, match="not made of 0 and 1"):
        trained(Noted([bits, bits + 0.5]), settings, model=rbm)


@pytest.mark.parametrize("data", [ROWS.numpy(), ROWS.tolist(), {"x": ROWS}])
def test_what_is_no_loader_is_refused_as_before(data):
    with pytest.raises(TypeError, match="data must be a torch tensor"):
        trained(data)
