import copy
import itertools

import numpy as np
import pytest
import reference
import torch
from art.attacks.evasion import ProjectedGradientDescentPyTorch
from art.estimators.classification import PyTorchClassifier
from networks import CLASSES, NETWORKS, bits, built, copy_of, same_bits, symmetry_for
from torch import nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

import basinbridge as bb
from basinbridge.evaluate.along import score
from basinbridge.train.loop import Recipe, loss_and_gradient
from basinbridge.train.objective import standard

ATTACKED = ["mlp", "digits", "tinyten", "residual"]
BOX = {"epsilon": 0.1, "step": 0.03, "steps": 5}


def images_for(name, count, seed=0):
    """Inputs in [0, 1], some of them at its ends, and labels."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.rand(count, *NETWORKS[name][1], generator=generator, dtype=torch.float64)
    labels = torch.randint(CLASSES, (count,), generator=generator)
    return (1.2 * inputs - 0.1).clamp(0, 1), labels


def by_reference(epsilon, step, steps):
    """The same objective from the naive attack, on a copy of the network."""

    def objective(network, inputs, labels):
        moved = reference.projected_gradient_ascent(
            network, inputs, labels, inputs, epsilon, step, steps
        )
        return standard(network, moved, labels)

    return objective


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", [*ATTACKED, "googlenet"])
def test_the_attack_is_projected_gradient_ascent(name, training):
    network = built(name).train(training)
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    inputs, labels = images_for(name, 6)
    found = bb.Attack(**BOX, random_start=False)(network, inputs, labels)
    wanted = reference.projected_gradient_ascent(network, inputs, labels, inputs, **BOX)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
    assert not torch.equal(found, inputs)


def test_a_random_start_is_a_point_of_the_box_and_begins_the_same_ascent():
    network, (inputs, labels) = built("tinyten"), images_for("tinyten", 6)
    torch.manual_seed(3)
    start = bb.Attack(0.1, 0.03, steps=0)(network, inputs, labels)
    torch.manual_seed(3)
    found = bb.Attack(**BOX)(network, inputs, labels)
    wanted = reference.projected_gradient_ascent(network, inputs, labels, start, **BOX)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
    apart = (start - inputs)[(inputs > 0.1) & (inputs < 0.9)]
    assert 0.09 < apart.abs().max() <= 0.1
    assert apart.mean().abs() < 0.01  # 2,000 uniform draws of standard deviation 0.058
    assert apart.abs().mean() == pytest.approx(0.05, abs=0.005)


@pytest.mark.parametrize(
    ("epsilon", "step", "steps"),
    list(itertools.product([0.0, 0.05, 2.0], [0.01, 3.0], [0, 1, 4])),
)
def test_attacked_images_stay_in_the_box_and_are_images(epsilon, step, steps):
    network, (inputs, labels) = built("mlp"), images_for("mlp", 40)
    moved = bb.Attack(epsilon, step, steps)(network, inputs, labels)
    assert (moved - inputs).abs().max() <= epsilon + 1e-15
    assert moved.min() >= 0
    assert moved.max() <= 1
    assert moved.dtype == inputs.dtype
    assert not moved.requires_grad


@pytest.mark.parametrize("name", ATTACKED)
def test_attacks_raise_the_loss_the_more_steps_the_more(name):
    network, (inputs, labels) = built(name), images_for(name, 30)
    attacks = [bb.Attack(0.1, 0.02, steps, random_start=False) for steps in (0, 1, 5)]
    losses = [score(network, [(inputs, labels)], attack).loss for attack in attacks]
    assert losses[0] < losses[1] < losses[2]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", ATTACKED)
def test_the_network_is_left_as_it_was(name, training):
    network, (inputs, labels) = built(name).train(training), images_for(name, 6)
    standard(network, inputs, labels).backward()
    gradients = [parameter.grad.clone() for parameter in network.parameters()]
    before, modes = copy_of(network), [module.training for module in network.modules()]
    given = inputs.clone()
    with torch.no_grad():  # an attack turns gradients on for itself
        bb.Attack(**BOX)(network, inputs, labels)
    assert same_bits(before, copy_of(network))
    assert modes == [module.training for module in network.modules()]
    assert torch.equal(given, inputs)
    for parameter, gradient in zip(network.parameters(), gradients, strict=True):
        assert parameter.requires_grad
        assert torch.equal(bits(parameter.grad), bits(gradient))


class Convolutions(TorchDispatchMode):
    """Collects what each backward pass of a convolution computes: by input, weight, bias."""

    def __init__(self):
        super().__init__()
        self.computed = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten.convolution_backward.default:
            self.computed.append(tuple(args[-1]))
        return func(*args, **(kwargs or {}))


def test_no_gradient_of_a_parameter_is_computed():
    network, (inputs, labels) = built("digits").train(), images_for("digits", 4)
    with Convolutions() as seen:
        bb.Attack(**BOX)(network, inputs, labels)
    assert seen.computed == [(True, False, False)] * (5 * BOX["steps"])
    with Convolutions() as seen:
        bb.adversarial(**BOX)(network, inputs, labels).backward()
    # The step itself: five weights, and the images need no gradient.
    assert sum(weight for _, weight, _ in seen.computed) == 5
    assert len(seen.computed) == 5 * BOX["steps"] + 5


@pytest.mark.parametrize("name", ATTACKED)
def test_a_step_moves_batch_norm_once_to_the_attacked_images(name):
    network, (inputs, labels) = built(name).train(), images_for(name, 6)
    plain = copy.deepcopy(network)
    moved = reference.projected_gradient_ascent(network, inputs, labels, inputs, **BOX)
    loss = bb.adversarial(**BOX, random_start=False)(network, inputs, labels)
    wanted = functional.cross_entropy(plain(moved), labels)
    torch.testing.assert_close(loss, wanted, rtol=1e-12, atol=0)
    for one, other in zip(network.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", ATTACKED)
def test_training_is_that_on_the_naive_attack(name):
    batches = [images_for(name, 6, seed=seed) for seed in range(3)]
    settings = {"epochs": 2, "learning_rate": 0.02}
    one = bb.train(
        built(name), batches, objective=bb.adversarial(**BOX, random_start=False), **settings
    )
    other = bb.train(built(name), batches, objective=by_reference(**BOX), **settings)
    for key, tensor in other.state_dict().items():
        torch.testing.assert_close(one.state_dict()[key], tensor, rtol=1e-9, atol=1e-11)
    assert not same_bits(one, bb.train(built(name), batches, **settings))


@pytest.mark.parametrize("name", ["mlp", "digits"])
def test_curves_are_attacked_at_the_point_that_a_step_is_taken_at(name):
    curve = bb.Bezier.between(built(name), built(name, seed=1))
    batches = [images_for(name, 6, seed=seed) for seed in range(4)]
    one, other = (
        bb.fit(curve, batches, epochs=2, objective=objective)
        for objective in (bb.adversarial(**BOX, random_start=False), by_reference(**BOX))
    )
    torch.testing.assert_close(one.points, other.points, rtol=1e-9, atol=1e-11)
    assert not torch.equal(one.points, bb.fit(curve, batches, epochs=2).points)


@pytest.mark.parametrize("method", ["projected", "conditional-gradient"])
def test_pam_attacks_at_its_points_in_both_half_steps(method):
    data = images_for("mlp", 48)
    settings = {"epochs": 2, "permutation_epochs": 2, "batch_size": 16, "samples": 2, "probes": 4}
    one, other = (
        bb.pam(
            built("mlp"),
            built("mlp", seed=1),
            data,
            symmetry_for("mlp"),
            start="identity",
            method=method,
            objective=objective,
            **settings,
        )
        for objective in (bb.adversarial(**BOX, random_start=False), by_reference(**BOX))
    )
    assert one.history == pytest.approx(other.history, rel=1e-9)
    assert list(one.history) == sorted(one.history, reverse=True)
    torch.testing.assert_close(one.curve.points, other.curve.points, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", ["mlp", "digits"])
def test_a_seed_fixes_the_random_starts_and_the_global_generator_is_left_alone(name):
    data = images_for(name, 24)
    settings = {"epochs": 2, "batch_size": 8, "objective": bb.adversarial(**BOX)}
    before = torch.get_rng_state()
    one = bb.train(built(name), data, seed=4, **settings)
    assert torch.equal(before, torch.get_rng_state())
    torch.rand(3)
    assert same_bits(one, bb.train(built(name), data, seed=4, **settings))
    batches = [images_for(name, 8)]  # in one order whatever the seed
    one, other = (bb.train(built(name), batches, seed=seed, **settings) for seed in (4, 5))
    assert not same_bits(one, other)


def test_mixed_precision_attacks_and_trains_in_single_precision_weights():
    network, (inputs, labels) = built("tinyten").float().train(), images_for("tinyten", 8)
    gradient = torch.zeros(sum(parameter.numel() for parameter in network.parameters()))
    recipe = Recipe(mixed_precision=True, objective=bb.adversarial(**BOX))
    loss = loss_and_gradient(network, (inputs.float(), labels), recipe, gradient)
    plain = loss_and_gradient(network, (inputs.float(), labels), Recipe(), gradient)
    assert loss.isfinite()
    assert loss > plain
    assert all(parameter.dtype == torch.float32 for parameter in network.parameters())


@pytest.mark.parametrize("outside", [-0.01, 1.01, float("nan")])
def test_images_that_are_normalised_already_are_refused(outside):
    inputs, labels = images_for("mlp", 4)
    inputs[2, 3] = outside
    with pytest.raises(bb.InputError, match="normalise inside the network"):
        bb.Attack()(built("mlp"), inputs, labels)


@pytest.mark.parametrize("wrong", [{"epsilon": -0.1}, {"step": 0.0}, {"steps": -1}])
def test_attacks_that_are_none_are_refused(wrong):
    with pytest.raises(bb.InputError, match="an attack needs epsilon"):
        bb.adversarial(**wrong)


@pytest.mark.parametrize("name", ["digits", "tinyten"])
def test_the_attack_agrees_with_an_independent_one_from_the_same_start(name):
    network, (inputs, labels) = built(name).float(), images_for(name, 50)
    inputs = inputs.float()
    classifier = PyTorchClassifier(
        network,
        nn.CrossEntropyLoss(reduction="sum"),
        tuple(inputs.shape[1:]),
        CLASSES,
        clip_values=(0.0, 1.0),
        device_type="cpu",
    )
    other = ProjectedGradientDescentPyTorch(
        classifier, eps=0.1, eps_step=0.03, max_iter=5, num_random_init=0, verbose=False
    )
    wanted = other.generate(inputs.numpy(), np.eye(CLASSES)[labels])
    found = bb.Attack(**BOX, random_start=False)(network, inputs, labels).numpy()
    # Where a gradient is all but zero, rounding decides its sign.
    assert (np.abs(found - wanted) < 1e-6).mean() > 0.999
    assert np.abs(wanted - inputs.numpy()).max() == pytest.approx(0.1, abs=1e-6)
