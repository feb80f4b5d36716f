"""What the commands do, between options and the library."""

import copy
import json
import time
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..curve.files import load_curve
from ..curve.paths import Curve
from ..data.augment import augmentation
from ..data.batches import ImageData
from ..data.datasets import load
from ..errors import InputError
from ..evaluate.along import prepared
from ..evaluate.robust import Robustness, robustness
from ..experiments.pair import Watch
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
from ..state import check_states, load_state, save_state
from ..symmetry.discover import discover
from ..symmetry.groups import Symmetry
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
        return copy.deepcopy(self.network)

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
            outputs = logits_of(copy.deepcopy(network).eval()(work.example()))[0]
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
