import json

import pytest
import torch
from typer.testing import CliRunner

import basinbridge as bb
from basinbridge.cli.app import app
from basinbridge.cli.options import Objective, Subject
from basinbridge.cli.work import setting
from basinbridge.curve.files import load_curve
from basinbridge.models import DigitsNet, Normalised
from basinbridge.reading import read_record
from basinbridge.report.load import is_robust, read_report

PLAIN = ["--model", "DigitsNet", "--dataset", "digits", "--threads", "1"]
NETWORK = [*PLAIN, "--objective", "adversarial"]
QUICK = ["--epochs", "2", "--batch-size", "64", "--attack-steps", "2"]
ATTACK = ["--attack-steps", "2"]


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
    run("align", *ends, *NETWORK, *ATTACK, "--out", match)
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
    run("evaluate", curve, *NETWORK, *ATTACK, "--points", 3, "--out", folder / "report")
    assert is_robust(read_report(folder / "report"))
    found = json.loads((folder / "report" / "report.json").read_text(encoding="utf-8"))
    assert found["settings"]["attack"]["steps"] == 2


def test_pam_learns_a_curve_under_attack_and_saves_its_best_point(folder):
    ends, out = [folder / "a.safetensors", folder / "b.safetensors"], folder / "pam.safetensors"
    shape = ["--curve", "polychain", "--bends", 2, "--permutation-epochs", 1]
    told = run("pam", *ends, *NETWORK, *QUICK, *shape, "--out", out)
    assert "best, at t" in told
    assert set(read_record(folder / "pam-best.safetensors")["scores"]) == {"start", "best", "end"}
    network = Normalised(DigitsNet(), (0.0,), (1.0,))
    curve, record = load_curve(out, network)
    assert isinstance(curve, bb.PolyChain)
    assert len(curve.points) == 4
    assert record["attack"]["steps"] == 2
    clean = folder / "clean.safetensors"
    run("pam", *ends, *PLAIN, *QUICK[:4], *shape, "--out", clean)
    assert not torch.equal(load_curve(clean, network)[0].points, curve.points)


def test_planes_signatures_and_subset_studies_of_attacked_images_are_others(folder):
    ends = [folder / "a.safetensors", folder / "b.safetensors"]
    work = {
        "plane": [*ends, folder / "c.safetensors", "--size", 2, "--images", 50],
        "signature": [*ends, "--images", 50],
        "subset-study": [*ends, "--size", 20, "--size", 200],
    }
    run("train", *NETWORK, *QUICK, "--seed", 2, "--out", folder / "c.safetensors")
    for command, arguments in work.items():
        found = []
        for name, chosen in (("clean", PLAIN), ("attacked", [*NETWORK, *ATTACK])):
            out = folder / f"{command}-{name}"
            run(command, *arguments, *chosen, "--out", out)
            file = out if out.is_file() else out / f"{command}.json"
            found.append(json.loads(file.read_text(encoding="utf-8")))
        clean, attacked = (one["record"] for one in found)
        assert (clean["attack"], attacked["attack"]["epsilon"]) == (None, 0.1)
        assert clean["data"] == attacked["data"]
        assert clean["held_out"] == attacked["held_out"] == 119
        keys = {"plane": "loss", "signature": "panels", "subset-study": "equal"}
        assert found[0][keys[command]] != found[1][keys[command]]
        if command != "subset-study":
            assert [one["title"].endswith("under attack") for one in found] == [False, True]


def test_every_command_takes_robust_networks_without_an_attack(folder):
    ends, curve = [folder / "a.safetensors", folder / "b.safetensors"], folder / "plain.safetensors"
    match = folder / "plain-match.safetensors"
    run("align", *ends, *PLAIN, "--out", match)
    run("connect", *ends, *PLAIN, "--match", match, "--epochs", 1, "--out", curve)
    run("evaluate", curve, *PLAIN, "--points", 3, "--out", folder / "plain")
    assert not is_robust(read_report(folder / "plain"))
    run("ensemble", curve, *PLAIN)
    merged = folder / "merged.safetensors"
    run("merge", *ends, *PLAIN, "--match", match, "--images", 100, "--out", merged)
    run("merge", merged, ends[0], *PLAIN, "--images", 100, "--out", folder / "again.safetensors")
    run("evaluate", curve, *NETWORK, *ATTACK, "--points", 2, "--out", folder / "attacked")


def refused(*arguments):
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert isinstance(done.exception, bb.InputError)
    return str(done.exception)


def test_options_of_an_attack_without_one_are_refused(tmp_path):
    for option in (["--epsilon", 0.1], ["--attack-steps", 3]):
        said = refused("train", *PLAIN, *option, "--out", tmp_path / "never.safetensors")
        assert "need --objective adversarial" in said


def test_networks_of_two_kinds_or_of_other_data_are_refused(folder, monkeypatch):
    plain, out = folder / "standard.safetensors", folder / "never.safetensors"
    run("train", *PLAIN, "--epochs", 0, "--out", plain)
    ends, robust = [folder / "a.safetensors", plain], folder / "a.safetensors"
    assert "standard.safetensors does not" in refused("align", *ends, *PLAIN, "--out", out)
    assert "trained with --objective" in refused("align", plain, plain, *NETWORK, "--out", out)
    monkeypatch.setattr(bb.ImageData, "fingerprint", lambda data: "0123456789abcdef")
    for chosen in (PLAIN, NETWORK):
        said = refused("align", robust, robust, *chosen, "--out", out)
        assert "was made with data fingerprint train" in said
    assert not out.exists()


def test_the_network_normalises_and_a_tenth_is_held_out_for_every_seed_alike():
    one, other = (
        setting(Subject("DigitsNet", "digits", seed), Objective("adversarial")) for seed in (0, 1)
    )
    assert one.attack == bb.Attack(0.1, 0.025, 5)
    assert len(one.held_out) == 119
    assert len(one.train_data) == 1197 - 119
    assert torch.equal(one.held_out.images, other.held_out.images)
    assert one.train_data.mean == one.test_data.mean == (0.0,)
    plain = setting(Subject("DigitsNet", "digits"))
    outputs = one.network.eval()(one.example())
    normalised = plain.train_data.normalised(one.example())
    torch.testing.assert_close(outputs, plain.network.eval()(normalised))


def test_a_data_set_without_an_epsilon_needs_one(monkeypatch):
    monkeypatch.setattr("basinbridge.cli.work.EPSILONS", {})
    subject = Subject("DigitsNet", "digits")
    with pytest.raises(bb.InputError, match="give --epsilon"):
        setting(subject, Objective("adversarial"))
    assert setting(subject, Objective("adversarial", 0.3)).attack.step == pytest.approx(0.075)
