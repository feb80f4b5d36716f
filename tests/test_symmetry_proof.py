"""The proof must see through every layer: a single axis left behind is noticed."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from families import FAMILIES
from torch import nn

import basinbridge as bb
from basinbridge.symmetry import proof
from basinbridge.symmetry.proof import prove

NAMES = ["vgg11_bn", "mobilenet_v2", "regnet_y", "deit", "gru"]


@pytest.mark.parametrize("name", NAMES)
def test_an_axis_that_is_left_behind_is_noticed_at_any_depth(name, monkeypatch):
    torch.manual_seed(0)
    network, example = FAMILIES[name].build()
    symmetry = bb.discover(network, example, proof=False)
    axes = sorted({axis for group in symmetry.groups.values() for axis in group.tensors})
    monkeypatch.setattr(proof, "_at_fault", lambda *_: "")  # which takes long
    for tensor, dim in axes[:: len(axes) // 8]:
        entry = symmetry.axes[tensor]
        left_behind = {tensor: (*entry[:dim], None, *entry[dim + 1 :])}
        with pytest.raises(bb.SymmetryError, match="fails its proof"):
            prove(network, replace(symmetry, axes={**symmetry.axes, **left_behind}), example)


def test_the_groups_at_fault_are_named():
    network = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2))
    symmetry = bb.discover(network, torch.zeros(2, 3))
    axes = {**symmetry.axes, "4.weight": (None, None)}
    with pytest.raises(bb.SymmetryError, match=r"Sequential: .*groups at fault: 2$"):
        prove(network, replace(symmetry, axes=axes), torch.randn(2, 3))


def test_the_network_that_is_proved_stays_as_it_was():
    network = nn.Sequential(nn.Linear(3, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 2))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    bb.discover(network, torch.randn(4, 3))
    assert network.training
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("draw", [lambda x: x + torch.randn(2, 6), nn.functional.dropout])
def test_a_network_that_draws_random_numbers_is_told_so(draw):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(3, 6), nn.Linear(6, 2)

        def forward(self, x):
            return self.two(draw(self.one(x)))

    with pytest.raises(bb.SymmetryError, match="draws random numbers"):
        bb.discover(Net(), torch.zeros(2, 3))


MEMORY = """
import torch
import basinbridge as bb
def peak():  # not getrusage's, which begins at what the process that started this one held
    lines = open("/proc/self/status").read().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
bb.discover(torch.nn.Linear(2, 2), torch.zeros(2, 2))  # loads torch.export
layers = [torch.nn.Linear(3000, 3000) for _ in range(3)]
network = torch.nn.Sequential(*layers, torch.nn.Linear(3000, 2))
size = sum(4 * parameter.numel() for parameter in network.parameters())
before = peak()
symmetry = bb.discover(network, torch.zeros(2, 3000), proof=False)
found = peak()
bb.discover(network, torch.zeros(2, 3000))
print(len(symmetry.groups), (found - before) / size, (peak() - before) / size)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the resident size is counted as on Linux")
def test_memory_is_a_copy_of_the_network_and_less_than_that_without_the_proof():
    """Beyond the network; what it frees is to go back to the system at once."""
    eager = {"MALLOC_MMAP_THRESHOLD_": "1000000", "MALLOC_TRIM_THRESHOLD_": "1000000"}
    ran = subprocess.run(
        [sys.executable, "-c", MEMORY], env={**os.environ, **eager}, capture_output=True, check=True
    )
    groups, found, proved = map(float, ran.stdout.split())
    assert groups == 3
    assert found < 0.5
    assert 1 < proved < 2
