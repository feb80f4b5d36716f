"""The command `signature`, on networks that were not trained."""

import json

import pytest
import torch
from test_cli import DIGITS, call

import basinbridge as bb
from basinbridge.curve.files import save_curve
from basinbridge.models import DigitsNet

FAST = [*DIGITS, "--images", 100]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        nets = [DigitsNet() for _ in range(4)]
    for number, net in enumerate(nets):
        bb.save_state(net.state_dict(), folder / f"{number}.safetensors")
    curve = bb.Bezier.between(nets[0], nets[1])
    save_curve(curve, folder / "curve.safetensors", {"aligned": True})
    return folder


def test_pairs_and_a_curve_give_panels(made, tmp_path, monkeypatch, capsys):
    states = [made / f"{number}.safetensors" for number in range(4)]
    arguments = [*states, "--curve", made / "curve.safetensors", *FAST, "--out", tmp_path]
    assert call(monkeypatch, "signature", *arguments) == 0
    assert capsys.readouterr().out.count("mean of groups") == 4
    found = json.loads((tmp_path / "signature.json").read_text())
    pairs, curve = found["panels"]
    assert len(pairs["entries"]) == 2
    assert curve["title"] == "ends and middle of the aligned curve"
    for entry in pairs["entries"]:
        assert sum(entry["after"]) > sum(entry["before"])
        assert entry["layers"][-1] == "logits"
    # This curve has its bend in the middle of the line, so it is the line.
    assert all(
        entry["line"] == pytest.approx(entry["before"], abs=1e-3) for entry in curve["entries"]
    )
    assert (tmp_path / "signature.png").stat().st_size > 10_000


def test_an_odd_number_of_states_gives_one_line(made, tmp_path, monkeypatch, capsys):
    assert call(monkeypatch, "signature", made / "0.safetensors", *FAST, "--out", tmp_path) == 2
    assert "1 states: give pairs" in capsys.readouterr().err
    assert call(monkeypatch, "signature", *FAST, "--out", tmp_path) == 2
    assert not list(tmp_path.iterdir())


def test_a_missing_curve_is_told_before_any_work(made, tmp_path, monkeypatch, capsys):
    states = [made / f"{number}.safetensors" for number in range(2)]
    arguments = [*states, "--curve", tmp_path / "none.safetensors", *FAST, "--out", tmp_path]
    assert call(monkeypatch, "signature", *arguments) == 2
    shown = capsys.readouterr()
    assert "none.safetensors: no such file" in shown.err
    assert "mean of groups" not in shown.out
