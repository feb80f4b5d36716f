import json

import pytest
import torch
from typer.testing import CliRunner

import basinbridge as bb
from basinbridge.cli.app import app
from basinbridge.cli.robust_work import under_attack
from basinbridge.cli.work import setting
from basinbridge.reading import read_record
from basinbridge.report.load import is_robust, read_report

NETWORK = ["--model", "DigitsNet", "--dataset", "digits", "--objective", "adversarial"]
QUICK = ["--epochs", "2", "--batch-size", "64", "--attack-steps", "2", "--threads", "1"]


def run(*arguments):
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two robust networks, trained for two epochs."""
    place = tmp_path_factory.mktemp("robust")
    for seed, name in enumerate("ab"):
        run("train", *NETWORK, *QUICK, "--seed", seed, "--out", place / f"{name}.safetensors")
    return place


def test_from_training_to_the_best_point(folder):
    ends = [folder / "a.safetensors", folder / "b.safetensors"]
    match, curve = folder / "match.safetensors", folder / "curve.safetensors"
    attack = ["--attack-steps", "2", "--threads", "1"]
    run("align", *ends, *NETWORK, *attack, "--attacked", "--out", match)
    assert read_record(match)["attacked"] is True
    told = run("connect", *ends, *NETWORK, *QUICK, "--match", match, "--out", curve)
    lines = told.splitlines()
    assert [line.split()[0].strip(",") for line in lines if "." in line][:3] == [
        "start",
        "best",
        "end",
    ]
    record = read_record(folder / "curve-best.safetensors")
    assert record["attack"] == {
        "epsilon": 0.1,
        "step": 0.025,
        "steps": 2,
        "random_start": True,
    }
    assert set(record["scores"]) == {"start", "best", "end"}
    whole = read_record(curve)
    for entry in ("model", "data", "versions", "commit", "command", "device", "attack"):
        assert record[entry] == whole[entry]
    run("evaluate", curve, *NETWORK, *attack, "--points", 3, "--out", folder / "report")
    assert is_robust(read_report(folder / "report"))
    found = json.loads((folder / "report" / "report.json").read_text(encoding="utf-8"))
    assert found["settings"]["attack"]["steps"] == 2


def test_the_network_normalises_and_a_tenth_is_held_out_for_every_seed_alike():
    one, other = (
        under_attack(setting("DigitsNet", "digits", None, "cpu", 1, seed), None, 5)
        for seed in (0, 1)
    )
    assert one.attack == bb.Attack(0.1, 0.025, 5)
    assert len(one.held_out) == 119
    assert len(one.train_data) == 1197 - 119
    assert torch.equal(one.held_out.images, other.held_out.images)
    assert one.train_data.mean == one.test_data.mean == (0.0,)
    plain = setting("DigitsNet", "digits", None, "cpu", 1, 0)
    outputs = one.network.eval()(one.example())
    normalised = plain.train_data.normalised(one.example())
    torch.testing.assert_close(outputs, plain.network.eval()(normalised))


def test_a_data_set_without_an_epsilon_needs_one(monkeypatch):
    work = setting("DigitsNet", "digits", None, "cpu", 1, 0)
    monkeypatch.setattr("basinbridge.cli.robust_work.EPSILONS", {})
    with pytest.raises(bb.InputError, match="give --epsilon"):
        under_attack(work, None, 5)
    assert under_attack(work, 0.3, 5).attack.step == pytest.approx(0.075)
