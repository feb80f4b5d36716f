import numpy as np
import pytest
import torch
from networks import built, data_for

import basinbridge as bb
from basinbridge.evaluate.ensemble import calibration_error, ensemble


def naive_probabilities(network, images):
    with torch.no_grad():
        logits = network(images).numpy()
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def naive_error(probabilities, labels, bins):
    """Bin by bin: the share of samples times |accuracy - confidence|."""
    confidence = probabilities.max(axis=1)
    hits = probabilities.argmax(axis=1) == labels
    total = 0.0
    for number in range(bins):
        inside = (confidence > number / bins) & (confidence <= (number + 1) / bins)
        if inside.any():
            total += inside.mean() * abs(hits[inside].mean() - confidence[inside].mean())
    return total


@pytest.mark.parametrize("times", [(0.5,), (0.0, 0.3, 1.0)])
def test_members_and_ensemble_have_the_naive_scores(times):
    curve = bb.Bezier.between(built("mlp"), built("mlp", seed=1))
    images, labels = data_for("mlp", 60)
    found = ensemble(curve, (images, labels), times=times, batch_size=13)
    parts = [naive_probabilities(curve.network_at(t), images) for t in times]
    for probabilities, one in zip(
        [*parts, np.mean(parts, axis=0)], [*found.members, found.together], strict=True
    ):
        assert one.accuracy == pytest.approx((probabilities.argmax(1) == labels.numpy()).mean())
        own = probabilities[np.arange(60), labels.numpy()]
        assert one.loss == pytest.approx(-np.log(own).mean())
        assert one.calibration == pytest.approx(naive_error(probabilities, labels.numpy(), 15))
    # Jensen: the logarithm of a mean is at least the mean of the logarithms.
    assert found.together.loss <= np.mean([one.loss for one in found.members]) + 1e-12


def test_batch_norm_statistics_belong_to_each_point():
    curve = bb.Linear.between(built("digits"), built("digits", seed=1))
    data = data_for("digits", 30)
    found = ensemble(curve, data, times=(0.0, 0.5), batchnorm_data=data)
    report = bb.evaluate(curve, data, batchnorm_data=data, points=3)
    assert [one.loss for one in found.members] == pytest.approx(report.loss[:2])
    assert found.batchnorm_images == 30
    assert ensemble(curve, data, times=(0.5,)).members[0] != found.members[1]


def test_calibration_of_known_predictions():
    sure, right = torch.full((10,), 0.8), torch.tensor([1.0] * 8 + [0.0] * 2)
    assert calibration_error(sure, right) == pytest.approx(0, abs=1e-7)
    assert calibration_error(torch.ones(4), torch.zeros(4)) == 1
    # A confidence on the border of two bins belongs to the lower one.
    border = torch.tensor([1 / 3, 1 / 3 + 1e-3], dtype=torch.float64)
    hits = torch.tensor([1.0, 0.0])
    apart = (1 - 1 / 3 + 1 / 3 + 1e-3) / 2
    assert calibration_error(border, hits, bins=3) == pytest.approx(apart)


def test_nothing_to_average_is_refused_and_it_prints_a_line_for_each():
    curve = bb.Linear.between(built("mlp"), built("mlp", seed=1))
    with pytest.raises(bb.InputError, match="one t or more"):
        ensemble(curve, data_for("mlp", 5), times=())
    lines = str(ensemble(curve, data_for("mlp", 5), times=(0, 1))).splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["0.000", "1.000", "ensemble"]
