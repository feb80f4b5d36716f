"""Discovery on every architecture family: the proof passes, and nearly every parameter moves."""

import pytest
import torch
from families import FAMILIES

import basinbridge as bb


@pytest.mark.parametrize("name", FAMILIES)
def test_families_keep_their_function_and_move_nearly_everything(name):
    family = FAMILIES[name]
    assert family.share >= 0.95 or family.why, "a smaller share needs a reason"
    torch.manual_seed(0)
    network, example = family.build()
    symmetry = bb.discover(network, example)
    assert symmetry.unsupported == ()
    assert symmetry.parameter_share >= family.share
    assert family.groups in (None, len(symmetry.groups))


@pytest.mark.parametrize("name", ["resnet50", "vit_base", "llama", "wavenet", "zero_padded"])
def test_every_group_moves_some_tensor_and_has_a_site(name):
    torch.manual_seed(0)
    network, example = FAMILIES[name].build()
    symmetry = bb.discover(network, example, proof=False)
    parents = {group.parent for group in symmetry.groups.values()}
    for group in symmetry.groups.values():
        assert group.tensors
        assert group.sites or group.name in parents
        for site in group.sites:
            assert site.places.shape == group.shape
