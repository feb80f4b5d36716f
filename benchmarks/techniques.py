"""Every alignment technique, and PAM, on pairs of TinyTens: the tables of docs/results.md.

    OMP_NUM_THREADS=1 python benchmarks/techniques.py --data-root DATA --cache CACHE

takes hours on one core. Whatever is finished lies in CACHE; started again, it goes on from there.
The result is docs/results/techniques.json; `--show` prints its tables and computes nothing.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import resumable
import torch
from torch import nn

import basinbridge as bb
from basinbridge.align.methods import Activations, Method
from basinbridge.curve.files import load_curve, save_curve
from basinbridge.data.datasets import load
from basinbridge.data.images import ImageData
from basinbridge.experiments.pair import path_entry
from basinbridge.models import TinyTen
from basinbridge.report.caption import mean_and_spread
from basinbridge.report.picture import read_result, write_result
from basinbridge.symmetry.permutation import Permutation
from basinbridge.train.loop import Settings

RESULT = Path(__file__).parents[1] / "docs" / "results" / "techniques.json"
TECHNIQUES: dict[str, tuple[Method, Activations]] = {
    "identity": ("identity", "post"),
    "random": ("random", "post"),
    "correlation, post": ("correlation", "post"),
    "correlation, pre": ("correlation", "pre"),
    "L2, post": ("l2", "post"),
    "L2, pre": ("l2", "pre"),
    "weights": ("weights", "post"),
    "optimal transport": ("optimal-transport", "post"),
}
UNALIGNED = ("identity", "random", "PAM from identity")
PAM_STARTS = {"PAM from identity": "identity", "PAM from aligned": "correlation, post"}


@dataclass(frozen=True)
class Plan:
    """What is done; learning rates are the peaks of a cosine."""

    pairs: int = 3
    epochs: int = 4
    learning_rate: float = 0.1
    curve_images: int = 25_000
    curve_epochs: int = 1
    curve_learning_rate: float = 0.05
    permutation_epochs: int = 1
    alignment_images: int = 5_000
    points: int = 11
    test_images: int = 2_500
    batchnorm_images: int = 1_000
    batch_size: int = 128


@dataclass(frozen=True)
class Study:
    """A plan, the data it is carried out on, and the folder of what is finished."""

    plan: Plan
    train_data: ImageData
    test_data: ImageData
    cache: Path

    def network(self, seed: int) -> nn.Module:
        """The network of a seed, trained now or before."""
        plan, what = self.plan, f"network {seed}"
        settings = resumable.descent(seed, what, plan.epochs, plan.learning_rate, plan.batch_size)
        return resumable.trained(self.cache, seed, TinyTen, self.train_data, settings)

    def joined(
        self, number: int, name: str, make: Callable[[str], tuple[bb.Curve, dict[str, Any]]]
    ) -> dict[str, Any]:
        """Scores of a pair's curve by one technique, and of the line below it.

        Seconds are those the processor worked, which a busy machine does not lengthen.
        """
        stem = self.cache / f"pair-{number}-{name.replace(', ', '-').replace(' ', '-')}"
        scores, saved = stem.with_suffix(".json"), stem.with_suffix(".safetensors")
        if not saved.exists():
            began = time.process_time()
            made, more = make(name)
            record = {"aligned": name not in UNALIGNED, "seconds": time.process_time() - began}
            save_curve(made, saved, {**record, **more})

        def scored() -> dict[str, Any]:
            curve, record = load_curve(saved, TinyTen())
            line = bb.Linear.between(curve.network_at(0), curve.state_at(1))
            began = time.process_time()
            found = {"curve": self.scored(curve), "line": self.scored(line)}
            seconds = {"fit": record["seconds"], "evaluate": time.process_time() - began}
            return {**found, **record, "seconds": seconds}

        return resumable.computed(scores, scored)

    def scored(self, curve: bb.Curve) -> dict[str, Any]:
        """Loss and accuracy along a curve, in the precision that the networks were trained in."""
        plan = self.plan
        # No cache: weights change in place from one t to the next.
        with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
            return path_entry(
                bb.evaluate(
                    curve,
                    self.test_data.subset(plan.test_images, 0),
                    batchnorm_data=self.train_data,
                    batchnorm_images=plan.batchnorm_images,
                    points=plan.points,
                    batch_size=100,
                )
            )

    def pair(self, number: int) -> dict[str, Any]:
        """Every technique's scores for one pair."""
        plan, seeds = self.plan, (2 * number, 2 * number + 1)
        start, end = (self.network(seed) for seed in seeds)
        images = self.train_data.subset(plan.alignment_images, seeds[0])
        data = self.train_data.subset(plan.curve_images, seeds[0])
        symmetry = bb.discover(start, images.example())

        def matched(name: str) -> Permutation:
            method, activations = TECHNIQUES[name]
            return bb.align(
                start, end, images, symmetry,
                method=method, activations=activations, seed=seeds[0],
            )  # fmt: skip

        def settings(name: str) -> Settings:
            what = f"pair {number}, {name}"
            return resumable.descent(
                seeds[0], what, plan.curve_epochs, plan.curve_learning_rate, plan.batch_size
            )

        def fitted(name: str) -> tuple[bb.Curve, dict[str, Any]]:
            line = bb.Bezier.between(start, bb.permute(end, symmetry, matched(name)))
            return bb.fit(line, data, **settings(name)), {}

        def by_pam(name: str) -> tuple[bb.Curve, dict[str, Any]]:
            found = bb.pam(
                start,
                end,
                data,
                symmetry,
                start=matched(PAM_STARTS[name]),
                permutation_epochs=plan.permutation_epochs,
                **settings(name),
            )
            return found.curve, {"objective": list(found.history)}

        makers = {**dict.fromkeys(TECHNIQUES, fitted), **dict.fromkeys(PAM_STARTS, by_pam)}
        scores = {name: self.joined(number, name, make) for name, make in makers.items()}
        return {"seeds": list(seeds), "techniques": scores}


def percent(shares: list[float]) -> str:
    return mean_and_spread([100 * share for share in shares], 1)


def show(result: dict[str, Any]) -> None:
    """The table of docs/results.md: mean and sample standard deviation over the pairs."""
    pairs = result["pairs"]
    ends = [
        one["techniques"]["identity"]["line"]["accuracy"][end] for one in pairs for end in (0, -1)
    ]
    print(f"Endpoints {percent(ends)} %.\n")
    print("| technique | curve average | curve minimum | line average | line minimum |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name in pairs[0]["techniques"]:
        cells = [
            percent([one["techniques"][name][path][f"{what}_accuracy"] for one in pairs])
            for path in ("curve", "line")
            for what in ("average", "minimum")
        ]
        print(f"| {name} | {' | '.join(cells)} |")


def main() -> None:
    chosen, plan = resumable.options(Plan(), __doc__.partition("\n")[0], RESULT)
    if chosen.show:
        show(read_result(chosen.out, "techniques"))
        return
    train_data, test_data = (
        load("cifar10", split, root=chosen.data_root) for split in ("train", "test")
    )
    resumable.begin(chosen.cache, {**asdict(plan), "pairs": None})
    study = Study(plan, train_data, test_data, chosen.cache)
    result = {**resumable.header(plan, train_data, test_data), "pairs": []}
    for number in range(plan.pairs):
        result["pairs"].append(study.pair(number))
        write_result(result, chosen.out, "techniques")
    show(result)


if __name__ == "__main__":
    main()
