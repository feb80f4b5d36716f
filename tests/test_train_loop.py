import copy
import itertools
import math

import pytest
import torch
from networks import bits, built, copy_of, data_for, same_bits
from torch import nn
from torch.nn import functional

import basinbridge as bb
from basinbridge.data.batches import training_batches
from basinbridge.models import TinyTen
from basinbridge.train.loop import Recipe, descend
from basinbridge.train.schedules import cosine, halving, piecewise_linear

TRAINABLE = ["mlp", "digits", "tinyten", "residual", "encoder"]


def flat(epoch, epochs):
    """The schedule that changes nothing."""
    return 1.0


def objective_of(name):
    """Cross entropy; an encoder's outputs are averaged over places first."""

    def objective(network, inputs, labels):
        outputs = network(inputs)
        return functional.cross_entropy(outputs.mean(1) if name == "encoder" else outputs, labels)

    return objective


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("weight_decay", [0.0, 0.02])
@pytest.mark.parametrize("name", TRAINABLE)
def test_steps_are_those_of_torchs_sgd_on_the_plain_module(name, weight_decay, momentum):
    batches = [data_for(name, 6, seed=seed) for seed in range(5)]
    trained = bb.train(
        built(name),
        batches,
        epochs=2,
        learning_rate=0.02,
        momentum=momentum,
        weight_decay=weight_decay,
        schedule=flat,
        objective=objective_of(name),
    )
    plain = built(name).train()
    optimizer = torch.optim.SGD(
        plain.parameters(),
        lr=0.02,
        momentum=momentum,
        nesterov=momentum > 0,
        weight_decay=weight_decay,
    )
    for images, labels in batches * 2:
        optimizer.zero_grad()
        objective_of(name)(plain, images, labels).backward()
        optimizer.step()
    # Buffers too: batch norm's are those that training itself left.
    one, other = trained.state_dict(), plain.state_dict()
    assert list(one) == list(other)
    for key in one:
        torch.testing.assert_close(one[key], other[key], rtol=1e-12, atol=1e-12)
    assert not same_bits(trained, built(name))


@pytest.mark.parametrize("name", ["mlp", "digits", "tinyten", "residual"])
def test_the_same_holds_with_the_schedule_and_the_shuffling_of_the_seed(name):
    network, data = built(name), data_for(name, 26)
    settings = {"epochs": 3, "batch_size": 8, "learning_rate": 0.02, "weight_decay": 0.01}
    trained = bb.train(network, data, seed=4, **settings)
    plain = built(name).train()
    optimizer = torch.optim.SGD(
        plain.parameters(), lr=0.02, momentum=0.9, nesterov=True, weight_decay=0.01
    )
    generator = torch.Generator().manual_seed(4)
    for epoch in range(3):
        batches = list(training_batches(data, 8, generator=generator))
        for place, (inputs, labels) in enumerate(batches):
            optimizer.param_groups[0]["lr"] = 0.02 * cosine(epoch + place / len(batches), 3)
            optimizer.zero_grad()
            functional.cross_entropy(plain(inputs), labels).backward()
            optimizer.step()
    for key, tensor in plain.state_dict().items():
        torch.testing.assert_close(trained.state_dict()[key], tensor, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    "schedule", [cosine, halving, piecewise_linear, lambda epoch, epochs: 1 / (1 + epoch)]
)
def test_the_rate_of_every_step_follows_the_schedule_in_fractions_of_epochs(schedule):
    batches = [data_for("mlp", 6, seed=seed) for seed in range(4)]
    settings = {"learning_rate": 0.3, "momentum": 0.0, "weight_decay": 0.0}
    trained = bb.train(built("mlp"), batches, epochs=3, schedule=schedule, **settings)
    plain = built("mlp")
    for epoch in range(3):
        for place, (images, labels) in enumerate(batches):
            loss = functional.cross_entropy(plain(images), labels)
            gradients = torch.autograd.grad(loss, list(plain.parameters()))
            rate = 0.3 * schedule(epoch + place / 4, 3)
            with torch.no_grad():
                for parameter, gradient in zip(plain.parameters(), gradients, strict=True):
                    parameter -= rate * gradient
    for one, other in zip(trained.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", ["mlp", "tinyten", "residual"])
def test_a_seed_fixes_every_bit_and_another_seed_other_bits(name):
    images, labels = data_for(name, 24)

    def run(seed):
        torch.rand(3)  # the global generator has no say
        network = built(name).float()
        return bb.train(network, (images.float(), labels), epochs=2, batch_size=8, seed=seed)

    one, again, other = run(0), run(0), run(1)
    assert same_bits(one, again)
    assert not same_bits(one, other)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", ["mlp", "tinyten", "residual"])
def test_training_leaves_the_network_given_as_it_was(name, training):
    network = built(name).train(training)
    before = copy_of(network)
    trained = bb.train(network, data_for(name, 16), epochs=1, batch_size=8)
    assert type(trained) is type(network)
    assert same_bits(network, before)
    assert not same_bits(trained, before)
    assert {module.training for module in network.modules()} == {training}
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize("name", ["mlp", "tinyten"])
def test_a_trained_network_is_an_ordinary_one_whose_tensors_share_no_memory(name):
    network = built(name)
    trained = bb.train(network, data_for(name, 16), epochs=1, batch_size=8)
    tensors = [*trained.parameters(), *trained.buffers()]
    places = [tensor.untyped_storage().data_ptr() for tensor in tensors]
    assert len(set(places)) == len(places)
    assert all(t.untyped_storage().nbytes() == t.numel() * t.element_size() for t in tensors)
    assert not {t.untyped_storage().data_ptr() for t in network.state_dict().values()} & {*places}
    assert all(parameter.grad is None for parameter in trained.parameters())
    assert all(parameter.is_leaf and parameter.requires_grad for parameter in trained.parameters())
    before = copy_of(trained)
    tensors[0].data.zero_()
    after = copy_of(trained)
    assert [key for key in before if not torch.equal(before[key], after[key])] == [
        next(iter(before))
    ]
    twin = copy.deepcopy(trained)
    optimizer = torch.optim.Adam(twin.parameters())  # it can be trained on, by anyone
    objective_of(name)(twin, *data_for(name, 8)).backward()
    optimizer.step()
    assert not same_bits(twin, trained)


def test_parameters_that_need_no_gradient_stay():
    network = built("mlp")
    network[0].weight.requires_grad_(False)
    settings = {"epochs": 2, "batch_size": 8, "weight_decay": 0.1}
    trained = bb.train(network, data_for("mlp", 16), **settings)
    assert torch.equal(bits(trained[0].weight), bits(network[0].weight))
    assert not torch.equal(trained[0].bias, network[0].bias)
    assert not trained[0].weight.requires_grad


@pytest.mark.parametrize("rate", [1e6, 1e200])
def test_training_that_diverges_is_told_with_step_and_rate(rate):
    with pytest.raises(bb.InputError, match=r"diverged at step \d of epoch \d, learning rate 1e\+"):
        bb.train(
            built("mlp"),
            data_for("mlp", 16),
            epochs=9,
            batch_size=8,
            learning_rate=rate,
            schedule=flat,
        )


def test_weights_that_the_last_step_broke_are_told_too():
    def broken(network, inputs, labels):
        return (network(inputs) * 0).sum() + (
            network[0].weight[0, 0] - network[0].weight[0, 0].detach()
        ) * 1e308

    with pytest.raises(bb.InputError, match="step 1 of epoch 1, learning rate 100"):
        bb.train(
            built("mlp"),
            data_for("mlp", 8),
            epochs=1,
            learning_rate=100.0,
            schedule=flat,
            objective=broken,
        )


def test_what_is_called_after_each_step_has_the_last_word_on_the_weights():
    """Gradient descent on (x - 3)^2 / 2 with x kept at 1 or less: it ends at 1, and tries 1.2."""
    weights, gradient = torch.zeros(1).double(), torch.zeros(1).double()
    tried = []

    def step(batch):
        gradient.copy_(weights - 3)
        return (weights - 3).square().sum() / 2

    def after():
        tried.append(float(weights))
        weights.clamp_(max=1)

    recipe = Recipe(epochs=1, learning_rate=0.1, momentum=0, schedule=flat, batch_size=1)
    losses = descend(weights, gradient, step, data_for("mlp", 8), recipe, after)
    assert float(weights) == 1
    assert len(tried) == 8
    assert tried[-1] == pytest.approx(1.2)
    assert losses == [pytest.approx((4.5 + 3.645 + 2.95245 + 2.391485 + 4 * 2) / 8, rel=1e-3)]


def test_progress_is_told_after_every_epoch_with_the_mean_loss():
    batches = [data_for("mlp", 6, seed=seed) for seed in range(3)]
    told, losses = [], []

    def watched(network, inputs, labels):
        loss = functional.cross_entropy(network(inputs), labels)
        losses.append(float(loss.detach()))
        return loss

    bb.train(
        built("mlp"),
        batches,
        epochs=2,
        objective=watched,
        progress=lambda *news: told.append(news),
    )
    assert [news[:2] for news in told] == [(1, 2), (2, 2)]
    for (_, _, mean), part in zip(told, (losses[:3], losses[3:]), strict=True):
        assert mean == pytest.approx(sum(part) / 3, rel=1e-6)


def test_every_sample_is_seen_once_an_epoch_in_another_order():
    images = torch.arange(32.0)[:, None]
    seen = []

    def watched(network, inputs, labels):
        seen.append(inputs[:, 0].tolist())
        return network(inputs).square().mean() * 0

    network = nn.Linear(1, 2)
    bb.train(network, (images, torch.zeros(32)), epochs=2, batch_size=8, objective=watched)
    epochs = [[*itertools.chain(*seen[:4])], [*itertools.chain(*seen[4:])]]
    assert [len(batch) for batch in seen] == [8] * 8
    assert all(sorted(epoch) == images[:, 0].tolist() for epoch in epochs)
    assert epochs[0] != epochs[1]
    assert epochs[0] != images[:, 0].tolist()


def test_augmentation_changes_the_images_that_training_sees():
    seen = []

    def watched(network, inputs, labels):
        seen.append(float(inputs.min()))
        return functional.cross_entropy(network(inputs), labels)

    bb.train(
        built("mlp"),
        data_for("mlp", 16),
        epochs=1,
        batch_size=8,
        objective=watched,
        augmentation=lambda images: images.abs() + 5,
    )
    assert len(seen) == 2
    assert min(seen) >= 5


def test_no_epochs_give_a_copy():
    network = built("tinyten")
    trained = bb.train(network, data_for("tinyten", 8), epochs=0)
    assert same_bits(trained, network)
    assert trained is not network


def test_mixed_precision_runs_in_bfloat16_and_keeps_float32_weights():
    torch.manual_seed(0)
    network = TinyTen(5)
    images, labels = data_for("tinyten", 16)
    types = set()

    def watched(network, inputs, labels):
        outputs = network(inputs)
        types.add(outputs.dtype)
        return functional.cross_entropy(outputs, labels)

    settings = {"epochs": 1, "batch_size": 8, "learning_rate": 0.05, "objective": watched}
    data = (images.float(), labels)
    mixed = bb.train(network, data, mixed_precision=True, **settings)
    assert types == {torch.bfloat16}
    assert {parameter.dtype for parameter in mixed.parameters()} == {torch.float32}
    types.clear()
    plain = bb.train(network, data, **settings)
    assert types == {torch.float32}
    one, other = (
        torch.cat([p.detach().ravel() for p in net.parameters()]) for net in (mixed, plain)
    )
    assert 0 < float((one - other).norm() / other.norm()) < 0.05


def test_the_whole_thing_learns():
    inputs, _ = data_for("mlp", 200)
    labels = (inputs[:, 0] > 0).long() + 2 * (inputs[:, 1] > 0).long()
    trained = bb.train(built("mlp"), (inputs, labels), epochs=15, batch_size=20, learning_rate=0.05)
    correct = (trained(inputs).argmax(1) == labels).double().mean()
    assert correct > 0.95


@pytest.mark.parametrize(
    "settings",
    [
        {"epochs": -1},
        {"batch_size": 0},
        *({"learning_rate": rate} for rate in (0.0, -1.0, math.nan)),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(bb.InputError, match="training needs"):
        Recipe(**settings)
    with pytest.raises(bb.InputError, match="training needs"):
        bb.train(built("mlp"), data_for("mlp", 8), **settings)


def test_an_empty_loader_is_told():
    with pytest.raises(bb.InputError, match="empty"):
        bb.train(built("mlp"), [], epochs=1)
    with pytest.raises(bb.InputError, match="empty"):
        bb.train(built("mlp"), iter([data_for("mlp", 8)]), epochs=2)
