"""How cost grows: tables and exponents of docs/performance.md, and its picture.

    OMP_NUM_THREADS=1 python benchmarks/growth.py

takes some ten minutes on one core, and writes docs/results/growth.json and
docs/images/growth.png. Times are seconds of the processor, not of the clock, the least of three;
memory is what the process holds at its peak beyond what it held before.
"""

import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from timing import alone, peak_memory
from torch import nn

import basinbridge as bb
from basinbridge.curve.fit import Walker
from basinbridge.experiments.provenance import versions
from basinbridge.models import TinyTen
from basinbridge.report.picture import save_picture
from basinbridge.state import replacing
from basinbridge.train.loop import Recipe

DOCS = Path(__file__).parents[1] / "docs"
REPEATS = 3


def mlp(width: int, depth: int) -> nn.Module:
    """`depth` hidden layers of `width`, from 64 inputs to 10 outputs."""
    layers: list[nn.Module] = []
    for before in [64] + [width] * (depth - 1):
        layers += [nn.Linear(before, width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, 10))


def align(nets: list[nn.Module], data: tuple[torch.Tensor, torch.Tensor]) -> Callable[[], object]:
    symmetry = bb.discover(nets[0], data[0][:2])
    return lambda: bb.align(*nets, data, symmetry)


def align_images(count: int) -> Callable[[], object]:
    return align(
        [TinyTen() for _ in range(2)], (torch.randn(count, 3, 32, 32), torch.zeros(count).long())
    )


def align_width(width: int) -> Callable[[], object]:
    return align([mlp(width, 1) for _ in range(2)], (torch.randn(1000, 64), torch.zeros(1000)))


def align_depth(depth: int) -> Callable[[], object]:
    return align([mlp(128, depth) for _ in range(2)], (torch.randn(1000, 64), torch.zeros(1000)))


def assignment(size: int) -> Callable[[], object]:
    """The assignment alone, on correlations of independent noise: nothing guides it."""
    scores = torch.randn(size, 1000) @ torch.randn(1000, size)
    return lambda: linear_sum_assignment(scores.double().numpy(), maximize=True)


def discover_depth(depth: int) -> Callable[[], object]:
    network, inputs = mlp(32, depth), torch.zeros(2, 64)
    bb.discover(network, inputs)  # the first call imports torch.export
    return lambda: bb.discover(network, inputs)


def fit_bends(bends: int) -> Callable[[], object]:
    """Three steps on a chain."""
    ends = [TinyTen() for _ in range(2)]
    walker = Walker.on(bb.PolyChain.between(*ends, bends=bends))
    descent = torch.optim.SGD([walker.movable_points], lr=0.01, momentum=0.9, fused=True)
    walker.movable_points.grad = walker.gradient
    batch = torch.randn(128, 3, 32, 32), torch.zeros(128).long()

    def steps() -> None:
        for _ in range(3):
            walker.step(float(torch.rand(())), batch, Recipe())
            descent.step()

    return steps


STUDIES: dict[str, tuple[Callable[[int], Callable[[], object]], tuple[int, ...]]] = {
    "alignment, images (TinyTen)": (align_images, (250, 500, 1000, 2000)),
    "alignment, width (one hidden layer)": (align_width, (256, 512, 1024, 2048, 4096)),
    "alignment, depth (layers of 128)": (align_depth, (4, 8, 16, 32)),
    "assignment, width": (assignment, (256, 512, 1024, 2048, 4096)),
    "discovery, depth (layers of 32)": (discover_depth, (8, 16, 32, 64)),
    "curve steps, bends (TinyTen)": (fit_bends, (1, 15, 63, 255)),
}


def cost(study: str, size: int) -> tuple[float, float]:
    """Seconds and megabytes of one case; run in a process of its own."""
    torch.manual_seed(0)
    prepare, _ = STUDIES[study]
    work = prepare(size)
    held = peak_memory()
    found = []
    for _ in range(REPEATS):
        began = time.process_time()
        work()
        found.append(time.process_time() - began)
    return min(found), peak_memory() - held


def exponent(sizes: Iterable[int], costs: Iterable[float]) -> float:
    """Slope on log-log paper over the upper half of the sizes, where constants matter least."""
    x, y = np.log(list(sizes)), np.log(list(costs))
    half = len(x) // 2
    return float(np.polyfit(x[half - 1 :], y[half - 1 :], 1)[0])


def draw(studies: dict[str, dict[str, Any]]) -> None:
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, NullFormatter

    plain = FuncFormatter(lambda value, _: f"{value:g}")
    figure = Figure(figsize=(10, 6), layout="constrained")
    for axes, (name, study) in zip(figure.subplots(2, 3).flat, studies.items(), strict=True):
        axes.loglog(study["sizes"], study["seconds"], "o-", color="C0")
        work, what = name.split(", ")
        axes.set_title(f"{work} (exponent {study['exponent']:.1f})", fontsize="medium")
        axes.set(xlabel=what)
        axes.set(ylabel="seconds of one core", xticks=study["sizes"])
        low, high = min(study["seconds"]), max(study["seconds"])
        axes.set_ylim(min(low, 0.2 * high) / 1.5, max(high, 5 * low) * 1.5)
        axes.xaxis.set_major_formatter(plain)
        axes.yaxis.set_major_formatter(plain)
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.grid(which="both", alpha=0.3)
    save_picture(figure, DOCS / "images" / "growth.png")


def main() -> None:
    result = {}
    for study, (_, sizes) in STUDIES.items():
        found = []
        for size in sizes:
            found.append(alone(cost, study, size))
            print(f"{study:38} {size:5} {found[-1][0]:9.3f} s {found[-1][1]:7.1f} MB", flush=True)
        seconds, megabytes = (list(column) for column in zip(*found, strict=True))
        slope = exponent(sizes, seconds)
        print(f"{study:38} exponent {slope:.2f}", flush=True)
        result[study] = {
            "sizes": list(sizes),
            "seconds": seconds,
            "megabytes": megabytes,
            "exponent": slope,
        }
    draw(result)
    with replacing(DOCS / "results" / "growth.json") as file:
        file.write_text(json.dumps({"versions": versions(), "studies": result}, indent=1) + "\n")


if __name__ == "__main__":
    main()
