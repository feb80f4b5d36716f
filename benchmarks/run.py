"""Every speed that docs/performance.md states, as a ratio to a yardstick of the same run.

    make bench            # some minutes; writes benchmarks/results.json
    make bench SHORT=1    # does every measurement once, to see that it runs; writes nothing

`--only WORD` measures the rows whose name contains it, and writes nothing either.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import align
import pam
import paths
import steps
import torch
from timing import Ratio
from torch import nn

import basinbridge as bb
from basinbridge.data.memory import keep_freed_memory
from basinbridge.experiments.provenance import describe_device, versions
from basinbridge.models import GoogLeNet, ResNet32, TinyTen
from basinbridge.state import replacing

RESULT = Path(__file__).with_name("results.json")


@dataclass(frozen=True)
class Row:
    """One measurement: `measure(repeats)` gives a ratio to the yardstick, or seconds, or MB."""

    work: str
    yardstick: str
    limit: float | None
    measure: Callable[[int], Ratio | list[float]]
    repeats: int = 5
    network: type[nn.Module] | None = None

    @property
    def name(self) -> str:
        return self.work if self.network is None else f"{self.work}, {self.network.__name__}"


def seconds(work: Callable[[], object]) -> Callable[[int], list[float]]:
    """Time the work by itself, `repeats` times."""

    def measure(repeats: int) -> list[float]:
        found = []
        for _ in range(repeats):
            began = time.perf_counter()
            work()
            found.append(time.perf_counter() - began)
        return found

    return measure


def command(*arguments: str) -> None:
    """Run basinbridge as a process of its own, as a user does: on all cores."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    subprocess.run(
        [sys.executable, "-m", "basinbridge", *arguments],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
    )


def demo() -> None:
    with tempfile.TemporaryDirectory() as folder:
        command("demo", "--out", str(Path(folder) / "demo"))


def rows(short: bool) -> list[Row]:
    """What is measured; the short version does less of it."""
    batch = torch.zeros(2, 3, 32, 32)
    found = [
        Row("discovery, ResNet32", "seconds", 1.0, seconds(lambda: bb.discover(ResNet32(), batch))),
        Row("basinbridge --help", "seconds", 0.5, seconds(lambda: command("--help"))),
        alignment(TinyTen, 200 if short else 10_000, 1.25),
    ]
    for network in [TinyTen] if short else [TinyTen, ResNet32]:
        curve, permuting = partial(steps.curve, network), partial(pam.permutation_step, network)
        evaluation = partial(paths.evaluation, network, 100 if short else 2000)
        found += [
            Row("curve step", "plain step", 1.03, curve, 40, network),
            Row("PAM's permutation step", "plain step", 1.15, permuting, 40, network),
            Row("evaluation", "bare forward", 1.05, evaluation, 9, network),
        ]
        for name, mixed in (("plain step", False), ("plain step in bfloat16", True)):
            measure = partial(steps.training, network, mixed)
            found.append(Row(name, "textbook step", None, measure, 20, network))
        for name in ["channels_last"] if short else ["channels_last", "flat", "mixed_precision"]:
            measure = partial(steps.part, network, name)
            title = f"textbook step, {name.replace('_', ' ')}"
            found.append(Row(title, "textbook step", None, measure, 20, network))
        for count in [5] if short else [1, 3, 5]:
            attacked = partial(steps.attacked, network, count)
            found.append(Row(f"PGD-{count} step", "plain step", count + 1.1, attacked, 15, network))
        loading = partial(steps.loading, network)
        found.append(Row("loading and augmenting", "plain step", 0.05, loading, 20, network))
    if not short:
        found += [
            alignment(ResNet32, 2_000, 1.25),
            alignment(GoogLeNet, 200, 1.1, repeats=3),
            alignment(align.ViT, 256, 1.5, side=224, batch_size=16, repeats=1),
            Row(
                "memory of alignment, 10,000 images",
                "MB",
                200.0,
                partial(align.memory, TinyTen, 10_000),
                3,
                TinyTen,
            ),
            Row("assignment of 4,096", "seconds", 10.0, seconds(align.assignment())),
            Row("demo, whole process", "seconds", 12.0, seconds(demo)),
        ]
    return found


def alignment(
    network: type[nn.Module],
    images: int,
    limit: float,
    side: int = 32,
    batch_size: int = 100,
    repeats: int = 5,
) -> Row:
    measure = partial(align.alignment, network, images, side, batch_size)
    return Row(f"alignment, {images:,} images", "bare forwards", limit, measure, repeats, network)


def measured(row: Row, repeats: int) -> dict[str, object]:
    """A row with what was found, and a line about it on the terminal."""
    torch.manual_seed(0)
    found = row.measure(repeats)
    if isinstance(found, Ratio):
        middle, low, high = found.median, found.low, found.high
        entry: dict[str, object] = asdict(found)
    else:
        middle, low, high = sorted(found)[len(found) // 2], min(found), max(found)
        entry = {"median": middle, "low": low, "high": high}
    limit = "" if row.limit is None else f"  limit {row.limit:g}"
    print(f"{row.name:33} {middle:7.3f} ({low:.3f} to {high:.3f})  {row.yardstick}{limit}")
    return {"yardstick": row.yardstick, "limit": row.limit, "repeats": repeats, **entry}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="once each, to see that it runs")
    parser.add_argument("--only", default="", help="rows whose name contains this word")
    options = parser.parse_args()
    keep_freed_memory()  # for the yardsticks too, whichever row comes first
    print(f"{torch.get_num_threads()} threads, {describe_device(torch.device('cpu'))}")
    found = {
        row.name: measured(row, 1 if options.short else row.repeats)
        for row in rows(options.short)
        if options.only in row.name
    }
    if not (options.short or options.only):
        settings = {"threads": torch.get_num_threads(), "load": os.getloadavg()[0]}
        result = {"settings": settings, "versions": versions(), "rows": found}
        with replacing(RESULT) as file:
            file.write_text(json.dumps(result, indent=1) + "\n")
        print(f"wrote {RESULT.name}")


if __name__ == "__main__":
    main()
