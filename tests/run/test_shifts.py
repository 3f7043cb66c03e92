"""Images moved by one pixel are added to training rows where the validation rows gain by them."""

import dataclasses

import numpy as np
import pytest
import torch

import noneq
from noneq.data import load
from noneq.run.choosing import choose
from noneq.run.shifts import choose_shifts, moved, with_shifts
from noneq.run.starts import choose_start


def test_images_are_moved_in_four_directions_and_repeat_their_edge():
    image = torch.tensor([[[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]])
    left, right, up, down = moved(image)[:, 0]
    assert left.tolist() == [[2, 3, 3], [5, 6, 6]]
    assert right.tolist() == [[1, 1, 2], [4, 4, 5]]
    assert up.tolist() == [[4, 5, 6], [4, 5, 6]]
    assert down.tolist() == [[1, 2, 3], [1, 2, 3]]
    two = torch.randn(2, 3, 4, 5)
    assert torch.equal(moved(two)[2:4], moved(two[0:2])[2:4])
    assert torch.equal(moved(two)[3], moved(two[1:])[1])  # the second image, to the right


@pytest.mark.parametrize(
    ("share", "copies"), [(0.5, 4), (2 / 3, 2), (0.8, 1), (0.75, 1), (0.2, 16), (0.1, 36)]
)
def test_the_share_of_moved_images(share, copies):
    rows = torch.randn(3, 1, 4, 4)
    found = with_shifts(rows, share)
    assert len(found) == 3 * (copies + 4)
    assert torch.equal(found[: 3 * copies], rows.repeat(copies, 1, 1, 1))
    assert torch.equal(found[3 * copies :], moved(rows))


def test_without_a_share_the_rows_stay_themselves():
    rows = torch.randn(3, 1, 4, 4)
    assert with_shifts(rows, 0.0) is rows
    assert with_shifts(rows, "chosen") is rows


@pytest.fixture
def images(tmp_path):
    """A bright spot of which the place is drawn anew, or one of two places for all."""

    def make(anywhere):
        rng = torch.Generator().manual_seed(0)
        x, every = torch.zeros(200, 16, 16), torch.arange(200)
        at = torch.randint(1, 15, (200, 2), generator=rng) if anywhere else torch.full((200, 2), 7)
        x[every, at[:, 0], at[:, 1]] = 55 + 200 * torch.rand(200, generator=rng)
        np.save(tmp_path / "images.npy", x.numpy().astype(np.uint8))
        return load(tmp_path / "images.npy")

    return make


def test_the_validation_rows_choose_the_share(images):
    def chosen(data, **changes):
        recipe = choose(data.shape, len(data.train), data.kind, discrete=True, **changes)
        return choose_shifts(recipe, data).model.shifted

    anywhere = images(True)
    assert chosen(anywhere) >= 0.5
    assert chosen(anywhere, shifted=0.0) == 0.0
    assert chosen(dataclasses.replace(anywhere, validation=anywhere.validation[:9])) == 0.0
    assert chosen(images(False)) == 0.0


def test_a_session_trains_on_moved_images(images):
    data = images(True)
    recipe = choose(
        data.shape, len(data.train), data.kind, discrete=True, walkers=16, held_out=8, batch=8,
        iterations=2, width=2, depth=1,
    )  # fmt: skip
    start = choose_start(recipe, data)
    share = start.session.recipe.model.shifted
    assert share >= 0.5
    assert len(start.session.data) > len(data.train)
    assert len(start.data.train) == len(data.train)  # what is reported is of the images as read
    base = start.session.energy.base
    plain = noneq.Gaussian.fit(data.train, noise=recipe.train.noise)
    wide = noneq.Gaussian.fit(with_shifts(data.train, share), noise=recipe.train.noise)
    assert torch.allclose(base.covariance(), wide.covariance())
    assert not torch.allclose(base.covariance(), plain.covariance())


def test_what_cannot_be_moved_is_told():
    recipe = choose((3,), 50, "table", shifted=0.5, iterations=1)
    with pytest.raises(ValueError, match=r"moves images .* got rows of shape \(3,\)"):
        noneq.Session(recipe, torch.randn(50, 3))
    with pytest.raises(ValueError, match=r"0 or from 0\.1 to 0\.8, got 0\.9"):
        choose((1, 16, 16), 50, "image", shifted=0.9)
    # a table's share is 0, and nothing is chosen
    assert choose((3,), 50, "table").model.shifted == 0.0
