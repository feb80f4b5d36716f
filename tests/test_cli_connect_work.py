"""The command `connect` for all kinds of curves, on networks that were not trained."""

import pytest
import torch
from test_cli import DIGITS, call

import basinbridge as bb
from basinbridge.curve.files import load_curve
from basinbridge.data.datasets import load
from basinbridge.models import DigitsNet

KINDS = {
    "bezier": (["--bends", 2], bb.Bezier, 4, (1, 2)),
    "polychain": (["--curve", "polychain", "--bends", 3], bb.PolyChain, 5, (1, 2, 3)),
    "linear": (["--curve", "linear"], bb.Linear, 2, ()),
    "movable line": (["--curve", "linear", "--movable-ends"], bb.Linear, 2, (0, 1)),
    "movable ends": (["--movable-ends"], bb.Bezier, 3, (0, 1, 2)),
}


@pytest.fixture(scope="module")
def ends(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ends")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for name in "ab":
            bb.save_state(DigitsNet().state_dict(), folder / f"{name}.safetensors")
    return [folder / "a.safetensors", folder / "b.safetensors"]


def connected(monkeypatch, ends, out, *options):
    arguments = ["connect", *ends, *DIGITS, "--batch-size", 64, "--out", out, *options]
    return call(monkeypatch, *arguments)


@pytest.mark.parametrize("name", KINDS)
def test_kinds_of_curves_and_what_of_them_moves(name, ends, tmp_path, monkeypatch, capsys):
    options, kind, points, movable = KINDS[name]
    out = tmp_path / "curve.safetensors"
    assert connected(monkeypatch, ends, out, "--epochs", 1, *options) == 0
    assert f"of {points} control points" in capsys.readouterr().out
    curve, record = load_curve(out, DigitsNet())
    assert type(curve) is kind
    assert (len(curve.points), curve.movable) == (points, movable)
    assert record["movable_ends"] == (0 in movable)
    start = curve.layout.flatten(bb.load_state(ends[0]))
    assert torch.equal(curve.points[0], start) == (0 not in movable)


def test_an_elastic_band_is_the_librarys(ends, tmp_path, monkeypatch):
    out = tmp_path / "chain.safetensors"
    options = ["--curve", "polychain", "--bends", 2, "--epochs", 1, "--autoneb-cycles", 2]
    assert connected(monkeypatch, ends, out, *options) == 0
    curve, record = load_curve(out, DigitsNet())
    assert record["autoneb_cycles"] == 2
    start = DigitsNet()
    start.load_state_dict(bb.load_state(ends[0]))
    chain = bb.PolyChain.between(start, bb.load_state(ends[1]), bends=2)
    expected = bb.fit_chain(chain, load("digits", "train"), cycles=2, epochs=1, batch_size=64)
    assert torch.equal(curve.points, expected.points)
    fitted = bb.fit(chain, load("digits", "train"), epochs=2, batch_size=64)
    assert not torch.equal(curve.points, fitted.points)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--autoneb-cycles", 2], "for chains; add --curve polychain"),
        (["--curve", "linear", "--bends", 1], "a line has no bends, got 1"),
        (["--curve", "polychain", "--movable-ends", "--autoneb-cycles", 2], "ends that stay"),
    ],
)
def test_what_does_not_fit_together_gives_one_line(
    options, message, ends, tmp_path, monkeypatch, capsys
):
    out = tmp_path / "curve.safetensors"
    assert connected(monkeypatch, ends, out, *options) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()
