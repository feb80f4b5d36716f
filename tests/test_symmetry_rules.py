"""Operators by the freedom that they leave to a layer before them."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import basinbridge as bb
from basinbridge.symmetry.rules import RULES, Call
from basinbridge.symmetry.rules.shape import common_factors

CONSTANT = torch.tensor([2, 0, 1, 5, 4, 3])


class Between(nn.Module):
    """A linear layer, something, and a linear layer on whatever that leaves."""

    def __init__(self, function, width=6):
        super().__init__()
        self.one, self.function = nn.Linear(3, width), function
        self.head = nn.Linear(function(torch.zeros(2, width)).shape[-1], 2)

    def forward(self, x):
        return self.head(self.function(self.one(x)))


def sizes(function, width=6):
    symmetry = bb.discover(Between(function, width), torch.randn(2, 3))
    assert symmetry.unsupported == ()
    return sorted(group.size for group in symmetry.groups.values())


FREE = {
    "relu": torch.relu,
    "softmax": lambda x: x.softmax(-1),
    "norm": lambda x: x / x.norm(dim=-1, keepdim=True),
    "normalise": lambda x: F.normalize(x, dim=1),
    "layer norm": lambda x: F.layer_norm(x, (6,)),
    "clone in place": lambda x: x.clone().mul_(2).add_(1),
    "zeros": lambda x: x + torch.zeros(2, 6),
    "ones like": lambda x: x * torch.ones_like(x),
    "where": lambda x: torch.where(x > 0, x, 0.1 * x),
    "double transpose": lambda x: x.t().t(),
    "expand": lambda x: x[:, None].expand(-1, 4, -1).mean(1),
    "written in parts": lambda x: _written(x),
    "stack and unbind": lambda x: sum(torch.stack([x, x * 2], 1).unbind(1)),
    "view and back": lambda x: x.view(2, 1, 6).reshape(2, 6),
    "index": lambda x: x[:, torch.tensor([2, 0, 1, 5, 4, 3])],
    "cat with itself": lambda x: torch.cat([x, torch.tanh(x)], 1),
    "einsum": lambda x: torch.einsum("...i,...i->...i", x, x),
    "movedim": lambda x: x[:, None].movedim(1, 2).squeeze(-1),
    "pointwise convolution": lambda x: F.conv1d(x[:, None], torch.ones(2, 1, 1)).sum(1),
    "slice and cat": lambda x: torch.cat([x[:, 0:], x[:, :0]], 1),
    "roll": lambda x: x.roll(2, 1),
    "distances": lambda x: torch.cdist(x, x) @ x,
    "sorted": lambda x: x.sort(1).values,
    "largest": lambda x: x * (x >= x.topk(2, 1).values[:, -1:]),
    "buckets": lambda x: x * torch.bucketize(x, torch.tensor([0.0, 1.0])),
    "median": lambda x: x - x.median(),
    "median of each": lambda x: x - x.median(1, keepdim=True).values,
    "one by rank": lambda x: x / x.kthvalue(4, 1, keepdim=True).values,
}


def _written(x):
    result = torch.zeros_like(x)
    result[:, :] = x
    return result


@pytest.mark.parametrize("name", FREE)
def test_operators_that_leave_a_layer_free(name):
    assert sizes(FREE[name]) == [6]


PARTS = {
    "chunk and cat elsewhere": (lambda x: torch.cat(x.chunk(2, 1)[::-1], 1), [3, 3]),
    "cat then other boundaries": (lambda x: torch.cat([x, x], 1)[:, 2:8], [2, 4]),
    "repeat": (lambda x: x.repeat(1, 2), [2, 6]),
    "repeat interleave": (lambda x: x.repeat_interleave(3, 1), [3, 6]),
    "gate": (lambda x: F.glu(x, 1), [3]),
    "gate by chunks": (lambda x: torch.mul(*x.chunk(2, 1)), [3]),
    "split": (lambda x: sum(part.mean(1, keepdim=True) for part in x.split([2, 4], 1)), [2, 4]),
    "every other": (lambda x: torch.cat([x[:, ::2].exp(), x[:, 1::2]], 1), [3, 3]),
    "pad": (lambda x: F.pad(x, (2, 3)), [5, 6]),
    "blocks": (lambda x: x.view(2, 2, 3).softmax(-1).flatten(1), [2, 3]),
    "transposed blocks": (lambda x: x.view(2, 2, 3).transpose(1, 2).flatten(1), [2, 3]),
    "x and flip": (lambda x: x + x.flip(1), []),
    "x and roll": (lambda x: x + x.roll(1, 1), []),
    "cumulative": (lambda x: x.cumsum(1), []),
    "differences": (lambda x: x.diff(dim=1), []),
    "differences to another": (lambda x: torch.ones(2, 6).diff(dim=1, prepend=x)[:, :6], []),
    "sorted and where from": (lambda x: x.gather(1, x.sort(1).indices), []),
    "mask of the largest": (
        lambda x: torch.zeros_like(x).scatter(1, x.topk(2, 1).indices, 1.0) * x,
        [],
    ),
    "rows named by the largest": (lambda x: torch.eye(6)[x.argmax(1)] + x, []),
    "triangle": (lambda x: (x[:, :, None] * x[:, None]).tril().sum(1), []),
    "space": (lambda x: F.avg_pool1d(x[:, None], 2)[:, 0], []),
    "shape of no common factors": (lambda x: x.reshape(-1, 4).reshape(-1, 6), []),
    "named positions": (lambda x: x.gather(1, (x > 0).long()), []),
    "maximum alone": (lambda x: x.view(2, 2, 3).max(2).values, [2, 3]),
}


@pytest.mark.parametrize("name", PARTS)
def test_operators_that_part_or_fix_a_layer(name):
    function, wanted = PARTS[name]
    assert sizes(function) == wanted


def test_where_the_maximum_stands_fixes_the_order():
    def function(x):
        largest, place = x.max(1, keepdim=True)
        return largest * place

    assert sizes(function) == []


@torch.library.custom_op("basinbridge_test::relu", mutates_args=())
def reversing_relu(x: torch.Tensor) -> torch.Tensor:
    """Shares its name with an operator that any renumbering commutes with, but not its meaning."""
    return x.flip(-1).relu() + x


reversing_relu.register_fake(torch.empty_like)

WITHOUT_A_RULE = {
    "fft_rfft": lambda x: torch.fft.irfft(torch.fft.rfft(x), 6),
    "linalg_svd": lambda x: torch.linalg.svd(x, full_matrices=False).Vh,
    "linalg_svdvals": lambda x: x * torch.linalg.svdvals(x).sum(),
    "matrix_exp": lambda x: x @ torch.matrix_exp(x.t() @ x / 100),
    "quantile": lambda x: x * x.quantile(0.3, dim=1, keepdim=True),
    "searchsorted": lambda x: x + torch.searchsorted(x.sort(1).values, x),
    "histc": lambda x: torch.histc(x, 6) + x,
    "rot90": lambda x: torch.rot90(x.view(2, 2, 3), 1, (1, 2)).flatten(1),
    "linalg_cross": lambda x: torch.linalg.cross(x.view(2, 2, 3), x.view(2, 2, 3)).flatten(1) + x,
    "index_put": lambda x: x.clone().index_put((torch.tensor([0]),), torch.zeros(6)),
    "masked_scatter": lambda x: x.masked_scatter(x > 0, 2 * x),
    "basinbridge_test::relu": lambda x: reversing_relu(x),
}


@pytest.mark.parametrize("operator", WITHOUT_A_RULE)
def test_an_operator_without_a_rule_is_named_and_fixes_what_it_touches(operator):
    function = WITHOUT_A_RULE[operator]
    network = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), Between(function))
    symmetry = bb.discover(network, torch.randn(2, 3))
    assert f"{operator} in 2: no rule" in symmetry.unsupported
    assert [group.tensors for group in symmetry.groups.values()] == [
        (("0.weight", 0), ("0.bias", 0), ("2.one.weight", 1))
    ]
    assert "without a rule" in str(symmetry)


def test_a_use_that_a_rule_does_not_cover_is_named_as_well():
    symmetry = bb.discover(Between(lambda x: torch.kron(x, torch.ones(1, 2))), torch.randn(2, 3))
    assert symmetry.groups == {}
    assert symmetry.unsupported == ("kron in the network: its rule does not cover this use",)


def test_a_rule_that_forgets_a_dimension_fixes_what_it_touches(monkeypatch):
    monkeypatch.setitem(RULES, "tanh", lambda call: ())
    symmetry = bb.discover(Between(torch.tanh), torch.randn(2, 3))
    assert symmetry.groups == {}
    assert symmetry.unsupported == ("tanh in the network: its rule does not cover this use",)


def test_neurons_that_name_rows_keep_their_order():
    """The table's rows come in the order of the neurons that name them, so neither may move."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.units, self.table = nn.Parameter(torch.randn(6, 3)), torch.randn(3, 2)
            self.mix = nn.Linear(6, 2)

        def forward(self, x):
            rows = self.table[self.units.argmax(1)] + self.table.index_select(
                0, self.units.argmin(1)
            )
            rows = rows + torch.zeros(6, 2).index_add(0, self.units.argmax(1), rows)
            return self.mix((x @ rows.t()).tanh())

    assert bb.discover(Net(), torch.randn(4, 2)).groups == {}


def test_constants_that_are_even_leave_an_axis_free_and_others_fix_it():
    class Net(nn.Module):
        def __init__(self, buffer):
            super().__init__()
            self.one, self.two = nn.Linear(3, 6), nn.Linear(6, 2)
            self.register_buffer("shift", buffer, persistent=False)

        def forward(self, x):
            return self.two(torch.relu(self.one(x) + self.shift))

    counts = [
        len(bb.discover(Net(buffer), torch.randn(2, 3)).groups)
        for buffer in (torch.full((6,), 0.5), torch.arange(6.0))
    ]
    assert counts == [1, 0]


def test_regions_of_another_gradient_mode_are_looked_into():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two, self.head = nn.Linear(3, 6), nn.Linear(6, 5), nn.Linear(5, 2)

        def forward(self, x):
            with torch.enable_grad():
                x = self.one(x).relu()
            with torch.autocast("cpu", enabled=False):
                x = self.two(x).relu()
            return self.head(x)

    symmetry = bb.discover(Net(), torch.randn(2, 3))
    assert symmetry.unsupported == ()
    assert [group.size for group in symmetry.groups.values()] == [6, 5]


class Bank(nn.Module):
    """Three experts of 8 hidden units, in tensors laid out in two ways; what they give is added."""

    def __init__(self, between=lambda hidden, module: hidden.relu()):
        super().__init__()
        self.up, self.bias = nn.Parameter(torch.randn(4, 3, 8)), nn.Parameter(torch.randn(3, 8))
        self.down, self.router = nn.Parameter(torch.randn(3, 8, 2)), nn.Linear(4, 3)
        self.one, self.between = nn.Parameter(torch.randn(8)), between

    def forward(self, x):
        hidden = torch.einsum("bd,deh->beh", x, self.up) + self.bias
        hidden = self.between(hidden, self)
        return torch.einsum("be,beh,eho->bo", self.router(x).softmax(1), hidden, self.down)


BANKS = {
    "each": (lambda hidden, module: hidden.relu(), [(3,), (3, 8)]),
    "an order of the experts": (
        lambda h, module: h * torch.arange(3.0)[:, None],
        [(8,), (8,), (8,)],
    ),
    "a bias of all": (lambda hidden, module: hidden + module.one, [(3,), (8,)]),
    "a mean of all": (lambda h, module: h + h.mean(1, keepdim=True).relu(), [(3,), (8,)]),
    "an order of the units": (lambda hidden, module: hidden.cumsum(2), [(3,)]),
}


@pytest.mark.parametrize("case", BANKS)
def test_each_expert_of_a_bank_has_a_numbering_of_its_own_unless_something_joins_them(case):
    between, wanted = BANKS[case]
    symmetry = bb.discover(Bank(between), torch.randn(5, 4))
    assert symmetry.unsupported == ()
    assert sorted(group.shape for group in symmetry.groups.values()) == wanted


def test_the_experts_of_a_bank_are_renumbered_in_a_batched_product():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = (nn.Parameter(torch.randn(3, *s)) for s in ((4, 8), (8, 4)))

        def forward(self, x):
            return torch.bmm(torch.bmm(x.expand(3, -1, -1), self.one).relu(), self.two).sum(0)

    symmetry = bb.discover(Net(), torch.randn(5, 4))
    assert {group.shape for group in symmetry.groups.values()} == {(3,), (3, 8)}


@pytest.mark.parametrize(
    ("shape", "other", "wanted"),
    [
        ((2, 6), (2, 2, 3), [2, 2, 3]),
        ((12,), (3, 4), [3, 4]),
        ((4, 6), (6, 4), None),
        ((1, 5, 1), (5,), [5]),
    ],
)
def test_common_factors(shape, other, wanted):
    assert common_factors(shape, other) == wanted


def test_every_rule_tells_what_it_does():
    assert all((function.__doc__ or "").strip() for function in RULES.values())
    assert Call.__doc__
