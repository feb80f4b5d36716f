"""The words beside the numbers: what was run, for how long, on what, and how values are written."""

import statistics
from collections.abc import Sequence
from typing import Any

from basinbridge.report.load import all_pairs

_TRAINED = (("nets", "epochs", "learning_rate"), ("curves", "curve_epochs", "curve_learning_rate"))
_COUNTED = (
    ("batch size {}", "batch_size"),
    ("{} points along a path", "points"),
    ("{} images for alignment", "alignment_images"),
    ("{} images for batch norm", "batchnorm_images"),
)


def mean_and_spread(values: Sequence[float], digits: int, plus_minus: str = "±") -> str:
    """Write one value as it is, several as mean ± sample standard deviation (ddof = 1).

    >>> mean_and_spread([1.0], 1), mean_and_spread([1.0, 2.0], 2)
    ('1.0', '1.50 ± 0.71')
    """
    mean = f"{statistics.fmean(values):.{digits}f}"
    if len(values) == 1:
        return mean
    return f"{mean} {plus_minus} {statistics.stdev(values):.{digits}f}"


def describe_subject(report: dict[str, Any]) -> str:
    """Name the data set and the model, as far as the settings tell them."""
    settings = report["settings"]
    return ", ".join(str(settings[name]) for name in ("dataset", "model") if settings.get(name))


def describe_training(report: dict[str, Any]) -> str:
    """Say how long and at which learning rate nets and curves were trained.

    Empty where the settings say nothing of it, as for networks that came from files.
    """
    settings = report["settings"]
    parts = []
    for trained, epochs, learning_rate in _TRAINED:
        if settings.get(epochs) is None:
            continue
        part = f"{trained} {_number(settings[epochs])} epochs"
        if settings.get(learning_rate) is not None:
            part += f" at learning rate {_number(settings[learning_rate])}"
        parts.append(part)
    return "; ".join(parts)


def describe_attack(report: dict[str, Any]) -> str:
    """Name the attack under which robust scores were taken; empty where there are none."""
    settings = report["settings"]
    attack = settings.get("test_attack") or settings.get("attack")
    if not attack:
        return ""
    return f"attacks: PGD-{attack['steps']} within {attack['epsilon']:.3g} of the range of pixels"


def describe_run(report: dict[str, Any]) -> str:
    """State batch size, numbers of points and images, the pairs and the seconds they took."""
    settings = report["settings"]
    parts = [
        words.format(_number(settings[name]))
        for words, name in _COUNTED
        if settings.get(name) is not None
    ]
    pairs = all_pairs(report)
    if len(pairs) > 1:
        parts.append(f"{len(pairs)} pairs")
    elif pairs[0].get("seeds"):
        parts.append("seeds " + " and ".join(str(seed) for seed in pairs[0]["seeds"]))
    seconds = total_seconds(report)
    if seconds is not None:
        parts.append(f"{seconds:.1f} s")
    return "; ".join(parts)


def total_seconds(report: dict[str, Any]) -> float | None:
    """Seconds that all pairs took together, or None where no pair was timed.

    A pair's `total` is taken as it is; without one its stages are added up.
    """
    timed = [pair["seconds"] for pair in all_pairs(report) if pair.get("seconds")]
    if not timed:
        return report["seconds"].get("total") if report.get("seconds") else None
    return float(sum(seconds.get("total", sum(seconds.values())) for seconds in timed))


def _number(value: object) -> str:
    """Write 1197 as 1,197 and 0.05 as it is."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:g}" if isinstance(value, float) else str(value)
