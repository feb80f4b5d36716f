import numpy as np
import pytest
import reference
import torch
from networks import built, data_for, symmetry_for
from torch import nn

import basinbridge as bb
from basinbridge.align.activations import Moments
from basinbridge.evaluate.signature import GramMoments, Signature, signature, signature_along


def naive_cka(one, other):
    """The definition through n x n kernels and the centring matrix."""
    count = len(one)
    centring = np.eye(count) - np.ones((count, count)) / count
    kernels = [centring @ (x @ x.T) @ centring for x in (one, other)]
    inner = [
        np.trace(kernels[a] @ kernels[b]) / (count - 1) ** 2 for a, b in ((0, 1), (0, 0), (1, 1))
    ]
    return inner[0] / np.sqrt(inner[1] * inner[2])


@pytest.mark.parametrize("name", ["mlp", "tinyten"])
def test_entries_are_the_naive_ones_layer_by_layer(name):
    net_a, net_b, symmetry = built(name), built(name, seed=1), symmetry_for(name)
    data = data_for(name, 8)
    order = bb.align(net_a, net_b, data, symmetry)
    found = bb.signature(net_a, net_b, data, symmetry, order, batch_size=3)
    assert found.layers == (*symmetry.groups, "logits")
    for depth, group in enumerate(symmetry.groups):
        one, other = (
            reference.samples_of(reference.activations_behind(net, data[0], depth)[1])
            for net in (net_a, net_b)
        )
        table = reference.cross_correlation(one, other)
        renumbered = table[:, order[group].numpy()]
        assert found.before[depth] == pytest.approx(np.diag(table).mean(), abs=1e-9)
        assert found.after[depth] == pytest.approx(np.diag(renumbered).mean(), abs=1e-9)
        assert found.cka[depth] == pytest.approx(naive_cka(one, other), abs=1e-9)
    with torch.no_grad():
        one, other = (net(data[0]).numpy() for net in (net_a, net_b))
    expected = np.diag(reference.cross_correlation(one, other)).mean()
    assert found.before[-1] == pytest.approx(expected)
    assert found.after[-1] == pytest.approx(expected)


@pytest.mark.parametrize("name", ["digits", "residual", "encoder"])
def test_after_is_the_before_of_the_renumbered_network(name):
    net_a, net_b, symmetry = built(name), built(name, seed=1), symmetry_for(name)
    data = data_for(name, 6)
    order = bb.random_permutation(symmetry, seed=3)
    found = bb.signature(net_a, net_b, data, symmetry, order)
    moved = bb.signature(net_a, bb.permute(net_b, symmetry, order), data, symmetry, order)
    assert found.after == pytest.approx(moved.before, abs=1e-9)
    assert found.cka == pytest.approx(moved.cka, abs=1e-9)
    assert found.before != pytest.approx(moved.before, abs=1e-3)


def test_without_a_permutation_the_best_one_for_the_data_is_taken():
    net_a, net_b, symmetry = built("digits"), built("digits", seed=1), symmetry_for("digits")
    data = data_for("digits", 20)
    best = bb.align(net_a, net_b, data, symmetry)
    assert signature(net_a, net_b, data, symmetry) == signature(net_a, net_b, data, symmetry, best)


def test_a_renumbered_copy_is_wholly_alike():
    network, symmetry = built("encoder"), symmetry_for("encoder")
    other = bb.permute(network, symmetry, bb.random_permutation(symmetry, seed=1))
    found = bb.signature(network, other, data_for("encoder", 8), symmetry)
    assert found.after == pytest.approx([1.0] * len(found.layers))
    assert found.cka == pytest.approx([1.0] * len(found.layers))
    assert min(found.before) < 0.9


def test_kernel_alignment_ignores_rotation_and_scale_but_not_other_maps():
    generator = torch.Generator().manual_seed(0)
    one = torch.randn(40, 5, generator=generator, dtype=torch.float64) + 3
    rotation, _ = torch.linalg.qr(torch.randn(5, 5, generator=generator, dtype=torch.float64))
    for other, alike in (
        (2 * one @ rotation + 7, True),
        (one * torch.arange(1, 6), False),
        (torch.full_like(one, 4.0), None),
    ):
        moments = GramMoments()
        for start in range(0, 40, 8):
            moments.update(one[start : start + 8], other[start : start + 8])
        cka = float(moments.linear_cka())
        if alike is None:
            assert cka == 0
        else:
            assert cka == pytest.approx(naive_cka(one.numpy(), other.numpy()))
            assert (cka > 1 - 1e-12) == alike
        plain = Moments()
        plain.update(one, other)
        assert torch.allclose(plain.correlation(), moments.correlation())


def test_along_a_curve_the_middle_is_compared_with_both_ends():
    net_a, net_b, symmetry = built("digits"), built("digits", seed=1), symmetry_for("digits")
    data = data_for("digits", 12)
    line = bb.Linear.between(net_a, net_b)
    start, end = signature_along(line, data, symmetry, t=0.25)
    middle = line.network_at(0.25)
    assert start == signature(net_a, middle, data, symmetry)
    assert end == signature(net_b, middle, data, symmetry)
    same, _ = signature_along(line, data, symmetry, t=0.0)
    assert same.before == pytest.approx([1.0] * len(same.layers))
    shifted, _ = signature_along(line, data, symmetry, t=0.25, batchnorm_data=data)
    assert shifted != start


def test_under_attack_each_network_sees_its_own_images():
    net_a, net_b, symmetry = built("digits"), built("digits", seed=1), symmetry_for("digits")
    inputs, labels = data_for("digits", 24)
    data = torch.sigmoid(inputs), labels
    attack = bb.Attack(epsilon=0.2, step=0.1, steps=2, random_start=False)
    found = signature(net_a, net_b, data, symmetry, attack=attack)
    with torch.no_grad():
        one, other = (net.eval()(attack(net.eval(), *data)).numpy() for net in (net_a, net_b))
    expected = np.diag(reference.cross_correlation(one, other)).mean()
    assert found.before[-1] == pytest.approx(expected)
    assert found.before[-1] != pytest.approx(signature(net_a, net_b, data, symmetry).before[-1])
    line = bb.Linear.between(net_a, net_b)
    start, _ = signature_along(line, data, symmetry, t=0.25, attack=attack)
    assert start == signature(net_a, line.network_at(0.25), data, symmetry, attack=attack)
    settled, _ = (
        signature_along(line, data, symmetry, batchnorm_data=data, attack=one)
        for one in (attack, None)
    )
    assert settled != start


def test_it_prints_a_line_for_each_layer_and_the_mean_over_groups():
    shown = str(Signature(("a", "b", "logits"), (0.25, 0.75, 0.1), (1, 1, 0.1), (1, 0.5, 0.9)))
    lines = shown.splitlines()
    assert len(lines) == 5
    assert lines[-1].split()[-3:] == ["0.500", "1.000", "0.750"]


def test_a_network_that_returns_its_input_is_refused():
    network = nn.Identity()
    trivial = bb.discover(network, torch.zeros(2, 2))
    with pytest.raises(bb.InputError, match="no output"):
        signature(network, network, data_for("mlp", 4), trivial)
