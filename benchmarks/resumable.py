"""What long studies share: a plan with an option for each field, and a folder of what is finished.

A study that was stopped is started again by the same command, and goes on from its folder.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

import basinbridge as bb
from basinbridge.data.augment import augmentation
from basinbridge.data.images import ImageData
from basinbridge.experiments.provenance import describe_data, describe_device, versions
from basinbridge.state import replacing
from basinbridge.train.loop import Settings

P = TypeVar("P")


def note(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def options(plan: P, title: str, result: Path) -> tuple[argparse.Namespace, P]:
    """The command line, and the plan as it says: an option for each field that is a number."""
    parser = argparse.ArgumentParser(description=title)
    parser.add_argument("--data-root", type=Path, help="folder with local copies of data sets")
    parser.add_argument("--cache", type=Path, default=Path(result.stem), help="what is finished")
    parser.add_argument("--out", type=Path, default=result)
    parser.add_argument("--show", action="store_true", help="print the tables of --out")
    numbers = {name: one for name, one in vars(plan).items() if isinstance(one, int | float)}
    for name, value in numbers.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    chosen = parser.parse_args()
    return chosen, replace(plan, **{name: getattr(chosen, name) for name in numbers})  # type: ignore[type-var]


def begin(cache: Path, plan: dict[str, Any]) -> None:
    """Make the folder of what is finished; one of another plan is refused."""
    cache.mkdir(parents=True, exist_ok=True)
    kept = cache / "plan.json"
    if kept.exists() and json.loads(kept.read_text(encoding="utf-8")) != plan:
        raise bb.InputError(f"{kept}: made with other settings; give another --cache")
    kept.write_text(json.dumps(plan), encoding="utf-8")


def descent(seed: int, what: str, epochs: int, learning_rate: float, batch_size: int) -> Settings:
    """How networks and curves on CIFAR-10 descend."""
    return {
        "epochs": epochs,
        "learning_rate": learning_rate,
        "batch_size": batch_size,
        "seed": seed,
        "augmentation": augmentation("cifar10"),
        "mixed_precision": True,
        "progress": lambda epoch, of, loss: note(f"{what}, epoch {epoch}/{of}: {loss:.4f}"),
    }


def trained(
    cache: Path, seed: int, make: Callable[[], nn.Module], data: ImageData, settings: Settings
) -> nn.Module:
    """The network of a seed, trained now or before."""
    path = cache / f"net-{seed}.safetensors"
    torch.manual_seed(seed)
    network = make()
    if not path.exists():
        bb.save_state(bb.train(network, data, **settings).state_dict(), path)
    network.load_state_dict(bb.load_state(path))
    return network


def computed(path: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `make` computes, now or before."""
    if not path.exists():
        found = json.dumps(make())
        with replacing(path) as draft:
            draft.write_text(found, encoding="utf-8")
    return dict(json.loads(path.read_text(encoding="utf-8")))


def header(plan: object, train_data: ImageData, test_data: ImageData) -> dict[str, Any]:
    """What a result says of its making."""
    return {
        "settings": {**asdict(plan), "dataset": "cifar10", "model": "TinyTen"},  # type: ignore[call-overload]
        "device": describe_device(torch.device("cpu")),
        "versions": versions(),
        "data": describe_data(train_data, test_data),
    }
