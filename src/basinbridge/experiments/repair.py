"""Repair of a tampered network by a curve to another, learned from few clean images."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from ..align.match import align
from ..curve.fit import fit
from ..curve.paths import Bezier
from ..data.backdoor import poisoned, triggered
from ..data.images import ImageData
from ..evaluate.along import CurveReport, evaluate
from ..symmetry.discover import discover
from ..symmetry.permutation import permute
from ..train.loop import train


@dataclass(frozen=True)
class Repair:
    """A curve from a tampered network to a clean one: scores on test images, and on stamped ones.

    The accuracy in `backdoor` is the rate at which the patch gets its target class.
    """

    clean: CurveReport
    backdoor: CurveReport

    def __str__(self) -> str:
        """A line for each t."""
        lines = ["    t  clean accuracy %  backdoor success %"]
        for t, clean, obeyed in zip(
            self.clean.t, self.clean.accuracy, self.backdoor.accuracy, strict=True
        ):
            lines.append(f"{t:.3f}  {100 * clean:16.2f}  {100 * obeyed:18.2f}")
        return "\n".join(lines)


def repair_study(
    make_network: Callable[[], nn.Module],
    train_data: ImageData,
    test_data: ImageData,
    *,
    seeds: tuple[int, int] = (0, 1),
    target: int = 0,
    clean_images: int = 200,
    epochs: int = 20,
    curve_epochs: int = 50,
    learning_rate: float = 0.1,
    curve_learning_rate: float = 0.05,
    batch_size: int = 32,
    points: int = 11,
) -> dict[str, Repair]:
    """Tamper with one network of a pair, and join it to the other, unaligned and aligned.

    The first network is trained on data of which a tenth is poisoned, the second on clean ones.
    The curves, the alignment and batch norm's statistics see `clean_images` clean images only.

    Source: Zhao et al., "Bridging mode connectivity in loss landscapes and adversarial robustness"
    (ICLR 2020), who repair without alignment.
    """
    networks = []
    for seed, data in zip(seeds, (poisoned(train_data, target), train_data), strict=True):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = make_network()
        networks.append(
            train(
                network,
                data,
                epochs=epochs,
                learning_rate=learning_rate,
                batch_size=batch_size,
                seed=seed,
            )
        )
    tampered, other = networks
    few = train_data.subset(clean_images, seeds[0])
    symmetry = discover(tampered, few.example())
    ends = {
        "unaligned": other,
        "aligned": permute(other, symmetry, align(tampered, other, few, symmetry)),
    }
    found = {}
    for name, end in ends.items():
        curve = fit(
            Bezier.between(tampered, end),
            few,
            epochs=curve_epochs,
            learning_rate=curve_learning_rate,
            batch_size=batch_size,
            seed=seeds[0],
        )
        clean, backdoor = (
            evaluate(curve, data, batchnorm_data=few, points=points)
            for data in (test_data, triggered(test_data, target))
        )
        found[name] = Repair(clean, backdoor)
    return found
