"""What the command `evaluate` does, and how reports are shown."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from ..curve.paths import Curve, Linear
from ..errors import InputError
from ..evaluate.along import evaluate
from ..experiments.pair import Watch, endpoints_of, path_entry, report_of
from ..experiments.provenance import describe_device, versions
from ..report.figures import draw_paths
from ..report.load import write_report
from ..report.tables import print_table
from .work import Setting


def evaluate_curves(
    work: Setting,
    files: Sequence[Path],
    points: int,
    lines: bool,
    batchnorm_images: int,
    augment: bool,
    together: int,
    *,
    watch: Watch,
) -> dict[str, Any]:
    """A report of one pair from the curves in files, and of the lines below them."""
    paths: dict[str, Curve] = {}
    records = []
    for file in files:
        curve, record = work.curve_in(file)
        name = "aligned" if record.get("aligned") else "unaligned"
        if f"curve_{name}" in paths:
            raise InputError(f"{file}: a second {name} curve; a report holds one of each")
        if lines:
            paths[f"linear_{name}"] = Linear.between(curve.network_at(0), curve.state_at(1))
        paths[f"curve_{name}"] = curve
        records.append(record)
    _check_one_start(files, paths)
    began = time.perf_counter()
    entries = {
        name: path_entry(
            evaluate(
                curve,
                work.test_data,
                batchnorm_data=work.train_data,
                points=points,
                batchnorm_images=batchnorm_images,
                augmentation=work.augmentation(augment),
                attack=work.attack,
                together=together,
                progress=lambda done, total, name=name: watch(f"evaluating {name}", done, total),  # type: ignore[misc]
            )
        )
        for name, curve in paths.items()
    }
    pair = {
        "seeds": [(records[0].get(end) or {}).get("seed", -1) for end in ("start", "end")],
        "endpoints": endpoints_of(next(iter(entries.values()))),
        **entries,
        "seconds": _seconds(records, time.perf_counter() - began),
    }
    settings = {
        **_trainings(work, records),
        "points": points,
        "batchnorm_images": min(batchnorm_images, len(work.train_data)),
        "augment": augment,
        "attack": None if work.attack is None else asdict(work.attack),
        "curves": records,
    }
    return report_of([pair], settings, versions(), work.data)


def _trainings(work: Setting, records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """How the networks and the first curve were trained, as far as their records say."""
    network, curve = records[0].get("start") or {}, records[0]
    return {
        "dataset": work.train_data.name,
        "model": work.model,
        "device": describe_device(work.device),
        "epochs": network.get("epochs"),
        "learning_rate": network.get("learning_rate"),
        "curve_epochs": curve.get("epochs"),
        "curve_learning_rate": curve.get("learning_rate"),
        "batch_size": curve.get("batch_size"),
    }


def _check_one_start(files: Sequence[Path], paths: Mapping[str, Curve]) -> None:
    """Raise `InputError` if two curves that keep their start begin at different networks."""
    curves = [curve for name, curve in paths.items() if name.startswith("curve")]
    kept = [curve.points[0] for curve in curves if 0 not in curve.movable]
    if len(kept) == 2 and not torch.equal(kept[0], kept[1]):
        raise InputError(f"{files[1]}: start differs from that of {files[0]}; give one pair's")


def _seconds(records: Sequence[dict[str, Any]], evaluating: float) -> dict[str, float]:
    """Seconds of every stage that the curves' records know of."""
    seconds: dict[str, float] = {}
    for record in records:
        for end in ("start", "end"):
            if "seconds" in (record.get(end) or {}):
                seconds[f"train_{end}"] = record[end]["seconds"]
        name = "aligned" if record.get("aligned") else "unaligned"
        for stage, made in (("align", record.get("match") or {}), (f"fit_{name}", record)):
            if "seconds" in made:
                seconds[stage] = made["seconds"]
    return {**seconds, "evaluate": round(evaluating, 2)}


def show_report(report: dict[str, Any], folder: Path) -> None:
    """Print the table, write report.json and curve.png."""
    write_report(report, folder)
    draw_paths(report, folder / "curve.png")
    print_table(report)
    print(f"wrote {folder / 'report.json'} and {folder / 'curve.png'}")
