import pytest
import torch
from networks import NETWORKS, built, copy_of, data_for, inputs_for, same_bits
from torch import nn

import basinbridge as bb
from basinbridge.stack import Stack
from basinbridge.state import Layout
from basinbridge.train.adversarial import Attack

COUNT = 3

# Attention on a processor is then done network by network, which torch says.
pytestmark = pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")


def three(name):
    return [built(name, seed) for seed in range(COUNT)]


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_sees_its_part_of_the_batch(name):
    networks, inputs = three(name), inputs_for(name, 2 * COUNT)
    outputs = Stack(networks)(inputs)
    alone = [network(part) for network, part in zip(networks, inputs.split(2), strict=True)]
    torch.testing.assert_close(outputs, torch.cat(alone), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_shared_batch_is_seen_by_all(name):
    networks, inputs = three(name), inputs_for(name, 2)
    outputs = Stack(networks, shared=True)(inputs)
    alone = torch.cat([network(inputs) for network in networks])
    torch.testing.assert_close(outputs, alone, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["tinyten", "resnet32"])
def test_batch_norm_in_training_moves_the_statistics_of_each(name):
    networks, inputs = three(name), inputs_for(name, 4 * COUNT)
    stack = Stack(networks).train()
    stack(inputs)
    for network, part, found in zip(networks, inputs.split(4), stack.networks(), strict=True):
        network.train()(part)
        for key, tensor in network.state_dict().items():
            torch.testing.assert_close(found.state_dict()[key], tensor, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_come_back_as_they_went_in_and_stay_as_they_were(name):
    networks = three(name)
    before = [copy_of(network) for network in networks]
    stack = Stack(networks)
    for network, state, back in zip(networks, before, stack.networks(), strict=True):
        assert same_bits(network, state)
        assert same_bits(network, back)
        assert type(back) is type(network)
    for parameter in stack.parameters():
        parameter.data.zero_()
    assert all(same_bits(network, state) for network, state in zip(networks, before, strict=True))


def test_tied_weights_and_frozen_ones_stay_so():
    def tied():
        network = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
        network[2].weight = network[0].weight
        network[0].bias.requires_grad_(False)
        return network

    stack = Stack([tied(), tied()])
    assert stack.stacked[2].weight is stack.stacked[0].weight
    for network in stack.networks():
        assert network[2].weight is network[0].weight
        assert not network[0].bias.requires_grad
        assert network[2].bias.requires_grad


@pytest.mark.parametrize("whole", [True, False])
def test_vectors_are_joined_and_parted(whole):
    networks = three("tinyten")
    layout = Layout.of(networks[0])
    size = layout.size if whole else layout.parameters
    vectors = [layout.flatten(network.state_dict())[:size] for network in networks]
    stack = Stack(networks)
    joined = stack.joined(vectors)
    stacked = Layout.of(stack)
    expected = stacked.flatten(stack.state_dict())[: stacked.size if whole else stacked.parameters]
    assert torch.equal(joined, expected)
    assert torch.equal(stack.parted(joined), torch.stack(vectors))


def test_a_value_of_each_network_is_spread_over_its_parameters():
    networks = three("tinyten")
    values = torch.tensor([[1.0, -1.0], [2.0, -2.0], [3.0, -3.0]])
    spread = Stack(networks).spread(values)
    for row, column in zip(spread, values.T, strict=True):
        found = Stack(networks).parted(row)
        assert torch.equal(found, column[:, None].expand_as(found))


def test_an_attack_moves_each_networks_images_as_it_would_alone():
    networks = three("tinyten")
    images, labels = data_for("tinyten", 2 * COUNT)
    images = torch.sigmoid(images)
    attack = Attack(epsilon=0.05, step=0.02, random_start=False)
    moved = attack(Stack(networks), images, labels)
    parts = zip(networks, images.split(2), labels.split(2), strict=True)
    alone = torch.cat([attack(network, part, answers) for network, part, answers in parts])
    torch.testing.assert_close(moved, alone, rtol=0, atol=1e-12)
    assert float((moved - images).abs().max()) > 0.04


def test_other_architectures_are_refused():
    with pytest.raises(bb.InputError, match=r"network 1 .*weight|weight.* network 1"):
        Stack([nn.Linear(2, 3), nn.Linear(2, 4)])
    with pytest.raises(bb.InputError, match="at least one"):
        Stack([])
