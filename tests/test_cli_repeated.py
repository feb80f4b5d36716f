"""Every command twice with one seed: the same bits; and results that disagree are refused."""

import hashlib
import json

import pytest
from test_cli import DIGITS, call

from basinbridge.reading import read_record, read_tensors
from basinbridge.state import save_state

A, B = "a.safetensors", "b.safetensors"
SHORT = ["--epochs", 1, "--batch-size", 128]
COMMANDS = {
    "demo": ["demo", *SHORT[:2], "--curve-epochs", 1, "--threads", 1, "--out", "demo"],
    "train": ["train", *DIGITS, *SHORT, "--seed", 0, "--out", A],
    "train another": ["train", *DIGITS, *SHORT, "--seed", 1, "--out", B],
    "discover": ["discover", *DIGITS[:4], "--out", "groups.json"],
    "align": ["align", A, B, *DIGITS, "--out", "match.safetensors", "--aligned", "c.safetensors"],
    "align by weights": [
        *["align", A, B, *DIGITS, "--method", "weights"],
        *["--seed", 5, "--out", "weights.safetensors"],
    ],
    "connect": ["connect", A, B, *DIGITS, *SHORT, "--out", "curve.safetensors"],
    "connect aligned": [
        *["connect", A, B, *DIGITS, *SHORT, "--match", "match.safetensors"],
        *["--curve", "polychain", "--out", "chain.safetensors"],
    ],
    "pam": [
        *["pam", A, B, *DIGITS, *SHORT, "--permutation-epochs", 1, "--out", "pam.safetensors"],
        *["--match-out", "pam-match.safetensors"],
    ],
    "evaluate": [
        *["evaluate", "curve.safetensors", "chain.safetensors", *DIGITS],
        *["--points", 3, "--out", "report"],
    ],
    "plane": ["plane", "curve.safetensors", *DIGITS, "--size", 3, "--out", "plane"],
    "signature": ["signature", A, B, *DIGITS, "--out", "signature"],
    "subset-study": [
        *["subset-study", A, B, *DIGITS, "--size", 100, "--size", 300],
        *["--out", "subsets.json"],
    ],
    "merge": ["merge", A, B, *DIGITS, "--out", "merged.safetensors"],
    "ensemble": ["ensemble", "curve.safetensors", *DIGITS, "--out", "ensemble.json"],
    "report": ["report", "report"],
}


def timeless(value):
    """Without times and the command line, which differ."""
    if isinstance(value, dict):
        return {
            key: timeless(one) for key, one in value.items() if key not in ("seconds", "command")
        }
    return [timeless(one) for one in value] if isinstance(value, list) else value


def content(folder):
    found = {}
    for file in sorted(folder.rglob("*.*")):
        name = str(file.relative_to(folder))
        if file.suffix == ".json":
            found[name] = timeless(json.loads(file.read_text()))
        elif file.suffix == ".safetensors":
            tensors, _ = read_tensors(file)
            found[name] = {key: one.contiguous().numpy().tobytes() for key, one in tensors.items()}
            found[f"{name}, record"] = timeless(read_record(file))
        elif file.suffix == ".png" and file.name != "curve.png":  # whose caption says the time
            found[name] = hashlib.sha256(file.read_bytes()).hexdigest()
    return found


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Two folders in which every command ran."""
    folders = []
    patch = pytest.MonkeyPatch()
    for name in ("once", "again"):
        folders.append(tmp_path_factory.mktemp(name))
        patch.chdir(folders[-1])
        for arguments in COMMANDS.values():
            assert call(patch, *arguments) == 0, arguments
    patch.undo()
    return folders


def test_every_command_is_here():
    from basinbridge.cli.app import app

    known = {command.name or command.callback.__name__ for command in app.registered_commands}
    tried = {arguments[0].replace("-", "_") for arguments in COMMANDS.values()}
    # Studies are begun again and compared, after kills even, by benchmarks/kills.py.
    assert {name.replace("-", "_") for name in known} - tried == {"reproduce", "status"}


def test_the_same_commands_give_the_same_bits(both):
    one, other = (content(folder) for folder in both)
    assert list(one) == list(other)
    assert len(one) > 20
    for name in one:
        assert one[name] == other[name], name


def test_every_result_says_what_made_it(both):
    folder = both[0]
    for file in [*folder.glob("*.safetensors"), *folder.glob("*/*.json"), *folder.glob("*.json")]:
        if file.name == "groups.json":
            continue
        is_json = file.suffix == ".json"
        found = json.loads(file.read_text()) if is_json else {"record": read_record(file)}
        record = found.get("record", found)
        assert record["versions"]["torch"], file
        assert "commit" in record, file
        assert record["data"]["fingerprint"]["train"], file
        assert "--out" in record["command"], file
        assert "cpu" in {**record.get("settings", {}), **record}["device"], file


@pytest.mark.parametrize(
    ("entry", "change"),
    [
        ("model 'TinyTen'", {"model": "TinyTen"}),
        ("data name 'cifar10'", {"data": {"name": "cifar10"}}),
        ("data fingerprint train 'abc'", {"data": {"fingerprint": {"train": "abc"}}}),
    ],
)
@pytest.mark.parametrize("name", ["state", "match", "curve"])
def test_results_of_another_making_are_refused_by_the_entry(
    name, entry, change, both, tmp_path, monkeypatch, capsys
):
    folder = both[0]
    files = {"state": B, "match": "match.safetensors", "curve": "curve.safetensors"}
    tensors, metadata = read_tensors(folder / files[name])
    other = tmp_path / files[name]
    save_state(tensors, other, **{**metadata, "record": json.dumps(change)})
    out = ["--out", tmp_path / "out.safetensors"]
    a, b = folder / A, folder / B
    arguments = {
        "state": ["connect", a, other, *DIGITS, *out],
        "match": ["connect", a, b, "--match", other, *DIGITS, *out],
        "curve": ["evaluate", other, *DIGITS, *out],
    }
    capsys.readouterr()
    assert call(monkeypatch, *arguments[name]) == 2
    line = capsys.readouterr().err
    assert f"{other}: was made with {entry}, not " in line
    assert len(line.strip().splitlines()) == 1


def test_curves_of_two_pairs_make_no_report(both, tmp_path, monkeypatch, capsys):
    folder = both[0]
    ends = [folder / B, folder / A]
    out = tmp_path / "other.safetensors"
    match = ["--match", folder / "weights.safetensors"]
    assert call(monkeypatch, "connect", *ends, *DIGITS, *SHORT, *match, "--out", out) == 0
    curves = [folder / "curve.safetensors", out]
    assert call(monkeypatch, "evaluate", *curves, *DIGITS, "--out", tmp_path / "report") == 2
    assert f"{out}: start differs" in capsys.readouterr().err
