import math

import pytest
import torch
from torch import Tensor

from noneq.energies import Cholesky, Diagonal, Factor, Identity, LowRank, covariance
from noneq.energies import local_covariance as fitted

SHAPES = [(1,), (5,), (2, 3, 4)]
KINDS = ["unit", "identity", "diagonal", "low-rank", "rank 1", "rank d", "rank 0", "cholesky"]


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def factor_and_covariance(kind: str, shape: tuple[int, ...]) -> tuple[Factor, Tensor]:
    """A factor and the dense (d, d) covariance it must be the root of, seed 0."""
    d, rng = math.prod(shape), generator(0)
    scale = 0.3 + torch.rand(shape, generator=rng)
    ranks = {"low-rank": (d + 1) // 2, "rank 1": 1, "rank d": d + 2, "rank 0": 0}
    if kind == "unit":
        return Identity(), torch.eye(d).double()
    if kind == "identity":
        return Identity(0.7), 0.49 * torch.eye(d).double()
    if kind == "diagonal":
        return Diagonal(scale), scale.flatten().double().square().diag()
    if kind in ranks:
        w = torch.randn(d, ranks[kind], generator=rng)
        covariance = scale.flatten().double().square().diag() + w.double() @ w.double().T
        return LowRank(scale, w), covariance
    a = torch.randn(d, d, generator=rng).double()
    covariance = a @ a.T / d + scale.flatten().double().square().diag()
    return Cholesky(covariance), covariance


def dense(product, shape: tuple[int, ...]) -> Tensor:
    """The matrix of a linear map on rows: column i is the image of e_i."""
    d = math.prod(shape)
    return product(torch.eye(d).view(d, *shape)).flatten(1).double().T


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_l_l_transposed_is_the_covariance(kind, shape) -> None:
    factor, covariance = factor_and_covariance(kind, shape)
    root = dense(factor.mul, shape)
    torch.testing.assert_close(root @ root.T, covariance, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_four_products_belong_together(kind, shape) -> None:
    factor, covariance = factor_and_covariance(kind, shape)
    root, inverse = dense(factor.mul, shape), dense(factor.solve, shape)
    eye = torch.eye(len(root), dtype=torch.float64)
    torch.testing.assert_close(inverse @ root, eye, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(dense(factor.t_mul, shape), root.T, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(dense(factor.t_solve, shape), inverse.T, rtol=1e-5, atol=1e-6)
    # L^-T L^-1 is the precision
    precision = torch.linalg.inv(covariance)
    torch.testing.assert_close(inverse.T @ inverse, precision, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_rows_keep_their_shape_and_their_neighbours(kind, shape) -> None:
    factor, _ = factor_and_covariance(kind, shape)
    v = torch.randn(7, *shape, generator=generator(1))
    kept = v.clone()
    for product in (factor.mul, factor.t_mul, factor.solve, factor.t_solve):
        out = product(v)
        assert out.shape == v.shape
        assert out.dtype == v.dtype
        assert torch.equal(v, kept)  # the argument is not written to
        torch.testing.assert_close(product(v[2:3]), out[2:3], rtol=1e-5, atol=1e-6)
        strided = torch.stack([v, -v], 1)[:, 0]  # a view that is not contiguous
        torch.testing.assert_close(product(strided), out, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(factor.solve(factor.mul(v)), v, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(factor.t_solve(factor.t_mul(v)), v, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_log_det_is_half_of_the_covariance(kind, shape) -> None:
    factor, covariance = factor_and_covariance(kind, shape)
    expected = float(torch.linalg.slogdet(covariance)[1]) / 2
    assert factor.log_det(math.prod(shape)) == pytest.approx(expected, abs=1e-5)
    if not isinstance(factor, Identity):  # which has no dimension of its own
        with pytest.raises(ValueError, match=r"the factor has dimension \d+, the vectors have"):
            factor.log_det(math.prod(shape) + 1)


@pytest.mark.parametrize("kind", KINDS)
def test_factors_follow_their_vectors_to_float64(kind) -> None:
    factor = factor_and_covariance(kind, (5,))[0].to(torch.float64)
    v = torch.randn(3, 5, generator=generator(2), dtype=torch.float64)
    assert factor.mul(v).dtype == torch.float64
    torch.testing.assert_close(factor.solve(factor.mul(v)), v, rtol=1e-5, atol=1e-5)


def test_low_rank_survives_loadings_of_any_size() -> None:
    # eigenvalues of C from 1e-4 to 1e4: the SVD works in float64
    scale = torch.full((6,), 1e-2)
    w = 100 * torch.linalg.qr(torch.randn(6, 2, generator=generator(3)))[0]
    factor = LowRank(scale, w)
    expected = 6 * math.log(1e-2) + 2 * math.log(1e4)  # S = 1e4, twice
    assert factor.log_det(6) == pytest.approx(expected, abs=1e-4)
    v = torch.randn(4, 6, generator=generator(3))
    # the relative error is that of float32 times the condition number of L, 1e4
    torch.testing.assert_close(factor.mul(factor.solve(v)), v, rtol=0, atol=1e-2)


def test_a_scale_is_positive_and_finite() -> None:
    for bad in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="scale must be positive and finite"):
            Identity(bad)
        with pytest.raises(ValueError, match="scale must be positive and finite"):
            Diagonal(torch.tensor([1.0, bad, 2.0]))
        with pytest.raises(ValueError, match="scale must be positive and finite"):
            LowRank(torch.tensor([1.0, bad, 2.0]), torch.ones(3, 1))


def test_loadings_have_the_dimension_of_the_scale() -> None:
    with pytest.raises(ValueError, match="dimension 3, the vectors have 4"):
        LowRank(torch.ones(3), torch.ones(4, 2))


def test_a_covariance_is_symmetric_and_positive_definite() -> None:
    indefinite = torch.tensor([[1.0, 2.0], [2.0, 1.0]])  # eigenvalues 3 and -1
    with pytest.raises(ValueError, match=r"not positive definite \(least eigenvalue -1\)"):
        Cholesky(indefinite)
    singular = torch.ones(3, 3)
    with pytest.raises(ValueError, match=r"Gaussian\.fit, which regularises"):
        Cholesky(singular - 1e-9 * torch.eye(3))
    for bad in (torch.ones(3), torch.ones(2, 3), torch.tensor([[1.0, 0.5], [0.2, 1.0]])):
        with pytest.raises(ValueError, match="symmetric"):
            Cholesky(bad)


def test_a_covariance_with_nan_is_called_that() -> None:
    with pytest.raises(ValueError, match=r"(?i)nan|finite"):
        Cholesky(torch.tensor([[1.0, math.nan], [math.nan, 1.0]]))


@pytest.mark.parametrize("spread", [0.0, 1e-3, 1e-2, 0.1, 1.0])
def test_float32_rounding_is_not_asymmetry(spread) -> None:
    # Q diag(lambda) Q^T computed in float32 is symmetric only to 1e-7 of its largest entry
    q = torch.linalg.qr(torch.randn(30, 30, generator=generator(4)))[0]
    eigenvalues = 1 + spread * torch.linspace(0, 1, 30)
    factor = Cholesky((q * eigenvalues) @ q.T)
    assert factor.log_det(30) == pytest.approx(float(eigenvalues.log().sum()) / 2, abs=1e-4)


def test_a_cholesky_factor_does_not_follow_its_source() -> None:
    covariance = torch.tensor([[2.0, 0.3], [0.3, 1.0]])
    scale = torch.tensor([1.0, 2.0])
    factor, diagonal = Cholesky(covariance), Diagonal(scale)
    covariance.mul_(4)
    scale.mul_(4)
    assert factor.log_det(2) == pytest.approx(math.log(2 - 0.09) / 2, abs=1e-6)
    assert diagonal.log_det(2) == pytest.approx(math.log(2.0), abs=1e-6)


def test_of_many_rows_a_random_part_tells_the_covariance_within_clusters(monkeypatch):
    wide = torch.tensor([[1.0, 0.0, 0.0], [0.9, 0.3, 0.0], [0.2, 0.1, 0.5]])
    rows = torch.randn(9000, 3, generator=torch.Generator().manual_seed(0)) @ wide.T
    rows[3000:] += torch.tensor([40.0, 0.0, 0.0])  # ordered by cluster: the first rows are of one
    rows[8000:] += torch.tensor([0.0, 60.0, 0.0])
    whole = fitted(rows, 3).root
    monkeypatch.setattr(covariance, "CLUSTERED", 4000)
    part = fitted(rows, 3).root
    covered = [root @ root.T for root in (whole, part)]
    # entries of 4,000 rows have relative errors of about sqrt(2 / 4000) = 0.022
    torch.testing.assert_close(covered[1], covered[0], rtol=0.1, atol=0.03)
    assert not torch.equal(whole, part)
    monkeypatch.setattr(covariance, "CLUSTERED", len(rows))
    assert torch.equal(fitted(rows, 3).root, whole)
