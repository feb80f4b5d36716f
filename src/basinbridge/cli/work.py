"""What the commands do, between options and the library."""

import copy
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..curve.files import load_curve
from ..curve.paths import Curve
from ..data.augment import augmentation
from ..data.batches import Augmentation
from ..data.datasets import family, load
from ..data.images import ImageData
from ..errors import InputError
from ..experiments.provenance import (
    check_same,
    command,
    commit,
    describe_data,
    describe_device,
    versions,
)
from ..models.load import build
from ..models.normalised import Normalised
from ..reading import read_names, read_record
from ..state import check_states, load_state
from ..symmetry.discover import discover
from ..symmetry.groups import Symmetry
from ..train.adversarial import Attack
from ..train.objective import logits_of
from .options import STANDARD, Objective, Subject

# The paper's (Section 5), and the demo's; a step is a quarter of it.
EPSILONS = {"digits": 0.1, "cifar10": 8 / 255, "cifar100": 8 / 255, "tiny-imagenet": 4 / 255}
HELD_OUT = 1_000


@dataclass(frozen=True)
class Setting:
    """What a command works on: an architecture, data, a device and a seed.

    `train_data` are those of `data_set` that training may see, the others are `held_out`.
    """

    model: str
    network: nn.Module
    train_data: ImageData
    test_data: ImageData
    device: torch.device
    seed: int
    data_set: ImageData
    held_out: ImageData | None = None
    attack: Attack | None = None

    def example(self) -> Tensor:
        """Two training images as the network sees them."""
        return self.train_data.example().to(self.device)

    def augmentation(self, wanted: bool) -> Augmentation | None:
        """How the data set's training images are augmented, if it is wanted and there is a way."""
        return augmentation(self.train_data.name) if wanted else None

    def record(self, began: float, **more: object) -> dict[str, Any]:
        """What made a result, for its header; `began` is when, by the performance counter."""
        return {
            "model": self.model,
            "dataset": self.train_data.name,
            "seed": self.seed,
            "attack": None if self.attack is None else asdict(self.attack),
            "seconds": round(time.perf_counter() - began, 2),
            "data": self.data,
            "held_out": 0 if self.held_out is None else len(self.held_out),
            "versions": versions(),
            "commit": commit(),
            "command": command(),
            "device": describe_device(self.device),
            **more,
        }

    @cached_property
    def data(self) -> dict[str, Any]:
        """Name, sizes and fingerprints of the data set."""
        return describe_data(self.data_set, self.test_data)

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
    subject: Subject, objective: Objective = STANDARD, files: Sequence[Path] = ()
) -> Setting:
    """Load the data, build the network, and check that they fit each other and the files.

    `files` hold the states or curves that the work begins with. Networks that were trained under
    attack normalise their images themselves; where the files hold such, or the objective is
    adversarial, so does the architecture, and the images stay in [0, 1].
    """
    work = _plain(subject)
    inside = {path: _normalises(path, work.network) for path in files}
    if len({*inside.values()}) == 2:
        one, other = (
            next(path for path in files if inside[path] is each) for each in (True, False)
        )
        raise InputError(f"{one} normalises its images itself, {other} does not; give two alike")
    attacked = objective.objective == "adversarial"
    if not attacked and objective != STANDARD:
        raise InputError("--epsilon and --attack-steps need --objective adversarial; add it")
    if attacked and not all(inside.values()):
        raise InputError(
            f"{files[0]}: was not trained with --objective adversarial; "
            "train it so, or leave the option out"
        )
    if attacked or any(inside.values()):
        work = _normalising(work)
    return replace(work, attack=_attack(objective, work.train_data.name)) if attacked else work


def _plain(subject: Subject) -> Setting:
    """The setting of networks that get normalised images."""
    chosen = prepare(subject.device, subject.threads)
    model, dataset = subject.model, subject.dataset
    train_data = load(dataset, "train", root=subject.data_root).to(chosen)
    test_data = load(dataset, "test", root=subject.data_root).to(chosen)
    torch.manual_seed(subject.seed)
    network = build(model, train_data.num_classes).to(chosen)
    work = Setting(model, network, train_data, test_data, chosen, subject.seed, train_data)
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


def _normalises(path: Path, network: nn.Module) -> bool:
    """Whether a file's networks are `network` within a `Normalised`, by the names of tensors."""
    name = next(iter(network.state_dict()), "")
    return not {f"network.{name}", f"0/network.{name}"}.isdisjoint(read_names(path))


def _normalising(work: Setting) -> Setting:
    """The same with images in [0, 1], normalisation in the network, and images held out.

    These are a thousand training images, or a tenth where there are few, the same for every seed:
    early stopping and the choice of a curve's best point look at them, training never does.
    """
    data = work.train_data
    count = min(HELD_OUT, len(data) // 10)
    mixed = data.unnormalised().subset(len(data), 0)
    return replace(
        work,
        network=Normalised(work.network, data.mean, data.std),
        train_data=mixed.part(slice(count, None)),
        held_out=mixed.part(slice(count)),
        test_data=work.test_data.unnormalised(),
    )


def _attack(objective: Objective, dataset: str) -> Attack:
    """The attack of the options. Raises `InputError` if the data set needs an epsilon."""
    epsilon = objective.epsilon
    if epsilon is None:
        epsilon = EPSILONS.get(family(dataset) or dataset)
    if epsilon is None:
        raise InputError(f"data set {dataset!r}: give --epsilon, as a share of the pixels' range")
    return Attack(epsilon, epsilon / 4, objective.attack_steps)


def refuse_to_overwrite(path: Path | None, force: bool) -> None:
    """Raise `InputError` if a result is there already, before any work is done."""
    if path is not None and path.exists() and not force:
        raise InputError(f"{path}: exists already; choose another name or add --force")
