"""Where else annealing starts: clusters of chains, wider bases; and mixtures of solvable energies.

Oracles: enumeration and quadrature; modes whose shares are known by construction. Statistical
tests judge at 4 standard errors, seeds are in them.
"""

import itertools
import math

import pytest
import torch
from hostile import REACHABLE
from hostile.targets import Veiled, gaussian_mixture, seeded

import noneq
from noneq import BernoulliRBM, Gaussian, GaussianMixture, GaussianRBM, PottsRBM, Walkers
from noneq.energies import (
    Bernoulli,
    Categorical,
    Cholesky,
    Diagonal,
    Identity,
    LowRank,
    Mixture,
    Uniform,
    path_to,
)
from noneq.kernels import BlockGibbs
from noneq.likelihood.alarms import stranded
from noneq.likelihood.forward import Forward, best_of
from noneq.likelihood.starts import (
    clusters,
    fitted_mixture,
    rare_rows,
    reweighted,
    wider,
)
from noneq.walkers import LogZ


def bits(n):
    return torch.tensor(list(itertools.product((0.0, 1.0), repeat=n)), dtype=torch.float64)


def two_of_bits():
    one = Bernoulli(torch.tensor([1.5, -0.5, 2.0], dtype=torch.float64))
    other = Bernoulli(torch.tensor([-2.0, 0.3, -1.0], dtype=torch.float64))
    return Mixture([one, other], torch.tensor([0.7, 0.3], dtype=torch.float64))


# -- mixtures -----------------------------------------------------------------------------------


def test_a_mixture_is_the_sum_of_its_normalised_components():
    mixture, x = two_of_bits(), bits(3)
    p = sum(
        share * (-one(x)).softmax(0)
        for share, one in zip((0.7, 0.3), mixture.components, strict=True)
    )
    torch.testing.assert_close((-mixture(x)).exp(), p)
    assert mixture.log_z() == 0.0
    # samples: 20,000, every state within 4 standard errors
    rows = mixture.sample(20_000, seeded(0))
    found = (rows[:, None] == x).all(2).double().mean(0)
    assert bool(((found - p).abs() < 4 * (p * (1 - p) / 20_000).sqrt()).all())
    shares = mixture.responsibilities(x)
    torch.testing.assert_close(shares.sum(1), torch.ones(8, dtype=torch.float64))
    torch.testing.assert_close(shares[:, 0] * p, 0.7 * (-mixture.components[0](x)).softmax(0))


def test_a_mixture_of_gaussians_is_the_gaussian_mixture():
    means = torch.tensor([[0.0, 1.0], [2.0, -1.0]], dtype=torch.float64)
    scales = torch.tensor([[1.0, 0.5], [0.3, 2.0]], dtype=torch.float64)
    parts = [Gaussian(m, Diagonal(s, torch.float64)) for m, s in zip(means, scales, strict=True)]
    masses = torch.tensor([0.2, 0.8], dtype=torch.float64)
    one = Mixture(parts, masses)
    other = GaussianMixture(means, torch.stack([s.square().diag() for s in scales]), masses)
    x = 2 * torch.randn(50, 2, generator=seeded(1), dtype=torch.float64)
    for a, b in zip(
        noneq.energies.evaluate(one, x), noneq.energies.evaluate(other, x), strict=True
    ):
        torch.testing.assert_close(a, b)
    torch.testing.assert_close(one.responsibilities(x), other.responsibilities(x))
    for changed in (one, other):
        new = changed.with_masses(torch.tensor([3.0, 1.0], dtype=torch.float64))
        torch.testing.assert_close(new.log_masses.exp(), masses.new_tensor([0.75, 0.25]))
        assert new.log_z() == 0.0
        assert float(changed.log_masses.exp()[0]) == pytest.approx(0.2)


def test_what_is_no_mixture():
    one = Bernoulli(torch.zeros(2))
    with pytest.raises(ValueError, match="one component or more"):
        Mixture([])
    with pytest.raises(ValueError, match="as many positive masses"):
        Mixture([one], torch.tensor([1.0, 2.0]))
    with pytest.raises(ValueError, match="as many positive masses"):
        Mixture([one, one], torch.tensor([1.0, 0.0]))
    with pytest.raises(ValueError, match="live on one space"):
        Mixture([one, Gaussian(torch.zeros(2), Identity())])


# -- RBMs from a mixture ----------------------------------------------------------------------


def machines():
    numbers = torch.sin(1.0 + 2.3 * torch.arange(30, dtype=torch.float64))
    w, c = 2 * numbers[:12].view(4, 3), numbers[12:15]
    yield BernoulliRBM(w, numbers[15:19], c), [Bernoulli(numbers[k : k + 4]) for k in (19, 23)]
    sites = [Categorical(numbers[k : k + 4].view(2, 2)) for k in (19, 23)]
    yield PottsRBM(w, numbers[15:19].view(2, 2), c), sites
    scales = [Diagonal(s * torch.ones(4).double(), torch.float64) for s in (0.8, 1.7)]
    units = [Gaussian(numbers[k : k + 4], s) for k, s in zip((19, 23), scales, strict=True)]
    log_var = torch.zeros(4, dtype=torch.float64)
    yield GaussianRBM(w / 3, numbers[15:19], c, log_var), units


@pytest.mark.parametrize("kind", range(3), ids=["bits", "sites", "numbers"])
def test_an_rbms_path_leads_from_a_mixture_by_rbms_all_along(kind):
    machine, units = list(machines())[kind]
    base = Mixture(units, torch.tensor([0.3, 0.7], dtype=torch.float64))
    path = path_to(machine, base)
    assert type(path).__name__ == "RBMPath"
    x = base.sample(64, seeded(2))
    for beta, end in ((0.0, base), (1.0, machine)):
        torch.testing.assert_close(path.at(beta)(x), end(x).detach())
    # between: the sum over the components of what each of them alone would have
    beta, u = 0.4, path.at(0.4)(x)
    alone = [path_to(machine, one).at(beta)(x) + (1 - beta) * one.log_z() for one in units]
    both = torch.stack([-v for v in alone], 1) + base.log_masses
    torch.testing.assert_close(u, -both.logsumexp(1))
    # the cache of another temperature is reused
    model = path.at(0.8)
    u, cache = noneq.energies.evaluate(path.at(0.1), x)
    torch.testing.assert_close(noneq.energies.evaluate(model, x, cache)[0], model(x))


def test_the_gradient_on_an_rbms_path_is_the_slope_of_its_energy():
    machine, units = list(machines())[2]
    path = path_to(machine, Mixture(units))
    x, d = Mixture(units).sample(5, seeded(3)), 1e-5 * torch.eye(4, dtype=torch.float64)
    for beta in (0.0, 0.3, 1.0):
        model = path.at(beta)
        _, cache = noneq.energies.evaluate(model, x)
        slope = torch.stack([(model(x + e) - model(x - e)) / 2e-5 for e in d], 1)
        torch.testing.assert_close(cache["g"], slope, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("kind", range(3), ids=["bits", "sites", "numbers"])
def test_block_gibbs_from_a_mixture_gives_the_exact_log_z(kind):
    # seed 4; 40 islands of 100, 4 temperatures with few moves: E w = Z, within 4 standard errors
    machine, units = list(machines())[kind]
    base, rng = Mixture(units, torch.tensor([0.3, 0.7], dtype=torch.float64)), seeded(4)
    walkers, path = Walkers.sample(base, 4000, rng, islands=40), path_to(machine, base)
    for beta in (0.2, 0.5, 0.8, 1.0):
        walkers = walkers.reweight(path.at(beta)).move(BlockGibbs(), path.at(beta), rng)
    w = walkers.log_w.exp().view(40, -1).mean(1) / math.exp(machine.log_z())
    assert abs(float(w.mean()) - 1) < 4 * float(w.std()) / math.sqrt(40)
    assert float(w.std()) < 0.5


def test_a_mixture_of_another_kind_leaves_the_geometric_path():
    machine, units = next(machines())
    assert machine.path_from(Mixture([Categorical(torch.zeros(2, 2))] * 2)) is None
    assert machine.path_from(Mixture([*units, Mixture(units)])) is None


# -- clusters -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [1, 2, 5, 20, 100])
@pytest.mark.parametrize("few", [10, 40])
def test_clusters_of_one_percent_and_more_are_found(dim, few):
    # the two modes are never in one cluster
    x = torch.randn(1000, dim, generator=seeded(dim))
    x[:few] += (12.0 + 0.1 * dim) / math.sqrt(dim)
    labels = clusters(x)
    assert not set(labels[:few].tolist()) & set(labels[few:].tolist())
    assert int(labels.max()) + 1 <= 48
    assert set(labels.tolist()) == set(range(int(labels.max()) + 1))


def test_clusters_of_other_widths_and_units():
    rng = seeded(7)
    x = torch.cat([0.05 * torch.randn(700, 3, generator=rng), torch.randn(300, 3, generator=rng)])
    x[700:] += 9.0
    labels = clusters(x * torch.tensor([1e-3, 1.0, 1e3]))
    assert not set(labels[:700].tolist()) & set(labels[700:].tolist())


def test_rows_that_are_equal_are_one_cluster():
    assert clusters(torch.ones(40, 3)).tolist() == [0] * 40
    assert len(clusters(torch.randn(16, 2, generator=seeded(0)))) == 16


def test_the_fitted_mixture_has_every_cluster_with_equal_mass():
    x = torch.randn(1000, 4, generator=seeded(1))
    x[:30] = 0.5 * x[:30] + 10.0
    mixture = fitted_mixture(lambda v: v.sum(1), x)
    p = mixture.log_masses.exp()
    assert float((p - 1 / len(p)).abs().max()) < 1e-6
    assert float((mixture.means - 10.0).norm(dim=1).min()) < 0.6
    assert float(mixture.means.norm(dim=1).min()) < 0.6
    rows = (torch.rand(500, 6, generator=seeded(2)) < 0.1).float()
    rows[:20] = 1 - rows[:20]
    machine = BernoulliRBM(torch.zeros(6, 2), torch.zeros(6), torch.zeros(2))
    for energy in (machine, Bernoulli(torch.zeros(6))):
        of_bits = fitted_mixture(energy, rows)
        assert isinstance(of_bits, Mixture)
        assert path_to(machine, of_bits).start is of_bits


def test_a_wider_base_has_three_times_the_spread():
    mean = torch.tensor([1.0, -2.0, 0.5])
    c = torch.tensor([[1.0, 0.4, 0.1], [0.4, 1.5, -0.3], [0.1, -0.3, 0.8]])
    factors = [
        Identity(0.7), Diagonal(torch.tensor([1.0, 0.2, 3.0])), Cholesky(c),
        LowRank(torch.tensor([1.0, 0.5, 2.0]), torch.tensor([[1.0], [0.3], [-2.0]])),
    ]  # fmt: skip
    for factor in factors:
        base = Gaussian(mean, factor)
        new = wider(base, seeded(0))
        torch.testing.assert_close(new.covariance(), 9 * base.covariance(), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(new.mean, mean)
    two = gaussian_mixture([[-2.0, 0.0], [2.0, 0.0]], [0.5, 0.5], [0.5, 0.5])
    spread = wider(two, seeded(1)).covariance().diagonal().sqrt()
    assert float(spread[0]) == pytest.approx(3 * math.sqrt(4.25), rel=0.1)
    sites = wider(Categorical(torch.tensor([[1.0, 0.0], [0.5, -2.0]])), seeded(0))
    assert bool((sites.logits == 0).all())
    assert wider(sites, seeded(0)) is None
    assert wider(Uniform(torch.zeros(2), torch.ones(2)), seeded(0)) is None


# -- the masses that the way back needs -----------------------------------------------------------


def test_the_way_back_ends_in_every_mode_as_often_as_walkers_come_from_it():
    # two modes that nobody crosses between, 90 % in the second, chains 95 % in the first: with
    # equal masses the backward side is off by -log(.95 .5/.1 + .05 .5/.9) = -1.6 nat
    energy = gaussian_mixture([[0.0, 0.0], [20.0, 0.0]], [1.0, 1.0], [0.1, 0.9])
    even = energy.with_masses(torch.ones(2))
    walkers = Walkers.sample(even, 4000, seeded(1), islands=8).reweight(energy)
    chains = energy.with_masses(torch.tensor([0.95, 0.05])).sample(1000, seeded(2))
    start, error = reweighted(even, walkers, chains)
    masses = start.log_masses.exp()
    assert abs(float(masses[1]) - 0.9) < 0.01
    back = Walkers.at(chains, energy, log_z=0.0, islands=8).reweight(start)
    assert abs(back.log_z.value) < 4 * error
    # by the binomial share of the first mode, which has 95 % of the chains: sqrt(.25/4000)/.5
    assert 0.4 < error / math.sqrt(1 / 4000) < 2.5
    lost = Walkers.at(chains, energy, log_z=0.0, islands=8).reweight(even).log_z.value
    assert lost == pytest.approx(math.log(0.95 * 0.5 / 0.1 + 0.05 * 0.5 / 0.9), abs=0.05)


def test_the_error_of_the_masses_counts_where_the_chains_are():
    # even masses, so that all weights are 1; 95 % of the chains in one mode: .9 times the relative
    # error of a binomial share, which 8 islands tell to a third
    energy = gaussian_mixture([[0.0], [20.0]], [1.0, 1.0], [0.5, 0.5])
    chains = energy.with_masses(torch.tensor([0.95, 0.05])).sample(1000, seeded(2))
    errors = []
    for seed in range(20):
        walkers = Walkers.sample(energy, 4000, seeded(10 + seed), islands=8)
        errors.append(reweighted(energy, walkers, chains)[1])
    exact = 0.9 / math.sqrt(4000) * math.sqrt(7 / 5)
    assert sum(errors) / 20 == pytest.approx(exact, rel=0.25)


def test_no_component_is_lighter_than_a_thousandth():
    energy = gaussian_mixture([[0.0], [20.0]], [1.0, 1.0], [0.5, 0.5])
    walkers = Walkers.at(torch.randn(64, 1, generator=seeded(0)), energy, islands=8)
    start, _ = reweighted(energy, walkers, walkers.x)
    assert float(start.log_masses.exp()[1]) == pytest.approx(0.001, rel=0.01)


# -- which side counts, and who stands alone ------------------------------------------------------


class Side(Forward):
    log_z = property(lambda self: self.walkers)


def sides(*values):
    return [Side(LogZ(z, e), None, None, fitted) for z, e, fitted in values]


@pytest.mark.parametrize(
    ("values", "best"),
    [
        ([(0.0, 0.02, False), (0.01, 0.03, True), (-1.0, 0.01, False)], 0),
        ([(0.0, 0.04, False), (0.01, 0.03, True), (0.0, 0.01, False)], 1),  # fitted, unless led
        ([(0.0, 0.02, False), (0.01, 0.3, True)], 0),  # too vague
        ([(0.0, 0.04, False), (0.01, 0.3, True), (0.0, 0.02, False)], 2),  # and no other way
        ([(-0.7, 0.01, False), (0.0, 0.3, False)], 1),  # ahead by two errors
        ([(-0.7, 0.01, False), (-0.65, 0.01, False)], 0),  # by less than 0.1 nat
        ([(-0.7, 0.01, False), (0.0, 0.5, False)], 0),  # by less than two errors
        ([(-3.0, 0.01, False), (0.0, 0.05, True), (0.02, 0.04, False)], 1),
        ([(-3.0, 0.01, True), (0.0, 0.05, False), (0.02, 0.04, False)], 2),
    ],
)
def test_the_best_side_is_not_behind_and_fitted_if_it_can_be(values, best):
    found = sides(*values)
    assert best_of(found) is found[best]


def test_chains_where_no_forward_walker_arrives_ring():
    energy = gaussian_mixture([[0.0], [20.0]], [1.0, 1.0], [0.5, 0.5])
    near = Walkers.at(torch.randn(256, 1, generator=seeded(0)), energy, islands=8)
    x = torch.randn(256, 1, generator=seeded(1))
    x[:5] += 20.0
    chains = Walkers.at(x, energy, islands=8)
    (alarm,) = stranded(energy, chains, [near, near])
    assert alarm.startswith("5 of 256 equilibrated chains")
    everywhere = Walkers.at(energy.sample(256, seeded(2)), energy, islands=8)
    for both in ([near, everywhere], [everywhere, near]):
        assert not list(stranded(energy, chains, both))
    x[2:5] -= 20.0
    assert not list(stranded(energy, Walkers.at(x, energy, islands=8), [near]))


# -- and what they are for ------------------------------------------------------------------------

RARE = [
    "rare-5d-30sd",
    "rare-three-3d-15sd",
    "rare-4d-narrow",
    "hidden-9sd-5d",
    "plateau-3d",
    "ising-6x6-field",
    "hopfield-18",
    "rbm-far",
    "gaussian-rbm-far",
    "chambers-3d",
]


@pytest.mark.parametrize("name", RARE)
def test_modes_that_are_rare_in_the_rows_are_weighed(name):
    # half the default budget, seed 0: from the base alone nine of the ten are off by .4 to 3 nats
    case = REACHABLE[name](0)
    z = noneq.log_z(case.energy, case.base, case.data, n=512, temperatures=400, rng=seeded(0))
    assert abs(z.value - case.log_z) < max(0.2, 4 * z.stderr), z


def test_a_closed_form_asks_nobody():
    model = Gaussian(torch.zeros(2), Identity())
    assert noneq.log_z(model, data=torch.randn(50, 2, generator=seeded(0))).schedule is None
    veiled = noneq.log_z(Veiled(model), model, n=16, temperatures=3)
    assert veiled.schedule is not None


def test_the_way_back_of_a_bracket_is_to_the_right_masses():
    # far modes: with the equal masses of the clusters the backward side is 1.6 nats too low; seed
    # 1 has the clusters as the best start (6 of 10 have; on the others an alarm is raised)
    case = REACHABLE["rare-1d-20sd"](0)
    z = noneq.log_z(case.energy, case.base, case.data, rng=seeded(1))
    assert abs(z.gap) < 0.3


# -- rows at which chains start ------------------------------------------------------------------


def of_a_rare_kind(rows, rare, seed=0):
    """Rows around 0, then some in a narrow well far away."""
    rng = seeded(seed)
    well = 8 + 0.1 * torch.randn(rare, 2, generator=rng)
    return torch.cat([torch.randn(rows, 2, generator=rng), well])


def order_of(x, seed):
    return torch.rand(len(x), generator=seeded(seed)).argsort()


@pytest.mark.parametrize("n", [128, 512])
def test_each_cluster_of_the_rows_has_ten_chains(n):
    # 20 of 2,020 rows: 1.3 or 5 of n rows at random; seeds 0 to 4
    x = of_a_rare_kind(2000, 20)
    for seed in range(5):
        order = order_of(x, seed)
        more = rare_rows(x, order, n)
        both = torch.cat([order[:n], more])
        assert len(both) == len(both.unique())
        assert int((both >= 2000).sum()) == max(10, int((order[:n] >= 2000).sum()))


def test_few_rows_need_no_more_and_a_rarer_cluster_has_all_of_its_rows():
    few = of_a_rare_kind(50, 3)
    assert len(rare_rows(few, order_of(few, 0), 128)) == 0
    x = of_a_rare_kind(1500, 7)
    order = order_of(x, 1)
    both = torch.cat([order[:256], rare_rows(x, order, 256)])
    assert int((both >= 1500).sum()) == 7


def test_no_further_chains_where_no_cluster_is_rare():
    x = torch.rand(3000, 2, generator=seeded(0))  # no tails, which are clusters of their own
    x[1500:] += 20
    assert len(rare_rows(x, order_of(x, 3), 200)) == 0


def test_rare_kinds_of_rows_raise_no_alarm_where_the_model_has_them_as_rare():
    # exact samples with eight clusters of 0.3 %, seeds 0 to 2: the further chains must not count
    # in the backward estimate, where they would be more than such rows are likely
    masses = torch.tensor([0.976, *[0.003] * 8])
    angle = torch.arange(8) * math.pi / 4
    far = 12 * torch.stack([angle.cos(), angle.sin()], 1)
    roots = torch.eye(2) * torch.tensor([1.0, *[0.3] * 8])[:, None, None]
    model = GaussianMixture(torch.cat([torch.zeros(1, 2), far]), roots @ roots.mT, masses)
    plain = lambda x: model(x)  # noqa: E731  (whose log Z nobody knows)
    for seed in range(3):
        rows = model.sample(4000, seeded(seed))
        z = noneq.log_z(plain, data=rows, n=512, temperatures=200, rng=seeded(seed))
        assert not z.alarms
        assert z.backward.value == pytest.approx(model.log_z(), abs=0.05)


def test_a_well_with_nearly_all_mass_and_few_rows_is_not_missed():
    # seeds 0 to 2; 10,227 of Z is in the well; with starts at random 6 of 12 seeds were wrong by 7
    def energy(x):
        near = x[:, 0].square() / 2 + (x[:, 1] - x[:, 0].square()).square() / 2
        return -torch.logaddexp(-near, 12 - (x - 8).square().sum(1) / (2 * 0.1**2))

    truth = math.log(2 * math.pi + math.exp(12) * 2 * math.pi * 0.1**2)
    rows = of_a_rare_kind(2000, 20)
    rows[:2000, 1] += rows[:2000, 0].square()
    for seed in range(3):
        z = noneq.log_z(energy, data=rows, n=256, temperatures=200, rng=seeded(seed))
        assert z.value == pytest.approx(truth, abs=0.3)


def test_a_single_further_row_is_two_chains(monkeypatch):
    x = torch.randn(300, 2, generator=seeded(0))
    monkeypatch.setattr("noneq.likelihood.backward.rare_rows", lambda x, order, n: order[-1:])
    z = noneq.log_z(lambda x: x.square().sum(1) / 2, data=x, n=32, temperatures=20)
    assert z.value == pytest.approx(math.log(2 * math.pi), abs=0.3)
