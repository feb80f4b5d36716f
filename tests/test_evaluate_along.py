"""Scores along a curve equal naive ones."""

import numpy as np
import pytest
import reference
import torch
from networks import built, copy_of, data_for, same_bits
from torch import nn

from basinbridge import Bezier, CurveReport, InputError, Linear, PolyChain, evaluate
from basinbridge.evaluate.batchnorm import reestimate


def bent(kind, name, **options):
    curve = kind.between(built(name, 0), built(name, 1), **options)
    points = curve.points.clone()
    generator = torch.Generator().manual_seed(5)
    parameters = curve.layout.parameters
    noise = torch.randn(parameters, generator=generator, dtype=points.dtype)
    points[1, :parameters] += 0.2 * noise
    return curve.with_points(points)


@pytest.mark.parametrize("name", ["mlp", "digits", "residual"])
def test_scores_are_the_networks_own_with_fresh_statistics(name):
    curve = bent(Bezier, name)
    test, train = data_for(name, 13), data_for(name, 24, seed=7)
    report = evaluate(curve, test, batchnorm_data=train, points=4, batch_size=5)
    for place, t in enumerate(report.t):
        network = curve.network_at(t)
        reestimate(network, [train])
        loss, accuracy = reference.score(network, *test)
        assert report.loss[place] == pytest.approx(loss, rel=1e-6)
        assert report.accuracy[place] == pytest.approx(accuracy, abs=1e-12)
    assert report.t == (0.0, 1 / 3, 2 / 3, 1.0)
    assert report.batchnorm_images == (0 if name == "mlp" else 24)


@pytest.mark.parametrize(("kind", "options"), [(Bezier, {}), (PolyChain, {"bends": 2})])
def test_averages_are_line_integrals_over_arc_length(kind, options):
    curve = bent(kind, "mlp", **options)
    report = evaluate(curve, data_for("mlp", 40), points=31)
    parameters = curve.layout.parameters

    def position(t):
        return curve.vector_at(t)[:parameters].numpy()

    for values, average in (
        (report.accuracy, report.average_accuracy),
        (report.loss, report.average_loss),
    ):
        expected = reference.average_over_arc_length(values, report.t, position, per_piece=20)
        assert average == pytest.approx(expected, rel=2e-2)
        assert min(values) <= average <= max(values)


def test_minimum_and_barrier():
    report = CurveReport(
        t=(0.0, 0.25, 1.0), loss=(1.0, 3.0, 2.0), accuracy=(0.9, 0.4, 0.8),
        length=(0.0, 0.5, 1.0), batchnorm_images=0,
    )  # fmt: skip
    assert report.minimum_accuracy == 0.4
    assert report.barrier == 3.0 - 1.25
    assert report.average_loss == pytest.approx(0.5 * 2.0 + 0.5 * 2.5)
    assert "minimum 40.00 %" in str(report)
    assert len(str(report).splitlines()) == 5


def test_a_curve_of_no_length_is_averaged_over_t():
    network = built("mlp")
    report = evaluate(Linear.between(network, network), data_for("mlp", 9), points=3)
    assert report.average_loss == pytest.approx(report.loss[0])
    assert report.barrier == pytest.approx(0, abs=1e-12)


def test_statistics_come_from_so_many_images_at_most():
    curve = Linear.between(built("digits", 0), built("digits", 1))
    train = data_for("digits", 50)
    report = evaluate(
        curve, data_for("digits", 4), batchnorm_data=train, batchnorm_images=20, points=2
    )
    assert report.batchnorm_images == 20
    whole = evaluate(curve, data_for("digits", 4), batchnorm_data=train, points=2)
    assert whole.batchnorm_images == 50
    assert whole.loss != report.loss
    kept = evaluate(curve, data_for("digits", 4), points=2)
    assert kept.batchnorm_images == 0


def test_the_curve_stays_as_it_is_and_progress_is_told():
    curve = Bezier.between(built("digits", 0), built("digits", 1))
    before, points, seen = copy_of(curve.network), curve.points.clone(), []
    evaluate(
        curve, data_for("digits", 4), batchnorm_data=data_for("digits", 8), points=3,
        progress=lambda *values: seen.append(values),
    )  # fmt: skip
    assert same_bits(before, curve.network)
    assert torch.equal(points, curve.points)
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_loaders_serve_and_empty_ones_are_refused():
    line = Linear.between(nn.Linear(2, 2), nn.Linear(2, 2))
    inputs, labels = torch.randn(8, 2), torch.zeros(8, dtype=torch.long)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(inputs, labels), 3)
    one = evaluate(line, loader, points=3)
    other = evaluate(line, (inputs, labels), points=3)
    assert np.allclose(one.loss, other.loss)
    with pytest.raises(InputError, match="empty"):
        evaluate(line, [], points=3)
