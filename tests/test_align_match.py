import numpy as np
import pytest
import reference
import torch
from families import FAMILIES
from networks import NETWORKS, built, data_for, same_bits, symmetry_for
from torch import nn

import basinbridge as bb
from basinbridge.align.activations import gather
from basinbridge.align.assignment import match
from basinbridge.align.weights import match_weights
from basinbridge.symmetry.groups import Group, Symmetry

METHODS = ["correlation", "l2"]
SIDES = ["post", "pre"]
IMAGES = {"mlp": 60, "encoder": 30, "tinyten": 40, "googlenet": 20}


def images_for(name, seed=0):
    return data_for(name, IMAGES.get(name, 12), seed)


@pytest.mark.parametrize("activations", SIDES)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", NETWORKS)
def test_a_renumbered_copy_is_recognised_bit_for_bit(name, method, activations):
    network, symmetry = built(name), symmetry_for(name)
    renumbered = bb.permute(network, symmetry, bb.random_permutation(symmetry, seed=3))
    assert not same_bits(renumbered, network)
    found = bb.align(
        network,
        renumbered,
        images_for(name),
        symmetry,
        method=method,
        activations=activations,
    )
    assert same_bits(bb.permute(renumbered, symmetry, found), network)


@pytest.mark.parametrize("name", ["tinyten", "encoder"])
def test_a_renumbered_copy_is_recognised_in_single_precision_too(name):
    network, symmetry = built(name).float(), symmetry_for(name)
    renumbered = bb.permute(network, symmetry, bb.random_permutation(symmetry, seed=3))
    images, labels = images_for(name)
    found = bb.align(network, renumbered, (images.float(), labels), symmetry)
    assert same_bits(bb.permute(renumbered, symmetry, found), network)


def test_the_auxiliary_classifiers_are_aligned_with_the_rest():
    symmetry = symmetry_for("googlenet")
    moved = {name for group in symmetry.groups.values() for name, _ in group.tensors}
    assert {"auxiliary1.conv.conv.weight", "auxiliary2.hidden.weight"} <= moved


@pytest.mark.parametrize("activations", SIDES)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["mlp", "digits", "tinyten"])
def test_one_pass_equals_algorithm_1_layer_by_layer(name, method, activations):
    net_a, net_b, symmetry = built(name), built(name, seed=1), symmetry_for(name)
    data = images_for(name)
    found = bb.align(
        net_a, net_b, data, symmetry, method=method, activations=activations, batch_size=5
    )
    slow = reference.algorithm_1(net_a, net_b, data[0], method, activations)
    assert not same_bits(slow, net_b)
    assert same_bits(bb.permute(net_b, symmetry, found), slow)


@pytest.mark.parametrize("method", METHODS)
def test_a_residual_stream_takes_the_order_that_is_best_for_the_sum_of_its_sites(method):
    net_a, net_b, symmetry = built("residual"), built("residual", seed=1), symmetry_for("residual")
    data = images_for("residual")
    outputs = [[], []]
    for network, kept in zip((net_a, net_b), outputs, strict=True):
        hooks = [
            module.register_forward_hook(lambda _m, _i, output, kept=kept: kept.append(output))
            for module in (network.stem, *network.stages[0])
        ]
        with torch.no_grad():
            network(data[0])
        for hook in hooks:
            hook.remove()
    measure = reference.cross_correlation if method == "correlation" else reference.squared_distance
    parts = [
        measure(*(reference.samples_of(kept[place]) for kept in outputs)) for place in range(3)
    ]
    total = sum(parts) if method == "correlation" else -sum(parts)
    found = bb.align(net_a, net_b, data, symmetry, method=method)["stem.conv"].numpy()
    _, columns = reference.linear_sum_assignment(-total)
    np.testing.assert_array_equal(found, columns)
    alone = [
        reference.linear_sum_assignment(part * (1 if method == "l2" else -1))[1] for part in parts
    ]
    assert any(not np.array_equal(found, columns) for columns in alone)


@pytest.mark.parametrize("seed", range(5))
def test_a_match_is_the_best_of_all_orders(seed):
    symmetry = symmetry_for("mlp")
    generator = torch.Generator().manual_seed(seed)
    scores = dict.fromkeys(symmetry.groups)
    small = torch.randn(6, 6, generator=generator, dtype=torch.float64)
    name, group = next(iter(symmetry.groups.items()))
    padded = torch.full((group.size, group.size), -100.0, dtype=torch.float64)
    padded.fill_diagonal_(100)
    padded[:6, :6] = small
    scores[name] = padded
    found = match(symmetry, scores)
    best, _ = reference.best_order(small.numpy())
    assert found[name].tolist() == [*best, *range(6, group.size)]
    others = [other for other in symmetry.groups if other != name]
    assert all(torch.equal(found[o], torch.arange(len(found[o]))) for o in others)


# Groups by name, each with its shape and the blocks around it.
TREES = {
    "flat": {"a": ((4,), None), "b": ((3,), None)},
    "heads": {"heads": ((3,), None), "qk": ((3, 2), "heads"), "v": ((3, 3), "heads")},
    "blocks next to others": {
        "outer": ((2,), None),
        "inner": ((2, 3), "outer"),
        "blocks": ((2, 2), "outer"),
        "one": ((2, 2, 2), "blocks"),
    },
    "two in blocks of blocks": {
        "outer": ((2,), None),
        "blocks": ((2, 2), "outer"),
        "one": ((2, 2, 2), "blocks"),
        "two": ((2, 2, 2), "blocks"),
    },
}


def symmetry_of(tree):
    groups = {n: Group(n, shape[-1], shape, up, (), ()) for n, (shape, up) in tree.items()}
    return Symmetry(groups, 1.0, {}, (), {}, None, ())


@pytest.mark.parametrize("silent", ["nothing", "blocks", "insides"])
@pytest.mark.parametrize("name", TREES)
def test_blocks_are_matched_with_their_insides_as_well_as_trying_all_orders_can(name, silent):
    tree = TREES[name]
    parents = {up for _, up in tree.values()}
    generator = torch.Generator().manual_seed(len(name))
    scores = {}
    for group, (shape, up) in tree.items():
        drawn = torch.randn(*shape, *shape, generator=generator, dtype=torch.float64)
        kind = "blocks" if group in parents else "insides" if up is not None else "flat"
        scores[group] = None if kind == silent else drawn
    found = match(symmetry_of(tree), scores)
    tables = {group: None if s is None else s.numpy() for group, s in scores.items()}
    reached = reference.total_score(tree, tables, found)
    best = max(reference.total_score(tree, tables, p) for p in reference.all_permutations(tree))
    assert reached == pytest.approx(best, rel=1e-12)


class Attention(nn.Module):
    """Two heads between an input and an output that are fixed."""

    def __init__(self):
        super().__init__()
        self.attend = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x):
        return self.attend(x, x, x, need_weights=False)[0]


def groups_in_groups():
    return nn.Sequential(
        nn.Conv2d(3, 4, 1),
        nn.Tanh(),
        nn.Conv2d(4, 8, 1, groups=2),
        nn.Tanh(),
        nn.Conv2d(8, 4, 1, groups=4),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(16, 2),
    )


SMALL = {"heads": (Attention, (3, 4)), "groups in groups": (groups_in_groups, (3, 2, 2))}


def small_pair(name):
    build, shape = SMALL[name]
    networks = build().double(), build().double()
    data = torch.randn(12, *shape, dtype=torch.float64), torch.zeros(12)
    symmetry = bb.discover(networks[0], data[0][:2])
    tree = {n: (group.shape, group.parent) for n, group in symmetry.groups.items()}
    assert sum(up is None for _, up in tree.values()) == 1
    return *networks, data, symmetry, tree


@pytest.mark.parametrize("method", ["correlation", "l2", "optimal-transport"])
@pytest.mark.parametrize("name", SMALL)
def test_a_method_finds_the_best_of_all_permutations_of_blocks_and_insides(name, method):
    net_a, net_b, data, symmetry, tree = small_pair(name)
    scores = {}
    for group, entries in gather(net_a, net_b, data, symmetry).items():
        tables = [
            moments.correlation() if method == "correlation" else -moments.squared_distance()
            for _, moments in entries
        ]
        total = sum(tables) if tables else None
        if method == "optimal-transport" and tables:
            total = -(-total).sqrt()
        shape = tree[group][0]
        scores[group] = None if total is None else total.reshape(*shape, *shape).numpy()
    found = bb.align(net_a, net_b, data, symmetry, method=method)
    totals = [reference.total_score(tree, scores, p) for p in reference.all_permutations(tree)]
    assert reference.total_score(tree, scores, found) == pytest.approx(max(totals), rel=1e-9)
    assert len(totals) > 30


def test_weights_find_the_best_of_all_permutations_of_heads_and_their_insides():
    net_a, net_b, data, symmetry, tree = small_pair("heads")

    def product(permutation):
        places = {name: torch.as_tensor(order) for name, order in permutation.items()}
        moved = bb.permute(net_b, symmetry, places)
        pairs = zip(net_a.parameters(), moved.parameters(), strict=True)
        return sum(float((one * other).detach().sum()) for one, other in pairs)

    found = bb.align(net_a, net_b, data, symmetry, method="weights")
    best = max(map(product, reference.all_permutations(tree)))
    assert product(found) == pytest.approx(best, rel=1e-12)


def test_no_scores_leave_every_order_as_it_is():
    symmetry = symmetry_for("encoder")
    found = match(symmetry, dict.fromkeys(symmetry.groups))
    identity = bb.identity_permutation(symmetry)
    assert all(torch.equal(found[name], identity[name]) for name in symmetry.groups)


@pytest.mark.parametrize("name", NETWORKS)
def test_alignment_never_lowers_the_mean_correlation_nor_raises_the_distance(name):
    net_a, net_b, symmetry = built(name), built(name, seed=1), symmetry_for(name)
    data = images_for(name)
    methods = (("correlation", 1), ("l2", -1))
    for method, sign in methods[:1] if name == "googlenet" else methods:
        found = bb.align(net_a, net_b, data, symmetry, method=method)
        aligned = bb.permute(net_b, symmetry, found)
        before, after = (matched(net_a, net, data, symmetry, method) for net in (net_b, aligned))
        tops = [group.name for group in symmetry.groups.values() if group.parent is None]
        better = 0
        for top in tops:
            family = [top]
            for name, group in symmetry.groups.items():
                family += [name] if group.parent in family else []
            gain = sign * sum(after[n] - before[n] for n in family)
            assert gain > -1e-9
            better += gain > 1e-3
        assert better > len(tops) / 2


def matched(net_a, net_b, data, symmetry, method):
    """For every group the sum over sites of the mean correlation (or distance) at equal numbers."""
    found = {}
    for name, entries in gather(net_a, net_b, data, symmetry).items():
        tables = [
            moments.correlation() if method == "correlation" else moments.squared_distance()
            for _, moments in entries
        ]
        found[name] = sum(float(table.diagonal().mean()) for table in tables)
    return found


def test_the_wrong_method_or_side_is_refused():
    networks, symmetry = (built("mlp"), built("mlp", seed=1)), symmetry_for("mlp")
    with pytest.raises(bb.InputError, match="'cosine'"):
        bb.align(*networks, images_for("mlp"), symmetry, method="cosine")
    with pytest.raises(bb.InputError, match="'middle'"):
        bb.align(*networks, images_for("mlp"), symmetry, activations="middle")


@pytest.mark.parametrize("method", METHODS)
def test_a_nan_in_a_network_is_told_with_its_group(method):
    net_a, net_b, symmetry = built("mlp"), built("mlp", seed=1), symmetry_for("mlp")
    net_b[0].weight.data[0, 0] = torch.nan
    with pytest.raises(bb.InputError, match="group '0'"):
        bb.align(net_a, net_b, images_for("mlp"), symmetry, method=method)


# Families of the usual kinds; those without dead neurons at their ReLUs' inputs recognise copies.
FAMILIES_TO_RECOGNISE = """
alexnet resnet18 ghostnet multiplied_depthwise resnet_group_norm resnet_instance_norm inception_v3
cross_stage_partial convnext_v2 deit gpt2 t5 swin lstm_bidirectional gru cells mlp_mixer experts
""".split()


@pytest.mark.parametrize("name", FAMILIES_TO_RECOGNISE)
def test_a_renumbered_copy_of_any_family_is_recognised(name):
    network, example = FAMILIES[name].build()
    symmetry = bb.discover(network, example, proof=False)
    network.double().eval()
    for parameter in network.parameters():  # no two neurons alike, and none silent
        fan_in = max(parameter[0].numel(), 1) if parameter.ndim > 1 else 4
        parameter.data += torch.randn_like(parameter) / fan_in**0.5
    inputs = tuple(
        torch.randn(16, *one.shape[1:], dtype=torch.float64)
        if one.is_floating_point()
        else torch.randint(int(one.max()) + 1, (16, *one.shape[1:]))
        for one in (example if isinstance(example, tuple) else (example,))
    )
    renumbered = bb.permute(network, symmetry, bb.random_permutation(symmetry, seed=1))
    assert not same_bits(renumbered, network)
    data = [(inputs, torch.zeros(16))]
    found = bb.align(network, renumbered, data, symmetry, activations="pre")
    assert same_bits(bb.permute(renumbered, symmetry, found), network)


def test_a_group_that_cannot_be_seen_is_matched_by_its_weights():
    """The first layer of a stacked GRU: with the second and the embedding in place."""
    network, example = FAMILIES["gru"].build()
    symmetry = bb.discover(network, example, proof=False)
    unseen = [name for name, group in symmetry.groups.items() if not group.sites]
    assert unseen == ["core"]
    torch.manual_seed(5)
    other = FAMILIES["gru"].build()[0]
    tokens = torch.randint(int(example.max()) + 1, (30, example.shape[1]))
    found = bb.align(network, other, (tokens, torch.zeros(30)), symmetry)
    seen = {**found, "core": bb.identity_permutation(symmetry)["core"]}
    parts = (dict(net.named_parameters()) for net in (network, bb.permute(other, symmetry, seen)))
    rest = match_weights(*parts, symmetry, groups=unseen)
    assert torch.equal(found["core"], rest["core"])
    assert all(
        torch.equal(rest[name], torch.arange(len(rest[name]))) for name in ("embed", "core-2")
    )
    assert not torch.equal(found["core"], seen["core"])
