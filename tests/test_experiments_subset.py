import json

import pytest
import torch
from networks import built
from test_cli import DIGITS, call

import basinbridge as bb
from basinbridge.data.datasets import load
from basinbridge.experiments.subset import subset_study
from basinbridge.models import DigitsNet
from basinbridge.symmetry.discover import discover


def digits():
    data = load("digits", "train")
    return data, data.normalised(data.scaled(data.images[:2]))


def test_parts_are_those_of_permutations_found_one_by_one():
    data, example = digits()
    net_a, net_b = built("digits").float(), built("digits", seed=1).float()
    symmetry = discover(net_a, example)
    seen = []
    found = subset_study(
        net_a, net_b, data, symmetry, [200, 3, 20, 20], seed=4, watch=lambda *one: seen.append(one)
    )
    assert found.sizes == (3, 20, 200)
    assert seen == [("aligning", 1, 3), ("aligning", 2, 3), ("aligning", 3, 3)]
    orders = [bb.align(net_a, net_b, data.subset(n, 4), symmetry) for n in found.sizes]
    for row, order in zip(found.equal, orders, strict=True):
        for name, part in zip(found.groups, row, strict=True):
            assert part == pytest.approx(float((order[name] == orders[-1][name]).float().mean()))
    assert found.equal[-1] == (1.0,) * len(found.groups)
    assert min(found.equal[0]) < 1
    assert str(found).splitlines()[-1].split()[-1] == f"{len(found.groups)}/{len(found.groups)}"


def test_under_attack_permutations_are_those_of_attacked_images():
    data, example = digits()
    data = data.unnormalised()
    net_a, net_b = DigitsNet(), DigitsNet()
    symmetry, attack = discover(net_a, example), bb.Attack(0.2, 0.1, 2)
    found = subset_study(net_a, net_b, data, symmetry, [3, 200], attack=attack)
    orders = [
        bb.align(net_a, net_b, data.subset(count, 0), symmetry, attack=attack) for count in (3, 200)
    ]
    assert found.equal[0] == pytest.approx(
        [float((orders[0][name] == orders[1][name]).double().mean()) for name in found.groups]
    )
    assert found != subset_study(net_a, net_b, data, symmetry, [3, 200])


def test_one_size_or_too_many_images_are_refused():
    data, example = digits()
    network = built("digits").float()
    symmetry = discover(network, example)
    with pytest.raises(bb.InputError, match="two sizes"):
        subset_study(network, network, data, symmetry, [20, 20])
    with pytest.raises(bb.InputError, match="cannot draw"):
        subset_study(network, network, data, symmetry, [20, 10**6])


def test_the_command_writes_what_it_prints(tmp_path, monkeypatch, capsys):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for name in ("a", "b"):
            bb.save_state(DigitsNet().state_dict(), tmp_path / f"{name}.safetensors")
    ends = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    sizes = ["--size", 10, "--size", 50]
    out = tmp_path / "subset.json"
    assert call(monkeypatch, "subset-study", *ends, *DIGITS, *sizes, "--out", out) == 0
    found = json.loads(out.read_text())
    assert found["sizes"] == [10, 50]
    assert len(found["equal"][0]) == len(found["groups"]) == 5
    assert "wholly equal" in capsys.readouterr().out
