"""How long stages will take, from a short measurement of each network on random images."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ..curve.fit import fit
from ..curve.pam import pam
from ..curve.paths import Bezier, Linear
from ..data.augment import augmentation
from ..data.images import ImageData
from ..evaluate.along import evaluate
from ..models.load import build
from ..symmetry.discover import discover
from ..train.loop import Settings, train
from .specs import Case
from .store import Stage

# Enough to be out of the noise, few enough for a large network on one core.
IMAGES_ON_CPU = 16
STEPS = 3
# What PAM scores when it rounds: candidates for each half step, and batches for each of them.
ROUNDING_SCORES = 34 * 16


@dataclass(frozen=True)
class DataFacts:
    """Sizes of a data set: training and test images, channels, pixels a side, classes."""

    train: int
    test: int
    channels: int
    side: int
    classes: int


FACTS = {
    "cifar10": DataFacts(50_000, 10_000, 3, 32, 10),
    "cifar100": DataFacts(50_000, 10_000, 3, 32, 100),
    "tiny-imagenet": DataFacts(100_000, 10_000, 3, 64, 200),
    "digits": DataFacts(1_197, 600, 1, 8, 10),
}


@dataclass(frozen=True)
class Speeds:
    """Seconds of each piece of work on one network: for an image, or for one discovery."""

    training: float
    curve: float
    permutation: float
    scoring: float
    discovery: float


def measure(
    case: Case, device: torch.device, *, mixed_precision: bool = False, permuting: bool = True
) -> Speeds:
    """Time a few steps of everything, PAM if it is `permuting`, on random images of that shape."""
    with torch.random.fork_rng():
        return _measured(case, device, mixed_precision, permuting)


def _measured(case: Case, device: torch.device, mixed_precision: bool, permuting: bool) -> Speeds:
    facts = FACTS[case.dataset]
    size = IMAGES_ON_CPU if device.type == "cpu" else 128
    data = _random_images(case.dataset, facts, STEPS * size).to(device)
    network = build(case.model, facts.classes).to(device)
    settings: Settings = {
        "epochs": 1,
        "batch_size": size,
        "learning_rate": 1e-3,
        "augmentation": augmentation(case.dataset),
        "mixed_precision": mixed_precision,
    }
    line, curve = Linear.between(network, network), Bezier.between(network, network)
    began = time.perf_counter()
    symmetry = discover(network, data.example())
    discovery = time.perf_counter() - began

    def turns(epochs: int) -> float:
        few: Settings = {**settings, "epochs": 0}
        return _seconds(
            lambda: pam(
                network,
                network,
                data,
                symmetry,
                start="identity",
                permutation_epochs=epochs,
                samples=1,
                probes=1,
                **few,
            )
        )

    train(network, data, **settings)  # the first run of anything is slower
    images = len(data)
    once, thrice = (turns(1), turns(3)) if permuting else (0.0, 0.0)
    return Speeds(
        training=_seconds(lambda: train(network, data, **settings)) / images,
        curve=_seconds(lambda: fit(curve, data, **settings)) / images,
        permutation=max(thrice - once, 0.0) / (2 * images),
        scoring=_seconds(lambda: evaluate(line, data, batchnorm_data=data, points=2))
        / (4 * images),
        discovery=discovery,
    )


def seconds_of(stage: Stage, speeds: Speeds, sizes: tuple[int, int]) -> float:
    """The expected seconds of a stage; `sizes` are the numbers of training and test images."""
    chosen: Mapping[str, Any] = stage.settings
    train_images, test_images = sizes
    statistics = min(chosen.get("batchnorm_images") or train_images, train_images)
    steps = attack_steps(stage)
    if stage.kind == "endpoint":
        epochs = chosen["training"]["epochs"]
        return float(epochs * train_images * (1 + steps) * speeds.training)
    if stage.kind in ("curve", "pam"):
        epochs = chosen["training"]["epochs"]
        seconds = epochs * train_images * (speeds.curve + steps * speeds.training)
        if stage.kind == "pam":
            scored = ROUNDING_SCORES * chosen["training"]["batch_size"]
            permuting = chosen["permutation_epochs"] * train_images * speeds.permutation
            seconds += permuting + scored * speeds.scoring + speeds.discovery
        return float(seconds)
    if stage.kind == "evaluation":
        clean = (statistics + test_images) * speeds.scoring
        attacked = (statistics + test_images) * steps * speeds.training
        again = test_images * speeds.scoring if steps else 0.0
        return float(chosen["points"] * (clean + attacked + again))
    if stage.kind == "plane":
        images = min(chosen["images"] or test_images, test_images)
        return float(chosen["size"] ** 2 * (statistics + images) * speeds.scoring)
    if stage.kind == "alignment":
        return float(speeds.discovery + 2 * min(chosen["images"], train_images) * speeds.scoring)
    if stage.kind == "signature":
        return speeds.discovery + 2 * test_images * speeds.scoring
    if stage.kind == "midpoint":
        return speeds.discovery + (8 * test_images + 6 * statistics) * speeds.scoring
    return 0.0


def attack_steps(stage: Stage) -> int:
    """How many steps the attacks of a stage's training have, or of those that it builds on.

    A step costs about as much as one of training.
    """
    if "training" in stage.settings:
        attack = stage.settings["training"]["attack"]
        return int(attack[2]) if attack else 0
    return max((attack_steps(needed) for needed in stage.inputs.values()), default=0)


def sizes_of(stage: Stage) -> tuple[int, int]:
    """How many training and test images a `data` stage keeps, by what is known of the data set."""
    facts = FACTS[stage.settings["dataset"]]
    wanted = stage.settings["train_images"], stage.settings["test_images"]
    return (
        min(wanted[0] or facts.train, facts.train),
        min(wanted[1] or facts.test, facts.test),
    )


def _random_images(name: str, facts: DataFacts, count: int) -> ImageData:
    generator = torch.Generator().manual_seed(0)
    shape = (count, facts.channels, facts.side, facts.side)
    return ImageData(
        name,
        torch.randint(256, shape, dtype=torch.uint8, generator=generator),
        torch.randint(facts.classes, (count,), generator=generator),
        tuple(str(number) for number in range(facts.classes)),
        (0.5,) * facts.channels,
        (0.25,) * facts.channels,
    )


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began
