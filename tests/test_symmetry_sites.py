"""Where groups are observed, stated by hand for networks of every kind."""

import operator

import pytest
import torch
from families import FAMILIES
from torch import nn

import basinbridge as bb
from basinbridge.symmetry.permutation import flat_places


def sites(symmetry):
    """For each group what `described` says of each of its sites behind nonlinearities or sums."""
    return {
        name: [described(symmetry, site) for site in group.sites if site.kind != "pre"]
        for name, group in symmetry.groups.items()
    }


def described(symmetry, site):
    """The operator and the innermost module in which it runs."""
    (node,) = [n for n in symmetry.traces[site.trace].nodes if n.name == site.node]
    stack = list(node.meta.get("nn_module_stack", {}).values())
    if node.target is operator.getitem:
        node = node.args[0]
    name = node.target._schema.name.removeprefix("aten::")
    return f"{name} {stack[-1][0]}".strip()


def symmetry_of(name):
    torch.manual_seed(0)
    network, example = FAMILIES[name].build()
    return bb.discover(network, example, proof=False)


def test_vision_transformer():
    """The stream where it is summed, the MLP behind its GELU, heads by what is within them.

    Queries and keys are two parts of the packed projection, so two sites; values are a third.
    """
    found = sites(symmetry_of("deit"))
    assert found["patches"] == [
        "add",
        "add layers.0",
        "add layers.0",
        "add layers.1",
        "add layers.1",
    ]
    for layer in (0, 1):
        heads = f"layers.{layer}.attend.qkv"
        assert found[f"layers.{layer}.mlp.0"] == [f"gelu layers.{layer}.mlp.1"]
        assert found[f"{heads}:blocks"] == []
        assert found[f"{heads}:within"] == [f"linear {heads}"] * 2
        assert found[f"{heads}:within-2"] == [f"linear {heads}"]
    assert len(found) == 9


def test_text_decoder_with_a_mask():
    """As above; the logits of its heads, with minus infinity where the mask is, are no site."""
    found = sites(symmetry_of("gpt2"))
    assert len(found["attends.0.out"]) == 7
    assert {site.split()[0] for site in found["attends.0.out"]} == {"add"}
    for layer in range(3):
        assert [site.split()[0] for site in found[f"mlps.{layer}.0"]] == ["gelu"]
        heads = f"attends.{layer}.packed"
        assert found[f"{heads}:blocks"] == []
        assert found[f"{heads}:within"] == [f"linear {heads}"] * 2


def test_shifted_windows():
    """Neither the relative-position bias nor the mask of shifted windows is a site."""
    found = sites(symmetry_of("swin"))
    assert len(found["patches"]) == len(found["layers.2.reduce"]) == 4
    assert all(site.startswith("add") for site in found["patches"] + found["layers.2.reduce"])
    for block in ("layers.0", "layers.1", "layers.3", "layers.4"):
        assert found[f"{block}.attend.qkv:blocks"] == []
        assert found[f"{block}.attend.qkv:within"] == [f"linear {block}.attend.qkv"] * 2
        assert found[f"{block}.mlp.0"] == [f"gelu {block}.mlp.1"]


def test_recurrent_networks():
    """A layer's output over time; within a stacked layer's operator nothing can be seen."""
    assert sites(symmetry_of("lstm")) == {"embed": ["embedding embed"], "core": ["lstm core"]}
    assert sites(symmetry_of("gru")) == {
        "embed": ["embedding embed"],
        "core": [],
        "core-2": ["gru core"],
    }
    cells = sites(symmetry_of("cells"))
    assert [len(cells[name]) for name in ("start", "one", "three")] == [3, 3, 3]
    assert {site.split()[0] for site in cells["start"]} == {"gru_cell"}


def test_inception_branches_behind_their_relus():
    """Every branch has a ReLU of its own in front of the concatenation: one site a group."""
    found = sites(symmetry_of("inception_v3"))
    assert len(found) == 24
    assert all(len(one) == 1 and one[0].startswith("relu ") for one in found.values())


def test_two_halves_behind_one_nonlinearity_are_two_sites():
    """gMLP: both halves of the hidden channels behind the GELU are the same neurons."""
    found = sites(symmetry_of("gmlp"))
    assert [site.split()[0] for site in found["layers.0.up"]] == ["gelu", "gelu"]


def at(symmetry, group):
    """The positions of a group at each of its sites that is not before a nonlinearity."""
    return [s.places.tolist() for s in symmetry.groups[group].sites if s.kind != "pre"]


def test_zero_padded_shortcuts():
    """A stream behind the ReLU of each block's sum, from where its neurons join it.

    Block 3 puts 2 channels before the 6 of the stem and 2 behind them, block 5 puts 5 behind.
    """
    symmetry = symmetry_of("zero_padded")
    found = sites(symmetry)
    sums = [f"relu body.{block}.after" for block in range(1, 7)]
    assert found["body.0.0"] == ["relu body.0.2", *sums]
    assert at(symmetry, "body.0.0") == [list(range(6))] * 3 + [list(range(2, 8))] * 4
    assert found["body.3.body.1.0"] == sums[2:]
    assert at(symmetry, "body.3.body.1.0") == [[0, 1, 8, 9]] * 4
    assert found["body.5.body.1.0"] == sums[4:]
    assert at(symmetry, "body.5.body.1.0") == [list(range(10, 15))] * 2
    for block in range(1, 7):
        assert found[f"body.{block}.body.0.0"] == [f"relu body.{block}.body.0.2"]
    assert len(found) == 9


def test_dense_block():
    """Features where their convolution writes them, as no nonlinearity has them to itself.

    The stem's have two: its own, and that of the first layer. What is inside a layer, and what a
    transition writes, has one.
    """
    found = sites(symmetry_of("densenet121"))
    assert found["body.0.0"] == ["relu body.0.2", "relu body.1.layers.0.one.1"]
    assert found["body.4"] == ["relu body.6.layers.0.one.1"]
    for layer in range(6):
        here = f"body.1.layers.{layer}"
        assert found[f"{here}.one.2"] == [f"relu {here}.two.1"]
        assert found[f"{here}.two.2"] == [f"conv2d {here}.two.2"]


def test_pre_activation():
    """A stream behind the ReLU of each block that reads it, an inside behind its own."""
    found = sites(symmetry_of("wide_resnet"))
    assert found["body.0"] == ["relu body.1"]
    assert found["body.1.two"] == ["relu body.2", "relu body.3"]
    assert found["body.3.two"] == ["relu body.4", "relu body.5"]
    assert found["body.5.two"] == [f"relu body.{place}" for place in (6, 7, 8, 10)]
    for block in range(1, 9):
        assert found[f"body.{block}.norms.1"] == [f"relu body.{block}"]
    assert len(found) == 12


def test_experts_and_heads_of_one_tensor():
    """Experts behind their ReLU, heads where the products write them, each on two dimensions."""
    symmetry = symmetry_of("experts")
    assert sites(symmetry)["up:within"] == ["relu"]
    assert sites(symmetry)["up:blocks"] == []
    assert [site.blocks for site in symmetry.groups["up:within"].sites] == [1, 1]
    symmetry = symmetry_of("einsum_attention")
    assert sites(symmetry)["layers.0:blocks"] == []
    assert sites(symmetry)["layers.0:within-2"] == ["einsum layers.0"] * 2
    assert [site.blocks for site in symmetry.groups["layers.0:within-2"].sites] == [2, 2]


def seen(symmetry, network, example):
    """What stands at every site: (samples, members of the group), by group and site."""
    kept = [{} for _ in symmetry.traces]
    for one, results in zip(symmetry.traces, kept, strict=True):
        one.run(network.state_dict(), (example,), lambda n, x, r=results: r.update({n: x}))
    found = {}
    for name, group in symmetry.groups.items():
        for place, site in enumerate(group.sites):
            values = kept[site.trace][site.node]
            values = values.mean(site.pooled, keepdim=True) if site.pooled else values
            dims = [site.dim] if site.blocks is None else [site.blocks, site.dim]
            values = values.movedim(dims, list(range(-len(dims), 0)))
            found[name, place] = values.flatten(-len(dims))[..., torch.from_numpy(site.places)]
    return found


@pytest.mark.parametrize(
    "name", ["experts", "einsum_attention", "mlp_mixer", "zero_padded", "densenet121", "swin"]
)
def test_what_is_seen_at_a_site_is_renumbered_with_the_group(name):
    torch.manual_seed(0)
    network, example = FAMILIES[name].build()
    network, example = network.double().eval(), example.double()
    symmetry = bb.discover(network, example, proof=False)
    permutation = bb.random_permutation(symmetry)
    moved = seen(symmetry, bb.permute(network, symmetry, permutation), example)
    places = flat_places(symmetry, permutation)
    for (group, place), values in seen(symmetry, network, example).items():
        rank = len(symmetry.groups[group].shape)
        wanted = values.flatten(-rank)[..., places[group]]
        torch.testing.assert_close(moved[group, place], wanted)


def test_what_another_group_stands_on_is_averaged():
    """Another group's order is not the same in two networks: samples along it do not match."""
    symmetry = symmetry_of("mlp_mixer")
    numbered = {}
    for group in symmetry.groups.values():
        for site in group.sites:
            numbered.setdefault((site.node, site.dim), set()).add(group.name)
    pooled = 0
    for group in symmetry.groups.values():
        for site in group.sites:
            others = {dim for node, dim in numbered if node == site.node and dim != site.dim}
            assert others <= set(site.pooled)
            pooled += bool(site.pooled)
    assert pooled


class Masked(nn.Module):
    """Heads whose insides are fixed, with an infinite mask in front of the softmax."""

    def __init__(self):
        super().__init__()
        self.logits, self.mix = nn.Parameter(torch.randn(3, 4)), nn.Parameter(torch.randn(3, 4))

    def forward(self, x):
        logits = torch.einsum("btd,hd,bsd->bhts", x, self.logits, x)
        mask = torch.full((x.shape[1], x.shape[1]), -torch.inf).triu(1)
        return torch.einsum("bhts,bsd,hd->btd", (logits + mask).softmax(-1), x, self.mix)


def test_logits_with_a_mask_of_infinities_are_no_site():
    torch.manual_seed(0)
    network, images = Masked(), torch.randn(9, 5, 4)
    symmetry = bb.discover(network, images[:2])
    ((name, group),) = symmetry.groups.items()
    assert group.size == 3
    assert all(site.startswith("einsum") for site in sites(symmetry)[name])
    moved = bb.permute(network, symmetry, {name: torch.tensor([2, 0, 1])})
    found = bb.align(network, moved, (images, torch.zeros(9)), symmetry)
    assert found[name].tolist() == [1, 2, 0]
