"""Curve training and evaluation without end: does the process grow?

    OMP_NUM_THREADS=1 nice python benchmarks/endurance.py --minutes 60 --out endurance.json

Each round goes on with one curve between two digit networks: an epoch of fitting with a checkpoint,
then an evaluation. Behind every round the memory that the process holds, its open files and its
threads are noted (Linux). Growth is the median of the last tenth of the rounds over that of the
second tenth, as the first warms up.
"""

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

import torch

import basinbridge as bb
from basinbridge.data.datasets import load
from basinbridge.models import DigitsNet
from basinbridge.report.picture import write_result


def resident() -> float:
    """Memory that the process holds, in MiB."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def entries(folder: str) -> int:
    return sum(1 for _ in Path("/proc/self", folder).iterdir())


def run(minutes: float) -> dict[str, list[float]]:
    """What was noted behind each round."""
    train_data, test_data = load("digits", "train"), load("digits", "test")
    ends = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        ends.append(bb.train(DigitsNet(), train_data, epochs=2, batch_size=32, seed=seed))
    curve: bb.Curve = bb.Bezier.between(*ends)
    noted: dict[str, list[float]] = {"minutes": [], "resident": [], "files": [], "threads": []}
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        kept = bb.Checkpoint(Path(folder) / "checkpoint", seconds=1.0)
        while (passed := (time.monotonic() - began) / 60) < minutes:
            settings = {"epochs": 1, "batch_size": 32, "seed": len(noted["minutes"])}
            curve = bb.fit(curve, train_data, checkpoint=kept, **settings)
            kept.remove()
            bb.evaluate(curve, test_data, batchnorm_data=train_data, points=11)
            noted["minutes"].append(round(passed, 3))
            noted["resident"].append(round(resident(), 2))
            noted["files"].append(entries("fd"))
            noted["threads"].append(entries("task"))
    return noted


def growth(values: list[float]) -> float:
    """The last tenth over the second, less 1."""
    tenth = max(1, len(values) // 10)
    return median(values[-tenth:]) / median(values[tenth : 2 * tenth]) - 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--out", type=Path, default=Path("endurance.json"))
    chosen = parser.parse_args()
    noted = run(chosen.minutes)
    write_result({"noted": noted}, chosen.out, "endurance")
    rounds = len(noted["minutes"])
    later = slice(rounds // 10, None)
    print(
        f"{rounds} rounds in {noted['minutes'][-1]:.0f} minutes: resident "
        f"{noted['resident'][later][0]:.1f} MiB, then {noted['resident'][-1]:.1f} MiB, growth "
        f"{100 * growth(noted['resident']):+.2f} %; files {sorted(set(noted['files'][later]))}, "
        f"threads {sorted(set(noted['threads'][later]))}"
    )


if __name__ == "__main__":
    main()
