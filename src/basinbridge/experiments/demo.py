"""The demo: pairs of small convolutional networks on scikit-learn's digits, joined and compared."""

from dataclasses import asdict
from typing import Any

import torch

from ..data.datasets import load
from ..models.digits import DigitsNet
from ..train.adversarial import Attack
from .pair import PairSettings, Watch, report_of, run_pair, silent
from .provenance import describe_data, describe_device, versions


def demo_settings(epochs: int, curve_epochs: int, *, robust: bool = False) -> PairSettings:
    """The demo's settings; a `robust` one attacks within a tenth of the range of pixels.

    Training takes three steps of half that size and scoring five of a quarter, at fewer points
    and with fewer images for batch norm.
    """
    if not robust:
        return PairSettings(epochs=epochs, curve_epochs=curve_epochs)
    return PairSettings(
        epochs=epochs,
        curve_epochs=curve_epochs,
        points=17,
        batchnorm_images=600,
        attack=Attack(epsilon=0.1, step=0.05, steps=3),
        test_attack=Attack(epsilon=0.1, step=0.025, steps=5),
    )


def run_demo(
    pairs: int = 1,
    seed: int = 0,
    settings: PairSettings | None = None,
    *,
    watch: Watch = silent,
) -> dict[str, Any]:
    """Join `pairs` pairs of networks, seeds `seed`, `seed + 1` and so on; return the report."""
    chosen = settings or PairSettings()
    train_data, test_data = load("digits", "train"), load("digits", "test")
    found = [
        run_pair(
            DigitsNet,
            train_data,
            test_data,
            (seed + 2 * number, seed + 2 * number + 1),
            chosen,
            watch=(
                watch
                if pairs == 1
                else lambda stage, done, total, number=number: watch(  # type: ignore[misc]
                    f"pair {number + 1} of {pairs}: {stage}", done, total
                )
            ),
        )
        for number in range(pairs)
    ]
    described = {
        "dataset": "digits",
        "model": "DigitsNet",
        "device": describe_device(torch.device("cpu")),
        **asdict(chosen),
        "alignment_images": min(chosen.alignment_images, len(train_data)),
        "batchnorm_images": min(chosen.batchnorm_images, len(train_data)),
    }
    return report_of(found, described, versions(), describe_data(train_data, test_data))
