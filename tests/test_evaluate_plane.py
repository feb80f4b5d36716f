import copy

import numpy as np
import pytest
import reference
import torch
from networks import built, copy_of, data_for, same_bits
from torch import nn

import basinbridge as bb
from basinbridge.state import Layout

NAMES = ["mlp", "digits"]


def three(name):
    return [built(name, seed=seed) for seed in range(3)]


def parameters(network):
    return torch.cat([p.detach().ravel() for p in network.parameters()])


@pytest.mark.parametrize("name", NAMES)
def test_coordinates_keep_all_distances(name):
    nets = three(name)
    data = data_for(name, 4)
    found = bb.plane(nets[0], nets, data, batchnorm_data=data, size=2)
    assert found.points[0] == (0, 0)
    assert found.points[1][1] == 0
    assert found.points[2][1] > 0
    for one in range(3):
        for other in range(3):
            far = float((parameters(nets[one]) - parameters(nets[other])).norm())
            assert np.hypot(*np.subtract(found.points[one], found.points[other])) == pytest.approx(
                far, abs=1e-9
            )


@pytest.mark.parametrize("name", NAMES)
def test_every_point_of_the_grid_has_the_naive_score(name):
    """A point's network is made here by barycentric coordinates, not by Gram and Schmidt."""
    nets = three(name)
    data, other = data_for(name, 7), data_for(name, 6, seed=5)
    before = [copy_of(net) for net in nets]
    found = bb.plane(nets[0], nets, data, batchnorm_data=other, size=3, across=(-0.2, 1.5))
    assert all(same_bits(net.state_dict(), old) for net, old in zip(nets, before, strict=True))
    corners = np.array([[*point, 1.0] for point in found.points]).T
    layout = Layout.of(nets[0])
    vectors = [layout.flatten(net.state_dict()) for net in nets]
    for row, y in enumerate(found.y):
        for column, x in enumerate(found.x):
            shares = np.linalg.solve(corners, [x, y, 1.0])
            mixed = sum(share * vector for share, vector in zip(shares, vectors, strict=True))
            network = copy.deepcopy(nets[0])
            network.load_state_dict({**network.state_dict(), **layout.views(mixed)})
            for layer, (mean, variance) in reference.batch_norm_statistics(
                network, [other]
            ).items():
                network.get_submodule(layer).running_mean.copy_(torch.as_tensor(mean))
                network.get_submodule(layer).running_var.copy_(torch.as_tensor(variance))
            loss, accuracy = reference.score(network, *data)
            assert found.loss[row][column] == pytest.approx(loss, rel=1e-7)
            assert found.accuracy[row][column] == pytest.approx(accuracy)


def test_under_attack_corners_have_the_robust_scores_of_their_networks():
    nets, (inputs, labels) = three("digits"), data_for("digits", 30)
    data = torch.sigmoid(inputs), labels
    attack = bb.Attack(epsilon=0.2, step=0.1, steps=2)
    found = bb.plane(
        nets[0], nets, data, batchnorm_data=data, size=2, across=(0, 1), up=(0, 1), attack=attack
    )
    line = bb.Linear.between(nets[0], nets[1])
    robust = bb.evaluate(line, data, batchnorm_data=data, attack=attack, points=2).robust
    # The third network is above the middle, so the lowest row joins the first two.
    assert found.x == (0, found.points[1][0])
    assert found.loss[0] == pytest.approx(robust.loss)
    assert found.accuracy[0] == pytest.approx(robust.accuracy)
    clean = bb.evaluate(line, data, batchnorm_data=data, points=2)
    assert min(found.loss[0]) > max(clean.loss)


def test_the_grid_reaches_as_far_as_asked():
    nets, data = three("mlp"), data_for("mlp", 3)
    found = bb.plane(nets[0], nets, data, size=5, across=(-0.05, 1.05), up=(0.0, 1.5))
    xs = [point[0] for point in found.points]
    extent = max(xs) - min(xs)
    assert found.x[0] == pytest.approx(min(xs) - 0.05 * extent)
    assert found.x[-1] == pytest.approx(max(xs) + 0.05 * extent)
    assert found.y[0] == 0
    assert found.y[-1] == pytest.approx(1.5 * found.points[2][1])
    assert np.allclose(np.diff(found.x, 2), 0)


def test_a_curve_through_the_three_lies_in_the_plane_and_another_does_not():
    nets, data = three("mlp"), data_for("mlp", 3)
    inside = bb.Bezier.between(nets[0], nets[1])
    inside = inside.with_points(torch.stack([inside.points[0], vector(nets[2]), inside.points[2]]))
    outside = bb.Linear.between(nets[0], built("mlp", seed=7))
    curves = {"inside": inside, "outside": outside}
    found = bb.plane(nets[0], nets, data, size=2, curves=curves)
    assert found.distances["inside"] < 1e-9
    assert found.paths["inside"][0] == pytest.approx(found.points[0], abs=1e-9)
    assert found.paths["inside"][-1] == pytest.approx(found.points[1], abs=1e-9)
    middle = 0.25 * np.add(found.points[0], found.points[1]) + 0.5 * np.array(found.points[2])
    assert found.paths["inside"][30] == pytest.approx(middle)
    x, y = found.paths["outside"][-1]
    length = float((parameters(built("mlp", seed=7)) - parameters(nets[0])).norm())
    assert x**2 + y**2 + found.distances["outside"] ** 2 == pytest.approx(length**2)


def vector(network):
    return Layout.of(network).flatten(network.state_dict())


def test_what_spans_no_plane_is_refused():
    nets, data = three("mlp"), data_for("mlp", 3)
    middle = bb.Linear.between(nets[0], nets[1]).state_at(0.3)
    with pytest.raises(bb.InputError, match="one line"):
        bb.plane(nets[0], [nets[0], nets[1], middle], data, size=2)
    with pytest.raises(bb.InputError, match="the same"):
        bb.plane(nets[0], [nets[0], nets[0], nets[1]], data, size=2)
    with pytest.raises(bb.InputError, match="not 2"):
        bb.plane(nets[0], nets[:2], data, size=2)
    with pytest.raises(bb.InputError, match="size is 1"):
        bb.plane(nets[0], nets, data, size=1)
    with pytest.raises(bb.InputError, match="rising"):
        bb.plane(nets[0], nets, data, size=2, up=(1.0, 0.0))
    with pytest.raises(bb.InputError, match="network 3 of the plane"):
        bb.plane(nets[0], [*nets[:2], nn.Linear(2, 2)], data, size=2)
    digits = three("digits")
    with pytest.raises(bb.InputError, match="batchnorm_data"):
        bb.plane(digits[0], digits, data_for("digits", 3), size=2)


def test_it_prints_the_ranges_and_progress_counts_up():
    nets, data = three("mlp"), data_for("mlp", 3)
    seen = []
    found = bb.plane(
        nets[0], nets, data, size=2, progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert "plane of 2 x 2 networks" in str(found)
    assert f"{max(map(max, found.loss)):.4f} nats" in str(found)
