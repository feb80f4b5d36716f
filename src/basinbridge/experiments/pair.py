"""The whole path for one pair: train, align, fit both curves, evaluate all four paths."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from ..align.match import align
from ..curve.fit import fit
from ..curve.paths import Bezier, Curve, Linear
from ..data.images import ImageData
from ..evaluate.along import CurveReport, evaluate
from ..models.normalised import Normalised
from ..symmetry.discover import discover
from ..symmetry.permutation import permute
from ..train.adversarial import Attack, adversarial
from ..train.loop import train
from ..train.objective import Objective, standard
from .provenance import command, commit

Watch = Callable[[str, int, int], None]


@dataclass(frozen=True)
class PairSettings:
    """How to make a pair's networks and curves; learning rates are the peaks of a cosine.

    With an `attack` networks and curves are trained adversarially and normalise inside; scores
    under `test_attack`, or else the same, stand in the report beside the clean ones.
    """

    epochs: int = 20
    learning_rate: float = 0.1
    curve_epochs: int = 5
    curve_learning_rate: float = 0.05
    batch_size: int = 32
    points: int = 61
    alignment_images: int = 10_000
    batchnorm_images: int = 2_000
    attack: Attack | None = None
    test_attack: Attack | None = None

    @property
    def objective(self) -> Objective:
        """What networks and curves minimise."""
        return standard if self.attack is None else adversarial(**asdict(self.attack))


def silent(stage: str, done: int, total: int) -> None:
    """A `Watch` that shows nothing."""


def run_pair(
    make_network: Callable[[], nn.Module],
    train_data: ImageData,
    test_data: ImageData,
    seeds: tuple[int, int],
    settings: PairSettings,
    *,
    watch: Watch = silent,
) -> dict[str, Any]:
    """One entry of a report's `pairs`: endpoints, the four paths, seeds, seconds of every stage.

    The endpoints' initial weights and data order follow from `seeds`, both curves' data order and
    t from the first of them. `watch(stage, done, total)` is called as work proceeds.
    """
    make = make_network
    if settings.attack is not None:
        mean, std = train_data.mean, train_data.std
        make = lambda: Normalised(make_network(), mean, std)  # noqa: E731
        train_data, test_data = train_data.unnormalised(), test_data.unnormalised()
    seconds: dict[str, float] = {}
    with _timed(seconds, "train"):
        start, end = (_endpoint(make, train_data, seed, settings, watch) for seed in seeds)
    with _timed(seconds, "align"):
        aligned = _aligned(start, end, train_data, seeds[0], settings)
    paths: dict[str, Curve] = {}
    for name, target in (("unaligned", end), ("aligned", aligned)):
        paths[f"linear_{name}"] = Linear.between(start, target)
        with _timed(seconds, f"fit_{name}"):
            paths[f"curve_{name}"] = fit(
                Bezier.between(start, target),
                train_data,
                epochs=settings.curve_epochs,
                learning_rate=settings.curve_learning_rate,
                batch_size=settings.batch_size,
                seed=seeds[0],
                objective=settings.objective,
                progress=_shown(watch, f"fitting the {name} curve"),
            )
    entries = {}
    with _timed(seconds, "evaluate"):
        for name, curve in paths.items():
            stage = f"evaluating {name.replace('_', ' ')}"
            found = evaluate(
                curve,
                test_data,
                batchnorm_data=train_data,
                points=settings.points,
                batchnorm_images=settings.batchnorm_images,
                attack=settings.test_attack or settings.attack,
                progress=lambda done, total, stage=stage: watch(stage, done, total),  # type: ignore[misc]
            )
            entries[name] = path_entry(found)
    return {
        "seeds": list(seeds),
        "endpoints": endpoints_of(entries["linear_unaligned"]),
        **entries,
        "seconds": seconds,
    }


def path_entry(found: CurveReport) -> dict[str, Any]:
    """A curve's scores as a report holds them, those under attack by names with `robust_`."""
    entry = {
        "t": list(found.t),
        "length": list(found.length),
        "loss": list(found.loss),
        "accuracy": list(found.accuracy),
        "average_accuracy": found.average_accuracy,
        "minimum_accuracy": found.minimum_accuracy,
        "average_loss": found.average_loss,
        "barrier": found.barrier,
    }
    if found.robust is None:
        return entry
    robust = path_entry(found.robust)
    return entry | {f"robust_{key}": robust[key] for key in robust if key not in ("t", "length")}


def endpoints_of(entry: dict[str, Any]) -> dict[str, Any]:
    """Scores of the two ends of a path, those under attack as well where there are any."""
    kinds = ("accuracy", "loss", "robust_accuracy", "robust_loss")
    return {
        name: {kind: entry[kind][place] for kind in kinds if kind in entry}
        for name, place in (("start", 0), ("end", -1))
    }


def report_of(
    pairs: list[dict[str, Any]],
    settings: dict[str, Any],
    versions: dict[str, str],
    data: dict[str, Any],
) -> dict[str, Any]:
    """A report: the first pair's entries at the top level, all pairs below."""
    return {
        "format": 1,
        "settings": settings,
        "versions": versions,
        "commit": commit(),
        "command": command(),
        "data": data,
        **pairs[0],
        "pairs": pairs,
    }


def _endpoint(
    make_network: Callable[[], nn.Module],
    data: ImageData,
    seed: int,
    settings: PairSettings,
    watch: Watch,
) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = make_network()
    return train(
        network,
        data,
        epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        batch_size=settings.batch_size,
        seed=seed,
        objective=settings.objective,
        progress=_shown(watch, f"training network {seed}"),
    )


def _aligned(
    start: nn.Module, end: nn.Module, data: ImageData, seed: int, settings: PairSettings
) -> nn.Module:
    images = data.at_most(settings.alignment_images, seed)
    symmetry = discover(start, images.example())
    return permute(end, symmetry, align(start, end, images, symmetry))


def _shown(watch: Watch, stage: str) -> Callable[[int, int, float], None]:
    return lambda epoch, epochs, _: watch(stage, epoch, epochs)


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[stage] = round(time.perf_counter() - start, 3)
