import copy
from dataclasses import replace

import pytest
import reference
import torch
from networks import bits, built, copy_of, data_for, same_bits
from test_curve_paths import bent
from torch import nn

import basinbridge as bb
from basinbridge.curve.fit import Walker
from basinbridge.train.loop import Recipe

POINT = {
    "bezier-2": reference.de_casteljau,
    "bezier-3": reference.de_casteljau,
    "chain-1": reference.chain_point,
    "chain-2": reference.chain_point,
}
DECAY = 0.03


def naive_gradients(curve, kind, t, images, labels):
    """By every control point, through autograd."""
    names = [key for key, _ in curve.network.named_parameters()]
    states = [{key: curve.layout.views(point)[key] for key in names} for point in curve.points]
    network = copy.deepcopy(curve.network).train()
    return reference.curve_gradients(network, states, t, images, labels, DECAY, POINT[kind])


@pytest.mark.parametrize("t", [0.0, 0.21, 0.8])
@pytest.mark.parametrize("kind", POINT)
@pytest.mark.parametrize("name", ["mlp", "tinyten", "resnet32"])
def test_a_steps_gradient_is_autograds_through_functional_call(name, kind, t):
    curve = bent(kind, built(name), built(name, seed=1))
    # Small inner points: far ones overflow a deep network.
    curve = curve.with_points(0.5 * curve.points)
    batch = data_for(name, 5)
    walker = Walker.on(curve)
    loss = walker.step(t, batch, Recipe(weight_decay=DECAY))
    wanted = naive_gradients(curve, kind, t, *batch)
    assert len(walker.gradient) == len(curve.movable) == len(wanted) - 2
    for found, slow in zip(walker.gradient, wanted[1:-1], strict=True):
        scale = float(slow.norm())
        assert (scale > 1e-6) == (0 < t < 1 and float(found.norm()) > 0)
        assert float((found - slow).norm()) <= 1e-10 * scale
    assert torch.isfinite(loss)


@pytest.mark.parametrize("kind", ["line", *POINT])
def test_ends_that_may_move_get_their_gradients_and_move(kind):
    curve = bent(kind, built("mlp"), built("mlp", seed=1))
    curve = replace(curve, movable=tuple(range(len(curve.points))))
    batch = data_for("mlp", 5)
    walker = Walker.on(curve)
    walker.step(0.3, batch, Recipe(weight_decay=DECAY))
    point = "chain-1" if kind == "line" else kind
    for found, slow in zip(
        walker.gradient, naive_gradients(curve, point, 0.3, *batch), strict=True
    ):
        torch.testing.assert_close(found, slow, rtol=1e-9, atol=1e-12)
    data = data_for("mlp", 64)
    new = bb.fit(curve, data, epochs=30, batch_size=16)
    before, after = (bb.evaluate(one, data, points=11).average_loss for one in (curve, new))
    assert after < before
    assert bool((new.points != curve.points).any(dim=1).all())


@pytest.mark.parametrize("kind", POINT)
def test_a_second_step_forgets_the_first(kind):
    curve = bent(kind, built("mlp"), built("mlp", seed=1))
    recipe = Recipe(weight_decay=DECAY)
    batch = data_for("mlp", 5)
    once, twice = Walker.on(curve), Walker.on(curve)
    twice.step(0.1, data_for("mlp", 5, seed=9), recipe)
    for walker in (once, twice):
        walker.step(0.6, batch, recipe)
    assert torch.equal(bits(once.gradient), bits(twice.gradient))


def fitted(curve, name, **settings):
    settings = {"epochs": 2, "batch_size": 8, "seed": 3, **settings}
    return bb.fit(curve, data_for(name, 24), **settings)


@pytest.mark.parametrize("kind", POINT)
@pytest.mark.parametrize("name", ["mlp", "tinyten"])
def test_fitting_moves_the_bends_and_never_the_endpoints_nor_what_was_given(name, kind):
    start, end = built(name), built(name, seed=1)
    curve = bent(kind, start, end)
    before = copy_of(start), copy_of(end), curve.points.clone()
    new = fitted(curve, name)
    assert type(new) is type(curve)
    assert new.movable == curve.movable
    assert torch.equal(bits(curve.points), bits(before[2]))
    for t, state in ((0, before[0]), (1, before[1])):
        assert same_bits(new.state_at(t), state)
    count = curve.layout.parameters
    for place in curve.movable:
        assert (new.points[place, :count] != curve.points[place, :count]).float().mean() > 0.9
        assert torch.equal(new.points[place, count:], curve.points[place, count:])
    assert same_bits(start, before[0])
    assert same_bits(end, before[1])
    assert same_bits(curve.network, before[0])
    assert not start.training
    assert all(parameter.grad is None for parameter in (*start.parameters(), *end.parameters()))


@pytest.mark.parametrize("kind", POINT)
@pytest.mark.parametrize("name", ["mlp", "tinyten"])
def test_a_seed_fixes_every_bit_and_another_seed_other_bits(name, kind):
    def run(seed):
        torch.rand(3)  # the global generator has no say
        curve = bent(kind, built(name).float(), built(name, seed=1).float())
        images, labels = data_for(name, 24)
        return bb.fit(curve, (images.float(), labels), epochs=2, batch_size=8, seed=seed).points

    assert torch.equal(bits(run(0)), bits(run(0)))
    assert not torch.equal(run(0), run(1))


@pytest.mark.parametrize("kind", ["bezier-2", "bezier-3", "chain-1"])
def test_the_expected_loss_falls(kind):
    curve = bent(kind, built("mlp"), built("mlp", seed=1))
    data = data_for("mlp", 64)
    settings = {"epochs": 20, "batch_size": 16, "learning_rate": 0.02}
    losses = []
    new = bb.fit(curve, data, progress=lambda *told: losses.append(told[-1]), **settings)
    assert len(losses) == 20
    assert sum(losses[-3:]) < 0.85 * sum(losses[:3])
    before, after = (bb.evaluate(one, data, points=11) for one in (curve, new))
    assert after.average_loss < 0.8 * before.average_loss
    assert (after.loss[0], after.loss[-1]) == (before.loss[0], before.loss[-1])


@pytest.mark.parametrize("proximal", [None, 0.7])
def test_steps_are_those_of_sgd_on_the_control_points_with_one_t_a_batch(proximal):
    curve = bent("bezier-3", built("mlp"), built("mlp", seed=1))
    batches = [data_for("mlp", 6, seed=seed) for seed in range(4)]
    settings = {"learning_rate": 0.05, "momentum": 0.9, "weight_decay": DECAY, "seed": 8}
    settings |= {"proximal": proximal, "schedule": lambda epoch, epochs: 1.0}
    new = bb.fit(curve, batches, epochs=2, **settings)

    names = [key for key, _ in curve.network.named_parameters()]
    states = [{k: curve.layout.views(point)[k] for k in names} for point in curve.points]
    inner = [nn.Parameter(curve.points[place].clone()) for place in curve.movable]
    optimizer = torch.optim.SGD(inner, lr=0.05, momentum=0.9, nesterov=True)
    draws = torch.Generator().manual_seed(8 + 1)
    network = built("mlp")
    for images, labels in batches * 2:
        t = float(torch.rand((), generator=draws, dtype=torch.float64))
        states[1:-1] = [curve.layout.views(point.detach().clone()) for point in inner]
        gradients = reference.curve_gradients(
            network, states, t, images, labels, DECAY, reference.de_casteljau
        )
        for place, point, gradient in zip(curve.movable, inner, gradients[1:-1], strict=True):
            apart = point.detach() - curve.points[place]
            point.grad = gradient + (apart / proximal if proximal else 0)
        optimizer.step()
    for found, point in zip(new.points[1:-1], inner, strict=True):
        torch.testing.assert_close(found, point.detach(), rtol=1e-10, atol=1e-12)


def test_a_proximal_term_that_is_no_length_is_refused():
    for wrong in (0.0, -1.0, float("nan")):
        with pytest.raises(bb.InputError, match="proximal"):
            fitted(bb.Bezier.between(built("mlp"), built("mlp", seed=1)), "mlp", proximal=wrong)


def test_a_line_has_nothing_to_fit():
    line = bb.Linear.between(built("mlp"), built("mlp", seed=1))
    assert torch.equal(fitted(line, "mlp").points, line.points)


def test_the_learning_rate_is_a_hundredth_unless_given():
    curve = bent("bezier-2", built("mlp"), built("mlp", seed=1))
    usual = fitted(curve, "mlp")
    assert torch.equal(usual.points, fitted(curve, "mlp", learning_rate=0.01).points)
    assert not torch.equal(usual.points, fitted(curve, "mlp", learning_rate=0.02).points)


def test_parameters_that_need_no_gradient_stay_on_the_line():
    start, end = built("mlp"), built("mlp", seed=1)
    start[0].weight.requires_grad_(False)
    curve = bb.Bezier.between(start, end)
    new = fitted(curve, "mlp")
    one, other = (state.layout.views(state.points[1]) for state in (curve, new))
    assert torch.equal(one["0.weight"], other["0.weight"])
    assert not torch.equal(one["2.weight"], other["2.weight"])


def test_a_curve_that_diverges_is_told():
    curve = bent("bezier-2", built("mlp"), built("mlp", seed=1))
    with pytest.raises(bb.InputError, match=r"epoch \d at t = 0\.\d{4}, learning rate .*e\+11"):
        fitted(curve, "mlp", learning_rate=1e12, epochs=5)
