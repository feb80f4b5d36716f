import pytest
import torch
from networks import built, copy_of, inputs_for
from torch import nn

import basinbridge as bb
from basinbridge.data.batches import evaluation_batches
from basinbridge.models import Normalised


def grey_and_colour():
    images = torch.arange(60, dtype=torch.uint8).reshape(5, 3, 2, 2)
    labels, names = torch.zeros(5, dtype=torch.int64), ("only",)
    return bb.ImageData("few", images, labels, names, (0.5, 0.4, 0.3), (0.25, 0.2, 0.1))


def test_inside_the_network_or_in_the_data_it_is_one_normalisation():
    data = grey_and_colour()
    network = Normalised(nn.Flatten(), data.mean, data.std)
    (inside, _), (outside, _) = (
        next(iter(evaluation_batches(one, 5))) for one in (data.unnormalised(), data)
    )
    assert torch.equal(inside, data.scaled(data.images))
    assert torch.equal(network(inside), outside.flatten(1))
    assert data.unnormalised().fingerprint() == data.fingerprint()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_mean_and_std_are_of_the_networks_type_and_in_its_state(dtype):
    network = Normalised(built("tinyten").to(dtype), (0.1, 0.2, 0.3), (0.5, 0.6, 0.7))
    state = copy_of(network)
    assert state["mean"].dtype == state["std"].dtype == dtype
    assert state["std"].flatten().tolist() == pytest.approx([0.5, 0.6, 0.7])
    assert {name.partition(".")[0] for name in state} == {"mean", "std", "network"}


def test_it_costs_no_symmetry_and_stays_put_along_curves():
    plain, inputs = built("tinyten"), inputs_for("tinyten", 2)
    start, end = (
        Normalised(built("tinyten", seed), (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)) for seed in (0, 1)
    )
    symmetry = bb.discover(start, inputs)
    groups = bb.discover(plain, inputs).groups
    assert [group.size for group in symmetry.groups.values()] == [
        group.size for group in groups.values()
    ]
    assert not symmetry.unsupported
    middle = bb.Bezier.between(start, end).state_at(0.3)
    torch.testing.assert_close(middle["mean"], start.mean, rtol=1e-12, atol=0)
    torch.testing.assert_close(middle["std"], start.std, rtol=1e-12, atol=0)
