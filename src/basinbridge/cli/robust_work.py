"""Training under attack, and the best point of a robust curve."""

import json
import time
from dataclasses import asdict
from pathlib import Path

from ..curve.paths import Curve
from ..evaluate.robust import BestPoint, best_point, held_out_accuracy
from ..experiments.pair import Watch
from ..state import save_state
from ..train.adversarial import adversarial
from ..train.loop import Settings
from ..train.stopping import EarlyStopping
from .work import Setting

PATIENCE = 20


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


def beside(out: Path) -> Path:
    """Where the most robust network of a curve is written."""
    return out.with_name(f"{out.stem}-best{out.suffix}")


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
