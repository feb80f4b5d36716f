import functools
import itertools

import pytest
import torch
from networks import CLASSES, bits, built, copy_of, data_for, same_bits, symmetry_for
from torch import nn

import basinbridge as bb
from basinbridge.curve.birkhoff import permutation_matrix
from basinbridge.curve.pam import PamResult, _Problem, pam
from basinbridge.curve.permuting import best_of
from basinbridge.curve.probes import Probes
from basinbridge.symmetry.relaxed import relax
from basinbridge.train.loop import Recipe

METHODS = ["projected", "conditional-gradient"]
QUICK = {"epochs": 2, "permutation_epochs": 3, "batch_size": 16, "samples": 4, "probes": 6}


@functools.cache
def clusters(count=240):
    """Points around ten centres, two for each class: no straight line tells the classes apart."""
    generator = torch.Generator().manual_seed(0)
    centres = 2 * torch.randn(2 * CLASSES, 6, generator=generator).double()
    which = torch.randint(2 * CLASSES, (count,), generator=generator)
    points = centres[which] + 0.5 * torch.randn(count, 6, generator=generator).double()
    return points, which % CLASSES


@functools.cache
def trained(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = [nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU()]
        network = nn.Sequential(*layers, nn.Linear(16, CLASSES)).double()
    return bb.train(network, clusters(), epochs=15, batch_size=16, learning_rate=0.05, seed=seed)


@functools.cache
def symmetry():
    return bb.discover(trained(0), clusters()[0][:2])


def found(start="identity", method="projected", end=None, **more):
    settings = {"learning_rate": 0.05, **QUICK, **more}
    net_b = trained(1) if end is None else end
    return pam(trained(0), net_b, clusters(), symmetry(), start=start, method=method, **settings)


@pytest.mark.parametrize("outer", [1, 3])
@pytest.mark.parametrize("start", ["identity", "aligned"])
@pytest.mark.parametrize("method", METHODS)
def test_the_objective_never_rises(method, start, outer):
    history = found(start, method, outer=outer).history
    assert len(history) == 1 + 2 * outer
    assert all(late <= early for early, late in itertools.pairwise(history))
    assert history[-1] < history[0]


@pytest.mark.parametrize("method", METHODS)
def test_the_objective_never_rises_when_steps_are_far_too_long(method):
    result = found(method=method, learning_rate=3.0, weight_decay=0, outer=2)
    history = result.history
    assert all(late <= early for early, late in itertools.pairwise(history))
    end = bb.permute(trained(1), symmetry(), result.permutation)
    line = bb.Bezier.between(trained(0), end)
    if history[1] == history[-1]:  # no curve was better than the line, so it is the line
        assert torch.equal(result.curve.points, line.points)


@pytest.mark.parametrize("method", METHODS)
def test_histories_are_of_what_is_returned(method):
    result = found(method=method)
    recipe = Recipe(learning_rate=0.05, batch_size=16, epochs=2)
    line = bb.Bezier.between(trained(0), trained(1))
    probes = Probes(line, clusters(), recipe, 6)
    assert result.history[0] == pytest.approx(probes.objective(line), rel=1e-12)
    moved = bb.Bezier.between(trained(0), bb.permute(trained(1), symmetry(), result.permutation))
    assert result.history[1] == pytest.approx(probes.objective(moved), rel=1e-12)
    assert result.history[2] == pytest.approx(probes.objective(result.curve), rel=1e-12)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", range(3))
def test_from_a_bad_permutation_the_line_gets_better(method, seed):
    start = bb.random_permutation(symmetry(), seed=seed)
    result = found(start, method, permutation_epochs=15, epochs=0)
    assert result.history[1] < 0.9 * result.history[0]
    assert any(not torch.equal(result.permutation[name], start[name]) for name in start)


@pytest.mark.parametrize("method", METHODS)
def test_a_renumbered_copy_is_recognised_and_kept(method):
    renumbered = bb.permute(trained(0), symmetry(), bb.random_permutation(symmetry(), seed=5))
    result = found("aligned", method, end=renumbered)
    back = bb.permute(renumbered, symmetry(), result.permutation)
    assert same_bits(back, trained(0))


def test_a_swap_of_two_neurons_is_undone():
    swap = bb.identity_permutation(symmetry())
    name = next(iter(swap))
    swap[name][[3, 7]] = torch.tensor([7, 3])
    swapped = bb.permute(trained(0), symmetry(), swap)
    result = found(end=swapped, permutation_epochs=30, epochs=0, learning_rate=0.5)
    assert same_bits(bb.permute(swapped, symmetry(), result.permutation), trained(0))


@pytest.mark.parametrize("outer", [1, 2])
@pytest.mark.parametrize("method", METHODS)
def test_the_ends_are_the_two_networks_exactly(method, outer):
    result = found(method=method, outer=outer)
    end = bb.permute(trained(1), symmetry(), result.permutation)
    assert isinstance(result, PamResult)
    assert same_bits(result.curve.state_at(0), trained(0))
    counter = {"1.num_batches_tracked"}  # an integer, which curves take from the start
    for name, tensor in end.state_dict().items():
        assert name in counter or torch.equal(bits(result.curve.state_at(1)[name]), bits(tensor))


@pytest.mark.parametrize("method", METHODS)
def test_one_seed_gives_the_same_bits_and_another_does_not(method):
    one, same, other = (found(method=method, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(bits(one.curve.points), bits(same.curve.points))
    assert one.history == same.history
    assert all(
        torch.equal(one.permutation[name], same.permutation[name]) for name in one.permutation
    )
    assert not torch.equal(one.curve.points, other.curve.points)


def test_a_permutation_that_all_proposals_would_spoil_is_kept():
    result = found(end=trained(0), learning_rate=20.0, samples=0, epochs=0)
    identity = bb.identity_permutation(symmetry())
    assert all(torch.equal(result.permutation[name], identity[name]) for name in identity)


def test_the_networks_and_the_start_are_left_as_they_were():
    start = bb.random_permutation(symmetry(), seed=1)
    kept = {name: order.clone() for name, order in start.items()}
    before = copy_of(trained(0)), copy_of(trained(1))
    found(start)
    assert same_bits(before[0], trained(0))
    assert same_bits(before[1], trained(1))
    assert all(torch.equal(start[name], kept[name]) for name in kept)


@pytest.mark.parametrize("name", ["tinyten", "residual", "grouped", "encoder"])
@pytest.mark.parametrize("method", METHODS)
def test_other_networks_too_and_what_cannot_be_relaxed_stays(name, method):
    net_a, net_b, symmetry = built(name), built(name, seed=1), symmetry_for(name)
    start = bb.random_permutation(symmetry, seed=2)
    if name == "encoder":
        net_a, net_b = Headed(net_a), Headed(net_b)
        symmetry = bb.discover(net_a, data_for(name, 2)[0])
        start = bb.random_permutation(symmetry, seed=2)
    result = pam(
        net_a, net_b, data_for(name, 24), symmetry, start=start, method=method,
        epochs=1, permutation_epochs=2, batch_size=8, samples=2, probes=3,
    )  # fmt: skip
    assert all(late <= early for early, late in itertools.pairwise(result.history))
    hard = set(symmetry.groups) - set(relax(symmetry).groups)
    assert (name in ("encoder", "grouped")) == bool(hard)
    assert all(torch.equal(result.permutation[group], start[group]) for group in hard)


class Headed(nn.Module):
    """The encoder with a classifier behind it."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder

    def forward(self, inputs):
        return self.encoder(inputs).mean(1)[:, :CLASSES]


def test_on_the_line_the_inner_points_move_with_the_end_and_later_they_stay():
    relaxation = relax(symmetry())
    start, between = trained(1).state_dict(), bb.Bezier.between
    problem = _Problem(trained(0), start, relaxation, between, clusters(), 1e3)
    one, other = (bb.random_permutation(symmetry(), seed=seed) for seed in (1, 2))
    line = problem.curve(one, None)
    torch.testing.assert_close(line.points[1], (line.points[0] + line.points[2]) / 2)
    moved = problem.curve(other, line)
    assert torch.equal(moved.points[:2], line.points[:2])
    expected = bb.permute(trained(1), symmetry(), other).state_dict()
    assert torch.equal(moved.points[2], line.layout.flatten(expected))
    assert problem.relaxed(one, None)[1].coefficients(0.3).tolist() == pytest.approx([0.7, 0.3])
    assert problem.relaxed(other, moved)[1].coefficients(0.3)[2] == pytest.approx(0.09)


CURVES = [
    functools.partial(bb.Bezier.between, degree=4),
    functools.partial(bb.PolyChain.between, bends=3),
    bb.Linear.between,
]


@pytest.mark.parametrize("between", CURVES, ids=["quartic", "chain", "line"])
@pytest.mark.parametrize("method", METHODS)
def test_other_curves_are_learned_as_well(method, between):
    result = found(method=method, between=between, outer=2)
    line = between(trained(0), bb.permute(trained(1), symmetry(), result.permutation))
    assert type(result.curve) is type(line)
    assert torch.equal(result.curve.points[[0, -1]], line.points[[0, -1]])
    assert list(result.history) == sorted(result.history, reverse=True)
    assert result.history[1] < result.history[0]
    bent = (result.curve.points - line.points)[1:-1, : line.layout.parameters].norm(dim=1)
    assert bool((bent > 1e-2).all())


def test_progress_counts_the_epochs_of_all_half_steps():
    seen = []
    found(outer=2, progress=lambda epoch, epochs, loss: seen.append((epoch, epochs)))
    assert seen == [(epoch, 10) for epoch in range(1, 11)]


def test_a_tight_proximal_term_holds_the_permutation():
    start = bb.random_permutation(symmetry(), seed=0)
    for method in METHODS:
        loose = found(start, method, epochs=0)
        tight = found(start, method, epochs=0, nu_permutation=1e-3)
        assert any(not torch.equal(loose.permutation[name], start[name]) for name in start)
        assert all(torch.equal(tight.permutation[name], start[name]) for name in start)


@pytest.mark.parametrize("method", METHODS)
def test_candidates_are_scored_with_the_proximal_term(monkeypatch, method):
    """|P - P^k|^2 / (2 nu), summed over the groups' matrices."""
    scored = []

    def watch(candidates, score):
        scored.extend((one, score(one)) for one in candidates)
        return best_of(candidates, score)

    for place in ("pam", "permuting"):
        monkeypatch.setattr(f"basinbridge.curve.{place}.best_of", watch)
    start = bb.random_permutation(symmetry(), seed=0)
    found(start, method, epochs=0, nu_permutation=100.0)
    line = bb.Bezier.between(trained(0), trained(1))
    judge = Probes(line, clusters(), Recipe(batch_size=16), 6)
    assert any(not torch.equal(one[name], start[name]) for one, _ in scored for name in start)
    for one, value in scored:
        curve = bb.Bezier.between(trained(0), bb.permute(trained(1), symmetry(), one))
        apart = sum(
            float((permutation_matrix(one[name]) - permutation_matrix(start[name])).square().sum())
            for name in start
        )
        assert value == pytest.approx(judge.objective(curve) + apart / 200, rel=1e-12)


def test_a_tight_proximal_term_holds_the_curve():
    far, near = (
        found("aligned", learning_rate=0.001, permutation_epochs=0, nu_curve=nu)
        for nu in (1e3, 0.05)
    )
    middle = (far.curve.points[0] + far.curve.points[2]) / 2
    distances = [float((one.curve.points[1] - middle).norm()) for one in (far, near)]
    assert distances[0] > 1.5 * distances[1] > 1e-4


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"method": "newton"}, "'newton'"),
        ({"start": "somewhere"}, "'somewhere'"),
        ({"outer": 0}, "outer >= 1"),
        ({"permutation_epochs": -1}, "permutation epochs"),
        ({"nu_permutation": 0}, "nu > 0"),
        ({"nu_curve": float("nan")}, "nu > 0"),
        ({"probes": 0}, "probes is 0"),
        ({"between": functools.partial(bb.Linear.between, movable_ends=True)}, "ends stay"),
    ],
)
def test_wrong_options_are_refused(wrong, message):
    with pytest.raises(bb.InputError, match=message):
        found(**wrong)


def test_a_network_of_another_shape_is_refused():
    with pytest.raises(bb.InputError, match="network b"):
        found(end=nn.Sequential(nn.Linear(6, CLASSES)).double())
