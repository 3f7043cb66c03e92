"""The laws that RBMs are compared with add up to 1, and the rows follow them."""

import math

import pytest
import torch
from targets import bits, seeded

from experiments.rbm.sets import Mixture, bars_and_stripes, digit_bits, far_clusters, fifty


def test_a_mixtures_law_adds_up():
    p = torch.tensor([[0.1, 0.9, 0.4], [0.8, 0.2, 0.6]], dtype=torch.float64)
    law = Mixture(torch.tensor([0.3, 0.7], dtype=torch.float64), p)
    assert float(law.log_prob(bits(3)).exp().sum()) == pytest.approx(1.0)
    x = law.sample(40_000, seeded(0))
    mean = (law.mass[:, None] * law.p).sum(0)
    stderr = (mean * (1 - mean) / len(x)).sqrt()
    assert bool(((x.mean(0) - mean).abs() < 4 * stderr).all())


def test_bars_and_stripes_add_up_and_are_drawn_as_often():
    found = bars_and_stripes(seed=1, side=2)
    p = found.log_prob(bits(4)).exp()
    assert float(p.sum()) == pytest.approx(1.0)
    assert int((p > 0).sum()) == 6
    drawn = (found.fresh[:, None] == bits(4)).all(2).double().mean(0)
    stderr = (p * (1 - p) / len(found.fresh)).sqrt()
    assert bool(((drawn - p).abs() <= 4 * stderr).all())


@pytest.mark.parametrize("make", [fifty, far_clusters])
def test_fresh_rows_follow_the_law_that_they_are_judged_by(make):
    # the mean log-likelihood of rows is minus the law's entropy: the same for both sets of rows
    found = make(seed=3)
    likely = [found.log_prob(rows) for rows in (found.train, found.fresh)]
    stderr = math.hypot(*(float(x.std()) / math.sqrt(len(x)) for x in likely))
    assert abs(float(likely[0].mean() - likely[1].mean())) < 4 * stderr
    assert found.truth(found.fresh) == pytest.approx(float(likely[1].mean()))


def test_digits_are_split_once():
    found = digit_bits(seed=2)
    assert (len(found.train), len(found.fresh)) == (1437, 360)
    assert found.truth(found.fresh) == 0.0
    assert set(found.train.unique().tolist()) == {0.0, 1.0}
