"""A disk that is full, or a folder that must not be written: one line, and nothing lost."""

import json
import os
import subprocess
import sys

import pytest
import torch

import basinbridge as bb
from basinbridge.reading import read_tensors

# Larger than what is allowed, but small beside what else a process writes.
LIMIT = 20_000
PROGRAM = """
import resource, signal, sys
import torch
import basinbridge as bb
from basinbridge.cli.app import run
from basinbridge.state import save_state

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # as a full disk: writing fails, nobody dies
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
sys.argv = ["basinbridge", *{arguments!r}]
run()
"""
DIGITS = ["--model", "DigitsNet", "--dataset", "digits", "--threads", "1", "--epochs", "1"]


def with_little_room(*arguments, limit=LIMIT):
    program = PROGRAM.format(limit=limit, arguments=[str(one) for one in arguments])
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )


def test_training_on_a_full_disk_says_so_and_leaves_nothing_half_written(tmp_path):
    out = tmp_path / "a.safetensors"
    before = tmp_path / "earlier.safetensors"
    bb.save_state({"a": torch.ones(3)}, before)
    content = before.read_bytes()
    done = with_little_room("train", *DIGITS, "--out", out)
    assert done.returncode == 2
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1
    assert f"{out}.checkpoint: cannot be written" in lines[0]
    assert done.stdout == ""
    assert [one.name for one in tmp_path.iterdir()] == [before.name]
    assert before.read_bytes() == content


def test_a_result_that_does_not_fit_leaves_the_older_one(tmp_path):
    out = tmp_path / "a.safetensors"
    bb.save_state({"a": torch.ones(3)}, out)
    before = out.read_bytes()
    # The checkpoint, which is larger, exceeds the limit first, unless it is finished and there.
    done = with_little_room("train", *DIGITS, "--out", out, "--force")
    assert done.returncode == 2
    assert out.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == [out.name]


@pytest.fixture
def small_disk(tmp_path):
    """Run a program with a file system of its own, of 256 KiB, in a folder."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["unshare", "--user", "--map-root-user", "--mount", "bash", "-c"]
    if subprocess.run([*command, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this system gives no file systems to users")

    def run(program):
        script = f'mount -t tmpfs -o size=256k none "{folder}" && exec "$0" -c "$1"'
        return subprocess.run(
            [*command, script, sys.executable, program],
            capture_output=True, text=True, check=False, env={**os.environ, "FOLDER": str(folder)},
        )  # fmt: skip

    return run


ON_A_SMALL_DISK = """
import json, os
from pathlib import Path
import torch
import basinbridge as bb
from basinbridge.reading import read_tensors
from basinbridge.report.load import write_report

folder = Path(os.environ["FOLDER"])
inputs = torch.randn(8, 100)
data = (inputs, torch.zeros(8, dtype=torch.long))
torch.manual_seed(0)
network = torch.nn.Sequential(torch.nn.Linear(100, 40), torch.nn.Linear(40, 2))
kept = bb.Checkpoint(folder / "kept", seconds=0)
settings = dict(epochs=6, batch_size=4, checkpoint=kept)
first = bb.train(network, data, **settings)
bb.save_state(first.state_dict(), folder / "first.safetensors")
before = {one.name: one.read_bytes() for one in folder.iterdir()}
filler = folder / "filler"
with filler.open("wb", buffering=0) as file:  # the disk is full from here on
    try:
        while True:
            file.write(bytes(1024))
    except OSError:
        pass
said = []
for write in (
    lambda: bb.save_state(first.state_dict(), folder / "first.safetensors"),
    lambda: bb.save_state(first.state_dict(), folder / "second.safetensors"),
    lambda: bb.train(network, data, **{**settings, "checkpoint": bb.Checkpoint(folder / "other")}),
    lambda: write_report({"a": list(range(5000))}, folder / "report"),
):
    try:
        write()
        said.append("written")
    except bb.InputError as error:
        said.append(str(error))
after = {one.name: one.read_bytes() for one in folder.iterdir() if one.is_file()}
after.pop("filler")
filler.unlink()
again = bb.train(network, data, **settings)
same = all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters()))
print(json.dumps({"said": said, "intact": before == after, "same": same}))
"""


def test_a_small_file_system_that_fills_up_loses_nothing(small_disk):
    done = small_disk(ON_A_SMALL_DISK)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found["said"]) == 4
    assert all("cannot be written" in line and "\n" not in line for line in found["said"])
    assert found["intact"]
    assert found["same"]


def test_a_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "a.safetensors", tmp_path / "file" / "b" / "a.safetensors"):
        with pytest.raises(bb.InputError, match=r"a\.safetensors: cannot be written"):
            bb.save_state({"a": torch.ones(3)}, path)


READ_ONLY = """
import os, sys
import torch
import basinbridge as bb
write = bb.save_state
if os.getuid() == 0:  # whom no permission stops
    os.setgid(65534)
    os.setuid(65534)
try:
    write({"a": torch.ones(3)}, "shut/a.safetensors")
except bb.InputError as error:
    print(error)
"""


def test_a_folder_that_is_read_only_is_named(tmp_path):
    folder = tmp_path / "shut"
    bb.save_state({"a": torch.ones(3)}, folder / "a.safetensors")
    tmp_path.chmod(0o755)
    folder.chmod(0o555)
    done = subprocess.run(
        [sys.executable, "-c", READ_ONLY], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    folder.chmod(0o755)
    assert done.stdout == "shut/a.safetensors: cannot be written (Permission denied)\n", done.stderr
    assert read_tensors(folder / "a.safetensors")[0]["a"].tolist() == [1, 1, 1]
