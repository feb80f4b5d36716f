import copy

import numpy as np
import pytest
import reference
import torch
from networks import built, data_for, inputs_for, symmetry_for
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import basinbridge as bb
from basinbridge.align.activations import Moments, gather, sites_of


def moments_of(one, other, batch=7):
    moments = Moments()
    for pair in zip(one.split(batch), other.split(batch), strict=True):
        moments.update(*pair)
    return moments


def two_samples(count=60, channels=4, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    one = torch.randn(count, channels, generator=generator, dtype=dtype)
    mixture = torch.randn(channels, channels, generator=generator, dtype=dtype)
    return one, one @ mixture + torch.randn(count, channels, generator=generator, dtype=dtype) + 3


def test_moments_are_the_covariance_the_correlation_and_the_squared_distance():
    one, other = two_samples()
    moments = moments_of(one, other)
    x, y = (values.numpy() for values in (one, other))
    covariance, x_variance, y_variance = moments.covariance()
    wanted = (x - x.mean(0)).T @ (y - y.mean(0)) / len(x)
    np.testing.assert_allclose(covariance, wanted, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(x_variance, x.var(0), rtol=1e-12)
    np.testing.assert_allclose(y_variance, y.var(0), rtol=1e-12)
    np.testing.assert_allclose(torch.stack(moments.means()), [x.mean(0), y.mean(0)], rtol=1e-12)
    np.testing.assert_allclose(moments.correlation(), reference.cross_correlation(x, y), rtol=1e-11)
    np.testing.assert_allclose(moments.correlation(), np.corrcoef(x.T, y.T)[:4, 4:], rtol=1e-11)
    np.testing.assert_allclose(
        moments.squared_distance(), reference.squared_distance(x, y), rtol=1e-12
    )


@pytest.mark.parametrize("batch", [1, 3, 59, 60])
def test_how_samples_are_cut_into_batches_does_not_matter(batch):
    one, other = two_samples()
    whole, cut = moments_of(one, other, 60), moments_of(one, other, batch)
    for read in (Moments.correlation, Moments.squared_distance):
        torch.testing.assert_close(read(cut), read(whole), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("mean", [1e3, 1e6, -1e8])
def test_a_large_mean_costs_no_digits(mean):
    one, other = two_samples(dtype=torch.float64)
    far = moments_of(one + mean, other - mean).correlation()
    # The inputs themselves round at |mean| * 1e-16.
    torch.testing.assert_close(
        far, moments_of(one, other).correlation(), rtol=0, atol=abs(mean) * 1e-14
    )


def test_float32_samples_are_accumulated_in_float64():
    one, other = two_samples(count=4000, dtype=torch.float32)
    moments = moments_of(one + 100, other - 100, batch=10)
    assert moments.correlation().dtype == torch.float64
    x, y = ((values + shift).double().numpy() for values, shift in ((one, 100), (other, -100)))
    np.testing.assert_allclose(
        moments.correlation(), np.corrcoef(x.T, y.T)[:4, 4:], rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("value", [0.0, 0.1, -3.7, 1e-20, 12345.678, 1 / 3])
@pytest.mark.parametrize("count", [50, 1237])
def test_a_constant_channel_correlates_with_nothing(dtype, value, count):
    one, other = two_samples(count, dtype=dtype)
    one[:, 1] = value
    other[:, 2] = value
    found = moments_of(one, other, batch=137).correlation()
    assert found[1].abs().max() == 0
    assert found[:, 2].abs().max() == 0
    found[1] = found[:, 2] = 1
    assert found.abs().min() > 1e-4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_channel_constant_but_for_rounding_counts_as_constant(dtype):
    one, other = two_samples(200, dtype=dtype)
    value = torch.tensor(-3.7, dtype=dtype)
    one[:, 1] = value
    one[::3, 1] = torch.nextafter(value, torch.zeros_like(value))
    assert len(one[:, 1].unique()) == 2
    assert moments_of(one, other, batch=37).correlation()[1].abs().max() == 0


def test_a_channel_far_smaller_than_the_others_still_correlates():
    one, other = two_samples()
    small = one.clone()
    small[:, 0] *= 1e-15
    torch.testing.assert_close(
        moments_of(small, other).correlation(), moments_of(one, other).correlation()
    )


def all_at_once(networks, symmetry, name, images, kind):
    """Samples of both networks at every site of a group: one run on all images, all kept."""
    found = []
    for site in sites_of(symmetry.groups[name].sites, kind):
        pair = []
        for network in networks:
            kept = {}
            with torch.no_grad():
                symmetry.traces[site.trace].run(
                    network.state_dict(),
                    (images,),
                    lambda node, result, kept=kept: kept.update({node: result}),
                )
            values = kept[site.node].movedim(site.dim, -1).flatten(0, -2).numpy()
            pair.append(values[:, site.places.ravel()])
        found.append(pair)
    return found


@pytest.mark.parametrize("kind", ["post", "pre"])
@pytest.mark.parametrize(
    "name", ["mlp", "digits", "tinyten", "residual", "grouped", "nested", "encoder"]
)
def test_one_streamed_pass_equals_reading_one_site_after_the_other(name, kind):
    networks, symmetry = (built(name), built(name, seed=1)), symmetry_for(name)
    data = data_for(name, 11)
    gathered = gather(*networks, data, symmetry, kind=kind, batch_size=4)
    assert set(gathered) == set(symmetry.groups)
    for group, entries in gathered.items():
        wanted = all_at_once(networks, symmetry, group, data[0], kind)
        assert len(wanted) == len(entries)
        for (_, moments), (one, other) in zip(entries, wanted, strict=True):
            assert moments.count == len(one)
            np.testing.assert_allclose(
                moments.correlation(), reference.cross_correlation(one, other), atol=1e-11
            )


@pytest.mark.parametrize("name", ["mlp", "digits", "tinyten"])
@pytest.mark.parametrize("kind", ["post", "pre"])
def test_sites_are_where_ordinary_calls_of_the_layers_find_the_activations(name, kind):
    networks, symmetry = (built(name), built(name, seed=1)), symmetry_for(name)
    data = data_for(name, 6)
    gathered = gather(*networks, data, symmetry, kind=kind, batch_size=4)
    place = ("pre", "post").index(kind)
    for depth, entries in enumerate(gathered.values()):
        ((_, moments),) = entries
        one, other = (
            reference.samples_of(reference.activations_behind(net, data[0], depth)[place])
            for net in networks
        )
        np.testing.assert_allclose(
            moments.correlation(), reference.cross_correlation(one, other), atol=1e-11
        )


def test_a_residual_stream_is_read_after_every_addition():
    networks, symmetry = (built("residual"), built("residual", seed=1)), symmetry_for("residual")
    data = data_for("residual", 5)
    seen = [{}, {}]
    for network, kept in zip(networks, seen, strict=True):
        for module in (network.stem, *(block for stage in network.stages for block in stage)):
            module.register_forward_hook(
                lambda module, _inputs, output, kept=kept: kept.update({len(kept): output})
            )
        with torch.no_grad():
            network(data[0])
    # The stem and two blocks; two blocks; two blocks.
    streams = {"stem.conv.weight": [0, 1, 2]}
    streams |= {f"stages.{s}.0.shortcut.conv.weight": [2 * s + 1, 2 * s + 2] for s in (1, 2)}
    gathered = gather(built("residual"), built("residual", seed=1), data, symmetry)
    for tensor, places in streams.items():
        (name,) = (n for n, g in symmetry.groups.items() if (tensor, 0) in g.tensors)
        assert len(gathered[name]) == len(places)
        for (_, moments), place in zip(gathered[name], places, strict=True):
            one, other = (reference.samples_of(kept[place].detach()) for kept in seen)
            np.testing.assert_allclose(
                moments.correlation(), reference.cross_correlation(one, other), atol=1e-11
            )


def convolutions(in_place):
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=in_place),
        nn.Conv2d(4, 5, 1),
        nn.ReLU(inplace=in_place),
        nn.Flatten(),
        nn.Linear(5 * 16, 3),
    ).double()


@pytest.mark.parametrize("kind", ["post", "pre"])
def test_a_relu_in_place_does_not_overwrite_what_is_read_before_it(kind):
    data = torch.randn(9, 3, 6, 6, dtype=torch.float64), torch.zeros(9)
    plain = convolutions(False), convolutions(False)
    for network in plain:
        for layer in (network[1], network[3]):
            nn.init.constant_(layer.bias, -2.0)  # so that means are below zero before a ReLU
            nn.init.constant_(layer.bias[:1], 0.5)
    found = []
    for in_place in (False, True):
        networks = convolutions(in_place), convolutions(in_place)
        for network, source in zip(networks, plain, strict=True):
            network.load_state_dict(source.state_dict())
        symmetry = bb.discover(networks[0], data[0][:2])
        gathered = gather(*networks, data, symmetry, kind=kind, batch_size=4)
        found.append([moments for entries in gathered.values() for _, moments in entries])
    assert len(found[0]) == len(found[1]) == 2
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one.correlation(), other.correlation(), rtol=0, atol=0)
        assert (one.means()[0].min() < 0) == (kind == "pre")


def test_pre_and_post_are_two_sides_of_the_nonlinearity():
    networks, symmetry = (built("mlp"), built("mlp", seed=1)), symmetry_for("mlp")
    data = data_for("mlp", 30)
    pre, post = (gather(*networks, data, symmetry, kind=kind) for kind in ("pre", "post"))
    for group in symmetry.groups:
        ((_, before),), ((_, behind),) = pre[group], post[group]
        assert (before.means()[0] <= behind.means()[0]).all()
        assert not torch.equal(before.means()[0], behind.means()[0])
        assert not torch.allclose(before.correlation(), behind.correlation())


class CountsInPython(nn.Module):
    """Its graph holds for one batch size only, which it reads as a plain number."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 6)
        self.second = nn.Linear(6, 3)

    def forward(self, inputs):
        hidden = torch.tanh(self.first(inputs))
        return self.second(hidden.view(int(inputs.shape[0]), 6))


def test_a_graph_of_one_batch_size_is_made_anew_for_every_other():
    torch.manual_seed(0)
    network = CountsInPython().double()
    symmetry = bb.discover(network, torch.randn(2, 4, dtype=torch.float64))
    assert not symmetry.traces[0].any_batch
    data = torch.randn(8, 4, dtype=torch.float64), torch.zeros(8)
    other = CountsInPython().double()
    gathered = gather(network, other, data, symmetry, batch_size=3)
    ((_, moments),) = gathered["first"]
    one, two = (torch.tanh(net.first(data[0])).detach().numpy() for net in (network, other))
    assert moments.count == 8
    np.testing.assert_allclose(
        moments.correlation(), reference.cross_correlation(one, two), atol=1e-12
    )


def test_alignment_needs_two_inputs_and_one_architecture():
    networks, symmetry = (built("mlp"), built("mlp", seed=1)), symmetry_for("mlp")
    with pytest.raises(bb.InputError, match="at least two inputs"):
        gather(*networks, data_for("mlp", 1), symmetry)
    with pytest.raises(bb.InputError, match=r"'0\.weight'"):
        gather(networks[0], nn.Sequential(nn.Linear(2, 2)), data_for("mlp", 3), symmetry)


def test_under_attack_each_network_sees_the_images_that_it_is_attacked_with():
    networks = [built("mlp").train(), built("mlp", seed=1)]
    inputs, labels = data_for("mlp", 24)
    inputs = torch.sigmoid(inputs)
    attack = bb.Attack(epsilon=0.2, step=0.1, steps=3, random_start=False)
    found = gather(*networks, (inputs, labels), symmetry_for("mlp"), batch_size=10, attack=attack)
    hidden = [
        reference.activations_behind(
            copy.deepcopy(network), attack(copy.deepcopy(network).eval(), inputs, labels), 0
        )[1]
        for network in networks
    ]
    one, other = (reference.samples_of(values) for values in hidden)
    [(_, moments)] = found["0"]
    np.testing.assert_allclose(
        moments.correlation(), reference.cross_correlation(one, other), rtol=1e-9, atol=1e-12
    )
    plain = gather(*networks, (inputs, labels), symmetry_for("mlp"), batch_size=10)
    assert not np.allclose(moments.correlation(), plain["0"][0][1].correlation(), atol=1e-3)
    assert networks[0].training


def test_random_starts_are_the_same_every_time_that_networks_are_aligned():
    networks, (inputs, labels) = [built("mlp"), built("mlp", seed=1)], data_for("mlp", 24)
    data, attack = (torch.sigmoid(inputs), labels), bb.Attack(epsilon=0.2, step=0.1)
    one, other = (
        gather(*networks, data, symmetry_for("mlp"), attack=attack)["0"][0][1].correlation()
        for _ in range(2)
    )
    assert torch.equal(one, other)


def test_reading_leaves_the_networks_as_they_are():
    network = built("tinyten").train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    gather(network, built("tinyten", seed=1), data_for("tinyten", 4), symmetry_for("tinyten"))
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert all(module.training for module in network.modules())
    assert inputs_for("tinyten", 2).shape == (2, 3, 12, 12)


@pytest.mark.parametrize(("width", "stride"), [(512, 1), (513, 2), (1030, 3)])
def test_of_wide_activations_only_every_kth_position_is_read(width, stride):
    networks = [nn.Sequential(nn.Linear(3, width), nn.Tanh(), nn.Linear(width, 2)) for _ in "ab"]
    inputs = torch.randn(4, 5, 3)
    symmetry = bb.discover(networks[0], inputs[:2])
    ((_, moments),) = gather(*networks, (inputs, torch.zeros(4)), symmetry)["0"]
    one, other = (net[:2](inputs).detach().flatten(0, 1)[::stride] for net in networks)
    assert moments.count == len(one)
    wanted = Moments()
    wanted.update(one, other)
    torch.testing.assert_close(moments.correlation(), wanted.correlation())


def test_a_loader_gives_what_whole_tensors_give():
    nets, symmetry = [built("digits"), built("digits", seed=1)], symmetry_for("digits")
    data = data_for("digits", 30)
    loader = DataLoader(TensorDataset(*data), batch_size=7)
    for name, scores in correlations(nets, loader, symmetry).items():
        whole = correlations(nets, data, symmetry)[name]
        torch.testing.assert_close(scores, whole, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_moments_of_16_bit_networks_neither_overflow_nor_stall(dtype):
    """Squares of 300 overflow float16, and bfloat16 cannot count beyond 256 by ones."""
    one, other = (300 * samples / samples.abs().max() for samples in two_samples(2000))
    rounded = [samples.to(dtype) for samples in (one, other)]
    moments = moments_of(*rounded, batch=500)
    x, y = (samples.double().numpy() for samples in rounded)
    np.testing.assert_allclose(moments.correlation(), reference.cross_correlation(x, y), atol=1e-5)


def test_a_network_of_16_bits_is_aligned_with_its_renumbered_copy():
    net, symmetry = built("mlp").to(torch.bfloat16), symmetry_for("mlp")
    inputs, labels = data_for("mlp", 200)
    wanted = bb.random_permutation(symmetry, seed=3)
    found = bb.align(
        bb.permute(net, symmetry, wanted), net, (inputs.to(torch.bfloat16), labels), symmetry
    )
    for name in symmetry.groups:
        assert np.array_equal(found[name], wanted[name])


class TwoInputs(nn.Module):
    """The difference of its inputs tells which came first."""

    def __init__(self):
        super().__init__()
        self.hidden, self.head = nn.Linear(4, 6), nn.Linear(6, 2)

    def forward(self, left, right):
        return self.head(torch.tanh(self.hidden(left - 3 * right)))


def test_inputs_come_as_a_tuple_or_by_name_in_any_order():
    nets = [TwoInputs().double() for _ in range(2)]
    left, right = torch.randn(2, 20, 4, dtype=torch.float64)
    symmetry = bb.discover(nets[0], (left[:2], right[:2]))
    labels = torch.zeros(20)
    batches = ((left, right), {"left": left, "right": right}, {"right": right, "left": left})
    first, *others = (correlations(nets, [(inputs, labels)], symmetry) for inputs in batches)
    for other in others:
        for name, scores in first.items():
            assert torch.equal(scores, other[name])


def test_a_neuron_that_never_fires_correlates_with_nothing_and_still_gets_a_place():
    net = built("mlp")
    symmetry = symmetry_for("mlp")
    layer = next(module for module in net.modules() if isinstance(module, nn.Linear))
    with torch.no_grad():
        layer.bias[0] = -1e6
    nets, data = [net, built("mlp", seed=1)], data_for("mlp", 50)
    name, scores = next(iter(correlations(nets, data, symmetry).items()))
    assert not scores[0].any()
    found = [bb.align(*nets, data, symmetry)[name] for _ in range(2)]
    assert sorted(found[0]) == list(range(len(scores)))
    assert np.array_equal(*found)


def correlations(nets, data, symmetry):
    """The first site's correlations of every group."""
    found = gather(*nets, data, symmetry)
    return {name: entries[0][1].correlation() for name, entries in found.items()}
