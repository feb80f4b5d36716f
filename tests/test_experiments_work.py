"""What the stages compute: the same as the library's pieces do when called one by one."""

import json
import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from small_runs import SHORTEST, small_plans, small_run

import basinbridge as bb
from basinbridge.curve.files import load_curve
from basinbridge.data.datasets import load
from basinbridge.errors import Stopped
from basinbridge.experiments.run import run
from basinbridge.experiments.store import Store
from basinbridge.experiments.work import carry_out, mean_square
from basinbridge.experiments.workplace import Workplace
from basinbridge.models import DigitsNet, Normalised
from basinbridge.reading import read_record
from basinbridge.state import load_state
from basinbridge.train.schedules import cosine

ALL = ("table1", "figure1", "figure2", "figure6", "figure7")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The store of a small run of several exhibits, and the stages of its pair by part and key."""
    store = small_run(tmp_path_factory.mktemp("made"), *ALL)
    parts = {}
    for plan in small_plans(*ALL):
        for part, stages in plan.pairs[0].parts.items():
            parts.setdefault(part, {}).update(stages)
    return store, parts


def content(store, stage):
    return json.loads(store.path(stage).read_text())


def data():
    return (
        load("digits", split).subset(getattr(SHORTEST, f"{split}_images"), 0)
        for split in ("train", "test")
    )


def test_an_endpoint_is_what_training_from_its_seed_gives(made):
    store, parts = made
    train_data, _ = data()
    torch.manual_seed(1)
    expected = bb.train(
        DigitsNet(), train_data, epochs=2, learning_rate=0.1, schedule=cosine, batch_size=32, seed=1
    )
    path = store.path(parts["endpoints"]["end"])
    found = load_state(path)
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.state_dict().items())
    record = read_record(path)
    assert len(record["history"]) == 2
    assert record["settings"]["training"]["epochs"] == 2
    assert record["seconds"] > 0
    assert record["versions"]["torch"] == torch.__version__


def test_the_aligned_curve_is_what_the_library_gives(made):
    store, parts = made
    train_data, test_data = data()
    start, end = DigitsNet(), DigitsNet()
    for network, role in ((start, "start"), (end, "end")):
        network.load_state_dict(load_state(store.path(parts["endpoints"][role])))
    symmetry = bb.discover(start, train_data.normalised(train_data.scaled(train_data.images[:2])))
    match = bb.align(start, end, train_data.subset(100, 0), symmetry)
    curve = bb.fit(
        bb.Bezier.between(start, bb.permute(end, symmetry, match)),
        train_data,
        epochs=1,
        learning_rate=0.05,
        schedule=cosine,
        batch_size=32,
        seed=0,
    )
    found, record = load_curve(store.path(parts["training"]["aligned"]), DigitsNet())
    assert torch.equal(found.points, curve.points)
    assert record["aligned"] is True
    report = bb.evaluate(
        curve, test_data, batchnorm_data=train_data, points=3, batchnorm_images=100
    )
    entry = content(store, parts["paths"]["aligned"])
    assert entry["accuracy"] == list(report.accuracy)
    assert entry["average_accuracy"] == report.average_accuracy


def test_the_straight_line_lies_below_its_curve(made):
    store, parts = made
    line, curve = (content(store, parts[part]["aligned"]) for part in ("lines", "paths"))
    assert line["t"] == curve["t"]
    for end in (0, -1):
        assert line["loss"][end] == pytest.approx(curve["loss"][end], rel=1e-5)
    assert line["loss"][1] != curve["loss"][1]


def test_pam_starts_where_it_is_told_and_notes_both_histories(made):
    store, parts = made
    for name, aligned in (("pam_unaligned", False), ("pam_aligned", True)):
        record = read_record(store.path(parts["training"][name]))
        assert record["aligned"] is aligned
        assert (len(record["history"]), len(record["permutation_history"])) == (1, 1)
        assert record["objective"] == sorted(record["objective"], reverse=True)


def test_a_training_that_is_stopped_goes_on_to_the_same_bits(made, tmp_path):
    """Stopped in the first network's second epoch, as a signal would do it behind a step."""
    _, parts = made
    (plan,) = small_plans("table2")
    store, seen = Store(tmp_path), []

    def stop_at_the_second_epoch(label, epoch, epochs):
        seen.append(label)
        if "train the network" in label and epoch == 1:
            raise Stopped("stopped by a signal", 15)

    with pytest.raises(Stopped):
        run(
            plan.stages, store, partial(carry_out, Workplace(store, watch=stop_at_the_second_epoch))
        )
    start = parts["endpoints"]["start"]
    assert (tmp_path / "checkpoints" / start.name).is_file()
    assert not store.has(start)
    assert not run(plan.stages, store, partial(carry_out, Workplace(store))).failed
    before, after = (load_state(one.path(start)) for one in (made[0], store))
    assert all(torch.equal(before[name], after[name]) for name in before)
    record = read_record(store.path(start))
    assert record["resumed"] is True
    assert record["history"] == read_record(made[0].path(start))["history"]
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_techniques_of_alignment_give_different_curves(made):
    store, parts = made
    paths = {name: content(store, stage)["loss"][1] for name, stage in parts["paths"].items()}
    assert set(paths) >= {"unaligned", "aligned", "correlation_pre", "l2_post", "l2_pre"}
    assert len(set(paths.values())) == len(paths)


def test_planes_hold_the_networks_and_the_curves(made):
    store, parts = made
    both = content(store, parts["planes"]["both"])
    assert both["names"] == ["θ₁", "θ₂", "P θ₂"]
    assert set(both["paths"]) == {"unaligned curve", "aligned curve"}
    own = content(store, parts["curve planes"]["aligned"])
    assert own["distances"]["Aligned"] < 1e-3
    assert own["names"][1] == "P θ₂"
    assert content(store, parts["curve planes"]["unaligned"])["names"][1] == "θ₂"


def test_alignment_raises_the_signature_and_midpoints_have_both_ends(made):
    store, parts = made
    found = content(store, parts["signatures"]["both"])
    assert sum(found["after"][:-1]) > sum(found["before"][:-1])
    middles = content(store, parts["midpoints"]["unaligned"])["entries"]
    assert len(middles) == 2
    assert middles[0]["layers"] == found["layers"]
    assert len(middles[0]["line"]) == len(found["layers"])


def test_robust_networks_normalise_themselves_and_are_scored_under_attack(tmp_path):
    store = small_run(tmp_path, "figure9")
    (plan,) = small_plans("figure9")
    parts = plan.pairs[0].parts
    train_data, test_data = data()
    state = load_state(store.path(parts["endpoints"]["start"]))
    assert state["mean"].flatten().tolist() == pytest.approx(train_data.mean)
    network = Normalised(DigitsNet(), train_data.mean, train_data.std)
    curve, _ = load_curve(store.path(parts["training"]["aligned"]), network)
    plain = [replace(one, mean=(0.0,), std=(1.0,)) for one in (train_data, test_data)]
    report = bb.evaluate(
        curve,
        plain[1],
        batchnorm_data=plain[0],
        points=3,
        batchnorm_images=100,
        attack=bb.Attack(8 / 255, 4 / 255, 2),
    )
    entry = content(store, parts["paths"]["aligned"])
    assert entry["accuracy"] == list(report.accuracy)
    assert entry["robust_accuracy"] == list(report.robust.accuracy)
    assert entry["robust_loss"] == list(report.robust.loss)
    assert min(entry["robust_loss"]) > min(entry["loss"])


def test_mean_square_is_the_integral_of_the_squared_norm():
    torch.manual_seed(0)
    curve = bb.Bezier.between(torch.nn.Linear(3, 2).double(), torch.nn.Linear(3, 2).double())
    times = [i / 4000 for i in range(4001)]
    squares = torch.stack([curve.vector_at(t).square().sum() for t in times])
    expected = float(torch.trapezoid(squares, dx=1 / 4000))
    assert mean_square(curve) == pytest.approx(expected, rel=1e-5)


def test_data_that_changed_under_a_run_are_refused(made, tmp_path):
    store, _ = made
    (plan,) = small_plans("table1", seeds=((2, 3),))
    noted = next(stage for stage in plan.stages if stage.kind == "data")
    new = Store(tmp_path)
    found = content(store, noted)
    found["data"]["fingerprint"]["train"] = "0" * 16
    new.path(noted).parent.mkdir()
    new.path(noted).write_text(json.dumps(found))
    outcome = run(plan.stages, new, partial(carry_out, Workplace(new)))
    assert outcome.done == 0
    assert all("is not the one" in reason for reason in outcome.failed.values())


def test_missing_data_fail_with_their_name_and_write_nothing(tmp_path, monkeypatch):
    from basinbridge.experiments.exhibits import EXHIBITS
    from basinbridge.experiments.plan import plan_case
    from basinbridge.experiments.specs import Case

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    plan = plan_case(EXHIBITS["table2"], Case("TinyTen", "cifar100"), ((0, 1),), SHORTEST)
    store = Store(tmp_path)
    outcome = run(plan.stages, store, partial(carry_out, Workplace(store, data_root=tmp_path)))
    assert set(outcome.failed) == {stage.name for stage in plan.stages}
    assert all("cifar100" in reason for reason in outcome.failed.values())
    assert not (tmp_path / "results").exists()


def test_all_numbers_of_results_are_finite(made):
    store, parts = made
    for stages in (parts["paths"], parts["lines"]):
        for stage in stages.values():
            assert all(math.isfinite(value) for value in content(store, stage)["loss"])
