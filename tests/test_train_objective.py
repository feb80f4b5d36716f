from types import SimpleNamespace

import pytest
import torch
from networks import built, data_for
from torch import nn
from torch.nn import functional

import basinbridge as bb
from basinbridge.models import GoogLeNetOutput
from basinbridge.train.objective import AUXILIARY_WEIGHT, logits_of, standard


@pytest.mark.parametrize("name", ["mlp", "tinyten"])
def test_the_standard_objective_is_the_mean_cross_entropy(name):
    network = built(name)
    inputs, labels = data_for(name, 6)
    chances = torch.softmax(network(inputs), dim=1)
    wanted = -torch.stack([chances[row, label].log() for row, label in enumerate(labels)]).mean()
    torch.testing.assert_close(standard(network, inputs, labels), wanted, rtol=1e-12, atol=0)


def test_auxiliary_classifiers_weigh_three_tenths_each_in_training_and_nothing_in_evaluation():
    assert AUXILIARY_WEIGHT == 0.3
    network = built("googlenet").train()
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    inputs, labels = data_for("googlenet", 4)
    outputs = network(inputs)
    parts = [functional.cross_entropy(logits, labels) for logits in outputs]
    assert len(parts) == 3
    wanted = parts[0] + 0.3 * parts[1] + 0.3 * parts[2]
    torch.testing.assert_close(standard(network, inputs, labels), wanted, rtol=1e-12, atol=0)
    network.eval()
    wanted = functional.cross_entropy(network(inputs), labels)
    torch.testing.assert_close(standard(network, inputs, labels), wanted, rtol=1e-12, atol=0)


def test_auxiliary_classifiers_learn_from_their_share():
    network = built("googlenet").train()
    standard(network, *data_for("googlenet", 4)).backward()
    for name in ("auxiliary1.classifier.weight", "auxiliary2.hidden.bias", "classifier.weight"):
        assert network.get_parameter(name).grad.abs().max() > 0


def test_logits_are_found_in_what_networks_return():
    main, other = torch.zeros(2, 3), torch.ones(2, 3)
    for outputs, wanted in [
        (main, [main]),
        ((main, other), [main, other]),
        ([main, None, other], [main, other]),
        (GoogLeNetOutput(main, other, other), [main, other, other]),
        (SimpleNamespace(logits=main, hidden=other), [main]),
        ({"hidden": other, "logits": main}, [main]),
    ]:
        found = logits_of(outputs)
        assert len(found) == len(wanted)
        assert all(one is two for one, two in zip(found, wanted, strict=True))


@pytest.mark.parametrize("name", ["mlp", "tinyten"])
def test_a_compiled_objective_trains_the_same_network(name):
    data = data_for(name, 12)
    settings = {"epochs": 2, "batch_size": 4, "learning_rate": 0.02}
    plain = bb.train(built(name), data, **settings)
    # Traced and differentiated ahead of time; what a backend does with the graph is its own matter.
    compiled = torch.compile(standard, backend="aot_eager")
    found = bb.train(built(name), data, objective=compiled, **settings)
    for key, tensor in plain.state_dict().items():
        torch.testing.assert_close(found.state_dict()[key], tensor, rtol=1e-8, atol=1e-10)
    several = bb.train_together([built(name)], data, objective=compiled, **settings)
    for key, tensor in plain.state_dict().items():
        torch.testing.assert_close(several[0].state_dict()[key], tensor, rtol=1e-8, atol=1e-10)
