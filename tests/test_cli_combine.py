"""The commands `merge` and `ensemble`, on networks that were hardly trained."""

import json

import pytest
import torch
from test_cli import DIGITS, call, trained  # noqa: F401 - a fixture

import basinbridge as bb
from basinbridge.align.transport import apply_plan, transport_plan
from basinbridge.curve.files import load_curve
from basinbridge.data.datasets import load
from basinbridge.models import DigitsNet
from basinbridge.reading import read_record


def network_of(path):
    network = DigitsNet()
    network.load_state_dict(bb.load_state(path))
    return network


@pytest.mark.parametrize("matched", [True, False])
def test_a_merge_is_the_librarys(matched, trained, tmp_path, monkeypatch, capsys):  # noqa: F811
    ends = [trained / "a.safetensors", trained / "b.safetensors"]
    match = trained / "match.safetensors"
    out = tmp_path / "merged.safetensors"
    options = ["--images", 300, "--t", 0.25, "--out", out]
    found = ["--match", match] if matched else []
    assert call(monkeypatch, "merge", *ends, *DIGITS, *options, *found) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [str(path) for path in (*ends, out)]
    data = load("digits", "train").subset(300, 0)
    start, end = map(network_of, ends)
    symmetry = bb.discover(start, data.normalised(data.scaled(data.images[:2])))
    order = bb.load_state(match) if matched else None
    expected = bb.merge(start, end, data, symmetry, order, t=0.25)
    written, state = bb.load_state(out), expected.network.state_dict()
    assert set(written) == set(state)
    assert all(torch.equal(written[name], state[name]) for name in state)
    record = read_record(out)
    assert (record["start"]["seed"], record["end"]["seed"], record["t"]) == (0, 1, 0.25)
    assert (record["match"] is None) != matched


def test_softly_transported_neurons_are_mixed_in(trained, tmp_path, monkeypatch, capsys):  # noqa: F811
    ends = [trained / "a.safetensors", trained / "b.safetensors"]
    out = tmp_path / "mixed.safetensors"
    options = ["--images", 300, "--soft-transport", 0.1, "--t", 1, "--out", out]
    assert call(monkeypatch, "merge", *ends, *DIGITS, *options) == 0
    data = load("digits", "train").subset(300, 0)
    start, end = map(network_of, ends)
    symmetry = bb.discover(start, data.normalised(data.scaled(data.images[:2])))
    plans = transport_plan(start, end, data, symmetry, regularisation=0.1)
    expected = apply_plan(end.state_dict(), symmetry, plans)
    written = bb.load_state(out)
    # At t = 1 there is nothing of the start; only batch norm's statistics are others.
    assert all(
        torch.equal(written[name], expected[name])
        for name in written
        if name.endswith(("weight", "bias"))
    )
    match = ["--match", trained / "match.safetensors", "--force"]
    assert call(monkeypatch, "merge", *ends, *DIGITS, *options, *match) == 2
    assert "give one" in capsys.readouterr().err


def test_an_ensemble_is_the_librarys(trained, tmp_path, monkeypatch, capsys):  # noqa: F811
    file, out = trained / "aligned.safetensors", tmp_path / "ensemble.json"
    options = ["--t", 0, "--t", 0.6, "--batchnorm-images", 200, "--out", out]
    assert call(monkeypatch, "ensemble", file, *DIGITS, *options) == 0
    train, test = (load("digits", split) for split in ("train", "test"))
    curve, _ = load_curve(file, DigitsNet())
    expected = bb.ensemble(curve, test, times=(0, 0.6), batchnorm_data=train, batchnorm_images=200)
    assert capsys.readouterr().out == f"{expected}\n"
    found = json.loads(out.read_text())
    assert found["kind"] == "ensemble"
    assert found["together"]["calibration"] == expected.together.calibration
    assert call(monkeypatch, "ensemble", file, *DIGITS, "--out", out) == 2
    assert "exists already" in capsys.readouterr().err


def test_a_match_of_another_network_gives_one_line(trained, tmp_path, monkeypatch, capsys):  # noqa: F811
    ends = [trained / "a.safetensors", trained / "b.safetensors"]
    wrong, out = tmp_path / "wrong.safetensors", tmp_path / "merged.safetensors"
    bb.save_state({"nowhere": torch.arange(3)}, wrong)
    assert call(monkeypatch, "merge", *ends, *DIGITS, "--match", wrong, "--out", out) == 2
    assert "not a renumbering of this network" in capsys.readouterr().err
    assert not out.exists()
