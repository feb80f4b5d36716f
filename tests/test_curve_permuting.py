import itertools

import pytest
import torch
from networks import built, data_for, symmetry_for
from torch.func import functional_call
from torch.nn import functional

import basinbridge as bb
from basinbridge.curve.birkhoff import permutation_matrix
from basinbridge.curve.permuting import (
    RelaxedEnd,
    _slope,
    best_of,
    conditional_gradient,
    linearised_steps,
    relaxed_permutation,
    rounded,
    walker_with_free_end,
)
from basinbridge.data.batches import training_batches
from basinbridge.state import Layout
from basinbridge.symmetry.relaxed import relax
from basinbridge.train.loop import Recipe

DECAY = 0.02


def problem(name, kind="linear", seed=3):
    """A relaxed end at a random permutation, the curve to it, and what it consists of."""
    net_a, net_b, symmetry = built(name), built(name, seed=1), symmetry_for(name)
    permutation = bb.random_permutation(symmetry, seed=seed)
    end = bb.permute(net_b, symmetry, permutation)
    curve = bb.Linear.between(net_a, end) if kind == "linear" else bb.Bezier.between(net_a, end)
    relaxation = relax(symmetry)
    state = net_b.state_dict()
    return RelaxedEnd(relaxation, Layout.of(net_a), state, permutation), curve, permutation


def shaken(end, seed=0):
    """Doubly stochastic matrices that are no permutations."""
    generator = torch.Generator().manual_seed(seed)
    end.vector += 0.3 * torch.rand(end.vector.shape, generator=generator).to(end.vector)
    end.project(tolerance=1e-12)


def gradient_by_autograd(end, curve, t, batch, training=True):
    """d/dP of cross entropy + DECAY / 2 |r(t)|^2, all of it by automatic differentiation."""
    variable = end.vector.clone().requires_grad_()
    moved = end.relaxation.apply(end.tensors, end.matrices(variable))
    views = [curve.layout.views(point) for point in curve.points]
    weights = curve.coefficients(t)
    here = {}
    for name in moved:
        others = sum(w * view[name] for w, view in zip(weights[:-1], views[:-1], strict=True))
        here[name] = others + weights[-1] * moved[name]
    network = curve.network.train(training)
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    loss = functional.cross_entropy(functional_call(network, (here, buffers), batch[0]), batch[1])
    for tensor in here.values():
        loss = loss + DECAY / 2 * tensor.square().sum()
    (gradient,) = torch.autograd.grad(loss, variable)
    return gradient


@pytest.mark.parametrize("kind", ["linear", "bezier"])
@pytest.mark.parametrize("name", ["mlp", "digits", "residual", "grouped"])
def test_a_steps_gradient_is_that_of_the_whole_thing_by_autograd(name, kind):
    end, curve, _ = problem(name, kind)
    shaken(end)
    batch = data_for(name, 8)
    _, found = end.step(walker_with_free_end(curve), 0.6, batch, Recipe(weight_decay=DECAY))
    expected = gradient_by_autograd(end, curve, 0.6, batch)
    assert float(expected.abs().max()) > 1e-3
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("name", ["mlp", "encoder", "residual"])
def test_an_end_starts_at_its_permutation(name):
    end, curve, _ = problem(name)
    parameters = curve.layout.parameters
    assert torch.equal(end.parameters(end.vector), curve.points[-1][:parameters])


def test_projecting_an_end_brings_every_matrix_back():
    end, _, _ = problem("digits")
    end.vector += torch.linspace(0, 1, len(end.vector)).to(end.vector)
    end.project(tolerance=1e-12)
    sizes = {len(matrix) for matrix in end.matrices(end.vector).values()}
    assert sizes == {8, 16}  # two stacks
    for matrix in end.matrices(end.vector).values():
        assert bool((matrix >= 0).all())
        for dim in (0, 1):
            torch.testing.assert_close(
                matrix.sum(dim), torch.ones(len(matrix)).double(), atol=1e-9, rtol=0
            )


def distance(end, matrices, permutation):
    return sum(
        float((matrix - permutation_matrix(permutation[name])).square().sum())
        for name, matrix in matrices.items()
    )


def test_descent_stays_doubly_stochastic_and_the_nearer_the_smaller_nu():
    apart = []
    for nu in (1e3, 0.05):
        end, curve, permutation = problem("digits")
        missing = []

        def watch(network, inputs, labels, end=end, missing=missing):
            for matrix in end.matrices(end.vector).values():
                assert bool((matrix >= 0).all())
                missing += [float((matrix.sum(dim) - 1).abs().max()) for dim in (0, 1)]
            return functional.cross_entropy(network(inputs), labels)

        recipe = Recipe(epochs=3, learning_rate=0.02, batch_size=8, objective=watch)
        matrices = relaxed_permutation(end, curve, data_for("digits", 48), recipe, nu)
        assert len(missing) == 3 * 6 * 2 * len(matrices)
        assert 0 < max(missing) < 1e-3
        for matrix in matrices.values():
            for dim in (0, 1):
                assert float((matrix.sum(dim) - 1).abs().max()) < 1e-4
        apart.append(distance(end, matrices, permutation))
    assert apart[0] > 2 * apart[1] > 0


def test_descent_lowers_the_loss_along_the_curve():
    end, curve, _ = problem("mlp")
    data = data_for("mlp", 40)
    before, after = [], []
    for losses in (before, after):
        walker = walker_with_free_end(curve)
        for t in (0.2, 0.4, 0.6, 0.8, 1.0):
            losses.append(float(end.step(walker, t, data, Recipe(weight_decay=0))[0]))
        if losses is before:
            recipe = Recipe(epochs=20, learning_rate=0.01, batch_size=8, weight_decay=0)
            relaxed_permutation(end, curve, data, recipe, 1e3)
    assert sum(after) < 0.95 * sum(before)


def test_rounding_gives_the_nearest_and_samples_and_leaves_hard_groups():
    end, _, permutation = problem("encoder")
    shaken(end)
    matrices = end.matrices(end.vector)
    found = rounded(matrices, permutation, 5, seed=0)
    assert len(found) == 6
    for one in found:
        bb.permute(built("encoder"), end.relaxation.symmetry, one)  # raises if it is none
        hard = [name for name in permutation if name not in matrices]
        assert hard
        assert all(torch.equal(one[name], permutation[name]) for name in hard)
    (name,) = matrices
    for one in found:  # nothing is drawn where the matrix has nothing
        assert (
            float((matrices[name] * permutation_matrix(one[name])).sum(1).min()) > 0
            or one is found[0]
        )
    totals = [float((matrices[name] * permutation_matrix(one[name])).sum()) for one in found]
    assert max(totals) == totals[0]


def test_rounding_a_permutation_gives_it_back():
    end, _, permutation = problem("digits")
    for one in rounded(end.matrices(end.vector), permutation, 3, seed=0):
        assert all(torch.equal(one[name], permutation[name]) for name in permutation)


def test_the_best_is_the_first_of_the_lowest_and_equals_are_asked_once():
    orders = [torch.tensor(order) for order in ([0, 1, 2], [1, 0, 2], [0, 1, 2], [2, 1, 0])]
    asked = []

    def score(one):
        asked.append(one["a"].tolist())
        return {0: 2.0, 1: 1.0, 2: 1.0}[int(one["a"][0])]

    best, lowest = best_of([{"a": order} for order in orders], score)
    assert best["a"].tolist() == [1, 0, 2]
    assert lowest == 1.0
    assert asked == [[0, 1, 2], [1, 0, 2], [2, 1, 0]]


@pytest.mark.parametrize("nu", [0.2, 1e3])
def test_the_first_linearised_step_minimises_slope_and_proximal_term(nu):
    generator = torch.Generator().manual_seed(0)
    slope = torch.randn(5, 5, generator=generator).double()
    start, current = torch.tensor([1, 0, 2, 4, 3]), torch.tensor([2, 1, 0, 3, 4])
    previous = permutation_matrix(start)

    def value(order):
        matrix = permutation_matrix(torch.tensor(order))
        return float((slope * matrix).sum() + (matrix - previous).square().sum() / (2 * nu))

    best = min(itertools.permutations(range(5)), key=value)
    found = linearised_steps({"a": slope}, {"a": current}, {"a": previous / nu})[0]
    assert tuple(found["a"].tolist()) == best


def test_later_linearised_steps_move_fewer_neurons():
    generator = torch.Generator().manual_seed(1)
    slope = {
        name: torch.randn(size, size, generator=generator).double()
        for name, size in (("a", 20), ("b", 30))
    }
    current = {name: torch.randperm(len(one), generator=generator) for name, one in slope.items()}
    pull = {name: torch.zeros_like(one) for name, one in slope.items()}
    moved = [
        sum(int((step[name] != current[name]).sum()) for name in slope)
        for step in linearised_steps(slope, current, pull)
    ]
    assert moved == sorted(moved, reverse=True)
    assert moved[0] > 40
    assert moved[-1] < 10


@pytest.mark.parametrize("name", ["mlp", "tinyten"])
def test_the_slope_is_the_mean_gradient_over_a_pass(name):
    end, curve, _ = problem(name, "bezier")
    data = data_for(name, 32)
    recipe = Recipe(batch_size=8, weight_decay=DECAY)
    seen = []

    def watch(network, inputs, labels):
        seen.append((inputs.clone(), labels.clone()))
        return functional.cross_entropy(network(inputs), labels)

    watching = Recipe(batch_size=8, weight_decay=DECAY, objective=watch)
    generators = [torch.Generator().manual_seed(seed) for seed in (5, 6)]
    batches = training_batches(data, 8, generator=generators[1])
    found, _ = _slope(end, curve, batches, watching, generators[0])
    times = torch.Generator().manual_seed(5)
    total = 0
    for batch in seen:
        t = float(torch.rand((), generator=times, dtype=torch.float64))
        total = total + gradient_by_autograd(end, curve, t, batch)
    expected = end.matrices(total / len(seen))
    assert len(seen) == 4
    assert recipe.weight_decay == watching.weight_decay
    for group in found:
        torch.testing.assert_close(found[group], expected[group], atol=1e-9, rtol=1e-9)


def test_a_conditional_gradient_stops_where_nothing_is_better():
    end, curve, permutation = problem("mlp")
    rounds = []
    recipe = Recipe(epochs=9, batch_size=8, progress=lambda *about: rounds.append(about[:2]))

    def score(one):
        return float(sum((one[name] != permutation[name]).sum() for name in one))

    found = conditional_gradient(
        permutation, lambda _: (end, curve), score, data_for("mlp", 16), recipe, 1e3
    )
    assert all(torch.equal(found[name], permutation[name]) for name in found)
    assert rounds == [(1, 9)]


def test_a_conditional_gradient_takes_single_groups_where_all_together_are_worse():
    end, curve, permutation = problem("mlp")
    first, second = symmetry_for("mlp").groups

    def score(one):  # every neuron that moves is a gain in one group and a loss in the other
        return float(
            (one[second] != permutation[second]).sum() * 3
            - (one[first] != permutation[first]).sum()
        )

    found = conditional_gradient(
        permutation,
        lambda _: (end, curve),
        score,
        data_for("mlp", 16),
        Recipe(epochs=1, batch_size=8),
        1e3,
    )
    assert score(found) < 0
    assert torch.equal(found[second], permutation[second])
