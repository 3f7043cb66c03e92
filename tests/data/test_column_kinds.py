"""The kinds of a table's columns: found, said, spread over intervals and mapped back."""

import math

import numpy as np
import pandas
import pytest
import torch

from noneq.data import Margins, Scaling, load, rows_like
from noneq.data.cells import Cells
from noneq.data.coordinates import mapped
from noneq.data.identifiers import identifies
from noneq.data.kinds import Column, grid_of, kind_of, kind_of_words

RNG = np.random.default_rng(0)
N = 400
NORMAL = RNG.normal(size=N)
COUNTS = RNG.poisson(6.0, N).astype(float)
ZEROS = np.where(RNG.random(N) < 0.25, 0.0, RNG.lognormal(1.0, 0.6, N))
POOL = np.sort(np.random.default_rng(9).lognormal(size=60))  # each with 1 or 2 % of the rows
TIED, GAP = POOL[np.random.default_rng(10).permutation(N) % 60], float(np.median(np.diff(POOL)))
KINDS = {
    "normal": (NORMAL, {"kind": "continuous"}),
    "counts": (COUNTS, {"kind": "grid", "step": 1.0, "counted": True}),
    "years": ((1900 + 2 * RNG.integers(0, 40, N)), {"kind": "grid", "step": 2.0}),
    "tenths": ((NORMAL * 4).round() / 10, {"kind": "grid", "step": 0.1, "counted": True}),
    "hundredths": (NORMAL.round(2), {"kind": "rounded", "step": 0.01, "counted": False}),
    "standardised counts": ((COUNTS - 6.1) / 2.4, {"kind": "grid", "step": 1 / 2.4}),
    "zeros": (ZEROS, {"kind": "atoms", "atoms": (0.0,)}),
    "zeros, rounded": (ZEROS.round(2), {"kind": "atoms", "atoms": (0.0,), "step": 0.01}),
    "bits": (RNG.integers(0, 2, N), {"kind": "category", "levels": (0.0, 1.0)}),
    "powers": (10.0 ** RNG.integers(0, 4, N), {"kind": "category"}),
    "tied off any grid": (TIED, {"kind": "rounded", "loose": True, "step": GAP}),
    "off any grid": (np.sqrt(RNG.integers(2, 9, N)), {"kind": "category"}),
}


@pytest.mark.parametrize("name", KINDS)
def test_kinds_of_numbers(name):
    values, expected = KINDS[name]
    found = kind_of(np.asarray(values, float))
    assert isinstance(found, dict)
    for key, value in expected.items():
        assert found[key] == (value if isinstance(value, str) else pytest.approx(value)), key
    single = kind_of(np.asarray(values, np.float32).astype(float), single=True)
    assert isinstance(single, dict)
    assert single["kind"] == expected["kind"]


def test_columns_that_teach_nothing():
    assert kind_of(np.full(20, 3.0)) == "constant"
    assert kind_of(RNG.permutation(50) + 7.0) == "numbers the rows"
    assert kind_of(np.arange(5.0)) == {"kind": "continuous"}  # too few to tell
    assert kind_of(2.0 * np.arange(200)) == {"kind": "continuous"}  # an axis
    copies = np.tile(RNG.permutation(100) / 50, 4)
    assert kind_of(copies, distinct=100) == {"kind": "continuous"}
    found = kind_of(copies)
    assert isinstance(found, dict)
    assert found["kind"] == "rounded"
    assert (
        kind_of_words(np.arange(30), [f"p{i}" for i in range(30)])
        == "text, different in every row"
    )
    assert kind_of_words(np.arange(300) % 200, list(map(str, range(200)))) == (
        "text, 200 different ones"
    )
    assert kind_of_words(np.zeros(9, int), ["a"]) == "constant"


def test_grids_of_values():
    assert grid_of(np.array([0.1, 0.4, 1.3])) == (0.3, 0.1)
    assert grid_of(np.array([3.0, 7.0, 13.0])) == (2.0, 3.0)
    assert grid_of(np.sort(NORMAL)) == (0.0, 0.0)
    step, offset = grid_of(np.array([1, 2, 4]) * math.pi)
    assert (step, offset) == pytest.approx((math.pi, math.pi))


COLUMNS = (
    Column("x", 1),
    Column("n", 2, "grid", step=2.0, offset=1.0, counted=True),
    Column("r", 3, "rounded", step=0.01),
    Column("a", 4, "atoms", atoms=(-1.0, 0.0), width=0.7),
    Column("g", 5, "atoms", step=0.5, counted=True, atoms=(0.0,), width=3.0),
    Column("c", 6, "category", levels=(-2.0, 5.0, 6.0)),
    Column("s", 7, "category", levels=(0.0, 1.0), texts=("no", "yes")),
)
CELLS = Cells(COLUMNS)
ROWS = np.c_[
    NORMAL, 2 * COUNTS + 1, NORMAL.round(2), np.where(NORMAL < 0, -1, ZEROS),
    (ZEROS * 2).round() / 2, RNG.choice([-2.0, 5.0, 6.0], N), RNG.integers(0, 2, N),
]  # fmt: skip


def test_spread_values_are_collected_again():
    rng = torch.Generator().manual_seed(0)
    rows = torch.from_numpy(ROWS)
    for u in (
        torch.zeros(N, 7),
        torch.full((N, 7), 1 - 2.0**-24),
        torch.rand(N, 7, generator=rng),
    ):
        y = CELLS.spread(rows, u)
        torch.testing.assert_close(CELLS.collect(y), rows, atol=1e-12, rtol=0)
        assert torch.equal(y[:, 0], rows[:, 0])
        assert torch.equal(CELLS.collect(y)[:, 2], rows[:, 2])  # decimals as in the file
        # float32, as x is stored, loses none of them
        torch.testing.assert_close(CELLS.collect(y.float())[:, 1:], rows[:, 1:], atol=1e-5, rtol=0)
    for step, offset in ((0.01, 0.57), (0.3, 0.1), (0.06, 0.0), (1e-5, 0.0), (2.5, 1.25)):
        k = torch.arange(-300, 700).double()[:, None]
        grid = Cells((Column("d", 1, "grid", step=step, offset=offset),))
        written = [round(offset + step * i, 6) for i in range(-300, 700)]
        assert grid.collect(offset + step * (k + 0.2))[:, 0].tolist() == written
    thirds = Cells((Column("t", 1, "grid", step=1 / 3),))
    assert thirds.collect(torch.tensor([[0.7]]))[0, 0] == pytest.approx(2 / 3, abs=1e-12)
    counts = Cells((Column("n", 1, "grid", step=1.0, counted=True, positive=True),))
    assert counts.collect(torch.tensor([[-1.2], [0.2], [2.6]])).tolist() == [[0.0], [0.0], [3.0]]
    back = Cells.from_plain(CELLS.plain())
    assert back == CELLS


def test_values_keep_their_order():
    u = torch.rand(N, 7, generator=torch.Generator().manual_seed(1))
    y = CELLS.spread(torch.from_numpy(ROWS), u).numpy()
    for j in range(7):
        order = np.argsort(y[:, j])
        assert (np.diff(ROWS[order, j]) >= 0).all()


@pytest.mark.parametrize("j", range(7))
def test_a_distribution_of_values_is_a_density_of_points(j):
    # the density of y that belongs to a distribution P of values integrates to 1: intervals
    # neither overlap nor are counted twice
    column, one = COLUMNS[j], Cells((COLUMNS[j],))
    y = torch.linspace(-40, 40, 4_000_001, dtype=torch.float64)[:, None]
    values = one.collect(y)[:, 0]
    log_c = one.log_volume(y, torch.ones(1))
    normal = torch.distributions.Normal(0.3, 1.3)
    if column.levels:
        levels = torch.tensor(column.levels)
        inside = (y[:, 0] >= 0) & (y[:, 0] < len(levels))
        mass = torch.where(inside, 1.0 / len(levels), 0.0).double()
    else:
        free = normal.log_prob(values).exp()
        if column.counted:
            half = column.step / 2
            free = normal.cdf(values + half) - normal.cdf(values - half)
        share = 0.2 if column.atoms else 0.0
        mass = (1 - share) * free
        if column.atoms:  # the halves of its cell beside an atom hold nothing
            is_atom = torch.isin(values, torch.tensor(column.atoms, dtype=torch.float64))
            inside = one._atoms(column, y[:, 0].contiguous())[0] >= 0
            nothing = torch.where(is_atom, 0.0, mass) if column.step else mass
            mass = torch.where(inside, share / len(column.atoms), nothing)
    density = mass * (-log_c).exp()
    total = float(torch.trapezoid(density, y[:, 0]))
    if column.atoms and column.counted:
        total += 0.8 * float(normal.cdf(torch.tensor(0.25)) - normal.cdf(torch.tensor(-0.25)))
    assert total == pytest.approx(1.0, abs=2e-4)


def table(n: int = N, seed: int = 0) -> pandas.DataFrame:
    rng = np.random.default_rng(seed)
    group = rng.choice(3, n, p=[0.5, 0.3, 0.2])
    return pandas.DataFrame({
        "id": np.arange(n) + 1, "group": np.array(["b", "a", "c"])[group],
        "height": np.array([160.0, 175.0, 190.0])[group] + 6 * rng.normal(size=n),
        "rain": np.where(rng.random(n) < 0.25, 0.0, rng.lognormal(1, 0.6, n)),
        "visits": rng.poisson(6, n), "note": [f"text {i % (n - 1)}" for i in range(n)],
        "when": pandas.date_range("2020-01-01", periods=n), "constant": 3,
    })  # fmt: skip


def test_kinds_are_found_and_said(tmp_path):
    said = (
        "group: category (a, b, c); height: continuous; rain: continuous, with atom at 0; "
        "visits: whole numbers, step 1; left out: id (numbers the rows), note (text, 399 "
        "different ones), when ({}), constant (constant)"
    )
    frame = table()
    data = load(frame)
    assert data.kinds() == said.format("dates or times")
    assert (data.columns, data.discrete) == (("group", "height", "rain", "visits"), False)
    assert data.draws == 16
    assert len(data.train) == 16 * data.sizes[0]
    assert sum(data.sizes) == N
    frame.to_csv(tmp_path / "a.csv", index=False)
    text = load(tmp_path / "a.csv")
    assert text.kinds() == said.format("text, different in every row")
    assert torch.equal(text.test, data.test)
    assert text.digest == data.digest


def test_the_draws_of_a_row_are_of_one_row():
    data = load(table())
    for part, size in zip((data.train, data.validation, data.test), data.sizes, strict=True):
        values = data.scaling.undo(part).view(data.draws, size, 4)
        torch.testing.assert_close(values, values[:1].expand_as(values), atol=1e-4, rtol=0)
        assert len(part[:, 3].unique()) > 10 * size  # each in another place of its cell


def test_scaling_is_restored_bit_for_bit():
    data = mapped(load(table()))
    back = Scaling.from_plain(data.scaling.plain())
    x = data.test
    for one, other in (
        (back.undo(x), data.scaling.undo(x)),
        (back.log_volume(x), data.scaling.log_volume(x)),
        (back.log_units(x), data.scaling.log_units(x)),
    ):
        assert torch.equal(one, other)


def test_likelihoods_by_the_maps_are_those_of_the_values():
    # the true density of the values, pulled back to x, gives the entropy of the table
    n = 40_000
    frame = table(n)
    data = load(frame[["group", "rain", "visits"]])
    x = data.train
    scale = data.scaling.scale
    values = data.scaling.undo(x)
    share = torch.tensor([0.3, 0.5, 0.2], dtype=torch.float64)[values[:, 0].long()]
    normal = torch.distributions.LogNormal(1.0, 0.6)
    rain, visits = values[:, 1], values[:, 2]
    dry = rain == 0
    density = normal.log_prob(rain.clamp(min=1e-9)) + math.log(0.75) + float(scale[1].log())
    log_rain = torch.where(dry, math.log(0.25), density)
    log_visits = torch.distributions.Poisson(6.0).log_prob(visits)
    expected = share.log() + log_rain + log_visits
    # density of x: that of the draws of each value
    y = x.double() * scale + data.scaling.shift
    width = data.scaling.cells.columns[1].width
    draws = torch.distributions.Normal(0.5, 1 / 7)  # in [0, 1], which has its mass of 3.5 sd
    log_mass = math.log(math.erf(3.5 / math.sqrt(2)))
    group = draws.log_prob(y[:, 0] - y[:, 0].floor()) - log_mass
    zero = draws.log_prob(y[:, 1] / width) - log_mass - math.log(width)
    inside = torch.where(dry, math.log(0.25) + zero + float(scale[1].log()), density)
    own = share.log() + group + float(scale[0].log()) + inside
    own += log_visits + float(scale[2].log())
    torch.testing.assert_close(own + data.scaling.log_volume(x), expected, atol=1e-5, rtol=0)
    # and this is the entropy, by sums and in closed form
    p = np.array([0.5, 0.3, 0.2])
    k = np.arange(60)
    log_p = -6 + k * math.log(6) - np.array([math.lgamma(i + 1) for i in k])
    entropy = -(p * np.log(p)).sum() - (np.exp(log_p) * log_p).sum()
    entropy += -0.25 * math.log(0.25) - 0.75 * math.log(0.75)
    entropy += 0.75 * (1.0 + 0.5 * math.log(2 * math.pi * math.e * 0.36) - float(scale[1].log()))
    rows = -expected[: data.sizes[0]]
    error = float(rows.std()) / math.sqrt(len(rows))
    assert abs(float(rows.mean()) - entropy) < 3 * error  # error 0.006
    units = data.scaling.log_units(x)
    torch.testing.assert_close(units, torch.where(dry, 0.0, -scale[1].log()))


@pytest.mark.parametrize("name", ["group", "visits", "rain", "bits"])
def test_independent_normals_of_mapped_columns_have_the_probabilities_of_values(name):
    # E_u log p(x(u)) is the log of the probability of a value, up to 1e-3 where the density is not
    # constant in its interval, which the Cauchy variable and the Gaussians make it
    frame = table(3000).assign(bits=np.arange(3000) % 2)
    data = mapped(load(frame[[name, "height"]]))
    rows, margins = data.sizes[0], data.scaling.margins
    assert margins is not None
    normal = torch.distributions.Normal(0.0, 1.0)
    log_p = normal.log_prob(data.train.double()).sum(1) + data.scaling.log_volume(data.train)
    log_height = margins._log_density(margins.undo(data.train))[:, 1]
    bound = (log_p - log_height).view(-1, rows).mean(0)
    values = data.scaling.undo(data.train[:rows])[:, 0].round(decimals=6)
    own = [0.0] if name == "rain" else values.unique().tolist()
    assert len(own) > (name != "rain")
    for value in own:
        ends = torch.tensor([[end, 0.0] for end in edges(data, value)], dtype=torch.float64)
        low, high = margins._shares(ends)[0][:, 0]
        found = float(bound[values == value].mean())
        assert found == pytest.approx(math.log(float(high - low)), abs=2e-3)
        # the probability is the frequency, but for what counts for unseen values
        frequency = float((values == value).double().mean())
        assert float(high - low) == pytest.approx(frequency, abs=5e-3)


def edges(data, value: float) -> tuple[float, float]:
    """Ends of the interval of a value of the first column, in standardised units."""
    column = data.scaling.cells.columns[0]
    shift, scale = float(data.scaling.shift[0]), float(data.scaling.scale[0])
    if column.levels:
        low = float(column.levels.index(value))
        high = low + 1
    elif column.atoms:
        low, high = value, value + column.width
    else:
        low, high = value - column.step / 2, value + column.step / 2
    return (low - shift) / scale, (high - shift) / scale


def test_margins_with_intervals_are_increasing_and_undone():
    data = load(table(1000))
    margins = mapped(data).scaling.margins
    assert margins.uniform is not None
    x = torch.linspace(-6, 6, 20_001, dtype=torch.float64)[:, None].expand(-1, 4)
    z, _ = margins.apply(x)
    assert (z.diff(dim=0) > 0).all()
    torch.testing.assert_close(margins.undo(z), x, atol=1e-6, rtol=0)
    # the slope, by differences within intervals
    step = 1e-6
    rows = data.train[:2000].double()
    high, low = (margins.apply(rows + s * step)[0] for s in (1, -1))
    slope = ((high - low) / (2 * step)).log().sum(1)
    torch.testing.assert_close(margins.apply(rows)[1], slope, atol=1e-5, rtol=1e-5)
    left, right = margins._shares(rows)
    torch.testing.assert_close(left + right, torch.ones_like(left))
    back = Margins.from_plain(margins.plain())
    assert torch.equal(back.apply(rows)[0], margins.apply(rows)[0])


def test_tables_without_ties_are_what_they_were():
    frame = pandas.DataFrame(RNG.normal(size=(60, 3)), columns=list("abc"))
    data = load(frame)
    assert (data.scaling.cells.trivial, data.draws, data.kinds()) == (True, 1, "")
    assert not data.scaling.spreads
    first, low = data.scaling.cells.columns[0], data.scaling.undo(data.train)[:, 0].min()
    assert first.low == pytest.approx(float(low), abs=1e-6)


def test_columns_are_chosen(tmp_path):
    frame = table()
    assert load(frame, columns=["rain", "height"]).columns == ("height", "rain")
    assert load(frame, drop=["rain", "id"]).columns == ("group", "height", "visits")
    forced = load(frame, columns=["id", "visits", "constant"], continuous=["visits", "id"])
    assert forced.kinds() == "id, visits: continuous; left out: constant (constant)"
    assert forced.draws == 1
    kinds = load(frame[["visits", "height"]], categories=["visits"]).scaling.cells.columns
    assert kinds[0].kind == "category"
    one = load(frame[["height"]].round(3), grid=["height"])
    assert one.kinds() == "height: steps of 0.001"
    np.save(tmp_path / "a.npy", frame[["height", "visits", "rain"]])
    numbered = load(tmp_path / "a.npy", columns=["2", "3"])
    assert numbered.kinds() == (
        "column 2: whole numbers, step 1; column 3: continuous, with atom at 0"
    )
    for chosen, message in (
        ({"columns": ["hight"]}, "no column 'hight'; did you mean 'height'"),
        ({"drop": list(frame)}, "no column is left"),
        ({"columns": ["note"]}, r"column note \(text, 399 different ones\) cannot be used"),
        ({"grid": ["height"]}, "the values of column height lie on no `grid`"),
        ({"continuous": ["group"]}, "column group holds text, and is not `continuous`"),
    ):
        with pytest.raises(ValueError, match=message):
            load(frame, **chosen)
    with pytest.raises(ValueError, match="no column 4: the columns have no names, give"):
        load(tmp_path / "a.npy", columns=["4"])
    with pytest.raises(ValueError, match="`columns`: these rows are images"):
        load("digits", columns=["2"])


def test_missing_values_are_refused_or_their_rows_left_out(tmp_path):
    frame = table()
    frame.loc[[3, 8], "rain"] = np.nan
    frame.loc[5, "group"] = None
    frame.loc[11, "note"] = None  # which is not used
    frame.to_csv(tmp_path / "a.csv", index=False)
    for source in (frame, tmp_path / "a.csv"):
        with pytest.raises(
            ValueError,
            match=r"3 missing values, 2 in 'rain', 1 in 'group' .*, or leave out their rows \(`m",
        ):
            load(source)
        data = load(source, missing="drop")
        assert data.kinds().endswith("3 rows with missing values are left out")
        assert (sum(data.sizes), data.gaps) == (N - 3, 3)
        assert "id (numbers the rows)" in data.kinds()
    np.save(tmp_path / "b.npy", frame[["height", "rain"]])
    with pytest.raises(ValueError, match=r"in 2 of 400 rows \(the first: row 3\)"):
        load(tmp_path / "b.npy")
    assert load(tmp_path / "b.npy", missing="drop").gaps == 2
    half = np.where(np.arange(40) % 2, np.nan, 1.5)
    holes = pandas.DataFrame({"x": half, "y": half[::-1], "z": NORMAL[:40]})
    with pytest.raises(ValueError, match=r"every row has a missing value, most of them in .* x"):
        load(holes, missing="drop")


def test_text_in_a_column_of_numbers_is_an_error(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("a,b\n" + "".join(f"{v},1.{i}\n" for i, v in enumerate(COUNTS)) + "x,2\n")
    with pytest.raises(ValueError, match=r"column 'a' holds text \('x', line 402\).*`drop` l"):
        load(path)
    assert load(path, categories=["a"]).kinds().startswith("a: category (0.0, 1.0")
    assert load(path, drop=["a"]).columns == ("b",)


def test_new_rows_take_the_categories_of_the_old(tmp_path):
    data = load(table())
    about = (data.shape, data.scaling)
    new = table(50, seed=1)[["visits", "rain", "group", "height", "note"]]
    x = rows_like(new, *about, columns=data.columns, draws=3)
    values = data.scaling.undo(x).view(3, 50, 4)
    texts = np.array(["a", "b", "c"])[values[0, :, 0].long().numpy()]
    assert (texts == new["group"]).all()
    torch.testing.assert_close(values[2, :, 3], torch.tensor(new["visits"].to_list()).double())
    new.loc[4, "group"] = "d"
    with pytest.raises(ValueError, match="group: 'd' is none of its categories: 'a', 'b', 'c'"):
        rows_like(new, *about, columns=data.columns)
    with pytest.raises(ValueError, match="no column 'rain', which the model takes"):
        rows_like(new.drop(columns="rain"), *about, columns=data.columns)
    new.loc[4, "group"] = None
    with pytest.raises(ValueError, match=r"column 'group' has 1 missing value"):
        rows_like(new, *about, columns=data.columns)
    powers = load(pandas.DataFrame({"p": 10.0 ** (np.arange(60) % 4), "x": NORMAL[:60]}))
    with pytest.raises(ValueError, match="p: 5 is none of its categories, which are 1, 10, 100"):
        rows_like(pandas.DataFrame({"p": [5.0], "x": [0.0]}), powers.shape, powers.scaling)


def test_tables_of_bits_have_numbers_only():
    bits = pandas.DataFrame(RNG.integers(0, 2, (40, 3)), columns=list("abc"))
    assert load(bits, bits=True).scaling.cells is None
    with pytest.raises(ValueError, match="column 1 has no name and numbers the rows"):
        load(pandas.DataFrame({"Unnamed: 0": range(40), "a": bits["a"]}), binary=True)
    named = bits.assign(d=["yes", "no"] * 20)
    with pytest.raises(ValueError, match=r"column 'd' holds text .*`drop` leaves a column out"):
        load(named, bits=True)
    few = load(named, bits=True, drop=["d", "b"])
    assert few.columns == ("a", "c")
    assert torch.equal(rows_like(named, few.shape, few.scaling, columns=few.columns), torch.tensor(
        bits[["a", "c"]].to_numpy().tolist(), dtype=torch.float32
    ))  # fmt: skip


def test_ties_off_any_grid_have_a_bounded_likelihood():
    kind = kind_of(TIED)
    cells = Cells((Column("x", 1, **kind),))
    u = torch.rand(len(TIED), 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    values = torch.from_numpy(TIED)[:, None]
    y = cells.spread(values, u)
    assert torch.equal(cells.collect(y), y)  # samples have densities, and lie on no grid
    assert bool(((y - values).abs() <= GAP / 2).all())
    assert float(((y - values) / GAP).std()) == pytest.approx(12**-0.5, abs=0.02)
    assert cells.log_volume(y, torch.ones(1)).tolist() == [0.0] * N  # a density, not a probability
    # E log p <= E log q <= log of the largest density q of the spread rows, for any p
    starts = np.sort(np.r_[POOL - GAP / 2, POOL + GAP / 2])
    middle = (starts[1:] + starts[:-1]) / 2
    most = (np.abs(middle[:, None] - POOL) <= GAP / 2).mean(1).max() / GAP
    found = {}
    for sd in (1e-1, 1e-2, 1e-4, 1e-6):  # a mixture with a component on each value
        for name, x in (("raw", values), ("spread", y)):
            u = (x - torch.from_numpy(POOL)) / sd
            each = -u.square() / 2 - math.log(sd * 60 * math.sqrt(2 * math.pi))
            found[name, sd] = float(each.logsumexp(1).mean())
    assert found["raw", 1e-6] == pytest.approx(found["raw", 1e-4] + math.log(100), abs=0.1)
    assert max(found["spread", sd] for sd in (1e-1, 1e-2, 1e-4, 1e-6)) < math.log(most)
    assert found["spread", 1e-6] < found["spread", 1e-2]
    # no cells where few values repeat, or where rows are copied, or beside atoms
    few = np.r_[NORMAL, NORMAL[:20]]
    assert kind_of(few) == {"kind": "continuous"}
    assert kind_of(np.tile(NORMAL, 2), distinct=N) == {"kind": "continuous"}
    beside = kind_of(np.where(RNG.random(N) < 0.3, -1.0, TIED))
    assert isinstance(beside, dict)
    assert (beside["kind"], beside["atoms"], beside["loose"]) == ("atoms", (-1.0,), True)
    assert "many values repeat" in load(pandas.DataFrame({"x": TIED, "y": NORMAL})).kinds()


def test_integers_that_identify_rows_and_those_that_differ_by_chance():
    keys = RNG.permutation(4000)[:N].astype(float)  # 400 draws would repeat one: exp(-20)
    prices = RNG.permutation(2_000_000)[:N].astype(float)  # these would not: exp(-.04)
    assert identifies(keys / 10) == identifies(np.r_[keys, keys[:1]]) == ""
    assert identifies(keys + 1e6) == kind_of(keys) == "whole numbers, different in every row"
    assert identifies(prices) == ""
    assert kind_of(NORMAL) == {"kind": "continuous"}  # all distinct, and no integers
    frame = pandas.DataFrame({"key": RNG.permutation(4000)[:N], "x": NORMAL})
    assert load(frame).kinds() == (
        "x: continuous; left out: key (whole numbers, different in every row)"
    )
    assert load(frame, columns=("key", "x")).shape == (2,)  # whoever names it, has it


def test_rounded_values_are_not_found_among_large_numbers():
    for scale in (1.0, 1e3, 1e6, 1e9):
        values = scale * RNG.normal(size=2000)
        assert kind_of(np.r_[values, values[:9]]) == {"kind": "continuous"}, scale
    money = np.r_[(1e6 * RNG.normal(size=2000)).round(2), 1e6 / 3, 1e6 / 7]
    found = kind_of(np.r_[money, money[:9]])
    assert isinstance(found, dict)
    assert (found["kind"], found["step"]) == ("rounded", 0.01)


def test_columns_without_names_are_found_by_their_place(tmp_path):
    rows = np.c_[np.full(N, 2.0), NORMAL, COUNTS]
    np.save(tmp_path / "a.npy", rows)
    data = load(tmp_path / "a.npy")
    assert data.kinds().endswith("left out: 1 (constant)")
    x = rows_like(tmp_path / "a.npy", data.shape, data.scaling)
    np.testing.assert_allclose(data.scaling.undo(x), rows[:, 1:], atol=1e-6)
    np.save(tmp_path / "b.npy", rows[:, 1:])
    assert torch.equal(rows_like(tmp_path / "b.npy", data.shape, data.scaling), x)


def test_sizes_and_shapes_that_are_unusual():
    wide = load(
        pandas.DataFrame(RNG.integers(0, 9, (60, 500)), columns=list(map(str, range(500))))
    )
    assert wide.shape == (500,)
    with pytest.raises(ValueError, match="nothing to learn: all 1,000 rows are the same"):
        load(pandas.DataFrame({"a": np.ones(1000), "b": np.zeros(1000)}))
    alone = load(pandas.DataFrame({"a": np.arange(100.0)}))  # which numbers the rows
    assert (alone.shape, alone.draws) == ((1,), 1)
