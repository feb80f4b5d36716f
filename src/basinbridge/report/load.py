"""Read, check and write `report.json`, the one file in which a run leaves its results.

A report holds `format`, `settings`, and `pairs`: one entry for each pair of networks, with
`endpoints`, `seeds`, `seconds` and up to four paths. The first pair's entries also stand at the top
level, where a reader who has one pair only finds them at once.
"""

import itertools
import json
import math
import sys
from pathlib import Path
from typing import Any

from basinbridge.errors import InputError
from basinbridge.reading import read_json, short
from basinbridge.state import replacing

FORMAT = 1
FILE_NAME = "report.json"
PATHS = ("linear_unaligned", "linear_aligned", "curve_unaligned", "curve_aligned")

_ARRAYS = ("t", "loss", "accuracy")
_OPTIONAL_ARRAYS = ("robust_loss", "robust_accuracy")
_SUMMARIES = ("average_accuracy", "minimum_accuracy", "average_loss", "barrier")
_ADVICE = "make the report again"


def read_report(folder_or_file: Path) -> dict[str, Any]:
    """Load a report and check all that tables and pictures rely on.

    Args:
        folder_or_file: a folder that holds `report.json`, or such a file itself.

    Returns:
        The report as written: losses in nats, accuracies in [0, 1], seconds.

    Raises:
        InputError: the file is missing, is not JSON, has another format, lacks an entry, or holds
            a wrong type, a number that is not finite, or arrays of unequal lengths.
    """
    file = folder_or_file / FILE_NAME if folder_or_file.is_dir() else folder_or_file
    if not file.is_file():
        raise InputError(f"{file}: there is no such file; give a folder that holds {FILE_NAME}")
    report = read_json(file, _ADVICE)
    return check_report(report, str(file))


def write_report(report: dict[str, Any], folder: Path) -> Path:
    """Write `report.json` into a folder, whole or not at all; an older one is replaced.

    Args:
        report: what `read_report` returns.
        folder: where to write; made if it is not there.

    Returns:
        The file written.

    Raises:
        InputError: a number in the report is not finite (training diverged), or the folder cannot
            be written.
    """
    file = folder / FILE_NAME
    entry = _first_not_finite(report, "")
    if entry is not None:
        raise InputError(
            f"{file}: not written, since {entry} is not finite; train with a lower learning rate"
        )
    text = json.dumps(report, indent=1, allow_nan=False) + "\n"
    with replacing(file) as draft:
        draft.write_text(text, encoding="utf-8")
    return file


def is_robust(report: dict[str, Any]) -> bool:
    """Whether the report holds scores under attack, beside the clean ones."""
    return all("robust_accuracy" in all_pairs(report)[0][path] for path in present_paths(report))


def all_pairs(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Every pair of a report; one written without `pairs` is itself the only pair."""
    return report.get("pairs") or [report]


def present_paths(report: dict[str, Any]) -> list[str]:
    """The names of the paths that were evaluated, in the order of `PATHS`."""
    return [path for path in PATHS if path in all_pairs(report)[0]]


def check_report(report: object, source: str) -> dict[str, Any]:
    """Return `report` if every entry that is read later is there and sound.

    Args:
        report: a decoded JSON value.
        source: the file's name, for messages.

    Raises:
        InputError: names the first entry at fault.
    """
    found = _object(report, source)
    # The format comes first: in a file of another one nothing else means what it says.
    if "format" not in found:
        raise InputError(f"{source}: format is missing, so this is no report; {_ADVICE}")
    if found["format"] != FORMAT:
        raise InputError(
            f"{source}: format is {short(found['format'])}, this basinbridge reads {FORMAT}; "
            f"{_ADVICE}"
        )
    entry = _first_not_finite(found, "")
    if entry is not None:
        raise InputError(f"{source}: {entry[:80]} is not a finite number; {_ADVICE}")
    _object(_entry(found, "settings", source), f"{source}: settings")
    _check_pair(found, f"{source}: ")
    pairs = found.get("pairs", [found])
    if not isinstance(pairs, list) or not pairs:
        raise InputError(f"{source}: pairs must be a list of at least one pair; {_ADVICE}")
    for index, pair in enumerate(pairs):
        where = f"{source}: pairs[{index}]"
        _check_pair(_object(pair, where), f"{where}.")
        _check_same_points(pairs[0], pair, where)
    return found


def _check_pair(pair: dict[str, Any], prefix: str) -> None:
    endpoints = _object(_entry(pair, "endpoints", prefix), f"{prefix}endpoints")
    for end in ("start", "end"):
        where = f"{prefix}endpoints.{end}"
        values = _object(_entry(endpoints, end, f"{prefix}endpoints"), where)
        _check_number(_entry(values, "accuracy", where), f"{where}.accuracy", fraction=True)
        _check_number(_entry(values, "loss", where), f"{where}.loss")
        for name in _OPTIONAL_ARRAYS:
            if name in values:
                _check_number(values[name], f"{where}.{name}", fraction=name.endswith("accuracy"))
    if "seconds" in pair:
        for stage, seconds in _object(pair["seconds"], f"{prefix}seconds").items():
            _check_number(seconds, f"{prefix}seconds.{stage}")
    if "seeds" in pair and not isinstance(pair["seeds"], list):
        raise InputError(f"{prefix}seeds must be a list; {_ADVICE}")
    paths = [path for path in PATHS if path in pair]
    if not paths:
        raise InputError(f"{prefix}none of {', '.join(PATHS)} is there; {_ADVICE}")
    for path in paths:
        _check_path(_object(pair[path], f"{prefix}{path}"), f"{prefix}{path}")


def _check_path(path: dict[str, Any], where: str) -> None:
    arrays = [*_ARRAYS, *(name for name in _OPTIONAL_ARRAYS if name in path)]
    for name in arrays:
        values = _entry(path, name, where)
        if not isinstance(values, list) or len(values) < 2:
            raise InputError(f"{where}.{name} must be a list of two or more numbers; {_ADVICE}")
        for index, value in enumerate(values):
            _check_number(value, f"{where}.{name}[{index}]", fraction=not name.endswith("loss"))
        if len(values) != len(path["t"]):
            raise InputError(
                f"{where}.{name} has {len(values)} entries, {where.split(': ')[-1]}.t has "
                f"{len(path['t'])}; {_ADVICE}"
            )
    times = path["t"]
    if any(later <= earlier for earlier, later in itertools.pairwise(times)):
        raise InputError(f"{where}.t must increase from entry to entry; {_ADVICE}")
    robust = [f"robust_{name}" for name in _SUMMARIES if "robust_accuracy" in path]
    for name in [*_SUMMARIES, *robust]:
        value = _entry(path, name, where)
        _check_number(value, f"{where}.{name}", fraction=name.endswith("accuracy"))


def _check_same_points(first: dict[str, Any], pair: dict[str, Any], where: str) -> None:
    """Means over pairs need the same paths and the same t in each of them."""
    for path in PATHS:
        if (path in first) != (path in pair):
            raise InputError(f"{where}: {path} is not in every pair; {_ADVICE}")
        if path in first and first[path]["t"] != pair[path]["t"]:
            raise InputError(f"{where}.{path}.t differs from the first pair's; {_ADVICE}")


def _check_number(value: object, where: str, fraction: bool = False) -> None:
    """Accept a finite number; a `fraction` (an accuracy, a t) must also lie in [0, 1]."""
    # The largest float bounds integers too, which JSON allows to be longer than any float.
    # A mean of ones may exceed 1 by a rounding error.
    lowest, highest = (0.0, 1.0 + 1e-9) if fraction else (-sys.float_info.max, sys.float_info.max)
    # To Python, but not to JSON, true and false are integers.
    is_truth = isinstance(value, bool)
    if is_truth or not (isinstance(value, int | float) and lowest <= value <= highest):
        wanted = "a number from 0 to 1" if fraction else "a finite number"
        raise InputError(f"{where} must be {wanted}, not {short(value)}; {_ADVICE}")


def _entry(values: dict[str, Any], name: str, where: str) -> object:
    if name not in values:
        raise InputError(f"{where.rstrip('.: ')}: {name} is missing; {_ADVICE}")
    return values[name]


def _object(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{where} must be a JSON object; {_ADVICE}")
    return value


def _first_not_finite(value: object, name: str) -> str | None:
    """The dotted name of the first NaN or infinity inside a JSON value."""
    if isinstance(value, float):
        return None if math.isfinite(value) else name
    if isinstance(value, dict):
        parts = [(f"{name}.{key}" if name else str(key), part) for key, part in value.items()]
    elif isinstance(value, list):
        parts = [(f"{name}[{index}]", part) for index, part in enumerate(value)]
    else:
        return None
    return next((at for entry, part in parts if (at := _first_not_finite(part, entry))), None)
