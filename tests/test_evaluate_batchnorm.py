import itertools

import numpy as np
import pytest
import reference
import torch
from networks import bits, built, copy_of, data_for, same_bits, symmetry_for
from torch import nn

import basinbridge as bb
from basinbridge.evaluate.along import statistics_batches
from basinbridge.evaluate.batchnorm import normalisation_layers, reestimate
from basinbridge.evaluate.signature import signature_along

NORMALISED = ["digits", "tinyten", "residual", "resnet32", "googlenet"]


def layers_by_name(network):
    return {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, nn.BatchNorm2d)
    }


@pytest.mark.parametrize("name", NORMALISED)
def test_statistics_are_the_plain_average_over_batches(name):
    network = built(name)
    batches = [data_for(name, 5, seed=seed) for seed in range(1 if name == "googlenet" else 3)]
    before = copy_of(network)
    wanted = reference.batch_norm_statistics(network, batches)
    reestimate(network, batches)
    for layer, module in layers_by_name(network).items():
        assert (layer in wanted) != layer.startswith("auxiliary")
        if layer not in wanted:  # evaluation does not come by: it keeps what it had
            assert torch.equal(module.running_mean, before[f"{layer}.running_mean"])
            assert torch.equal(module.running_var, before[f"{layer}.running_var"])
    for layer, (mean, variance) in wanted.items():
        module = network.get_submodule(layer)
        np.testing.assert_allclose(module.running_mean, mean, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(module.running_var, variance, rtol=1e-10, atol=1e-12)
        assert int(module.num_batches_tracked) == len(batches)


def test_what_was_there_before_does_not_count():
    one, other = built("tinyten"), built("tinyten")
    for module in normalisation_layers(other):
        module.running_mean.fill_(1e3)
        module.running_var.fill_(1e-3)
    batches = [data_for("tinyten", 6)]
    for network in (one, other):
        reestimate(network, batches)
    assert same_bits(one, other)
    again = copy_of(one)
    reestimate(one, batches)
    assert same_bits(one, again)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("fails", [False, True])
def test_momentum_modes_and_weights_are_as_before(training, fails):
    network = built("residual").train(training)
    network.stages[1].train(not training)
    for place, layer in enumerate(normalisation_layers(network)):
        layer.momentum = None if place % 5 == 0 else 0.01 * place
    momenta = [layer.momentum for layer in normalisation_layers(network)]
    modes = [module.training for module in network.modules()]
    parameters = [parameter.detach().clone() for parameter in network.parameters()]
    if fails:
        with pytest.raises(RuntimeError):
            reestimate(network, [(torch.zeros(2, 9, 9, 9).double(), torch.zeros(2))])
    else:
        reestimate(network, [data_for("residual", 4)])
    assert [layer.momentum for layer in normalisation_layers(network)] == momenta
    assert [module.training for module in network.modules()] == modes
    for before, after in zip(parameters, network.parameters(), strict=True):
        assert torch.equal(bits(before), bits(after))
        assert after.grad is None


def test_dropout_is_off_while_statistics_are_taken():
    network = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(6)).double()
    inputs, labels = data_for("mlp", 30)
    reestimate(network, [(inputs, labels)])
    torch.testing.assert_close(network[1].running_mean, inputs.mean(0))
    torch.testing.assert_close(network[1].running_var, inputs.var(0))


@pytest.mark.parametrize("name", ["mlp", "encoder"])
def test_a_network_without_batch_norm_is_left_alone(name):
    network = built(name).train()
    reestimate(network, iter(()))
    assert same_bits(network, built(name))
    assert network.training
    assert normalisation_layers(network) == []


def test_layers_that_keep_no_statistics_need_none():
    network = nn.Sequential(
        nn.BatchNorm1d(3),
        nn.BatchNorm1d(3, track_running_stats=False),
        nn.BatchNorm1d(3, affine=False),
    )
    assert normalisation_layers(network) == [network[0], network[2]]


def images(count):
    return torch.arange(count, dtype=torch.float64)[:, None].expand(count, 6), torch.zeros(count)


def firsts(batches):
    return [inputs[:, 0].tolist() for inputs, _ in batches]


def test_statistics_come_from_a_random_choice_in_equal_batches():
    network, device = nn.BatchNorm1d(6), torch.device("cpu")
    found = firsts(statistics_batches(network, images(100), 40, device, batch_size=15))
    # Three batches of at most 15, and but one of the 40 images left over.
    assert [len(batch) for batch in found] == [13, 13, 13]
    chosen = [*itertools.chain(*found)]
    assert len(set(chosen)) == 39
    assert max(chosen) > 40
    again = statistics_batches(network, images(100), 40, device, batch_size=15)
    assert firsts(again) == found
    other = statistics_batches(network, images(100), 40, device, batch_size=15, seed=1)
    assert firsts(other) != found


def test_the_same_holds_for_image_data():
    data = bb.ImageData(
        "dots",
        torch.arange(100, dtype=torch.uint8).reshape(100, 1, 1, 1),
        torch.zeros(100, dtype=torch.long),
        ("0",),
        (0.0,),
        (1 / 255,),
    )
    network, device = nn.BatchNorm2d(1), torch.device("cpu")
    batches = statistics_batches(network, data, 40, device, batch_size=15)
    chosen = [round(value) for inputs, _ in batches for value in inputs.flatten().tolist()]
    assert len(set(chosen)) == len(chosen) == 39
    everything = statistics_batches(network, data, 1000, device, batch_size=50)
    assert sum(len(labels) for _, labels in everything) == 100


@pytest.mark.parametrize("kind", [list, tuple, iter])
def test_an_iterable_gives_its_first_batches(kind):
    inputs, labels = images(30)
    batches = kind([(inputs[:10], labels[:10]), (inputs[10:20], labels[10:20])])
    found = firsts(statistics_batches(nn.BatchNorm1d(6), batches, 17, torch.device("cpu")))
    assert found == [inputs[:10, 0].tolist()]


def test_no_data_or_no_batch_norm_need_no_batches():
    device = torch.device("cpu")
    assert statistics_batches(nn.BatchNorm1d(6), None, 10, device) == []
    assert statistics_batches(nn.Linear(6, 2), images(10), 10, device) == []


def test_only_statistics_change():
    network = built("digits").train()
    before = copy_of(network)
    reestimate(network, [data_for("digits", 6)])
    changed = [key for key in before if not torch.equal(before[key], network.state_dict()[key])]
    assert changed
    assert all(key.split(".")[-1].startswith(("running_", "num_batches")) for key in changed)


def test_empty_data_are_told():
    nothing = torch.zeros(0, 6), torch.zeros(0)
    with pytest.raises(bb.InputError, match="empty"):
        statistics_batches(nn.BatchNorm1d(6), nothing, 10, torch.device("cpu"))


@pytest.mark.parametrize("count", [0, -3])
def test_no_images_are_too_few(count):
    with pytest.raises(bb.InputError):
        statistics_batches(nn.BatchNorm1d(6), images(10), count, torch.device("cpu"))


def shifted(images):
    """An augmentation that says what it did."""
    return 0.5 * images + 1


def numbers_of(found):
    """All numbers of a result, of its networks the statistics."""
    if isinstance(found, nn.Module):
        return [buffer.double() for buffer in found.buffers()]
    if isinstance(found, tuple | list):
        return [number for one in found for number in numbers_of(one)]
    if isinstance(found, float):
        return [torch.tensor(found, dtype=torch.float64)]
    return numbers_of(list(vars(found).values())) if hasattr(found, "__dict__") else []


EVALUATIONS = {
    "evaluate": lambda line, data, **given: bb.evaluate(line, data, points=3, **given),
    "ensemble": bb.ensemble,
    "plane": lambda line, data, **given: bb.plane(
        line.network, [built("tinyten", seed) for seed in range(3)], data, size=2, **given
    ),
    "signature": lambda line, data, **given: signature_along(
        line, data, symmetry_for("tinyten"), **given
    ),
    "merge": lambda line, data, *, batchnorm_data, augmentation=None: bb.merge(
        *(built("tinyten", seed) for seed in range(2)),
        batchnorm_data,
        symmetry_for("tinyten"),
        bb.identity_permutation(symmetry_for("tinyten")),
        repair=False,
        augmentation=augmentation,
    ),
}


@pytest.mark.parametrize("name", EVALUATIONS)
def test_all_that_reestimates_takes_augmented_images_where_told_to(name):
    line = bb.Linear.between(built("tinyten"), built("tinyten", seed=1))
    data, (images, labels) = data_for("tinyten", 12), data_for("tinyten", 16, seed=5)
    plain, augmented, given_so = (
        torch.stack([n.sum() for n in numbers_of(EVALUATIONS[name](line, data, **how))])
        for how in (
            {"batchnorm_data": (images, labels)},
            {"batchnorm_data": (images, labels), "augmentation": shifted},
            {"batchnorm_data": (shifted(images), labels)},
        )
    )
    torch.testing.assert_close(augmented, given_so, rtol=1e-9, atol=1e-9)
    assert float((plain - augmented).abs().max()) > 1e-3
