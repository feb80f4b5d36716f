"""Ratios of times, measured so that a noisy machine disturbs both sides alike; peaks of memory."""

import re
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import ParamSpec, TypeVar

Arguments, Found = ParamSpec("Arguments"), TypeVar("Found")


@dataclass(frozen=True)
class Ratio:
    """What some work costs in units of a yardstick: the median over repeats, and its quartiles.

    `seconds` and `yardstick_seconds` are the medians of one call of each.
    """

    median: float
    low: float
    high: float
    seconds: float
    yardstick_seconds: float


def ratio(
    yardstick: Callable[[], object], work: Callable[[], object], repeats: int, units: float = 1.0
) -> Ratio:
    """Time both in turns, in an order that changes; `units` yardsticks are what the work is worth.

    One round before the first is not counted: memory is warm and kernels are chosen.
    """
    times: dict[bool, list[float]] = {False: [], True: []}
    for turn in range(repeats + 1):
        for ours in (False, True) if turn % 2 else (True, False):
            began = time.perf_counter()
            (work if ours else yardstick)()
            if turn:
                times[ours].append(time.perf_counter() - began)
    shares = [two / (units * one) for one, two in zip(times[False], times[True], strict=True)]
    low, middle, high = statistics.quantiles(shares, n=4) if repeats > 1 else shares * 3
    return Ratio(middle, low, high, statistics.median(times[True]), statistics.median(times[False]))


def peak_memory() -> float:
    """Megabytes that this process has held at most, on Linux.

    Not `getrusage`, whose peak a new process takes over from the one that started it.
    """
    status = Path("/proc/self/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) / 1024


def alone(
    work: Callable[Arguments, Found], *given: Arguments.args, **named: Arguments.kwargs
) -> Found:
    """What a function returns in a process of its own, where nothing was held before."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(work, *given, **named).result()
