"""What discovery says of networks and examples that it cannot work with, in one line each."""

import pytest
import torch
from torch import nn

import basinbridge as bb


class Layers(nn.Module):
    """Two layers and, between them, what `middle` does."""

    def __init__(self, middle=torch.relu):
        super().__init__()
        self.one, self.two, self.middle = nn.Linear(3, 6), nn.Linear(6, 2), middle

    def forward(self, x):
        return self.two(self.middle(self.one(x)))


class Branching(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


class Selecting(nn.Module):
    def forward(self, x):
        return x[x[:, 0] > 0]


class Numpy(nn.Module):
    def forward(self, x):
        return torch.from_numpy(x.detach().numpy())


class Pair(Layers):
    def forward(self, x, y):
        return super().forward(x) + y


class Whole(Layers):
    def forward(self, x):
        return super().forward(x).argmax(1)


INPUT = torch.randn(2, 3)
REFUSED = {
    "a way that values choose": (Layers(nn.Sequential(Branching())), INPUT, "'middle.0' .*where"),
    "a shape that values choose": (Layers(Selecting()), INPUT, "index in middle gives depends"),
    "another library": (Layers(Numpy()), INPUT, "numpy.* in module 'middle' .*tensor operators"),
    "no example": (Layers(), None, "example for Layers holds no numbers; give a batch"),
    "an empty batch": (Layers(), torch.zeros(0, 3), "holds no numbers"),
    "wrong shape": (Layers(), torch.randn(2, 5), r"example of shape \[2, 5\].* in module 'one'"),
    "wrong type": (Layers(), torch.zeros(2, 3, dtype=torch.long), "same dtype.* in module 'one'"),
    "a missing argument": (Pair(), INPUT, "does not accept .* argument: 'y'"),
    "a wrong name": (Layers(), {"z": INPUT}, "does not accept .* argument 'z'"),
    "no module": (torch.relu, INPUT, "give a torch.nn.Module"),
    "no number comes out": (Whole(), INPUT, "no finite number"),
    "not a number comes out": (Layers(), INPUT * float("nan"), "no finite number"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_one_line_says_what_is_wrong_and_where(case, capfd):
    network, example, message = REFUSED[case]
    with pytest.raises(bb.InputError, match=message) as error:
        bb.discover(network, example)
    assert "\n" not in str(error.value)
    assert capfd.readouterr() == ("", "")


class Custom(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        return x.flip(1)

    @staticmethod
    def backward(context, gradient):
        return gradient.flip(1)


UNSEEN = {
    "a transform": lambda net, x: torch.fft.rfft(x).abs()[:, :6],
    "an inverse": lambda net, x: x @ torch.linalg.pinv(net.mix),
    "a determinant": lambda net, x: x * torch.linalg.det(net.mix),
    "a convolution with a weight as image": lambda net, x: torch.fft.fft(net.mix).real @ x[0] + x,
}


@pytest.mark.parametrize("case", UNSEEN)
def test_parameters_used_in_unseen_ways_are_fixed_and_named_with_their_module(case):
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.enter, self.mix = nn.Linear(3, 6), nn.Parameter(torch.randn(6, 6))

        def forward(self, x):
            x = self.enter(x)
            y = UNSEEN[case](self, x)
            return nn.functional.pad(y, (0, 6 - y.shape[1])) + x

    network = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), Odd(), nn.Linear(6, 2))
    symmetry = bb.discover(network, INPUT)
    assert "0" in symmetry.groups
    assert all("mix" not in tensor for g in symmetry.groups.values() for tensor, _ in g.tensors)
    assert all(" in 2: no rule" in operator for operator in symmetry.unsupported)
    assert symmetry.unsupported


def test_a_function_with_a_gradient_of_its_own_is_looked_into():
    assert bb.discover(Layers(Custom.apply), INPUT).groups["one"].size == 6


def test_a_network_without_symmetry_has_no_groups_and_says_so():
    symmetry = bb.discover(nn.Linear(3, 2), INPUT)
    assert symmetry.groups == {}
    assert symmetry.parameter_share == 0.0
    assert str(symmetry).startswith("No neurons can be renumbered")
    assert bb.random_permutation(symmetry) == {}


class OneByOne(Layers):
    def forward(self, x):
        return torch.stack([super(OneByOne, self).forward(one) for one in x])


def test_a_loop_over_the_batch_is_told_and_aligned_in_the_examples_batches():
    torch.manual_seed(0)
    net_a, images = OneByOne(torch.tanh), torch.randn(40, 3)
    symmetry = bb.discover(net_a, images[:2])
    assert "for batches of the example's size only" in str(symmetry)
    net_b = bb.permute(net_a, symmetry, bb.random_permutation(symmetry))
    labels = torch.zeros(40, dtype=torch.long)
    with pytest.raises(bb.InputError, match="OneByOne goes through a batch one by one"):
        bb.align(net_a, net_b, (images, labels), symmetry)
    pairs = list(zip(images.split(2), labels.split(2), strict=True))
    aligned = bb.permute(net_b, symmetry, bb.align(net_a, net_b, pairs, symmetry))
    assert torch.equal(aligned.one.weight, net_a.one.weight)
