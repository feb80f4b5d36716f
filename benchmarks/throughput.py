"""Images a second in training: a loop with a DataLoader, ours, and several networks at once.

    python benchmarks/throughput.py                 # on the processor; prints a table
    python benchmarks/throughput.py --device cuda --images 50000 --out docs/results/throughput.json

Images are noise in CIFAR's shape: what they show does not change what a step costs. The first
epoch, in which kernels are chosen and code is compiled, is not counted. The last rows are the
seconds that 61 points of a curve take, some of them at once.
"""

import argparse
import functools
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import torch
from steps import BATCH, noise
from torch import Tensor, multiprocessing, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

import basinbridge as bb
from basinbridge import models
from basinbridge.data.augment import augmentation
from basinbridge.experiments.provenance import describe_device, versions
from basinbridge.state import replacing
from basinbridge.train.loop import Settings
from basinbridge.train.objective import standard

POINTS = 61


class OneByOne(Dataset[tuple[Tensor, Tensor]]):
    """Images as most loops have them: each cropped, flipped and normalised by itself."""

    def __init__(self, data: bb.ImageData) -> None:
        self.images, self.labels = data.images.cpu(), data.labels.cpu()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = functional.pad(self.images[index].float() / 255, (4, 4, 4, 4))
        top, left = torch.randint(9, (2,)).tolist()
        image = image[:, top : top + 32, left : left + 32]
        if torch.rand(()) < 0.5:
            image = image.flip(-1)
        return (image - 0.5) / 0.25, self.labels[index]


def textbook(network: nn.Module, data: bb.ImageData, epochs: int) -> float:
    """Seconds of an epoch of the loop that every tutorial shows, with two workers loading."""
    device = data.images.device
    network = network.to(device).train()
    descent = torch.optim.SGD(
        network.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4
    )
    loader = DataLoader(
        OneByOne(data),
        BATCH,
        shuffle=True,
        drop_last=True,
        num_workers=2,
        persistent_workers=True,
        pin_memory=device.type == "cuda",
    )
    stops = []
    for _ in range(epochs + 1):
        for inputs, labels in loader:
            inputs, labels = inputs.to(device, non_blocking=True), labels.to(device)
            descent.zero_grad()
            functional.cross_entropy(network(inputs), labels).backward()
            descent.step()
        stops.append(_now(device))
    return (stops[-1] - stops[0]) / epochs


def ours(networks: list[nn.Module], data: bb.ImageData, epochs: int, **settings: object) -> float:
    """Seconds of an epoch of `bb.train`, or of `bb.train_together` of several networks."""
    device = data.images.device
    networks = [network.to(device) for network in networks]
    stops = []
    recipe: Settings = {
        "epochs": epochs + 1,
        "batch_size": BATCH,
        "learning_rate": 0.01,
        "augmentation": augmentation("cifar10"),
        "progress": lambda *_: stops.append(_now(device)),
        **settings,  # type: ignore[typeddict-item]
    }
    if len(networks) == 1:
        bb.train(networks[0], data, **recipe)
    else:
        bb.train_together(networks, data, **recipe)
    return (stops[-1] - stops[0]) / epochs


def _worker(
    build: Callable[[], nn.Module],
    images: int,
    device: torch.device,
    epochs: int,
    mixed: bool,
    ready: "multiprocessing.Barrier",
    found: "multiprocessing.Queue[float]",
) -> None:
    torch.set_num_threads(1)
    data = noise(images).to(device)
    ours([build()], data, 1, mixed_precision=mixed)
    ready.wait()
    found.put(ours([build()], data, epochs, mixed_precision=mixed))


def processes(
    build: Callable[[], nn.Module],
    count: int,
    images: int,
    device: torch.device,
    epochs: int,
    mixed: bool,
) -> float:
    """Seconds of an epoch of the slowest of `count` processes, a network each, at one time."""
    context = multiprocessing.get_context("spawn")
    ready, found = context.Barrier(count), context.Queue()
    arguments = (build, images, device, epochs, mixed, ready, found)
    workers = [context.Process(target=_worker, args=arguments) for _ in range(count)]
    for worker in workers:
        worker.start()
    slowest = max(found.get() for _ in workers)
    for worker in workers:
        worker.join()
    return slowest


def evaluation(build: Callable[[], nn.Module], data: bb.ImageData, together: int) -> float:
    """Seconds of 61 points of a line, with the statistics of 2,000 images."""
    device = data.images.device
    line = bb.Linear.between(build().to(device), build().to(device))
    batchnorm_data = data.subset(min(2000, len(data)), 0)
    score = functools.partial(bb.evaluate, line, data, batchnorm_data=batchnorm_data)
    score(points=max(2, together), together=together)
    began = _now(device)
    score(points=POINTS, together=together)
    return _now(device) - began


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu", type=torch.device)
    parser.add_argument(
        "--network", default="TinyTen", choices=("TinyTen", "ResNet32", "DigitsNet")
    )
    parser.add_argument("--images", default=2560, type=int, help="of an epoch")
    parser.add_argument("--test-images", default=1000, type=int, help="scored at every point")
    parser.add_argument("--epochs", default=2, type=int, help="that are counted")
    parser.add_argument("--count", default=6, type=int, help="networks at once")
    parser.add_argument("--together", default="1,8", help="points at once, several numbers")
    parser.add_argument("--compile", action="store_true", help="rows with torch.compile too")
    parser.add_argument("--out", type=Path, help="a JSON file for the figures")
    options = parser.parse_args()
    build = getattr(models, options.network)
    data = noise(options.images).to(options.device)
    torch.manual_seed(0)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    rates: dict[str, float] = {}

    def row(name: str, seconds: float, networks: int = 1) -> None:
        rates[name] = networks * (options.images // BATCH * BATCH) / seconds
        share = rates[name] / rates["DataLoader loop"]
        print(f"{name:44} {rates[name]:9,.0f} images/s  {share:6.2f}", flush=True)

    def several(count: int) -> list[nn.Module]:
        return [build() for _ in range(count)]

    epochs, count = options.epochs, options.count
    row("DataLoader loop", textbook(build(), data, epochs))
    ways: dict[str, dict[str, object]] = {"": {}, ", bfloat16": {"mixed_precision": True}}
    if options.compile:
        fast = torch.compile(standard, mode="max-autotune" if data.images.is_cuda else None)
        ways[", bfloat16, compiled"] = {"mixed_precision": True, "objective": fast}
    for name, settings in ways.items():
        row(f"one network{name}", ours(several(1), data, epochs, **settings))
        row(f"{count} in a stack{name}", ours(several(count), data, epochs, **settings), count)
    for mixed in (False, True):
        took = processes(build, count, options.images, options.device, epochs, mixed)
        row(f"{count} processes{', bfloat16' if mixed else ''}", took, count)
    tests = data.subset(min(options.test_images, len(data)), 1)
    seconds = {}
    for together in map(int, options.together.split(",")):
        seconds[together] = evaluation(build, tests, together)
        print(f"{POINTS} points, {together} at once: {seconds[together]:.2f} s", flush=True)
    if options.out is not None:
        settings = {
            name: getattr(options, name) for name in ("network", "images", "test_images", "epochs")
        }
        result = {
            "settings": {**settings, "threads": torch.get_num_threads(), "load": os.getloadavg()},
            "device": describe_device(options.device),
            "versions": versions(),
            "images_per_second": rates,
            f"seconds_of_{POINTS}_points": seconds,
        }
        with replacing(options.out) as file:
            file.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
