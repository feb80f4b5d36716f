"""The command line, run in this process as a user would run it."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import basinbridge as bb
from basinbridge.evaluate import along
from basinbridge.models import DigitsNet
from basinbridge.state import load_state, save_state

DIGITS = ["--model", "DigitsNet", "--dataset", "digits", "--threads", "1"]


def call(monkeypatch, *arguments) -> int:
    """Run a command; return its exit status."""
    from basinbridge.cli.app import run

    monkeypatch.setattr(sys, "argv", ["basinbridge", *map(str, arguments)])
    threads = torch.get_num_threads()
    try:
        run()
    except SystemExit as stop:
        return int(stop.code or 0)
    finally:
        torch.set_num_threads(threads)
    return 0


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A folder with two networks, their match, and both curves."""
    folder = tmp_path_factory.mktemp("trained")
    patch = pytest.MonkeyPatch()
    for seed, name in enumerate(("a", "b")):
        options = ["--epochs", 2, "--batch-size", 32, "--seed", seed]
        out = folder / f"{name}.safetensors"
        assert call(patch, "train", *DIGITS, *options, "--out", out) == 0
    ends = [folder / "a.safetensors", folder / "b.safetensors"]
    match = folder / "match.safetensors"
    assert call(patch, "align", *ends, *DIGITS, "--out", match) == 0
    for name, extra in (("unaligned", []), ("aligned", ["--match", match])):
        options = ["--epochs", 1, "--out", folder / f"{name}.safetensors", *extra]
        assert call(patch, "connect", *ends, *DIGITS, *options) == 0
    patch.undo()
    return folder


def test_whole_path_from_training_to_the_picture(trained, tmp_path, monkeypatch, capsys):
    curves = [trained / "unaligned.safetensors", trained / "aligned.safetensors"]
    arguments = ["evaluate", *curves, *DIGITS, "--points", 5, "--out", tmp_path]
    assert call(monkeypatch, *arguments) == 0
    output = capsys.readouterr()
    assert "curve aligned" in output.out
    assert "linear unaligned" in output.out
    assert output.err == ""
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["seeds"] == [0, 1]
    assert report["settings"]["epochs"] == 2
    assert len(report["curve_aligned"]["t"]) == 5
    assert set(report["seconds"]) == {
        "train_start", "train_end", "align", "fit_unaligned", "fit_aligned", "evaluate",
    }  # fmt: skip
    (tmp_path / "curve.png").unlink()
    assert call(monkeypatch, "report", tmp_path) == 0
    assert "curve aligned" in capsys.readouterr().out
    assert (tmp_path / "curve.png").stat().st_size > 10_000


def test_points_scored_together_make_the_same_report(trained, tmp_path, monkeypatch):
    reports, sizes = [], []

    class Noted(bb.Stack):
        def __init__(self, networks, **options):
            sizes.append(len(networks))
            super().__init__(networks, **options)

    monkeypatch.setattr(along, "Stack", Noted)
    for together in (1, 3):
        out = tmp_path / str(together)
        options = ["--points", 5, "--together", together, "--out", out]
        assert (
            call(monkeypatch, "evaluate", trained / "aligned.safetensors", *DIGITS, *options) == 0
        )
        reports.append(json.loads((out / "report.json").read_text())["curve_aligned"])
    assert reports[1]["loss"] == pytest.approx(reports[0]["loss"], rel=1e-4)
    assert sizes == [3, 3]  # curve and line


def test_same_seed_gives_the_same_bits(trained, tmp_path, monkeypatch):
    options = [
        "--epochs",
        2,
        "--batch-size",
        32,
        "--seed",
        1,
        "--out",
        tmp_path / "again.safetensors",
    ]
    assert call(monkeypatch, "train", *DIGITS, *options) == 0
    first, again = load_state(trained / "b.safetensors"), load_state(tmp_path / "again.safetensors")
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_aligned_state_is_the_end_of_the_aligned_curve(trained, tmp_path, monkeypatch):
    ends = [trained / "a.safetensors", trained / "b.safetensors"]
    out = ["--out", tmp_path / "match.safetensors", "--aligned", tmp_path / "b.safetensors"]
    assert call(monkeypatch, "align", *ends, *DIGITS, *out) == 0
    from basinbridge.curve.files import load_curve

    curve, record = load_curve(trained / "aligned.safetensors", DigitsNet())
    assert record["aligned"] is True
    end, aligned = curve.state_at(1), load_state(tmp_path / "b.safetensors")
    assert all(torch.equal(end[name], aligned[name]) for name in aligned)


@pytest.mark.parametrize("method", ["projected", "conditional-gradient"])
def test_pam_writes_a_curve_and_the_renumbering_that_ends_it(
    trained, tmp_path, monkeypatch, capsys, method
):
    from basinbridge.curve.files import load_curve

    ends = [trained / "a.safetensors", trained / "b.safetensors"]
    options = ["--epochs", 1, "--permutation-epochs", 1, "--begin", "identity", "--method", method]
    out, match = tmp_path / "pam.safetensors", tmp_path / "match.safetensors"
    arguments = ["pam", *ends, *DIGITS, *options, "--out", out, "--match-out", match]
    assert call(monkeypatch, *arguments) == 0
    shown = [float(word) for word in capsys.readouterr().out.split() if word[:2] in ("0.", "1.")]
    assert len(shown) == 3
    assert shown == sorted(shown, reverse=True)
    curve, record = load_curve(out, DigitsNet())
    assert record["pam"]["method"] == method
    assert record["aligned"] is False
    assert record["objective"] == pytest.approx(shown, abs=1e-4)
    fitted = tmp_path / "fitted.safetensors"
    again = ["connect", *ends, *DIGITS, "--match", match, "--epochs", 0, "--out", fitted]
    assert call(monkeypatch, *again) == 0
    line, _ = load_curve(fitted, DigitsNet())
    assert torch.equal(line.points[[0, -1]], curve.points[[0, -1]])
    report = ["evaluate", out, *DIGITS, "--points", 3, "--out", tmp_path / "report"]
    assert call(monkeypatch, *report) == 0
    assert call(monkeypatch, *arguments) == 2
    assert "exists already" in capsys.readouterr().err


def test_results_are_not_overwritten_unless_forced(trained, monkeypatch, capsys):
    out = trained / "a.safetensors"
    before = out.read_bytes()
    assert call(monkeypatch, "train", *DIGITS, "--epochs", 1, "--out", out) == 2
    assert "exists already" in capsys.readouterr().err
    assert out.read_bytes() == before


def test_a_network_of_the_users_own_needs_no_change(tmp_path, monkeypatch, capsys):
    (tmp_path / "their_network.py").write_text(
        "from torch import nn\n"
        "def make():\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 10))\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    setting = ["--model", "their_network:make", "--dataset", "digits"]
    assert call(monkeypatch, "discover", *setting, "--out", "groups.json") == 0
    assert "1: size 12" in capsys.readouterr().out
    assert json.loads(Path("groups.json").read_text())["groups"]["1"]["size"] == 12
    assert call(monkeypatch, "discover", *setting, "--fix", "1.weight:0") == 0
    assert capsys.readouterr().out.startswith("No neurons")
    for seed in (0, 1):
        more = ["--seed", seed, "--epochs", 1, "--out", f"{seed}.safetensors"]
        assert call(monkeypatch, "train", *setting, *more) == 0
    ends = ["0.safetensors", "1.safetensors"]
    assert (
        call(monkeypatch, "connect", *ends, *setting, "--epochs", 1, "--out", "c.safetensors") == 0
    )


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (["--fix", "features.0.weight"], "did you mean 'features.0"),
        (["--fix", "classifier.weight:x"], "'classifier.weight:x' names no axis"),
        (["--tie", "classifier.weight:1"], "'' names no axis"),
        (["--tie", "classifier.weight:1=classifier.weight:0"], "cannot be numbered alike"),
    ],
)
def test_axes_to_fix_or_tie_are_checked(monkeypatch, capsys, option, said):
    assert call(monkeypatch, "discover", *DIGITS[:4], *option) == 2
    assert said in capsys.readouterr().err


def bad_inputs(folder: Path) -> dict[str, tuple[list, str]]:
    """Arguments with something wrong in them, and what the line must say."""
    truncated, broken, other = (
        folder / f"{n}.safetensors" for n in ("truncated", "broken", "other")
    )
    whole = (folder / "a.safetensors").read_bytes()
    truncated.write_bytes(whole[: len(whole) // 2])
    state = load_state(folder / "a.safetensors")
    state["classifier.bias"] = state["classifier.bias"].clone().fill_(float("nan"))
    save_state(state, broken)
    save_state(torch.nn.Linear(3, 3).state_dict(), other)
    out = ["--out", folder / "never.safetensors"]
    a, b = folder / "a.safetensors", folder / "b.safetensors"
    return {
        "missing": (["align", a, folder / "none.safetensors", *DIGITS, *out], "none.safetensors"),
        "truncated": (["align", a, truncated, *DIGITS, *out], "truncated.safetensors"),
        "nan": (["connect", a, broken, *DIGITS, *out], "'classifier.bias'"),
        "architecture": (["align", a, other, *DIGITS, *out], "'features.0.conv.weight'"),
        "dataset": (["train", "--model", "DigitsNet", "--dataset", "digit", *out], "digits"),
        "model": (["train", "--model", "DigitNet", "--dataset", "digits", *out], "DigitsNet"),
        "module": (["train", "--model", "nowhere:Net", "--dataset", "digits", *out], "nowhere"),
        "images": (["train", "--model", "TinyTen", "--dataset", "digits", *out], "[1, 8, 8]"),
        "classes": (["train", "--model", "seven", "--dataset", "digits", *out], "7"),
        "device": (["train", *DIGITS, "--device", "abacus", *out], "abacus"),
        "rate": (["train", *DIGITS, "--learning-rate", "-1", *out], "learning rate"),
        "match": (["connect", a, b, "--match", a, *DIGITS, *out], "a.safetensors"),
        "not a curve": (["evaluate", a, *DIGITS, "--out", folder / "r"], "not a curve"),
        "two alike": (
            ["evaluate", *[folder / "aligned.safetensors"] * 2, *DIGITS, "--out", folder / "r"],
            "second aligned",
        ),
        "no report": (["report", folder / "nothing"], "report.json"),
    }  # fmt: skip


NAMES = [
    "missing", "truncated", "nan", "architecture", "dataset", "model", "module", "images",
    "classes", "device", "rate", "match", "not a curve", "two alike", "no report",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_bad_input_gives_one_line_and_status_2_and_writes_nothing(
    name, trained, monkeypatch, capsys
):
    import basinbridge.models as models

    monkeypatch.setattr(models, "seven", lambda: DigitsNet(num_classes=7), raising=False)
    cases = bad_inputs(trained)
    assert list(cases) == NAMES
    arguments, expected = cases[name]
    before = sorted(path.name for path in trained.iterdir())
    assert call(monkeypatch, *arguments) == 2
    output = capsys.readouterr()
    lines = output.err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("basinbridge: ")
    assert expected in lines[0]
    assert "Traceback" not in output.err + output.out
    assert sorted(path.name for path in trained.iterdir()) == before


def test_an_untraceable_network_is_named_with_the_place(tmp_path, monkeypatch, capsys):
    (tmp_path / "fickle_network.py").write_text(
        "import torch\n"
        "class Fickle(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.layer = torch.nn.Linear(64, 10)\n"
        "    def forward(self, images):\n"
        "        if images.sum() > 0:\n"
        "            images = -images\n"
        "        return self.layer(images.flatten(1))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    arguments = ["discover", "--model", "fickle_network:Fickle", "--dataset", "digits"]
    assert call(monkeypatch, *arguments) == 2
    error = capsys.readouterr().err
    assert len(error.strip().splitlines()) == 1
    assert "fickle_network.py:7" in error


def test_help_answers_without_importing_torch():
    code = "import sys; from basinbridge.cli.app import app; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "basinbridge", "--help"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0
    assert "connect" in done.stdout
    assert time.perf_counter() - start < 10
