import itertools

import pytest
import torch
from networks import built, data_for
from test_curve_paths import bent

import basinbridge as bb
from basinbridge.curve.together import fit_together

SETTINGS = {"epochs": 2, "batch_size": 4, "learning_rate": 0.02, "weight_decay": 0.01}


def two(kind, name):
    ends = [built(name, seed) for seed in range(3)]
    return [bent(kind, *pair) for pair in itertools.pairwise(ends)]


@pytest.mark.parametrize("kind", ["bezier-2", "bezier-3", "chain-2"])
@pytest.mark.parametrize("name", ["mlp", "tinyten"])
def test_curves_become_what_each_would_alone(name, kind):
    curves, data = two(kind, name), data_for(name, 18)
    curves = [curve.with_points(0.5 * curve.points) for curve in curves]
    found = fit_together(curves, data, seeds=(3, 8), **SETTINGS)
    for curve, seed, fitted in zip(curves, (3, 8), found, strict=True):
        alone = bb.fit(curve, data, seed=seed, **SETTINGS)
        assert type(fitted) is type(curve)
        torch.testing.assert_close(fitted.points, alone.points, rtol=1e-8, atol=1e-10)
        assert float((fitted.points - curve.points).abs().max()) > 1e-3
        assert torch.equal(fitted.points[0], curve.points[0])
        assert torch.equal(fitted.points[-1], curve.points[-1])


def test_a_fit_that_diverges_says_where():
    with pytest.raises(bb.InputError, match=r"at t = 0\.\d{4}, 0\.\d{4}"):
        fit_together(
            two("bezier-2", "mlp"), data_for("mlp", 12), **{**SETTINGS, "learning_rate": 1e200}
        )


def test_curves_of_two_kinds_are_refused_and_straight_ones_stay():
    curve, other = two("bezier-2", "mlp")[0], two("chain-2", "mlp")[1]
    with pytest.raises(bb.InputError, match="one kind"):
        fit_together([curve, other], data_for("mlp", 8))
    with pytest.raises(bb.InputError, match="at least one"):
        fit_together([], data_for("mlp", 8))
    lines = two("line", "mlp")
    assert fit_together(lines, data_for("mlp", 8)) == lines
