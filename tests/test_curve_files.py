"""Curves in files come back as they were."""

import pytest
import torch
from torch import nn

from basinbridge import Bezier, InputError, Linear, PolyChain
from basinbridge.curve.files import load_curve, save_curve
from basinbridge.models import DigitsNet
from basinbridge.state import save_state


@pytest.fixture
def curve(request):
    kind, options = request.param
    return kind.between(DigitsNet(), DigitsNet(), **options)


KINDS = [(Bezier, {}), (Bezier, {"degree": 3}), (PolyChain, {"bends": 2}), (Linear, {})]


@pytest.mark.parametrize("curve", KINDS, indirect=True)
def test_round_trip(curve, tmp_path):
    save_curve(curve, tmp_path / "c.safetensors", {"seed": 3})
    again, record = load_curve(tmp_path / "c.safetensors", DigitsNet())
    assert type(again) is type(curve)
    assert record == {"seed": 3}
    assert again.movable == curve.movable
    assert torch.equal(again.points, curve.points)
    for t in (0.0, 0.3, 1.0):
        one, other = curve.state_at(t), again.state_at(t)
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_tied_tensors_come_back(tmp_path):
    def tied():
        network = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3))
        network[2].weight = network[0].weight
        return network

    curve = Bezier.between(tied(), tied())
    save_curve(curve, tmp_path / "c.safetensors", {})
    again, _ = load_curve(tmp_path / "c.safetensors", tied())
    state = again.state_at(0.5)
    assert torch.equal(state["0.weight"], state["2.weight"])
    assert torch.equal(state["0.weight"], curve.state_at(0.5)["0.weight"])


def test_another_architecture_is_named(tmp_path):
    save_curve(Bezier.between(nn.Linear(2, 2), nn.Linear(2, 2)), tmp_path / "c.safetensors", {})
    with pytest.raises(InputError, match="weight"):
        load_curve(tmp_path / "c.safetensors", nn.Linear(3, 2))


def test_a_state_is_not_a_curve(tmp_path):
    save_state(nn.Linear(2, 2).state_dict(), tmp_path / "s.safetensors")
    with pytest.raises(InputError, match="not a curve"):
        load_curve(tmp_path / "s.safetensors", nn.Linear(2, 2))
