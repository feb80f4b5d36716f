import itertools

import numpy as np
import pytest
import torch
from scipy.optimize import linprog, minimize

import basinbridge as bb
from basinbridge.curve.birkhoff import (
    decompose,
    draw,
    nearest_permutation,
    permutation_matrix,
    project,
)

TIGHT = 1e-12


def matrices(count, size, seed=0, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(count, size, size, generator=generator, dtype=torch.float64)


def doubly_stochastic(size, terms, seed=0):
    """A weighted mean of random permutations."""
    generator = np.random.default_rng(seed)
    weights = generator.dirichlet(np.ones(terms))
    return torch.from_numpy(
        sum(w * np.eye(size)[generator.permutation(size)] for w in weights)
    ).double()


def nearest_by_quadratic_programme(matrix):
    size = len(matrix)
    target = matrix.numpy().ravel()
    sums = [np.kron(np.eye(size)[i], np.ones(size)) for i in range(size)]
    sums += [np.kron(np.ones(size), np.eye(size)[j]) for j in range(size - 1)]
    found = minimize(
        lambda x: 0.5 * np.square(x - target).sum(),
        np.full(size * size, 1 / size),
        jac=lambda x: x - target,
        method="SLSQP",
        bounds=[(0, None)] * (size * size),
        constraints={"type": "eq", "fun": lambda x: np.array(sums) @ x - 1, "jac": lambda _: sums},
        options={"ftol": 1e-12, "maxiter": 500},
    )
    assert found.success
    return torch.from_numpy(found.x.reshape(size, size))


@pytest.mark.parametrize("scale", [1e-3, 0.3, 10.0])
@pytest.mark.parametrize("size", [1, 2, 5, 24])
def test_a_projection_is_doubly_stochastic(size, scale):
    found = project(matrices(3, size, scale=scale), tolerance=TIGHT)
    assert bool((found >= 0).all())
    for dim in (-1, -2):
        torch.testing.assert_close(found.sum(dim), torch.ones(3, size).double(), atol=1e-9, rtol=0)


@pytest.mark.parametrize("scale", [0.1, 1.0, 3.0])
@pytest.mark.parametrize("size", [2, 3, 4])
def test_a_projection_is_the_nearest_point_that_a_quadratic_programme_finds(size, scale):
    for matrix in matrices(4, size, seed=size, scale=scale):
        found = project(matrix, tolerance=TIGHT)
        expected = nearest_by_quadratic_programme(matrix)
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_no_permutation_lies_on_the_far_side_of_a_projection():
    """The inequality that makes a point the nearest of a convex set, at all its corners."""
    for matrix in matrices(5, 4, seed=7):
        found = project(matrix, tolerance=TIGHT)
        for order in itertools.permutations(range(4)):
            corner = permutation_matrix(torch.tensor(order))
            assert float(((matrix - found) * (corner - found)).sum()) < 1e-9


def test_alternating_without_correction_would_miss_the_nearest_point():
    """The correction is needed: otherwise the tests above could pass without it."""
    matrix = matrices(1, 6, seed=7)[0]
    point = matrix
    for _ in range(2000):
        rows, columns = 1 - point.sum(1), 1 - point.sum(0)
        point = point + (rows[:, None] + columns) / 6 - rows.sum() / 36
        point = point.clamp_min(0)
    assert float((point.sum(0) - 1).abs().max()) < 1e-9
    assert float((point - project(matrix, tolerance=TIGHT)).abs().max()) > 1e-2


def test_a_projection_stays_and_brings_no_two_points_further_apart():
    one, other = (project(matrices(6, 7, seed=seed), tolerance=TIGHT) for seed in (1, 2))
    torch.testing.assert_close(project(one, tolerance=TIGHT), one, atol=1e-9, rtol=0)
    before = (matrices(6, 7, seed=1) - matrices(6, 7, seed=2)).flatten(1).norm(dim=1)
    after = (one - other).flatten(1).norm(dim=1)
    assert bool((after <= before + 1e-9).all())


def test_a_stack_is_projected_like_its_matrices_one_by_one():
    stack = matrices(6, 5, seed=3).reshape(2, 3, 5, 5)
    alone = torch.stack([project(one, tolerance=TIGHT) for one in stack.reshape(6, 5, 5)])
    found = project(stack, tolerance=TIGHT).reshape(6, 5, 5)
    torch.testing.assert_close(found, alone, atol=1e-9, rtol=0)


def test_corrections_from_another_projection_lead_to_the_same_point():
    corrections = matrices(2, 6, seed=8).abs()
    started = corrections.clone()
    found = project(matrices(2, 6, seed=9), tolerance=TIGHT, corrections=corrections)
    expected = project(matrices(2, 6, seed=9), tolerance=TIGHT)
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=0)
    assert not torch.equal(corrections, started)
    again = project(
        matrices(2, 6, seed=9), tolerance=1e-9, most_rounds=5, corrections=corrections.clone()
    )
    torch.testing.assert_close(again, expected, atol=1e-8, rtol=0)


def test_what_is_not_square_is_refused():
    with pytest.raises(bb.InputError, match=r"square matrices, got \(2, 3\)"):
        project(torch.zeros(2, 3))


@pytest.mark.parametrize("seed", range(4))
def test_the_nearest_permutation_is_the_nearest_of_all(seed):
    matrix = matrices(1, 5, seed=seed)[0]
    distances = {
        order: float((matrix - permutation_matrix(torch.tensor(order))).square().sum())
        for order in itertools.permutations(range(5))
    }
    assert tuple(nearest_permutation(matrix).tolist()) == min(distances, key=distances.get)


def test_a_permutation_is_its_own_matrix_and_comes_back():
    order = torch.tensor([2, 0, 3, 1])
    vector = torch.arange(4).double()
    assert torch.equal(permutation_matrix(order) @ vector, vector[order])
    assert torch.equal(nearest_permutation(permutation_matrix(order)), order)


@pytest.mark.parametrize(("size", "terms"), [(1, 1), (3, 2), (6, 9), (12, 30)])
def test_a_decomposition_adds_up_to_the_matrix(size, terms):
    matrix = doubly_stochastic(size, terms, seed=size)
    weights, permutations = decompose(matrix, tolerance=1e-12)
    assert bool((permutations.sort(dim=1).values == torch.arange(size)).all())
    assert bool((weights > 0).all())
    assert bool((weights.diff() <= 1e-12).all())
    total = sum(w * permutation_matrix(p) for w, p in zip(weights, permutations, strict=True))
    torch.testing.assert_close(total, matrix, atol=1e-9, rtol=0)
    assert len(weights) <= (size - 1) ** 2 + 1  # each term empties a place (Birkhoff)


def test_a_term_is_the_permutation_with_the_largest_smallest_entry():
    matrix = doubly_stochastic(5, 8, seed=11)
    weights, _ = decompose(matrix, most_terms=1)
    rows = torch.arange(5)
    widest = max(
        float(matrix[rows, list(order)].min()) for order in itertools.permutations(range(5))
    )
    assert weights.tolist() == [pytest.approx(widest)]


def test_few_terms_are_the_first_of_many():
    matrix = doubly_stochastic(6, 9, seed=2)
    weights, permutations = decompose(matrix)
    first, few = decompose(matrix, most_terms=3)
    assert torch.equal(first, weights[:3])
    assert torch.equal(few, permutations[:3])


def test_a_projection_in_single_precision_can_be_decomposed():
    found = project(matrices(1, 16, seed=4, scale=0.2)[0].float())
    weights, permutations = decompose(found)
    assert float(weights.sum()) == pytest.approx(1, abs=1e-3)
    total = sum(w * permutation_matrix(p) for w, p in zip(weights, permutations, strict=True))
    assert float((total - found).abs().max()) < 1e-4


def test_permutations_are_drawn_as_often_as_they_weigh():
    weights, permutations = decompose(torch.tensor([[0.8, 0.2], [0.2, 0.8]]))
    drawn = draw(weights, permutations, 2000, torch.Generator().manual_seed(0))
    assert drawn.shape == (2000, 2)
    assert float((drawn[:, 0] == 0).double().mean()) == pytest.approx(0.8, abs=0.04)
    again = draw(weights, permutations, 2000, torch.Generator().manual_seed(0))
    assert torch.equal(drawn, again)


def test_the_quadratic_programme_of_these_tests_is_feasible():
    """Its reference is itself a doubly stochastic matrix that no linear programme improves on."""
    matrix = matrices(1, 3, seed=5)[0]
    found = nearest_by_quadratic_programme(matrix)
    slope = (found - matrix).numpy().ravel()
    sums = np.array(
        [np.kron(np.eye(3)[i], np.ones(3)) for i in range(3)]
        + [np.kron(np.ones(3), np.eye(3)[j]) for j in range(3)]
    )
    best = linprog(slope, A_eq=sums, b_eq=np.ones(6), bounds=(0, None))
    assert best.fun == pytest.approx(slope @ found.numpy().ravel(), abs=1e-6)
