"""Attacks as the command line chooses them, and the best point of a robust curve."""

import json
import time
from dataclasses import asdict, replace
from pathlib import Path

from ..curve.paths import Curve
from ..data.datasets import family
from ..errors import InputError
from ..evaluate.robust import BestPoint, best_point, held_out_accuracy
from ..experiments.pair import Watch
from ..models.normalised import Normalised
from ..state import save_state
from ..train.adversarial import Attack, adversarial
from ..train.loop import Settings
from ..train.stopping import EarlyStopping
from .work import Setting

# The paper's (Section 5), and the demo's; a step is a quarter of it.
EPSILONS = {"digits": 0.1, "cifar10": 8 / 255, "cifar100": 8 / 255, "tiny-imagenet": 4 / 255}
HELD_OUT = 1_000
PATIENCE = 20


def under_objective(work: Setting, objective: str, epsilon: float | None, steps: int) -> Setting:
    """The same for the standard objective; for the adversarial one `under_attack`."""
    return under_attack(work, epsilon, steps) if objective == "adversarial" else work


def under_attack(work: Setting, epsilon: float | None, steps: int) -> Setting:
    """The same for adversarial training: images in [0, 1], normalisation in the network.

    A thousand training images, or a tenth where there are few, are held out, the same for every
    seed. Raises `InputError` if the data set has no epsilon of its own and none is given.
    """
    data = work.train_data
    if epsilon is None:
        epsilon = EPSILONS.get(family(data.name) or data.name)
    if epsilon is None:
        raise InputError(f"data set {data.name!r}: give --epsilon, as a share of the pixels' range")
    count = min(HELD_OUT, len(data) // 10)
    mixed = data.unnormalised().subset(len(data), 0)
    return replace(
        work,
        network=Normalised(work.network, data.mean, data.std),
        train_data=mixed.part(slice(count, None)),
        held_out=mixed.part(slice(count)),
        test_data=work.test_data.unnormalised(),
        attack=Attack(epsilon, epsilon / 4, steps),
    )


def robust_settings(work: Setting, *, of_curve: bool) -> Settings:
    """The objective, and early stopping on the robust accuracy of the images held out."""
    if work.attack is None or work.held_out is None:
        return {}
    watched = held_out_accuracy(
        work.held_out, work.attack, batchnorm_data=work.train_data if of_curve else None
    )
    return {
        "objective": adversarial(**asdict(work.attack)),
        "early_stopping": EarlyStopping(watched, PATIENCE),
    }


def save_best(work: Setting, curve: Curve, out: Path, *, watch: Watch) -> BestPoint | None:
    """Find the most robust network of a curve and write its state; None without an attack."""
    if work.attack is None or work.held_out is None:
        return None
    began = time.perf_counter()
    found = best_point(
        curve,
        work.held_out,
        work.test_data,
        work.attack,
        batchnorm_data=work.train_data,
        progress=lambda done, points: watch("looking for the best point", done, points),
    )
    scores = {name: asdict(one) for name, one in found.scores.items()}
    record = work.record(began, t=found.t, scores=scores)
    save_state(found.networks["best"].state_dict(), out, record=json.dumps(record))
    return found
