"""What each kind of stage does: read its inputs' results, compute, write its own."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..align.match import align
from ..curve.files import load_curve, save_curve
from ..curve.fit import fit
from ..curve.pam import pam
from ..curve.paths import Bezier, Curve, Linear
from ..data.augment import augmentation
from ..data.batches import ImageData
from ..data.datasets import load
from ..errors import InputError
from ..evaluate.along import evaluate
from ..evaluate.plane import plane
from ..evaluate.signature import signature
from ..models.load import build
from ..models.normalised import Normalised
from ..reading import read_json
from ..state import load_state, replacing, save_state, with_state
from ..symmetry.discover import discover
from ..symmetry.groups import Symmetry
from ..symmetry.permutation import permute
from ..train.adversarial import Attack, adversarial
from ..train.checkpoint import Checkpoint
from ..train.loop import Settings, train
from ..train.objective import standard
from ..train.schedules import SCHEDULES
from .corners import corners_of_curve, corners_of_pair
from .midpoints import midpoint_signatures
from .pair import Watch, path_entry, silent
from .provenance import command, commit, describe_data, describe_device, versions
from .scalars import Write
from .store import Stage, Store

# Which images a smaller data set keeps is the same for everybody.
SUBSET_SEED = 0


@dataclass
class Workplace:
    """Where stages are carried out: a store, a device, and what was read and discovered so far.

    `scalars(label, epoch, loss)` is told of every epoch.
    """

    store: Store
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    data_root: Path | None = None
    watch: Watch = silent
    checkpoint_seconds: float = 60.0
    scalars: Write | None = None
    read: dict[str, tuple[ImageData, ImageData]] = field(default_factory=dict)
    symmetries: dict[tuple[str, str, bool], Symmetry] = field(default_factory=dict)

    def carry_out(self, stage: Stage) -> None:
        """Do a stage, whose inputs are there, and write its result.

        Raises `InputError` for data that are missing or not those the run began with, and for a
        training that diverges.
        """
        began = time.perf_counter()
        if stage.kind == "data":
            return self._note_data(stage, began)
        both = self.data_of(stage)
        network = _network(self, stage, both[0])
        if _attack(stage) is not None:  # the network normalises, so that attacks see [0, 1]
            both = both[0].unnormalised(), both[1].unnormalised()
        return KINDS[stage.kind](_Job(self, stage, network, *both, began))

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
            wanted = stage.settings[f"{split}_images"]
            if wanted is not None and wanted < len(data):
                data = data.subset(wanted, SUBSET_SEED)
            both.append(data.to(self.device))
        return both[0], both[1]

    def _note_data(self, stage: Stage, began: float) -> None:
        both = self._load(stage)
        found = {"data": describe_data(*both), "class_names": list(both[0].class_names)}
        _write(found, self.store.path(stage), stage, _made(self, stage, began))
        self.read[stage.name] = both


@dataclass(frozen=True, eq=False)
class _Job:
    """A stage at work."""

    place: Workplace
    stage: Stage
    network: nn.Module
    train_data: ImageData
    test_data: ImageData
    began: float

    @property
    def settings(self) -> Any:  # noqa: ANN401 - values of JSON
        return self.stage.settings

    @property
    def out(self) -> Path:
        return self.place.store.path(self.stage)

    def made(self, **more: object) -> dict[str, Any]:
        return _made(self.place, self.stage, self.began, **more)

    def write(self, result: dict[str, Any]) -> None:
        _write(result, self.out, self.stage, self.made())

    def end(self, role: str) -> nn.Module:
        """The network that an input stage trained."""
        return with_state(self.network, load_state(self.place.store.path(self.stage.inputs[role])))

    def curve(self, role: str = "curve") -> Curve:
        return load_curve(self.place.store.path(self.stage.inputs[role]), self.network)[0]

    def match(self) -> dict[str, torch.Tensor] | None:
        """The renumbering of the end that an input stage found; None without one."""
        if "match" not in self.stage.inputs:
            return None
        return load_state(self.place.store.path(self.stage.inputs["match"]))

    def symmetry(self) -> Symmetry:
        """The architecture's symmetry, discovered once for each model and data set."""
        data, known = self.train_data, self.place.symmetries
        key = (_setting(self.stage, "model"), data.name, self.attack is not None)
        if key not in known:
            known[key] = discover(self.network, data.example())
        return known[key]

    def batchnorm_images(self) -> int:
        wanted: int | None = self.settings["batchnorm_images"]
        return min(wanted or len(self.train_data), len(self.train_data))

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
            "augmentation": augmentation(self.train_data.name) if chosen["augment"] else None,
            "mixed_precision": chosen["mixed_precision"],
            "seed": seed,
            "objective": standard if self.attack is None else adversarial(**vars(self.attack)),
            "progress": progress,
            "checkpoint": self.checkpoint,
        }

    def progress(self, done: int, total: int) -> None:
        self.place.watch(self.stage.label, done, total)


def _train(job: _Job) -> None:
    seed = job.settings["seed"]
    history: list[float] = []
    resumed = bool(job.checkpoint.files())
    trained = train(job.network, job.train_data, **job.training(seed, history))
    record = job.made(history=history, resumed=resumed)
    save_state(trained.state_dict(), job.out, record=json.dumps(record))
    job.checkpoint.remove()


def _align(job: _Job) -> None:
    chosen = job.settings
    images = job.train_data.at_most(chosen["images"], chosen["seed"])
    symmetry = job.symmetry()
    found = align(
        job.end("start"),
        job.end("end"),
        images,
        symmetry,
        method=chosen["method"],
        activations=chosen["activations"],
        seed=chosen["seed"],
    )
    record = job.made(images=len(images))
    save_state(found, job.out, kind="permutation", record=json.dumps(record))


def _fit(job: _Job) -> None:
    start, end, match = job.end("start"), job.end("end"), job.match()
    if match is not None:
        end = permute(end, job.symmetry(), match)
    history: list[float] = []
    resumed = bool(job.checkpoint.files())
    settings = job.training(job.settings["seed"], history)
    curve = fit(Bezier.between(start, end), job.train_data, **settings)
    _save_curve(job, curve, history=history, resumed=resumed)


def _fit_in_turns(job: _Job) -> None:
    match = job.match()
    epochs = job.settings["permutation_epochs"]
    history: list[float] = []
    resumed = bool(job.checkpoint.files())
    found = pam(
        job.end("start"),
        job.end("end"),
        job.train_data,
        job.symmetry(),
        start="identity" if match is None else match,
        permutation_epochs=epochs,
        **job.training(job.settings["seed"], history),
    )
    _save_curve(
        job,
        found.curve,
        history=history[epochs:],
        permutation_history=history[:epochs],
        objective=list(found.history),
        resumed=resumed,
    )


def _save_curve(job: _Job, curve: Curve, **more: object) -> None:
    decay = job.settings["training"]["weight_decay"]
    record = job.made(
        decay_term=0.5 * decay * mean_square(curve), aligned="match" in job.stage.inputs, **more
    )
    save_curve(curve, job.out, record)
    job.checkpoint.remove()


def mean_square(curve: Curve, points: int = 257) -> float:
    """The mean over t of |r(t)|^2, parameters only; 0.5 * weight decay times it is the L2 term.

    >>> one = torch.nn.Linear(1, 1, bias=False)
    >>> _ = torch.nn.init.constant_(one.weight, 2.0)
    >>> mean_square(Linear.between(one, one))
    4.0
    """
    parameters = curve.points[:, : curve.layout.parameters].double()
    products = (parameters @ parameters.T).cpu()
    weights = torch.stack([curve.coefficients(i / (points - 1)) for i in range(points)])
    squares = ((weights @ products) * weights).sum(1)
    return float(torch.trapezoid(squares, dx=1 / (points - 1)))


def _evaluate(job: _Job) -> None:
    curve = job.curve()
    if job.settings["path"] == "line":
        curve = Linear.between(curve.network_at(0), curve.state_at(1))
    found = evaluate(
        curve,
        job.test_data,
        batchnorm_data=job.train_data,
        points=job.settings["points"],
        batchnorm_images=job.batchnorm_images(),
        attack=job.attack,
        progress=job.progress,
    )
    job.write({**path_entry(found), "batchnorm_images": found.batchnorm_images})


def _plane(job: _Job) -> None:
    chosen = job.settings
    if "curve" in job.stage.inputs:
        corners = corners_of_curve(job.curve(), chosen["title"], renumbered=chosen["renumbered"])
    else:
        corners = corners_of_pair(job.curve("unaligned"), job.curve("aligned"))
    wanted = chosen["images"]
    data = job.test_data
    if wanted is not None and wanted < len(data):
        data = data.subset(wanted, SUBSET_SEED)
    found = plane(
        job.network,
        corners.states,
        data,
        batchnorm_data=job.train_data,
        size=chosen["size"],
        across=tuple(chosen["across"]),
        up=tuple(chosen["up"]),
        curves=corners.curves,
        batchnorm_images=job.batchnorm_images(),
        progress=job.progress,
    )
    job.write(
        {
            "title": f"{job.stage.label}, {len(data):,} test images",
            "names": corners.names,
            "lines": [list(pair) for pair in corners.lines],
            **asdict(found),
        }
    )


def _signature(job: _Job) -> None:
    found = signature(job.end("start"), job.end("end"), job.test_data, job.symmetry(), job.match())
    job.write(asdict(found))


def _midpoint(job: _Job) -> None:
    _, entries = midpoint_signatures(
        job.curve(),
        job.test_data,
        job.symmetry(),
        job.train_data,
        batchnorm_images=job.batchnorm_images(),
    )
    job.write({"entries": entries})


KINDS: dict[str, Callable[[_Job], None]] = {
    "endpoint": _train,
    "alignment": _align,
    "curve": _fit,
    "pam": _fit_in_turns,
    "evaluation": _evaluate,
    "plane": _plane,
    "signature": _signature,
    "midpoint": _midpoint,
}


def _network(place: Workplace, stage: Stage, data: ImageData) -> nn.Module:
    """The architecture, initial weights drawn from the seed of the stage."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stage.settings.get("seed", 0))
        network = build(_setting(stage, "model"), data.num_classes).to(place.device)
    return network if _attack(stage) is None else Normalised(network, data.mean, data.std)


def _attack(stage: Stage) -> Attack | None:
    """The attack of a stage's training, or of the trainings that it builds on."""
    chosen = _setting(stage, "training")["attack"]
    return None if chosen is None else Attack(*chosen)


def _setting(stage: Stage, name: str) -> Any:  # noqa: ANN401 - a value of JSON
    """A setting of a stage, or of the stages that it builds on."""
    if name in stage.settings:
        return stage.settings[name]
    return next(
        value
        for needed in stage.inputs.values()
        if needed.kind != "data"
        for value in [_setting(needed, name)]
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
