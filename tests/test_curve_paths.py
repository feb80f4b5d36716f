import copy
import itertools

import numpy as np
import pytest
import reference
import torch
from networks import bits, built, copy_of, inputs_for, same_bits
from torch import nn

import basinbridge as bb

CURVES = {
    "line": lambda a, b: bb.Linear.between(a, b),
    **{
        f"bezier-{degree}": lambda a, b, degree=degree: bb.Bezier.between(a, b, degree=degree)
        for degree in (1, 2, 3, 5)
    },
    **{
        f"chain-{bends}": lambda a, b, bends=bends: bb.PolyChain.between(a, b, bends=bends)
        for bends in (0, 1, 2, 6)
    },
}
TIMES = [0.0, 1e-9, 0.1, 1 / 3, 0.5, 0.71828, 0.999, 1.0]


def bent(kind, a, b, seed=0):
    """A curve whose inner control points are anywhere."""
    curve = CURVES[kind](a, b)
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(curve.points.shape, generator=generator).to(curve.points)
    points[0], points[-1] = curve.points[0], curve.points[-1]
    return curve.with_points(points)


def with_negative_zeros(network):
    for tensor in network.state_dict().values():
        if tensor.is_floating_point():
            tensor.ravel()[::3] = -0.0
    return network


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["mlp", "tinyten", "residual"])
@pytest.mark.parametrize("kind", CURVES)
def test_the_ends_are_the_endpoints_bit_for_bit(kind, name, dtype):
    start, end = (with_negative_zeros(built(name, seed=seed).to(dtype)) for seed in (0, 1))
    curve = bent(kind, start, end)
    for t, network in ((0.0, start), (1.0, end), (0, start), (1, end)):
        assert same_bits(curve.state_at(t), network)
        assert same_bits(curve.network_at(t), network)
        vector = curve.layout.flatten(network.state_dict())
        assert torch.equal(bits(curve.vector_at(t)), bits(vector))


@pytest.mark.parametrize("kind", [bb.Linear, bb.Bezier, bb.PolyChain])
def test_movable_ends_are_all_that_they_change(kind):
    start, end = built("mlp"), built("mlp", seed=1)
    fixed, free = (kind.between(start, end, movable_ends=movable) for movable in (False, True))
    assert torch.equal(bits(fixed.points), bits(free.points))
    assert free.movable == tuple(range(len(free.points)))
    assert fixed.movable == free.movable[1:-1]


@pytest.mark.parametrize("kind", CURVES)
def test_a_constant_curve_ends_where_it_starts(kind):
    network = built("tinyten")
    curve = CURVES[kind](network, network)
    for t in TIMES:
        torch.testing.assert_close(curve.vector_at(t), curve.points[0], rtol=1e-15, atol=0)


@pytest.mark.parametrize("t", TIMES)
@pytest.mark.parametrize("kind", CURVES)
def test_coefficients_are_a_weighted_mean(kind, t):
    curve = CURVES[kind](built("mlp"), built("mlp", seed=1))
    weights = curve.coefficients(t)
    assert weights.dtype == torch.float64
    assert weights.shape == curve.points.shape[:1]
    assert weights.min() >= 0
    assert float(weights.sum()) == pytest.approx(1, abs=1e-14)
    torch.testing.assert_close(curve.coefficients(1 - t), weights.flip(0), rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("t", TIMES)
@pytest.mark.parametrize("degree", [1, 2, 3, 5])
def test_a_bezier_curve_is_de_casteljaus(degree, t):
    curve = bent(f"bezier-{degree}", built("mlp"), built("mlp", seed=1))
    assert len(curve.points) == degree + 1
    wanted = reference.de_casteljau(curve.points, t)
    torch.testing.assert_close(curve.vector_at(t), wanted, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("t", TIMES)
def test_degree_two_is_equation_7(t):
    curve = bent("bezier-2", built("mlp"), built("mlp", seed=1))
    one, middle, two = curve.points
    wanted = (1 - t) ** 2 * one + 2 * (1 - t) * t * middle + t**2 * two
    torch.testing.assert_close(curve.vector_at(t), wanted, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("bends", [0, 1, 2, 6])
def test_a_chain_passes_its_bends_and_is_straight_between(bends):
    curve = bent(f"chain-{bends}", built("mlp"), built("mlp", seed=1))
    assert len(curve.points) == bends + 2
    for place, point in enumerate(curve.points):
        found = curve.vector_at(place / (bends + 1))
        torch.testing.assert_close(found, point, rtol=1e-12, atol=1e-14)
    for t in TIMES:
        wanted = reference.chain_point(curve.points, t)
        torch.testing.assert_close(curve.vector_at(t), wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("t", TIMES)
def test_a_line_is_the_interpolation(t):
    start, end = built("tinyten"), built("tinyten", seed=1)
    state = bb.Linear.between(start, end).state_at(t)
    for name, tensor in start.state_dict().items():
        if tensor.is_floating_point():
            wanted = (1 - t) * tensor + t * end.state_dict()[name]
            torch.testing.assert_close(state[name], wanted, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("kind", CURVES)
def test_inner_control_points_start_equally_spaced_on_the_line(kind):
    curve = CURVES[kind](built("mlp"), built("mlp", seed=1))
    last = len(curve.points) - 1
    assert curve.movable == tuple(range(1, last))
    for place, point in enumerate(curve.points):
        wanted = curve.points[0] + place / last * (curve.points[-1] - curve.points[0])
        torch.testing.assert_close(point, wanted, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["tinyten", "residual", "resnet32"])
def test_a_state_holds_all_tensors_in_their_types(name, dtype):
    start, end = built(name).to(dtype), built(name, seed=1).to(dtype)
    start.state_dict()[next(n for n in start.state_dict() if "num_batches" in n)].fill_(41)
    curve = bent("bezier-2", start, end)
    state = curve.state_at(0.3)
    assert list(state) == list(start.state_dict())
    for key, tensor in start.state_dict().items():
        assert state[key].dtype == tensor.dtype
        assert state[key].shape == tensor.shape
        if not tensor.is_floating_point():
            assert torch.equal(state[key], tensor)  # the start's
    views = curve.layout.views(reference.de_casteljau(curve.points, 0.3))
    for key, view in views.items():
        torch.testing.assert_close(state[key], view, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", CURVES)
def test_the_networks_given_and_taken_are_nobody_elses(kind):
    start, end = built("tinyten"), built("tinyten", seed=1)
    before = copy_of(start), copy_of(end)
    curve = bent(kind, start, end)
    points = curve.points.clone()
    for t in (0.0, 0.4, 1.0):
        for tensor in (*curve.state_at(t).values(), *copy_of(curve.network_at(t)).values()):
            tensor.fill_(3)
        curve.vector_at(t).fill_(3)
        curve.network_at(t).load_state_dict(built("tinyten", seed=7).state_dict())
    assert torch.equal(curve.points, points)
    assert same_bits(start, before[0])
    assert same_bits(end, before[1])
    assert same_bits(curve.network, start)


def test_the_end_may_be_a_state():
    start, end = built("mlp"), built("mlp", seed=1)
    one, other = (bb.Bezier.between(start, x) for x in (end, end.state_dict()))
    assert torch.equal(one.points, other.points)


def test_a_network_on_a_curve_computes_what_its_state_says():
    start, end = built("resnet32"), built("resnet32", seed=1)
    curve = CURVES["chain-2"](start, end)
    plain = copy.deepcopy(start)
    plain.load_state_dict(curve.state_at(0.37))
    inputs = inputs_for("resnet32", 2)
    assert torch.equal(curve.network_at(0.37)(inputs), plain(inputs))


@pytest.mark.parametrize("kind", CURVES)
def test_speed_is_the_length_of_the_derivative(kind):
    curve = bent(kind, built("tinyten"), built("tinyten", seed=1))
    count = curve.layout.parameters
    for t in (0.1, 0.45, 0.9):  # none of them a bend
        change = curve.vector_at(t + 1e-6) - curve.vector_at(t - 1e-6)
        wanted = float(change[:count].norm()) / 2e-6
        assert curve.speed(t) == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("kind", CURVES)
def test_arc_length_is_that_of_a_dense_polygon(kind):
    curve = bent(kind, built("mlp"), built("mlp", seed=1))
    points = curve.points[:, : curve.layout.parameters]
    path = reference.chain_point if kind.startswith("chain") else reference.de_casteljau
    times = [0.0, 0.2, 0.5, 1.0]
    wanted = [0.0]
    for early, late in itertools.pairwise(times):
        dense = torch.stack([path(points, t) for t in np.linspace(early, late, 1001)])
        wanted.append(wanted[-1] + float(dense.diff(dim=0).norm(dim=1).sum()))
    assert curve.arc_length(times, pieces=64) == pytest.approx(wanted, rel=1e-3)
    assert curve.arc_length(times) == pytest.approx(wanted, rel=5e-3)


def test_the_arc_length_of_a_line_is_the_distance():
    start, end = built("mlp"), built("mlp", seed=1)
    squares = [
        (one - other).square().sum()
        for one, other in zip(start.parameters(), end.parameters(), strict=True)
    ]
    wanted = float(sum(squares).detach().sqrt())
    for kind in ("line", "bezier-3", "chain-6"):
        lengths = CURVES[kind](start, end).arc_length([0.0, 0.3, 1.0])
        assert lengths[-1] == pytest.approx(wanted, rel=1e-12)
    assert bb.Linear.between(start, end).arc_length([0.0, 0.3])[1] == pytest.approx(0.3 * wanted)


@pytest.mark.parametrize("kind", CURVES)
@pytest.mark.parametrize("t", [-1e-9, 1 + 1e-9, 2, float("nan"), float("inf")])
def test_t_outside_is_refused(kind, t):
    curve = CURVES[kind](built("mlp"), built("mlp", seed=1))
    for ask in (curve.vector_at, curve.state_at, curve.network_at):
        with pytest.raises(bb.InputError, match="outside"):
            ask(t)


@pytest.mark.parametrize("kind", CURVES)
def test_another_architecture_is_told_by_its_first_tensor(kind):
    start = built("mlp")
    wider = nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 11)).double()
    with pytest.raises(bb.InputError, match=r"'2\.weight' is \[10, 12\] in the start"):
        CURVES[kind](start, wider)
    with pytest.raises(bb.InputError, match=r"no tensor '4\.weight'"):
        CURVES[kind](start, nn.Sequential(*list(built("mlp"))[:4]))
    with pytest.raises(bb.InputError, match=r"'0\.weight' is float64 in the start but float32"):
        CURVES[kind](start, built("mlp").float())


@pytest.mark.parametrize("kind", CURVES)
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("which", ["start", "end"])
def test_a_nan_in_an_endpoint_is_told(kind, value, which):
    ends = {"start": built("mlp"), "end": built("mlp", seed=1)}
    ends[which][2].bias.data[1] = value
    with pytest.raises(bb.InputError, match=rf"the {which}: tensor '2\.bias'"):
        CURVES[kind](ends["start"], ends["end"])


def test_a_curve_needs_two_control_points():
    start, end = built("mlp"), built("mlp", seed=1)
    with pytest.raises(bb.InputError, match="two control points"):
        bb.Bezier.between(start, end, degree=0)
    with pytest.raises(bb.InputError, match="two control points"):
        bb.PolyChain.between(start, end, bends=-1)
    with pytest.raises(bb.InputError, match="no bends"):
        bb.Linear.between(start, end, bends=1)
