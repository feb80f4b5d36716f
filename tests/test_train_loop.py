"""The training loop is plain stochastic gradient descent, only on a flat vector."""

import copy

import pytest
import torch
from networks import built, copy_of, data_for, inputs_for, same_bits
from torch import nn
from torch.nn import functional

from basinbridge import InputError, train
from basinbridge.data.batches import training_batches
from basinbridge.train.loop import cosine, halving


def plain_training(network, data, epochs, batch_size, rate, seed, decay):
    """torch.optim.SGD on the module itself, on the same batches."""
    network = copy.deepcopy(network).train()
    optimizer = torch.optim.SGD(
        network.parameters(), lr=rate, momentum=0.9, nesterov=True, weight_decay=decay
    )
    generator = torch.Generator().manual_seed(seed)
    for epoch in range(epochs):
        batches = list(training_batches(data, batch_size, generator=generator))
        for place, (inputs, labels) in enumerate(batches):
            optimizer.param_groups[0]["lr"] = rate * cosine(epoch + place / len(batches), epochs)
            optimizer.zero_grad()
            functional.cross_entropy(network(inputs), labels).backward()
            optimizer.step()
    return network


@pytest.mark.parametrize("name", ["mlp", "digits", "tinyten", "residual"])
def test_training_is_torchs_nesterov_descent(name):
    data = data_for(name, 26)
    network = built(name)
    ours = train(
        network, data, epochs=3, batch_size=8, learning_rate=0.02, seed=4, weight_decay=0.01
    )
    plain = plain_training(network, data, 3, 8, 0.02, 4, 0.01)
    for key, tensor in plain.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[key], tensor, rtol=1e-9, atol=1e-11)
    assert not same_bits(ours, network)


def test_one_seed_gives_one_network_and_the_original_stays():
    network, data = built("tinyten"), data_for("tinyten", 24)
    before = copy_of(network)
    first, again, other = (
        train(network, data, epochs=2, batch_size=8, learning_rate=0.01, seed=seed)
        for seed in (0, 0, 1)
    )
    assert same_bits(first, again)
    assert not same_bits(first, other)
    assert same_bits(network, before)
    assert all(parameter.grad is None for parameter in network.parameters())


def test_trained_tensors_have_memory_of_their_own():
    trained = train(built("mlp"), data_for("mlp", 16), epochs=1, batch_size=8)
    with torch.no_grad():
        first, second = list(trained.parameters())[:2]
        kept = second.clone()
        first.zero_()
    assert torch.equal(second, kept)
    assert first.untyped_storage().nbytes() == first.numel() * first.element_size()


def test_schedule_and_progress_are_followed():
    seen, shown = [], []

    def schedule(epoch, epochs):
        seen.append((round(epoch, 3), epochs))
        return 1.0

    train(
        built("mlp"), data_for("mlp", 16), epochs=2, batch_size=8, schedule=schedule,
        progress=lambda *values: shown.append(values),
    )  # fmt: skip
    assert seen == [(0.0, 2), (0.5, 2), (1.0, 2), (1.5, 2)]
    assert [values[:2] for values in shown] == [(1, 2), (2, 2)]
    rates = [cosine(epoch, 20) for epoch in range(21)]
    assert max(rates) == rates[2] == 1.0
    assert rates[0] == rates[20] == 0.0
    assert halving(40, 250) == 0.25


def test_divergence_names_epoch_and_rate():
    with pytest.raises(InputError, match=r"epoch \d+.*learning rate"):
        train(built("mlp"), data_for("mlp", 16), epochs=50, batch_size=8, learning_rate=1e6)


@pytest.mark.parametrize(
    "settings", [{"epochs": -1}, {"learning_rate": 0.0}, {"batch_size": 0}, {"learning_rate": -1.0}]
)
def test_impossible_settings_are_refused(settings):
    with pytest.raises(InputError, match="training needs"):
        train(built("mlp"), data_for("mlp", 16), **settings)


def test_mixed_precision_learns_and_keeps_float32_weights():
    network = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 5))
    inputs, labels = inputs_for("mlp", 64).float(), data_for("mlp", 64)[1]
    before = float(functional.cross_entropy(network(inputs), labels).detach())
    trained = train(network, (inputs, labels), epochs=20, batch_size=16, mixed_precision=True)
    assert all(parameter.dtype == torch.float32 for parameter in trained.parameters())
    assert float(functional.cross_entropy(trained(inputs), labels).detach()) < before
    plain = train(network, (inputs, labels), epochs=20, batch_size=16)
    assert not same_bits(trained, plain)
