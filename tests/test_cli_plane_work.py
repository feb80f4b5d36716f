"""The command `plane`, on networks that were not trained."""

import json

import numpy as np
import pytest
import torch
from test_cli import DIGITS, call

import basinbridge as bb
from basinbridge.curve.files import save_curve
from basinbridge.models import DigitsNet

FAST = [*DIGITS, "--size", 2, "--images", 40, "--batchnorm-images", 40]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Three states, and two curves from the first to others."""
    folder = tmp_path_factory.mktemp("made")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        nets = [DigitsNet() for _ in range(4)]
    for number, net in enumerate(nets):
        bb.save_state(net.state_dict(), folder / f"{number}.safetensors")
    for number, aligned in ((1, False), (2, True)):
        curve = bb.Bezier.between(nets[0], nets[number])
        bend = curve.points[1] + 0.1 * torch.randn_like(curve.points[1])
        curve = curve.with_points(torch.stack([curve.points[0], bend, curve.points[2]]))
        save_curve(curve, folder / f"curve{number}.safetensors", {"aligned": aligned})
    save_curve(bb.Linear.between(*nets[:2]), folder / "line.safetensors", {})
    save_curve(bb.Bezier.between(nets[3], nets[2]), folder / "apart.safetensors", {"aligned": True})
    return folder


def test_three_states_give_json_and_picture(made, tmp_path, monkeypatch, capsys):
    files = [made / f"{number}.safetensors" for number in range(3)]
    assert call(monkeypatch, "plane", *files, *FAST, "--out", tmp_path, "--up", 0, 1.5) == 0
    found = json.loads((tmp_path / "plane.json").read_text())
    assert found["names"] == ["0", "1", "2"]
    assert np.array(found["loss"]).shape == (2, 2)
    assert found["y"] == pytest.approx([0, 1.5 * found["points"][2][1]])
    assert found["batchnorm_images"] == 40
    assert (tmp_path / "plane.png").stat().st_size > 10_000
    assert "plane of 2 x 2 networks" in capsys.readouterr().out
    assert call(monkeypatch, "plane", *files, *FAST, "--out", tmp_path) == 2
    assert "exists already" in capsys.readouterr().err


def test_two_curves_give_the_plane_of_their_ends(made, tmp_path, monkeypatch):
    files = [made / "curve2.safetensors", made / "curve1.safetensors"]
    assert call(monkeypatch, "plane", *files, *FAST, "--out", tmp_path) == 0
    found = json.loads((tmp_path / "plane.json").read_text())
    assert set(found["paths"]) == {"aligned curve", "unaligned curve"}
    assert found["paths"]["unaligned curve"][-1] == pytest.approx(found["points"][1], abs=1e-4)
    assert found["paths"]["aligned curve"][-1] == pytest.approx(found["points"][2], abs=1e-4)
    assert found["distances"]["aligned curve"] > 0.1


def test_one_curve_lies_in_its_own_plane(made, tmp_path, monkeypatch):
    call(monkeypatch, "plane", made / "curve1.safetensors", *FAST, "--out", tmp_path)
    found = json.loads((tmp_path / "plane.json").read_text())
    assert found["names"][2] == "bend"
    assert found["distances"]["unaligned curve"] < 1e-4


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["line"], "spans no plane"),
        (["curve1", "curve1"], "a second unaligned curve"),
        (["curve1", "apart"], "another network"),
        (["0", "1", "2", "3"], "4 files"),
        (["0"], "not a curve"),
    ],
)
def test_other_files_give_one_line(files, expected, made, tmp_path, monkeypatch, capsys):
    paths = [made / f"{file}.safetensors" for file in files]
    assert call(monkeypatch, "plane", *paths, *FAST, "--out", tmp_path / "p") == 2
    error = capsys.readouterr().err
    assert len(error.strip().splitlines()) == 1
    assert expected in error
    assert not (tmp_path / "p").exists()
