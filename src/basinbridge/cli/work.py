"""What the commands do, between options and the library."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..align.match import align as align_networks
from ..align.methods import Activations, Method
from ..curve.files import load_curve
from ..curve.paths import Curve, Linear
from ..data.augment import augmentation
from ..data.batches import ImageData
from ..data.datasets import load
from ..errors import InputError
from ..evaluate.along import evaluate, prepared
from ..evaluate.robust import Robustness, robustness
from ..experiments.pair import Watch, endpoints_of, path_entry, report_of
from ..experiments.provenance import (
    check_same,
    command,
    commit,
    describe_data,
    describe_device,
    versions,
)
from ..models.load import build
from ..reading import read_record
from ..report.figures import draw_paths
from ..report.load import write_report
from ..report.tables import print_table
from ..state import check_states, load_state, replacing, save_state
from ..symmetry.discover import discover
from ..symmetry.groups import Symmetry
from ..symmetry.permutation import Permutation, permute, tensor_indices
from ..train.adversarial import Attack
from ..train.checkpoint import Checkpoint
from ..train.loop import Settings, train
from ..train.objective import logits_of
from ..train.schedules import SCHEDULES


@dataclass(frozen=True)
class Setting:
    """What a command works on: an architecture, data, a device and a seed."""

    model: str
    network: nn.Module
    train_data: ImageData
    test_data: ImageData
    device: torch.device
    seed: int
    held_out: ImageData | None = None
    attack: Attack | None = None

    def example(self) -> Tensor:
        """Two training images as the network sees them."""
        return self.train_data.example().to(self.device)

    def record(self, began: float, **more: object) -> dict[str, Any]:
        """What made a result, for its header; `began` is when, by the performance counter."""
        return {
            "model": self.model,
            "dataset": self.train_data.name,
            "seed": self.seed,
            "attack": None if self.attack is None else asdict(self.attack),
            "seconds": round(time.perf_counter() - began, 2),
            "data": self.data,
            "versions": versions(),
            "commit": commit(),
            "command": command(),
            "device": describe_device(self.device),
            **more,
        }

    @cached_property
    def data(self) -> dict[str, Any]:
        """Name, sizes and fingerprints of the data set."""
        return describe_data(self.train_data, self.test_data)

    @cached_property
    def symmetry(self) -> Symmetry:
        """The architecture's, found once, whatever states are loaded into it."""
        return discover(self.network, self.example())

    def check_record(self, path: Path) -> None:
        """Raise `InputError` if a file was made with another model or other data."""
        check_same(read_record(path), {"model": self.model, "data": self.data}, path)

    def network_with(self, path: Path) -> nn.Module:
        """The architecture with the state in a file."""
        self.check_record(path)
        state = load_state(path)
        check_states(self.network.state_dict(), state, f"the model {self.model}", str(path))
        self.network.load_state_dict(state)
        return _copy(self.network)

    def curve_in(self, path: Path) -> tuple[Curve, dict[str, Any]]:
        """The curve in a file, and its record."""
        self.check_record(path)
        return load_curve(path, self.network)


@dataclass(frozen=True)
class Training:
    """The options of a training."""

    epochs: int
    learning_rate: float
    batch_size: int
    weight_decay: float
    schedule: str
    augment: bool
    mixed_precision: bool
    checkpoint_seconds: float
    retry_lr: float | None

    def checkpoint(self, out: Path) -> Checkpoint:
        """Where the unfinished work on a result is kept: beside it."""
        kept = Checkpoint(
            out.with_name(f"{out.name}.checkpoint"),
            self.checkpoint_seconds,
            other_rate=self.retry_lr is not None,
        )
        if self.retry_lr is not None and not kept.files():
            raise InputError(f"{kept.path}: no such file, so there is nothing for --retry-lr")
        return kept

    def settings(self, work: Setting, watch: Watch, stage: str, checkpoint: Checkpoint) -> Settings:
        """As keyword arguments of `train` and `fit`."""
        return {
            "checkpoint": checkpoint,
            "epochs": self.epochs,
            "learning_rate": self.learning_rate if self.retry_lr is None else self.retry_lr,
            "batch_size": self.batch_size,
            "weight_decay": self.weight_decay,
            "schedule": SCHEDULES[self.schedule],
            "augmentation": augmentation(work.train_data.name) if self.augment else None,
            "mixed_precision": self.mixed_precision,
            "seed": work.seed,
            "progress": lambda epoch, epochs, loss: watch(
                f"{stage} (loss {loss:.3f})", epoch, epochs
            ),
        }


def prepare(device: str, threads: int | None) -> torch.device:
    """Set the number of threads and check the device."""
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        chosen = torch.device(device)
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"device {device!r} cannot be used: {reason}") from error
    return chosen


def setting(
    model: str, dataset: str, data_root: Path | None, device: str, threads: int | None, seed: int
) -> Setting:
    """Load the data, build the network, and check that they fit each other."""
    chosen = prepare(device, threads)
    train_data = load(dataset, "train", root=data_root).to(chosen)
    test_data = load(dataset, "test", root=data_root).to(chosen)
    torch.manual_seed(seed)
    network = build(model, train_data.num_classes).to(chosen)
    work = Setting(model, network, train_data, test_data, chosen, seed)
    with torch.no_grad():
        try:
            outputs = logits_of(_copy(network).eval()(work.example()))[0]
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise InputError(
                f"model {model!r} does not take the images of {dataset!r} "
                f"({list(work.example().shape[1:])}): {reason}"
            ) from error
    if outputs.shape[-1] != train_data.num_classes:
        raise InputError(
            f"model {model!r} tells {outputs.shape[-1]} classes apart, "
            f"data set {dataset!r} has {train_data.num_classes}"
        )
    return work


def _copy(network: nn.Module) -> nn.Module:
    import copy

    return copy.deepcopy(network)


def refuse_to_overwrite(path: Path | None, force: bool) -> None:
    """Raise `InputError` if a result is there already, before any work is done."""
    if path is not None and path.exists() and not force:
        raise InputError(f"{path}: exists already; choose another name or add --force")


def train_endpoint(
    work: Setting, chosen: Training, out: Path, robust: Settings | None = None, *, watch: Watch
) -> Robustness:
    """Train the network, write its state, and score it on the test data.

    `robust` are further settings of an adversarial training.
    """
    stage = f"training {work.model.rpartition(':')[2]}"
    kept = chosen.checkpoint(out)
    began = time.perf_counter()
    settings: Settings = {**chosen.settings(work, watch, stage, kept), **(robust or {})}
    trained = train(work.network, work.train_data, **settings)
    record = work.record(began, **asdict(chosen))
    save_state(trained.state_dict(), out, record=json.dumps(record))
    kept.remove()
    return robustness(trained, prepared(work.test_data, 500, work.device), work.attack)


def show_symmetry(work: Setting, out: Path | None, fix: list[str], tie: list[str]) -> None:
    """Print the groups of the network, and write them if a file is named."""
    fixed = [axis_named(text) if ":" in text else text for text in fix]
    tied = [
        (axis_named(one), axis_named(other))
        for one, _, other in (text.partition("=") for text in tie)
    ]
    symmetry = discover(work.network, work.example(), fixed=fixed, tied=tied)
    print(symmetry)
    if out is not None:
        groups = {
            name: {
                "size": group.size,
                "shape": list(group.shape),
                "parent": group.parent,
                "tensors": [list(tensor) for tensor in group.tensors],
            }
            for name, group in symmetry.groups.items()
        }
        content = {"groups": groups, "parameter_share": symmetry.parameter_share}
        with replacing(out) as draft:
            draft.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def axis_named(text: str) -> tuple[str, int]:
    """An axis written as TENSOR:DIM.

    >>> axis_named("layer.weight:0")
    ('layer.weight', 0)
    """
    name, _, dim = text.rpartition(":")
    if not name or not dim.isdecimal():
        raise InputError(f"{text!r} names no axis; write it as layer.weight:0")
    return name, int(dim)


def align_states(
    work: Setting,
    start: Path,
    end: Path,
    out: Path,
    aligned: Path | None,
    images: int,
    method: Method,
    activations: Activations,
    attacked: bool = False,
) -> None:
    """Align two states and write the permutation, and the renumbered state if asked for."""
    net_a, net_b = work.network_with(start), work.network_with(end)
    data = work.train_data.at_most(images, work.seed)
    began = time.perf_counter()
    found = align_networks(
        net_a,
        net_b,
        data,
        work.symmetry,
        method=method,
        activations=activations,
        seed=work.seed,
        attack=work.attack if attacked else None,
    )
    chosen = {"method": method, "activations": activations, "attacked": attacked}
    record = work.record(began, images=len(data), **chosen)
    save_state(found, out, kind="permutation", record=json.dumps(record))
    if aligned is not None:
        moved = {**read_record(end), "match": record}
        state = permute(net_b, work.symmetry, found).state_dict()
        save_state(state, aligned, record=json.dumps(moved))


def renumbered(work: Setting, end: nn.Module, match: Path | None) -> nn.Module:
    """The network `end` renumbered by a result of `align`, or as it is where there is none."""
    if match is None:
        return end
    work.check_record(match)
    return permute(end, work.symmetry, load_match(match, work.symmetry))


def load_match(path: Path, symmetry: Symmetry) -> Permutation:
    """The permutation in a file; raises `InputError` if it is not one of this network."""
    found = load_state(path)
    try:
        tensor_indices(symmetry, found)
    except InputError as error:
        raise InputError(f"{path}: not a renumbering of this network: {error}") from error
    return found


def evaluate_curves(
    work: Setting,
    files: Sequence[Path],
    points: int,
    lines: bool,
    batchnorm_images: int,
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
    started = records[0].get("start") or {}
    began = time.perf_counter()
    entries = {
        name: path_entry(
            evaluate(
                curve,
                work.test_data,
                batchnorm_data=work.train_data,
                points=points,
                batchnorm_images=batchnorm_images,
                attack=work.attack,
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
        "dataset": work.train_data.name,
        "model": work.model,
        "device": describe_device(work.device),
        "epochs": started.get("epochs"),
        "learning_rate": started.get("learning_rate"),
        "curve_epochs": records[0].get("epochs"),
        "curve_learning_rate": records[0].get("learning_rate"),
        "batch_size": records[0].get("batch_size"),
        "points": points,
        "batchnorm_images": min(batchnorm_images, len(work.train_data)),
        "attack": None if work.attack is None else asdict(work.attack),
        "curves": records,
    }
    return report_of([pair], settings, versions(), work.data)


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
