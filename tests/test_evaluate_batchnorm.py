"""Re-estimated batch-norm statistics are the exact cumulative average."""

import pytest
import reference
import torch
from networks import built, copy_of, data_for, same_bits

from basinbridge.evaluate.batchnorm import normalisation_layers, reestimate


@pytest.mark.parametrize("name", ["digits", "tinyten", "residual"])
def test_statistics_are_means_over_the_batches(name):
    network = built(name)
    batches = [data_for(name, 6, seed=seed) for seed in range(3)]
    expected = reference.batch_norm_statistics(network, batches)
    assert expected
    # A layer sees what those before it make of the *batch's* statistics, as in the reference.
    reestimate(network, batches)
    for key, module in network.named_modules():
        if key in expected:
            mean, variance = expected[key]
            torch.testing.assert_close(module.running_mean, torch.from_numpy(mean))
            torch.testing.assert_close(module.running_var, torch.from_numpy(variance))


def test_only_statistics_change_and_modes_come_back():
    network = built("digits").train()
    before = copy_of(network)
    momenta = [layer.momentum for layer in normalisation_layers(network)]
    reestimate(network, [data_for("digits", 6)])
    changed = [key for key in before if not torch.equal(before[key], network.state_dict()[key])]
    assert changed
    assert all(key.split(".")[-1].startswith(("running_", "num_batches")) for key in changed)
    assert [layer.momentum for layer in normalisation_layers(network)] == momenta
    assert all(module.training for module in network.modules())


def test_a_network_without_batch_norm_is_left_alone():
    network = built("mlp")
    before = copy_of(network)
    reestimate(network, [data_for("mlp", 4)])
    assert normalisation_layers(network) == []
    assert same_bits(before, network)
