import pytest
import reference
import torch
from networks import built, copy_of, data_for, same_bits
from test_curve_paths import CURVES, bent

import basinbridge as bb
from basinbridge.evaluate.along import CurveReport, score
from basinbridge.evaluate.batchnorm import reestimate


@pytest.mark.parametrize("points", [2, 3, 7])
@pytest.mark.parametrize("kind", ["line", "bezier-2", "bezier-3", "chain-1", "chain-2"])
def test_scores_are_those_of_the_networks_at_equally_spaced_t(kind, points):
    curve = bent(kind, built("mlp"), built("mlp", seed=1))
    data = data_for("mlp", 23)
    report = bb.evaluate(curve, data, points=points, batch_size=10)
    assert report.t == tuple(place / (points - 1) for place in range(points))
    for t, loss, accuracy in zip(report.t, report.loss, report.accuracy, strict=True):
        wanted = reference.score(curve.network_at(t), *data)
        assert (loss, accuracy) == pytest.approx(wanted, rel=1e-10)
    assert report.batchnorm_images == 0


@pytest.mark.parametrize("name", ["digits", "tinyten", "residual"])
def test_batch_norm_is_reestimated_at_every_point_ends_included(name):
    curve = CURVES["bezier-2"](built(name), built(name, seed=1))
    data, training = data_for(name, 7), data_for(name, 12, seed=5)
    report = bb.evaluate(curve, data, batchnorm_data=training, points=3)
    assert report.batchnorm_images == 12
    left = bb.evaluate(curve, data, points=3)
    for place, t in enumerate((0.0, 0.5, 1.0)):
        network = curve.network_at(t)
        assert left.loss[place] == pytest.approx(reference.score(network, *data)[0], rel=1e-9)
        statistics = reference.batch_norm_statistics(network, [training])
        for layer, (mean, variance) in statistics.items():
            network.get_submodule(layer).running_mean.copy_(torch.from_numpy(mean))
            network.get_submodule(layer).running_var.copy_(torch.from_numpy(variance))
        wanted = reference.score(network, *data)
        assert (report.loss[place], report.accuracy[place]) == pytest.approx(wanted, rel=1e-9)
        assert report.loss[place] != pytest.approx(left.loss[place], rel=1e-3)


@pytest.mark.parametrize("as_batches", [False, True])
def test_batch_norm_sees_augmented_images_and_scores_plain_ones(as_batches):
    curve = CURVES["line"](built("digits"), built("digits", seed=1))
    data, training = data_for("digits", 7), data_for("digits", 12, seed=5)
    given = [training] if as_batches else training
    found = bb.evaluate(
        curve, data, batchnorm_data=given, points=2, augmentation=lambda images: 3 * images - 1
    )
    changed = 3 * training[0] - 1, training[1]
    wanted = bb.evaluate(curve, data, batchnorm_data=changed, points=2)
    assert found.loss == pytest.approx(wanted.loss, rel=1e-9)
    assert found.batchnorm_images == 12
    plain = bb.evaluate(curve, data, batchnorm_data=training, points=2)
    assert found.loss != pytest.approx(plain.loss, rel=1e-3)


def test_a_random_augmentation_is_the_same_at_every_t_and_every_time():
    network = built("digits")
    standing = CURVES["line"](network, network)
    data, training = data_for("digits", 7), data_for("digits", 12, seed=5)

    def noisy(images):
        return images + torch.randn_like(images)

    torch.manual_seed(1)
    one = bb.evaluate(standing, data, batchnorm_data=training, points=3, augmentation=noisy)
    torch.manual_seed(2)
    other = bb.evaluate(standing, data, batchnorm_data=training, points=3, augmentation=noisy)
    assert one == other
    assert len(set(one.loss)) == 1


def test_the_image_limit_holds_and_is_recorded():
    curve = CURVES["line"](built("digits"), built("digits", seed=1))
    data, training = data_for("digits", 5), data_for("digits", 40, seed=5)
    for images in (10, 40, 1000):
        report = bb.evaluate(
            curve, data, batchnorm_data=training, points=2, batchnorm_images=images
        )
        assert report.batchnorm_images == min(images, 40)


@pytest.mark.parametrize("kind", ["line", "bezier-2", "bezier-3", "chain-2"])
def test_averages_are_integrals_over_arc_length(kind):
    curve = bent(kind, built("mlp"), built("mlp", seed=1))
    report = bb.evaluate(curve, data_for("mlp", 30), points=5)
    count = curve.layout.parameters
    points = curve.points[:, :count].numpy()
    path = reference.chain_point if kind.startswith("chain") else reference.de_casteljau
    for values, average in (
        (report.loss, report.average_loss),
        (report.accuracy, report.average_accuracy),
    ):
        wanted = reference.average_over_arc_length(values, report.t, lambda t: path(points, t))
        assert average == pytest.approx(wanted, rel=3e-3)
    assert report.length[0] == 0
    assert report.length[-1] == pytest.approx(1, abs=1e-12)
    assert list(report.length) == sorted(report.length)


def test_where_a_curve_runs_fast_counts_for_more():
    start, end = built("mlp"), built("mlp", seed=1)
    curve = bb.PolyChain.between(start, end, bends=1)
    points = curve.points.clone()
    points[1] = 0.9 * points[0] + 0.1 * points[2]  # the first half covers a tenth of the way
    report = bb.evaluate(curve.with_points(points), data_for("mlp", 30), points=3)
    assert report.length == pytest.approx((0, 0.1, 1), abs=1e-9)
    first, second = ((a + b) / 2 for a, b in (report.loss[:2], report.loss[1:]))
    assert report.average_loss == pytest.approx(0.1 * first + 0.9 * second, rel=1e-9)


def test_summaries_are_read_off_the_arrays():
    report = CurveReport(
        t=(0.0, 0.25, 0.5, 1.0),
        loss=(1.0, 3.0, 2.0, 2.0),
        accuracy=(0.9, 0.4, 0.6, 0.8),
        length=(0.0, 0.5, 0.75, 1.0),
        batchnorm_images=0,
    )
    assert report.average_loss == pytest.approx(0.5 * 2 + 0.25 * 2.5 + 0.25 * 2)
    assert report.average_accuracy == pytest.approx(0.5 * 0.65 + 0.25 * 0.5 + 0.25 * 0.7)
    assert report.minimum_accuracy == 0.4
    # max over t of the loss less (1 - t) * 1 + t * 2: at t = 0.25, 3 - 1.25.
    assert report.barrier == pytest.approx(1.75)
    text = str(report)
    assert "minimum 40.00 %" in text
    assert "barrier 1.7500" in text
    assert len(text.splitlines()) == 2 + 4


def test_a_convex_valley_has_no_barrier():
    report = CurveReport((0.0, 0.5, 1.0), (1.0, 0.2, 3.0), (1.0,) * 3, (0.0, 0.5, 1.0), 0)
    assert report.barrier == 0


def test_a_curve_that_is_a_point_has_plain_averages():
    network = built("mlp")
    data = data_for("mlp", 20)
    report = bb.evaluate(bb.Bezier.between(network, network), data, points=3)
    loss, accuracy = reference.score(network, *data)
    assert report.average_loss == pytest.approx(loss, rel=1e-9)
    assert report.average_accuracy == pytest.approx(accuracy)
    assert report.barrier == pytest.approx(0, abs=1e-12)


def test_evaluation_leaves_the_curve_as_it_is():
    start, end = built("tinyten").train(), built("tinyten", seed=1)
    curve = bb.Bezier.between(start, end)
    before, points = copy_of(curve.network), curve.points.clone()
    settings = {"batchnorm_data": data_for("tinyten", 8), "points": 3}
    first = bb.evaluate(curve, data_for("tinyten", 6), **settings)
    assert same_bits(curve.network, before)
    assert torch.equal(curve.points, points)
    assert all(module.training for module in curve.network.modules())
    assert bb.evaluate(curve, data_for("tinyten", 6), **settings) == first


def test_auxiliary_outputs_and_training_mode_do_not_matter():
    start, end = built("googlenet"), built("googlenet", seed=1)
    data = data_for("googlenet", 3)
    reports = [
        bb.evaluate(bb.Linear.between(start.train(training), end), data, points=2)
        for training in (True, False)
    ]
    assert reports[0] == reports[1]
    assert reports[0].loss[0] == pytest.approx(reference.score(start, *data)[0], rel=1e-9)


def test_batches_and_loaders_are_the_same_data():
    curve = bent("bezier-2", built("mlp"), built("mlp", seed=1))
    inputs, labels = data_for("mlp", 20)
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(inputs, labels), batch_size=6
    )
    whole = bb.evaluate(curve, (inputs, labels), points=3)
    for data in (loader, list(loader), tuple(loader)):
        report = bb.evaluate(curve, data, points=3)
        assert report.loss == pytest.approx(whole.loss, rel=1e-12)
        assert report.accuracy == whole.accuracy


def test_tuples_of_batches_serve_batch_norm_too():
    curve = bb.Linear.between(built("digits"), built("digits", seed=1))
    batches = (data_for("digits", 6, seed=1), data_for("digits", 6, seed=2))
    report = bb.evaluate(curve, data_for("digits", 5), batchnorm_data=batches, points=2)
    network = curve.network_at(0)
    reestimate(network, batches)
    assert report.batchnorm_images == 12
    wanted = reference.score(network, *data_for("digits", 5))
    assert report.loss[0] == pytest.approx(wanted[0], rel=1e-9)


def test_progress_is_told_after_every_point():
    told = []
    curve = bb.Linear.between(built("mlp"), built("mlp", seed=1))
    bb.evaluate(curve, data_for("mlp", 9), points=4, progress=lambda *news: told.append(news))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_sixty_one_points_unless_told_otherwise():
    curve = bb.Linear.between(built("mlp"), built("mlp", seed=1))
    assert len(bb.evaluate(curve, data_for("mlp", 9)).t) == 61


def unit_data_for(name, count, seed=0):
    """Inputs in [0, 1], as attacks need them."""
    inputs, labels = data_for(name, count, seed)
    return torch.sigmoid(inputs), labels


def test_robust_scores_are_those_of_the_networks_under_attack():
    curve = bent("bezier-2", built("digits"), built("digits", seed=1))
    (inputs, labels), training = unit_data_for("digits", 20), unit_data_for("digits", 12, seed=5)
    box = {"epsilon": 0.1, "step": 0.03, "steps": 3}
    attack = bb.Attack(**box, random_start=False)
    report = bb.evaluate(curve, (inputs, labels), batchnorm_data=training, attack=attack, points=3)
    for place, t in enumerate((0.0, 0.5, 1.0)):
        network = curve.network_at(t).train()  # where batch norm knows the batch only
        moved = reference.projected_gradient_ascent(network, *training, training[0], **box)
        statistics = reference.batch_norm_statistics(network, [(moved, training[1])])
        for layer, (mean, variance) in statistics.items():
            network.get_submodule(layer).running_mean.copy_(torch.from_numpy(mean))
            network.get_submodule(layer).running_var.copy_(torch.from_numpy(variance))
        network.eval()
        wanted = reference.score(network, inputs, labels)
        assert (report.loss[place], report.accuracy[place]) == pytest.approx(wanted, rel=1e-9)
        moved = reference.projected_gradient_ascent(network, inputs, labels, inputs, **box)
        wanted = reference.score(network, moved, labels)
        robust = report.robust
        assert (robust.loss[place], robust.accuracy[place]) == pytest.approx(wanted, rel=1e-9)
    assert report.robust.t == report.t
    assert report.robust.length == report.length
    assert report.robust.average_loss > report.average_loss
    assert "under attack:" in str(report)


def test_without_an_attack_nothing_is_said_of_robustness():
    report = bb.evaluate(
        bb.Linear.between(built("mlp"), built("mlp", seed=1)), data_for("mlp", 9), points=2
    )
    assert report.robust is None
    assert "attack" not in str(report)


def test_restarts_keep_the_worst_of_every_input():
    network, (inputs, labels) = built("mlp"), unit_data_for("mlp", 60)
    attack = bb.Attack(epsilon=0.3, step=0.1, steps=1)
    torch.manual_seed(1)
    found = score(network, [(inputs, labels)], attack, restarts=4)
    torch.manual_seed(1)
    runs = [attack(network, inputs, labels) for _ in range(4)]
    alone = [
        [reference.score(network, images[[place]], labels[[place]]) for place in range(60)]
        for images in runs
    ]
    assert found.loss == pytest.approx(
        sum(max(run[place][0] for run in alone) for place in range(60)) / 60, rel=1e-9
    )
    assert found.accuracy == sum(min(run[place][1] for run in alone) for place in range(60)) / 60
    assert found.accuracy < min(score(network, [(one, labels)]).accuracy for one in runs)


def test_random_starts_are_the_same_at_every_t_and_every_time():
    network = built("mlp")
    curve, data = bb.Linear.between(network, network), unit_data_for("mlp", 30)
    settings = {"attack": bb.Attack(0.3, 0.1, steps=1), "points": 3}
    before = torch.get_rng_state()
    report = bb.evaluate(curve, data, **settings)
    assert torch.equal(before, torch.get_rng_state())
    assert len(set(report.robust.loss)) == 1
    torch.rand(1)
    assert bb.evaluate(curve, data, **settings) == report


def test_no_restart_is_refused():
    with pytest.raises(bb.InputError, match="restarts is 0"):
        score(built("mlp"), [unit_data_for("mlp", 3)], bb.Attack(), restarts=0)


@pytest.mark.parametrize("points", [1, 0, -2])
def test_fewer_points_than_ends_are_refused(points):
    curve = bb.Linear.between(built("mlp"), built("mlp", seed=1))
    with pytest.raises(bb.InputError, match="points is"):
        bb.evaluate(curve, data_for("mlp", 9), points=points)


def test_no_data_are_refused():
    curve = bb.Linear.between(built("mlp"), built("mlp", seed=1))
    with pytest.raises(bb.InputError, match="empty"):
        bb.evaluate(curve, [], points=2)


@pytest.mark.parametrize("together", [2, 3, 7])
@pytest.mark.parametrize("name", ["mlp", "tinyten", "resnet32"])
def test_points_scored_together_have_the_scores_of_each_alone(name, together):
    line = bb.Linear.between(built(name), built(name, seed=1))
    data, statistics = data_for(name, 20), data_for(name, 16, seed=5)
    told = []
    one, many = (
        bb.evaluate(
            line,
            data,
            batchnorm_data=statistics,
            points=5,
            batch_size=8,
            together=count,
            progress=lambda done, points: told.append((done, points)),
        )
        for count in (1, together)
    )
    assert many.loss == pytest.approx(one.loss, rel=1e-9)
    assert many.accuracy == one.accuracy
    assert many.batchnorm_images == one.batchnorm_images
    assert told[5:] == [(min(5, done + together), 5) for done in range(0, 5, together)]


def test_points_are_attacked_one_by_one():
    line = bb.Linear.between(built("mlp"), built("mlp", seed=1))
    for together in (0, 2):
        with pytest.raises(bb.InputError, match=f"together is {together}"):
            bb.evaluate(line, data_for("mlp", 4), together=together, attack=bb.Attack())
