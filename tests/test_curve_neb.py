import itertools

import pytest
import torch
from networks import bits, built, copy_of, data_for, same_bits
from torch import nn

import basinbridge as bb
from basinbridge.curve.neb import fit_chain, nudge, spread

NOTHING = torch.zeros(8, 1), torch.zeros(8, dtype=torch.long)


class Point(nn.Module):
    """A network of two weights, x and y, whose output is the height of a landscape there."""

    def __init__(self, x, y, landscape):
        super().__init__()
        self.place = nn.Parameter(torch.tensor([x, y], dtype=torch.float64))
        self.landscape = landscape

    def forward(self, inputs):
        return self.landscape(*self.place)


def ring(x, y):
    """A round valley of radius 1 with a hill inside, its top a little below the centre."""
    return (x**2 + y**2 - 1) ** 2 + torch.exp(-3 * (x**2 + (y + 0.1) ** 2))


def slope(x, y):
    """Down along x, and a valley along y = 0."""
    return 2 * x + y**2


def height(network, inputs, labels):
    return network(inputs)


def relaxed(landscape, start=(-1.0, 0.0), end=(1.0, 0.0), bends=3, points=None, **settings):
    chain = bb.PolyChain.between(Point(*start, landscape), Point(*end, landscape), bends=bends)
    if points is not None:
        chain = chain.with_points(torch.tensor(points, dtype=torch.float64))
    settings = {"epochs": 200, "batch_size": 8, "learning_rate": 0.02, "momentum": 0.5, **settings}
    settings = {"weight_decay": 0.0, "schedule": lambda *_: 1.0, "objective": height, **settings}
    return fit_chain(chain, NOTHING, **settings)


def heights(chain, landscape, count=201):
    points = [chain.vector_at(float(t)) for t in torch.linspace(0, 1, count)]
    return [float(landscape(*point)) for point in points]


def lengths(chain):
    return chain.points.diff(dim=0).norm(dim=1)


@pytest.mark.parametrize("spring", [None, 1.0])
def test_a_band_goes_around_the_hill_through_the_valley(spring):
    line = bb.Linear.between(Point(-1.0, 0.0, ring), Point(1.0, 0.0, ring))
    chain = relaxed(ring, bends=5, cycles=1, spring=spring)
    before, after = (max(heights(one, ring)) for one in (line, chain))
    assert before > 1.5
    assert after < 0.2
    radii = chain.points.norm(dim=1)
    assert float((radii - 1).abs().max()) < 0.1
    assert float(chain.points[:, 1].max()) > 0.9  # above, as the hill's top is below the line
    assert torch.equal(chain.points[[0, -1]], line.points)


def test_it_is_as_low_as_the_valley_itself():
    """With pivots enough, no higher than the best path: the valley's own highest point."""
    angles = torch.linspace(0, torch.pi, 400).double()
    best = min(
        max(float(ring(r * torch.cos(a), r * torch.sin(a))) for a in angles)
        for r in (1.0, 1.02, 1.04)
    )
    chain = relaxed(ring, bends=19, cycles=1)
    assert max(heights(chain, ring)) == pytest.approx(best, abs=0.02)


def test_pivots_stand_evenly_where_springs_are_stiff():
    chain = relaxed(ring, bends=5, cycles=1)
    assert float(lengths(chain).std() / lengths(chain).mean()) < 1e-3


def test_springs_pull_pivots_apart_and_stiff_ones_further():
    crowded = [[-1, 0], [-0.95, 0], [-0.9, 0], [1, 0]]
    ratios = []
    for spring in (0.0, 0.3, 5.0):
        chain = relaxed(slope, bends=2, points=crowded, cycles=1, spring=spring, epochs=40)
        ratios.append(float(lengths(chain).max() / lengths(chain).min()))
    assert ratios[0] == pytest.approx(1.9 / 0.05)
    assert ratios[0] > 2 * ratios[1] > 4 * ratios[2]
    assert ratios[2] == pytest.approx(1, abs=1e-3)


def test_a_slope_along_the_band_moves_no_pivot_and_one_across_does():
    off = [[-1, 0], [-0.5, 0.2], [0.3, 0], [1, 0]]
    chain = relaxed(slope, bends=2, points=off, cycles=1, spring=0.0, epochs=300)
    assert float(chain.points[:, 1].abs().max()) < 1e-3
    assert float(chain.points[2, 0]) == pytest.approx(0.3, abs=0.05)
    fitted = bb.fit(
        bb.PolyChain.between(Point(-1.0, 0.0, slope), Point(1.0, 0.0, slope)).with_points(
            torch.tensor([[-1, 0], [0.3, 0], [1, 0]]).double()
        ),
        NOTHING, epochs=40, batch_size=8, objective=height, weight_decay=0.0, learning_rate=0.02,
    )  # fmt: skip
    assert float(fitted.points[1, 0]) < 0  # where a plain fit lets it slide


def test_bands_grow_where_the_loss_rises_between_pivots():
    chain = relaxed(ring, bends=1, cycles=4, rise=0.1)
    assert len(chain.points) > 3
    assert chain.movable == tuple(range(1, len(chain.points) - 1))
    short = relaxed(ring, bends=1, cycles=1)
    assert len(short.points) == 3
    assert max(heights(chain, ring)) < max(heights(short, ring))
    assert len(relaxed(ring, bends=1, cycles=4, rise=1e9).points) == 3


def test_a_new_pivot_divides_the_share_of_its_piece():
    """The hill is on the right half: only that is divided, at the place seen highest."""

    def bump(x, y):
        return torch.exp(-50 * (x - 0.5) ** 2) + 0 * y

    chain = relaxed(bump, bends=1, cycles=2, epochs=1, looks=3)
    assert lengths(chain).tolist() == pytest.approx([1, 0.5, 0.5], rel=1e-6)


def reference_nudge(gradients, points, losses, shares, spring):
    """The band's forces as Henkelman and Jonsson (2000) write them, in plain numbers."""
    found = []
    for i in range(1, len(points) - 1):
        on, back = points[i + 1] - points[i], points[i] - points[i - 1]
        low, mid, high = losses[i - 1], losses[i], losses[i + 1]
        if high > mid > low:
            direction = on
        elif high < mid < low:
            direction = back
        else:
            most = max(abs(high - mid), abs(low - mid))
            least = min(abs(high - mid), abs(low - mid))
            direction = on * most + back * least if high > low else on * least + back * most
        direction = direction / direction.norm()
        force = -(gradients[i - 1] - (gradients[i - 1] @ direction) * direction)
        if spring is not None:
            count = len(shares)
            stretch = on.norm() / (shares[i] * count) - back.norm() / (shares[i - 1] * count)
            force = force + spring * stretch * direction
        found.append(-force)
    return torch.stack(found)


@pytest.mark.parametrize("spring", [None, 0.7])
@pytest.mark.parametrize("seed", range(6))
def test_forces_are_those_of_the_paper(seed, spring):
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(5, 4, generator=generator).double()
    gradients = torch.randn(3, 4, generator=generator).double()
    losses = torch.randn(5, generator=generator).double()
    shares = torch.rand(4, generator=generator).double()
    shares = shares / shares.sum()
    found = gradients.clone()
    nudge(found, points, losses, shares, spring)
    expected = reference_nudge(gradients, points, losses, shares, spring)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)


def test_on_flat_ground_both_neighbours_give_the_direction():
    points = torch.tensor([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]]).double()
    gradients = torch.tensor([[1.0, 1.0]]).double()
    nudge(gradients, points, torch.zeros(3).double(), torch.full((2,), 0.5).double(), None)
    assert gradients.tolist() == [[0.0, 1.0]]


def test_spreading_keeps_to_the_chain_and_its_ends():
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(6, 3, generator=generator).double()
    shares = torch.tensor([0.1, 0.3, 0.2, 0.1, 0.3]).double()
    found = spread(points, shares)
    assert torch.equal(found[[0, -1]], points[[0, -1]])
    pieces = list(itertools.pairwise(points))
    for point in found[1:-1]:  # each new point lies on some piece of the old chain
        gaps = [
            (one - point).norm() + (point - two).norm() - (one - two).norm() for one, two in pieces
        ]
        assert min(gaps) < 1e-9
    total = points.diff(dim=0).norm(dim=1)
    along = torch.cat([torch.zeros(1).double(), total.cumsum(0)])
    wanted = shares.cumsum(0) * along[-1]
    for point, length in zip(found[1:-1], wanted, strict=False):
        piece = int((along <= length).sum()) - 1
        assert float((point - points[piece]).norm()) == pytest.approx(float(length - along[piece]))


def test_spreading_a_chain_without_length_gives_numbers():
    found = spread(torch.zeros(4, 2), torch.full((3,), 1 / 3))
    assert torch.equal(found, torch.zeros(4, 2))


@pytest.mark.parametrize("name", ["mlp", "tinyten"])
def test_networks_relax_too_and_the_ends_stay(name):
    start, end = built(name), built(name, seed=1)
    before = copy_of(start), copy_of(end)
    chain = bb.PolyChain.between(start, end, bends=2)
    settings = {"epochs": 3, "batch_size": 8, "cycles": 2, "learning_rate": 0.02, "probes": 2}
    one, same = (fit_chain(chain, data_for(name, 24), **settings) for _ in range(2))
    assert torch.equal(bits(one.points), bits(same.points))
    assert not torch.equal(one.points[:4], chain.points)
    assert same_bits(one.state_at(0), before[0])
    assert torch.equal(one.points[-1], chain.points[-1])
    assert same_bits(start, before[0])
    assert same_bits(end, before[1])


def test_progress_counts_through_all_cycles():
    seen = []
    relaxed(ring, cycles=3, epochs=2, progress=lambda *told: seen.append(told[:2]))
    assert seen == [(epoch, 6) for epoch in range(1, 7)]


@pytest.mark.parametrize("wrong", [{"cycles": 0}, {"looks": 0}, {"rise": -1}, {"spring": -0.1}])
def test_wrong_options_are_refused(wrong):
    with pytest.raises(bb.InputError, match="elastic band"):
        relaxed(ring, **wrong)


def test_a_chain_without_bends_is_refused():
    with pytest.raises(bb.InputError, match="all its bends move"):
        relaxed(ring, bends=0)


def test_a_chain_whose_ends_may_move_is_refused():
    ends = [Point(x, 0.0, ring) for x in (-1.0, 1.0)]
    chain = bb.PolyChain.between(*ends, movable_ends=True)
    with pytest.raises(bb.InputError, match="ends that stay"):
        fit_chain(chain, NOTHING, objective=height)
