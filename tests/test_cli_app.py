"""What the command line makes of signals and divergence: one line, a status, a way to go on."""

import signal
import sys

import pytest
import torch
from test_cli import call

from basinbridge.reading import read_tensors
from basinbridge.state import load_state

NETWORK = """
import os
import torch
from torch import nn

calls, sends, at, breaks = 0, None, 60, False

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 10)

    def forward(self, images):
        global calls
        calls += self.training
        if self.training and calls == at and sends:
            os.kill(os.getpid(), sends)
        found = self.layer(images.flatten(1))
        return found * float("nan") if self.training and breaks and calls >= at else found
"""
SETTING = ["--model", "signalling:Net", "--dataset", "digits", "--batch-size", 32, "--epochs", 3]


@pytest.fixture
def network(tmp_path, monkeypatch):
    """A module of a network that can send its own process a signal, or break, at a step."""
    (tmp_path / "signalling.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "signalling", raising=False)
    import signalling

    yield signalling
    del sys.modules["signalling"]


def same(one, other):
    one, other = load_state(one), load_state(other)
    return list(one) == list(other) and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("command", ["train", "connect", "pam"])
def test_a_signal_ends_a_command_in_a_line_and_the_same_command_goes_on(
    command, number, status, network, tmp_path, monkeypatch, capsys
):
    ends = []
    if command != "train":
        for seed in (0, 1):
            ends.append(tmp_path / f"{seed}.safetensors")
            options = ["--seed", seed, "--out", ends[-1]]
            assert call(monkeypatch, "train", *SETTING, *options) == 0
    extra = ["--permutation-epochs", 1, "--begin", "identity"] if command == "pam" else []
    undisturbed, out = tmp_path / "undisturbed.safetensors", tmp_path / "out.safetensors"
    arguments = [command, *ends, *SETTING, *extra]
    assert call(monkeypatch, *arguments, "--out", undisturbed) == 0
    network.calls, network.sends = 0, number
    capsys.readouterr()
    assert call(monkeypatch, *arguments, "--out", out) == status
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert "go on from" in lines[0]
    assert f"{out}.checkpoint" in lines[0]
    assert not out.exists()
    network.sends = None
    assert call(monkeypatch, *arguments, "--out", out) == 0
    assert same(out, undisturbed)
    assert [path for path in tmp_path.iterdir() if "checkpoint" in path.name] == []


def test_a_command_without_a_checkpoint_says_that_nothing_was_written(
    network, tmp_path, monkeypatch, capsys
):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("basinbridge.cli.symmetry_work.discover", interrupted)
    assert call(monkeypatch, "discover", *SETTING[:4]) == 130
    assert capsys.readouterr().err == "basinbridge: interrupted; nothing was written\n"


def test_divergence_is_retried_at_another_rate_only_when_told(
    network, tmp_path, monkeypatch, capsys
):
    out = tmp_path / "out.safetensors"
    kept = tmp_path / "out.safetensors.checkpoint"
    arguments = ["train", *SETTING, "--out", out]
    assert call(monkeypatch, *arguments, "--retry-lr", 0.01) == 2
    assert "nothing for --retry-lr" in capsys.readouterr().err
    network.breaks = True
    assert call(monkeypatch, *arguments) == 2
    error = capsys.readouterr().err
    assert "diverged at step 23 of epoch 2, learning rate" in error
    assert str(kept) in error
    assert not out.exists()
    assert bool(torch.isfinite(read_tensors(kept)[0]["weights"]).all())
    network.breaks = False
    assert call(monkeypatch, *arguments, "--learning-rate", 0.01) == 2
    assert "was made with learning_rate 0.1, not 0.01" in capsys.readouterr().err
    assert call(monkeypatch, *arguments, "--retry-lr", 0.01) == 0
    assert not kept.exists()
    assert bool(load_state(out))


@pytest.fixture
def as_before():
    yield
    torch.use_deterministic_algorithms(False)


def test_deterministic_comes_before_the_command_and_changes_nothing_on_a_cpu(
    as_before, network, tmp_path, monkeypatch, capsys
):
    one, other = tmp_path / "one.safetensors", tmp_path / "other.safetensors"
    assert call(monkeypatch, "train", *SETTING, "--out", one) == 0
    assert not torch.are_deterministic_algorithms_enabled()
    assert call(monkeypatch, "--deterministic", "train", *SETTING, "--out", other) == 0
    assert torch.are_deterministic_algorithms_enabled()
    assert same(one, other)


def test_what_cannot_be_deterministic_is_told(as_before, network, tmp_path, monkeypatch, capsys):
    def refusing(*arguments):
        raise RuntimeError("some_kernel does not have a deterministic implementation\nand more")

    monkeypatch.setattr("basinbridge.cli.work.setting", refusing)
    out = ["--out", tmp_path / "out.safetensors"]
    assert call(monkeypatch, "--deterministic", "train", *SETTING, *out) == 2
    line = capsys.readouterr().err
    assert line.startswith("basinbridge: --deterministic: some_kernel does not have")
    assert len(line.strip().splitlines()) == 1
