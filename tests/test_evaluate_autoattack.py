import numpy as np
import pytest
import torch
from networks import built, copy_of, same_bits
from test_train_adversarial import images_for
from torch import nn

import basinbridge as bb
from basinbridge.evaluate.along import score
from basinbridge.evaluate.autoattack import auto_attack


def bright_or_dark(count):
    """Images of 64 pixels and three classes of brightness, and a network that knows them."""
    brightness = torch.linspace(0, 1, count)
    images = (brightness[:, None, None, None] + 0.2 * torch.randn(count, 1, 8, 8)).clamp(0, 1)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 3))
    data = images, (3 * brightness).long().clamp_max(2)
    objective = bb.adversarial(0.05, 0.02, 5)
    return bb.train(network, data, epochs=40, batch_size=40, objective=objective), data


def test_it_is_at_least_as_strong_as_ours_and_leaves_everything_as_it_was():
    network, (images, labels) = bright_or_dark(200)
    data = images[::10], labels[::10]
    before, draws = copy_of(network), torch.get_rng_state()
    numbers = np.random.get_state()[1].copy()  # noqa: NPY002
    found = auto_attack(network, data, 0.05, square_steps=10)
    assert torch.equal(draws, torch.get_rng_state())
    ours = score(network, [data], bb.Attack(0.05, 0.01, 20), restarts=3).accuracy
    assert 0 < found <= ours < score(network, [data]).accuracy
    assert found >= ours - 0.1
    assert same_bits(network, before)
    np.testing.assert_array_equal(numbers, np.random.get_state()[1])  # noqa: NPY002
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_without_the_toolbox_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "art.attacks.evasion", None)
    with pytest.raises(bb.InputError, match=r"basinbridge\[robust\]"):
        auto_attack(built("mlp"), images_for("mlp", 4), 0.1)
