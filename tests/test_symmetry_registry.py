"""The 80 classifiers of torchvision's registry; `benchmarks/symmetry.py` proves every one."""

import pytest
import torch
from families.registry import REGISTRY

import basinbridge as bb


def test_all_80_have_the_published_number_of_parameters():
    assert len(REGISTRY) == 80
    with torch.device("meta"):
        for name, one in REGISTRY.items():
            found = sum(parameter.numel() for parameter in one.build().parameters())
            assert found == one.parameters, name


@pytest.mark.parametrize("name", ["squeezenet1_1", "mnasnet0_5", "regnet_y_400mf"])
def test_networks_of_full_size_keep_their_function(name):
    one = REGISTRY[name]
    symmetry = bb.discover(one.build(), one.example())
    assert symmetry.unsupported == ()
    assert symmetry.parameter_share >= 0.95
    assert len(symmetry.groups) == one.groups
