"""What `print(symmetry)` tells, at 80 columns."""

import pytest
import torch
from families import FAMILIES
from torch import nn

import basinbridge as bb


def test_groups_with_their_axes_and_sites_and_what_is_fixed_and_why():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.norm = nn.Linear(3, 8), nn.LayerNorm(8)
            self.act, self.two = nn.ReLU(), nn.Linear(8, 6)

        def forward(self, x):
            return torch.fft.rfft(self.two(self.act(self.norm(self.one(x))))).abs()

    assert str(bb.discover(Net(), torch.randn(2, 3))).splitlines() == [
        "1 group acts on 94.1 % of the parameters.",
        "",
        "one: size 8",
        "    moves one.*[0], norm.*[0], two.weight[1]",
        "    seen behind act",
        "",
        "Fixed:",
        "  by linear: one.weight[1]",
        "  by fft_rfft: two.*[0]",
        "",
        "Operators without a rule (what they touch is fixed):",
        "  fft_rfft in the network: no rule",
    ]


def test_blocks_and_what_lies_within_them():
    text = str(bb.discover(*FAMILIES["deit"].build(), proof=False))
    assert ":within: size 4 in each of " in text


@pytest.mark.parametrize("name", ["resnext50", "deit", "lstm", "t5"])
def test_nothing_is_wider_than_80_columns_and_every_group_is_told(name):
    symmetry = bb.discover(*FAMILIES[name].build(), proof=False)
    lines = str(symmetry).splitlines()
    assert max(map(len, lines)) <= 80
    for group in symmetry.groups.values():
        assert any(line.startswith(f"{group.name}: size {group.size}") for line in lines)
