"""What a step minimises."""

import types

import pytest
import torch
from networks import built, data_for
from torch import nn
from torch.nn import functional

from basinbridge.train.objective import logits_of, standard


def test_standard_is_mean_cross_entropy():
    network, (inputs, labels) = built("mlp"), data_for("mlp", 9)
    probabilities = network(inputs).softmax(-1)[range(9), labels]
    torch.testing.assert_close(standard(network, inputs, labels), -probabilities.log().mean())


def test_auxiliary_heads_weigh_three_tenths():
    network, (inputs, labels) = built("googlenet").train(), data_for("googlenet", 3)
    for module in network.modules():
        if isinstance(module, nn.Dropout | nn.BatchNorm2d):
            module.eval()
    main, *others = (functional.cross_entropy(output, labels) for output in network(inputs))
    assert len(others) == 2
    torch.testing.assert_close(standard(network, inputs, labels), main + 0.3 * sum(others))


@pytest.mark.parametrize("wrap", [tuple, list, lambda both: types.SimpleNamespace(logits=both[0]),
                                  lambda both: {"logits": both[0]}])  # fmt: skip
def test_logits_are_found_in_whatever_networks_return(wrap):
    logits = torch.randn(2, 3)
    found = logits_of(wrap([logits, torch.randn(2, 3)]))
    assert found[0] is logits
    assert logits_of(logits) == [logits]
