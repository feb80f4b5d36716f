import pytest
import torch
from networks import CLASSES, built, data_for, inputs_for
from torch import nn
from torch.nn import functional

import basinbridge as bb
from basinbridge.curve.probes import Probes
from basinbridge.train.loop import Recipe
from basinbridge.train.objective import standard


def line(name):
    return bb.Linear.between(built(name), built(name, seed=1))


def watched(recipe):
    """The batches that the probes of a recipe see."""
    seen = []

    def watch(network, inputs, labels):
        seen.append((inputs.clone(), labels.clone()))
        return standard(network, inputs, labels)

    return seen, Recipe(**{**recipe, "objective": watch})


@pytest.mark.parametrize("name", ["mlp", "tinyten"])
def test_the_objective_is_the_mean_of_loss_and_l2_term_over_t_and_batches(name):
    curve, settings = line(name), {"batch_size": 8, "weight_decay": 0.01, "seed": 3}
    seen, recipe = watched(settings)
    found = Probes(curve, data_for(name, 40), recipe, 5).objective(curve)
    total = 0.0
    for k, (inputs, labels) in enumerate(seen):
        network = curve.network_at((k + 0.5) / 5).train()
        loss = functional.cross_entropy(network(inputs), labels)
        square = sum(parameter.square().sum() for parameter in network.parameters())
        total += float((loss + 0.005 * square).detach())
    assert len(seen) == 5
    assert found == pytest.approx(total / 5, rel=1e-12)


def test_batches_are_training_batches_each_other_than_the_last():
    seen, recipe = watched({"batch_size": 8})
    data = data_for("mlp", 40)
    Probes(line("mlp"), data, recipe, 5).objective(line("mlp"))
    rows = torch.cat([inputs for inputs, _ in seen])
    assert sorted(rows.tolist()) == sorted(data[0].tolist())
    assert not torch.equal(rows, data[0])


def test_few_batches_serve_in_turn():
    seen, recipe = watched({"batch_size": 8})
    Probes(line("mlp"), data_for("mlp", 16), recipe, 5).objective(line("mlp"))
    assert torch.equal(seen[0][0], seen[2][0])
    assert torch.equal(seen[1][0], seen[3][0])
    assert not torch.equal(seen[0][0], seen[1][0])


def test_the_same_curve_has_the_same_objective_whatever_was_asked_before():
    one, other = line("tinyten"), bb.Linear.between(built("tinyten", 2), built("tinyten", 3))
    probes = Probes(one, data_for("tinyten", 40), Recipe(batch_size=8), 4)
    first = probes.objective(one)
    assert probes.objective(other) != first
    assert probes.objective(one) == first


def test_dropout_falls_alike_for_every_curve_and_leaves_the_users_generator_alone():
    network = nn.Sequential(nn.Linear(6, 30), nn.Dropout(0.5), nn.Linear(30, CLASSES)).double()
    curve = bb.Linear.between(network, network)
    recipe = Recipe(batch_size=8, weight_decay=0)
    probes = Probes(curve, data_for("mlp", 32), recipe, 4)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    values = {probes.objective(curve) for _ in range(3)}
    assert torch.equal(torch.rand(1), expected)
    assert len(values) == 1
    network.eval()
    with torch.no_grad():
        outputs = network(inputs_for("mlp", 32))
    plain = float(functional.cross_entropy(outputs, data_for("mlp", 32)[1]))
    assert abs(values.pop() - plain) > 1e-3  # with dropout, as in training


def test_without_probes_or_data_it_is_refused():
    with pytest.raises(bb.InputError, match="probes is 0"):
        Probes(line("mlp"), data_for("mlp", 8), Recipe(), 0)
    with pytest.raises(bb.InputError, match="data is empty"):
        Probes(line("mlp"), [], Recipe(), 2)
