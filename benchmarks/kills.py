"""Kill `train`, `connect`, `pam` and a study again and again: the results keep their bits.

    OMP_NUM_THREADS=1 python benchmarks/kills.py --kills 50

Each piece of work is done undisturbed once. Then it is begun in another folder and killed
(SIGKILL) at a random moment, begun again and killed again, and at last left to end. Behind every
kill the files that are there must be whole; at the end every tensor and every number must be what
the undisturbed run left, times aside. Prints a line for each piece of work; status 1 if one fails.
"""

import argparse
import itertools
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from basinbridge.cli.app import run as command_line
from basinbridge.data.datasets import load
from basinbridge.experiments.exhibits import EXHIBITS, SCHEDULES, STAND_IN
from basinbridge.experiments.plan import plan_case, write_plan
from basinbridge.experiments.run import run
from basinbridge.experiments.specs import Training
from basinbridge.experiments.store import Store, in_order
from basinbridge.experiments.work import carry_out
from basinbridge.experiments.workplace import Workplace
from basinbridge.models import DigitsNet
from basinbridge.reading import read_tensors
from basinbridge.symmetry.discover import discover
from basinbridge.train import checkpoint

DIGITS = ("--model", "DigitsNet", "--dataset", "digits", "--batch-size", "32", "--threads", "1")
OFTEN = ("--checkpoint-seconds", "0")
SCHEDULE = replace(
    SCHEDULES["smoke"],
    endpoint=Training(4, 0.1, "cosine", batch_size=32),
    curve=Training(2, 0.05, "cosine", batch_size=32),
    points=3,
    alignment_images=100,
    batchnorm_images=100,
    train_images=640,
    test_images=100,
)
RESULT = "result.safetensors"
Work = Callable[[Path], None]


def command(*arguments: object) -> None:
    sys.argv = ["basinbridge", *map(str, arguments)]
    try:
        command_line()
    except SystemExit as stop:
        if stop.code:
            raise


def works(ends: Path) -> dict[str, Work]:
    """What is done in a folder; `ends` holds two networks."""
    states = (ends / "a.safetensors", ends / "b.safetensors")

    def train(folder: Path) -> None:
        command("train", *DIGITS, *OFTEN, "--epochs", 5, "--out", folder / RESULT)

    def connect(folder: Path) -> None:
        command("connect", *states, *DIGITS, *OFTEN, "--epochs", 4, "--out", folder / RESULT)

    def pam(folder: Path) -> None:
        turns = ("--outer", 2, "--permutation-epochs", 1, "--epochs", 2, "--begin", "identity")
        command("pam", *states, *DIGITS, *OFTEN, *turns, "--out", folder / RESULT)

    def study(folder: Path) -> None:
        store = Store(folder)
        plans = [plan_case(EXHIBITS["table1"], STAND_IN, ((0, 1),), SCHEDULE)]
        write_plan(store, plans, SCHEDULE)
        place = Workplace(store, checkpoint_seconds=0)
        stages = in_order(stage for plan in plans for stage in plan.stages)
        outcome = run(stages, store, partial(carry_out, place))
        if outcome.failed:
            raise RuntimeError(str(outcome.failed))

    return {"train": train, "connect": connect, "pam": pam, "study": study}


def begun(work: Work, folder: Path) -> int:
    """The process that does it, which knows what this one has imported."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
            work(folder)
        status = 0
    finally:
        os._exit(status)


def ended(child: int) -> bool:
    """Whether it has ended; raises if it failed."""
    found, status = os.waitpid(child, os.WNOHANG)
    if found and status:
        raise RuntimeError(f"status {os.waitstatus_to_exitcode(status)} without a kill")
    return bool(found)


def left_alone(work: Work, folder: Path) -> float:
    """Seconds that it takes."""
    began = time.monotonic()
    child = begun(work, folder)
    while not ended(child):
        time.sleep(0.01)
    return time.monotonic() - began


def killed(work: Work, folder: Path, seconds: float) -> bool:
    """Whether it could be killed after so many seconds, before it ended by itself."""
    child = begun(work, folder)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if ended(child):
            return False
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


def content(folder: Path) -> dict[str, Any]:
    """All that is in a folder's whole files, times aside; raises if one is not whole."""
    found: dict[str, Any] = {}
    for file in sorted(folder.rglob("*")):
        name = str(file.relative_to(folder))
        if not file.is_file() or ".unfinished/" in name or name.startswith("locks"):
            continue
        if file.suffix == ".json":
            found[name] = timeless(json.loads(file.read_text(encoding="utf-8")))
        else:
            tensors, metadata = read_tensors(file)
            found[name] = {key: bits(tensor) for key, tensor in tensors.items()}
            found[f"{name}, record"] = timeless(json.loads(metadata.get("record", "{}")))
    return found


def bits(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def timeless(value: Any) -> Any:  # noqa: ANN401 - a value of JSON
    """Without seconds, dates and the folder in the command line."""
    if isinstance(value, dict):
        return {
            key: timeless(one)
            for key, one in value.items()
            if not any(word in key for word in ("seconds", "finished", "command", "resumed"))
        }
    return [timeless(one) for one in value] if isinstance(value, list) else value


def tried(name: str, work: Work, kills: int, folder: Path, chance: random.Random) -> bool:
    """Whether a work that is killed so often leaves what it leaves undisturbed."""
    alone, disturbed = folder / "alone", folder / "disturbed-0"
    seconds = left_alone(work, alone)
    expected = content(alone)
    done, same = 0, True
    results = itertools.count(1)
    while done < kills:
        ran_on = not killed(work, disturbed, chance.uniform(0, seconds))
        done += not ran_on
        found = content(disturbed)
        # A command may also be killed between its result and its last line.
        if ran_on or (disturbed / RESULT).exists():
            same &= {name: found[name] for name in expected} == expected
            disturbed = folder / f"disturbed-{next(results)}"
    left_alone(work, disturbed)
    same &= content(disturbed) == expected
    verdict = "the same bits" if same else "OTHER RESULTS"
    print(
        f"{name}: {done} kills, {next(results)} results of {seconds:.1f} s: {verdict}", flush=True
    )
    return same


def import_everything() -> None:
    """Use what is imported late, so that no process has to spend seconds on it."""
    images = load("digits", "train").subset(2, 0)
    discover(DigitsNet(), images.normalised(images.scaled(images.images)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    checkpoint.MOST_SHARE = 0.3  # so that files are written much more often than usual
    import_everything()
    chance = random.Random(chosen.seed)
    fine = True
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for seed, name in enumerate("ab"):
            out = folder / f"{name}.safetensors"
            options = ("--epochs", 2, "--seed", seed, "--out", out)
            left_alone(lambda _, options=options: command("train", *DIGITS, *options), folder)
        for number, (name, work) in enumerate(works(folder).items()):
            share = len(range(number, chosen.kills, 4))
            (folder / name).mkdir()
            fine &= tried(name, work, share, folder / name, chance)
    sys.exit(not fine)


if __name__ == "__main__":
    main()
