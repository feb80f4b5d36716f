"""A pair of robust TinyTens on CIFAR-10, aligned and joined: the tables of docs/results.md.

    OMP_NUM_THREADS=1 python benchmarks/robust.py --data-root DATA --cache CACHE

takes most of an hour on one core. Whatever is finished lies in CACHE; started again, it goes on
from there. The result is docs/results/robust.json; `--show` prints its tables, computing nothing.
With `--auto-attack-images N` the best points and both ends also face AutoAttack on N images.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import resumable
from torch import nn

import basinbridge as bb
from basinbridge.curve.files import load_curve, save_curve
from basinbridge.data.datasets import load
from basinbridge.data.images import ImageData
from basinbridge.evaluate.along import statistics_batches
from basinbridge.evaluate.autoattack import auto_attack
from basinbridge.evaluate.batchnorm import reestimate
from basinbridge.evaluate.robust import best_point
from basinbridge.experiments.pair import path_entry
from basinbridge.models import Normalised, TinyTen
from basinbridge.report.picture import read_result, write_result
from basinbridge.train.loop import Settings

RESULT = Path(__file__).parents[1] / "docs" / "results" / "robust.json"
SEEDS = (0, 1)
CURVES = ("unaligned", "aligned")


@dataclass(frozen=True)
class Plan:
    """What is done. Learning rates are the peaks of a cosine; every epsilon is 8/255."""

    images: int = 16_000
    held_out: int = 1_000
    test_images: int = 500
    auto_attack_images: int = 0
    epochs: int = 5
    learning_rate: float = 0.1
    curve_epochs: int = 3
    curve_learning_rate: float = 0.05
    alignment_images: int = 5_000
    batchnorm_images: int = 400
    points: int = 5
    batch_size: int = 128
    training_attack: bb.Attack = field(default_factory=lambda: bb.Attack(step=4 / 255, steps=3))
    attack: bb.Attack = field(default_factory=lambda: bb.Attack(step=2 / 255, steps=5))
    test_attack: bb.Attack = field(default_factory=lambda: bb.Attack(step=2 / 255, steps=20))
    restarts: int = 1


@dataclass(frozen=True)
class Study:
    """A plan, its data, and the folder of what is finished."""

    plan: Plan
    train_data: ImageData
    held_out: ImageData
    test_data: ImageData
    empty: Callable[[], nn.Module]
    cache: Path

    def settings(self, seed: int, what: str, epochs: int, learning_rate: float) -> Settings:
        """How networks and curves descend, under attack."""
        settings = resumable.descent(seed, what, epochs, learning_rate, self.plan.batch_size)
        return {**settings, "objective": bb.adversarial(**asdict(self.plan.training_attack))}

    def endpoint(self, seed: int) -> nn.Module:
        """The robust network of a seed, trained now or before."""
        plan = self.plan
        settings = self.settings(seed, f"network {seed}", plan.epochs, plan.learning_rate)
        return resumable.trained(self.cache, seed, self.empty, self.train_data, settings)

    def curve(self, name: str) -> bb.Curve:
        """The robust curve by one alignment, fitted now or before."""
        path = self.cache / f"curve-{name.replace(' ', '-')}.safetensors"
        if not path.exists():
            plan = self.plan
            start, end = (self.endpoint(seed) for seed in SEEDS)
            if name != "unaligned":
                images = self.train_data.subset(plan.alignment_images, 0)
                symmetry = bb.discover(start, images.scaled(images.images[:2]))
                match = bb.align(start, end, images, symmetry)
                end = bb.permute(end, symmetry, match)
            settings = self.settings(
                SEEDS[0], f"curve, {name}", plan.curve_epochs, plan.curve_learning_rate
            )
            fitted = bb.fit(bb.Bezier.between(start, end), self.train_data, **settings)
            save_curve(fitted, path, {})
        return load_curve(path, self.empty())[0]

    def scores(self, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What `make` computes, now or before."""
        path = self.cache / f"{name.replace(' ', '-').replace(',', '')}.json"
        return resumable.computed(path, make)

    def along(self, curve: bb.Curve) -> dict[str, Any]:
        """Clean and robust scores along a curve."""
        plan = self.plan
        found = bb.evaluate(
            curve,
            self.test_data,
            batchnorm_data=self.train_data,
            batchnorm_images=plan.batchnorm_images,
            points=plan.points,
            attack=plan.attack,
        )
        return path_entry(found)

    def best(self, curve: bb.Curve) -> dict[str, Any]:
        """The most robust network of a curve against both ends."""
        plan = self.plan
        found = best_point(
            curve,
            self.held_out,
            self.test_data,
            plan.attack,
            test_attack=plan.test_attack,
            restarts=plan.restarts,
            batchnorm_data=self.train_data,
            batchnorm_images=plan.batchnorm_images,
            points=plan.points,
        )
        resumable.note(f"\n{found}")
        scores = {name: asdict(one) for name, one in found.scores.items()}
        return {"t": found.t, "scores": scores}

    def stood(self, curve: bb.Curve, t: float) -> dict[str, Any]:
        """Accuracies under AutoAttack, of the best point and both ends."""
        plan = self.plan
        few = self.test_data.subset(plan.auto_attack_images, 0)
        places = {"start": 0.0, "best": t, "end": 1.0}
        networks = {name: curve.network_at(place) for name, place in places.items()}
        statistics = statistics_batches(
            curve.network, self.train_data, plan.batchnorm_images, curve.points.device
        )
        for network in networks.values():
            reestimate(network, statistics, plan.attack)
        return {
            name: auto_attack(network, few, plan.attack.epsilon)
            for name, network in networks.items()
        }

    def path(self, name: str) -> dict[str, Any]:
        """A curve and the line below it, its best point, and that under AutoAttack."""
        curve = self.curve(name)
        line = bb.Linear.between(curve.network_at(0), curve.state_at(1))
        found = {
            kind: self.scores(f"{kind} {name}", lambda one=one: self.along(one))
            for kind, one in (("curve", curve), ("line", line))
        }
        best = self.scores(f"best {name}", lambda: self.best(curve))
        if self.plan.auto_attack_images:
            best["auto_attack"] = self.scores(f"stood {name}", lambda: self.stood(curve, best["t"]))
        return {**found, "best": best}


def show(result: dict[str, Any]) -> None:
    """The tables of docs/results.md."""
    print("| path | clean average | clean minimum | robust average | robust minimum | barrier |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, found in result["paths"].items():
        for kind in ("line", "curve"):
            path = found[kind]
            cells = [
                f"{100 * path[f'{attacked}{what}_accuracy']:.1f}"
                for attacked in ("", "robust_")
                for what in ("average", "minimum")
            ]
            print(f"| {kind}, {name} | {' | '.join(cells)} | {path['robust_barrier']:.3f} |")
    for name, found in result["paths"].items():
        best = found["best"]
        print(f"\n{name}, best at t {best['t']:.3f}\n")
        attacks = ["PGD-20", "AutoAttack"] if "auto_attack" in best else ["PGD-20"]
        print(f"| network | clean | {' | '.join(attacks)} |")
        print(f"| --- | ---: {'| ---: ' * len(attacks)}|")
        for which, one in best["scores"].items():
            shares = [one["clean"]["accuracy"], one["robust"]["accuracy"]]
            if "auto_attack" in best:
                shares.append(best["auto_attack"][which])
            print(f"| {which} | {' | '.join(f'{100 * share:.1f}' for share in shares)} |")


def main() -> None:
    chosen, plan = resumable.options(Plan(), __doc__.partition("\n")[0], RESULT)
    if chosen.show:
        show(read_result(chosen.out, "robust"))
        return
    original, test_data = (
        load("cifar10", split, root=chosen.data_root) for split in ("train", "test")
    )
    drawn = original.unnormalised().subset(plan.images + plan.held_out, 0)
    train_data, held_out = (
        drawn.part(places) for places in (slice(plan.images), slice(plan.images, None))
    )
    resumable.begin(chosen.cache, asdict(plan))
    study = Study(
        plan,
        train_data,
        held_out,
        test_data.unnormalised().subset(plan.test_images, 0),
        lambda: Normalised(TinyTen(), original.mean, original.std),
        chosen.cache,
    )
    result = {**resumable.header(plan, train_data, test_data), "paths": {}}
    result["settings"]["seeds"] = SEEDS
    for name in reversed(CURVES):
        result["paths"][name] = study.path(name)
        write_result(result, chosen.out, "robust")
    show(result)


if __name__ == "__main__":
    main()
