"""Where stages are carried out, and what every kind of stage needs of it."""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..curve.files import load_curve
from ..curve.paths import Curve
from ..data.augment import augmentation
from ..data.batches import Augmentation
from ..data.datasets import load
from ..data.images import ImageData
from ..errors import InputError
from ..models.load import build
from ..models.normalised import Normalised
from ..reading import read_json
from ..state import load_state, replacing, with_state
from ..symmetry.discover import discover
from ..symmetry.groups import Symmetry
from ..train.adversarial import Attack, adversarial
from ..train.checkpoint import Checkpoint
from ..train.loop import Settings
from ..train.objective import standard
from ..train.schedules import SCHEDULES
from .pair import Watch, silent
from .provenance import command, commit, describe_data, describe_device, versions
from .scalars import Write
from .store import Stage, Store

_SUBSET_SEED = 0


def reduced(data: ImageData, wanted: int | None) -> ImageData:
    """So many images, the same for everybody; where there are no more, all in their own order."""
    if wanted is None or wanted >= len(data):
        return data
    return data.subset(wanted, _SUBSET_SEED)


@dataclass
class Workplace:
    """Where stages are carried out: a store, a device, and what was read and discovered so far.

    `scalars(label, epoch, loss)` is told of every epoch. So many networks or curves as `together`
    may be trained, and points of a curve scored, as one batch of networks.
    """

    store: Store
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    data_root: Path | None = None
    watch: Watch = silent
    checkpoint_seconds: float = 60.0
    scalars: Write | None = None
    together: int = 1
    read: dict[str, tuple[ImageData, ImageData]] = field(default_factory=dict)
    symmetries: dict[tuple[str, str, bool], Symmetry] = field(default_factory=dict)

    def data_of(self, stage: Stage) -> tuple[ImageData, ImageData]:
        """Training and test data of a stage, the same that its `data` stage saw."""
        needed = stage.inputs["data"]
        if needed.name not in self.read:
            both = self._load(needed)
            noted = read_json(self.store.path(needed), "delete it and run again")
            if not isinstance(noted, dict) or describe_data(*both) != noted.get("data"):
                raise InputError(
                    f"data set {needed.settings['dataset']!r} is not the one that "
                    f"{self.store.folder} began with; give another folder with --out"
                )
            self.read[needed.name] = both
        return self.read[needed.name]

    def _load(self, stage: Stage) -> tuple[ImageData, ImageData]:
        name = stage.settings["dataset"]
        both = []
        for split in ("train", "test"):
            data = load(name, split, root=self.data_root)
            both.append(reduced(data, stage.settings[f"{split}_images"]).to(self.device))
        return both[0], both[1]

    def note_data(self, stage: Stage, began: float) -> None:
        """Do a stage of the kind `data`: read them, and write down what they were."""
        both = self._load(stage)
        found = {"data": describe_data(*both), "class_names": list(both[0].class_names)}
        _write(found, self.store.path(stage), stage, _made(self, stage, began))
        self.read[stage.name] = both


@dataclass(frozen=True, eq=False)
class Job:
    """A stage at work: its network, untrained, its data, and what it began with."""

    place: Workplace
    stage: Stage
    network: nn.Module
    train_data: ImageData
    test_data: ImageData
    began: float

    @classmethod
    def at(cls, place: Workplace, stage: Stage, began: float) -> "Job":
        """A stage whose inputs are there; `began` is when, by the performance counter."""
        train_data, test_data = place.data_of(stage)
        network = _network(place, stage, train_data)
        if _attack(stage) is not None:  # the network normalises, so that attacks see [0, 1]
            train_data, test_data = train_data.unnormalised(), test_data.unnormalised()
        return cls(place, stage, network, train_data, test_data, began)

    @property
    def settings(self) -> Any:  # noqa: ANN401 - values of JSON
        """The stage's, values of JSON."""
        return self.stage.settings

    @property
    def out(self) -> Path:
        """Where the result is written."""
        return self.place.store.path(self.stage)

    def made(self, **more: object) -> dict[str, Any]:
        """What made the result, to stand beside it."""
        return _made(self.place, self.stage, self.began, **more)

    def write(self, result: dict[str, Any]) -> None:
        """Write the result as JSON."""
        _write(result, self.out, self.stage, self.made())

    def end(self, role: str) -> nn.Module:
        """The network that an input stage trained."""
        return with_state(self.network, load_state(self.place.store.path(self.stage.inputs[role])))

    def curve(self, role: str = "curve") -> Curve:
        """The curve that an input stage fitted."""
        return load_curve(self.place.store.path(self.stage.inputs[role]), self.network)[0]

    def match(self) -> dict[str, torch.Tensor] | None:
        """The renumbering of the end that an input stage found; None without one."""
        if "match" not in self.stage.inputs:
            return None
        return load_state(self.place.store.path(self.stage.inputs["match"]))

    def symmetry(self) -> Symmetry:
        """The architecture's symmetry, discovered once for each model and data set."""
        data, known = self.train_data, self.place.symmetries
        key = (setting_of(self.stage, "model"), data.name, self.attack is not None)
        if key not in known:
            known[key] = discover(self.network, data.example())
        return known[key]

    def batchnorm_images(self) -> int:
        """How many images give batch norm's statistics."""
        wanted: int | None = self.settings["batchnorm_images"]
        return min(wanted or len(self.train_data), len(self.train_data))

    def augmentation(self) -> Augmentation | None:
        """How the stage's training images, or those for batch norm's statistics, are augmented."""
        chosen = self.settings.get("training", self.settings)
        return augmentation(self.train_data.name) if chosen["augment"] else None

    @property
    def attack(self) -> Attack | None:
        """What networks and curves are trained against; None for the usual ones."""
        return _attack(self.stage)

    @property
    def checkpoint(self) -> Checkpoint:
        """What a training that was stopped goes on from."""
        path = self.place.store.folder / "checkpoints" / self.stage.name
        return Checkpoint(path, self.place.checkpoint_seconds)

    def training(self, seed: int, history: list[float]) -> Settings:
        """The keyword arguments of `train` and `fit`; `history` gets every epoch's mean loss."""
        chosen = self.settings["training"]

        def progress(epoch: int, epochs: int, loss: float) -> None:
            history.append(loss)
            if self.place.scalars is not None:
                self.place.scalars(self.stage.label, epoch, loss)
            self.place.watch(f"{self.stage.label} (loss {loss:.3f})", epoch, epochs)

        return {
            "epochs": chosen["epochs"],
            "learning_rate": chosen["learning_rate"],
            "batch_size": chosen["batch_size"],
            "weight_decay": chosen["weight_decay"],
            "schedule": SCHEDULES[chosen["schedule"]],
            "augmentation": self.augmentation(),
            "mixed_precision": chosen["mixed_precision"],
            "seed": seed,
            "objective": standard if self.attack is None else adversarial(**vars(self.attack)),
            "progress": progress,
            "checkpoint": self.checkpoint,
        }

    def progress(self, done: int, total: int) -> None:
        """Show that so much is done."""
        self.place.watch(self.stage.label, done, total)


def _network(place: Workplace, stage: Stage, data: ImageData) -> nn.Module:
    """The architecture, initial weights drawn from the seed of the stage."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stage.settings.get("seed", 0))
        network = build(setting_of(stage, "model"), data.num_classes).to(place.device)
    return network if _attack(stage) is None else Normalised(network, data.mean, data.std)


def _attack(stage: Stage) -> Attack | None:
    """The attack of a stage's training, or of the trainings that it builds on."""
    chosen = setting_of(stage, "training")["attack"]
    return None if chosen is None else Attack(*chosen)


def setting_of(stage: Stage, name: str) -> Any:  # noqa: ANN401 - a value of JSON
    """A setting of a stage, or of the stages that it builds on."""
    if name in stage.settings:
        return stage.settings[name]
    return next(
        value
        for needed in stage.inputs.values()
        if needed.kind != "data"
        for value in [setting_of(needed, name)]
    )


def _made(place: Workplace, stage: Stage, began: float, **more: object) -> dict[str, Any]:
    """What made a result, to stand beside it."""
    return {
        "label": stage.label,
        "settings": dict(stage.settings),
        "seconds": round(time.perf_counter() - began, 2),
        "finished": time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime()),
        "versions": versions(),
        "commit": commit(),
        "command": command(),
        "device": describe_device(place.device),
        **more,
    }


def _write(result: dict[str, Any], path: Path, stage: Stage, record: dict[str, Any]) -> None:
    content = {"format": 1, "kind": stage.kind, **result, "record": record}
    try:
        text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    except ValueError as error:
        raise InputError(f"{stage.label}: not written, since a number is not finite") from error
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8")
