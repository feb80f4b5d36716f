"""What the command `train` does, and how all commands train."""

import json
import time
from dataclasses import asdict
from pathlib import Path

from ..errors import InputError
from ..evaluate.along import prepared
from ..evaluate.robust import Robustness, robustness
from ..experiments.pair import Watch
from ..state import save_state
from ..train.checkpoint import Checkpoint
from ..train.loop import Settings, train
from ..train.schedules import SCHEDULES
from .options import Training
from .robust_work import robust_settings
from .work import Setting


def train_endpoint(work: Setting, training: Training, out: Path, *, watch: Watch) -> Robustness:
    """Train the network, write its state, and score it on the test data."""
    stage = f"training {work.model.rpartition(':')[2]}"
    kept = checkpoint_of(training, out)
    began = time.perf_counter()
    settings = settings_of(work, training, watch, stage, kept, of_curve=False)
    trained = train(work.network, work.train_data, **settings)
    record = work.record(began, **asdict(training))
    save_state(trained.state_dict(), out, record=json.dumps(record))
    kept.remove()
    return robustness(trained, prepared(work.test_data, 500, work.device), work.attack)


def checkpoint_of(training: Training, out: Path) -> Checkpoint:
    """Where the unfinished work on a result is kept: beside it."""
    kept = Checkpoint(
        out.with_name(f"{out.name}.checkpoint"),
        training.checkpoint_seconds,
        other_rate=training.retry_lr is not None,
    )
    if training.retry_lr is not None and not kept.files():
        raise InputError(f"{kept.path}: no such file, so there is nothing for --retry-lr")
    return kept


def settings_of(
    work: Setting,
    training: Training,
    watch: Watch,
    stage: str,
    checkpoint: Checkpoint,
    *,
    of_curve: bool = True,
) -> Settings:
    """As keyword arguments of `train` and `fit`, under the objective that was chosen."""
    rate = training.learning_rate if training.retry_lr is None else training.retry_lr
    return {
        "checkpoint": checkpoint,
        "epochs": training.epochs,
        "learning_rate": rate,
        "batch_size": training.batch_size,
        "weight_decay": training.weight_decay,
        "schedule": SCHEDULES[training.schedule],
        "augmentation": work.augmentation(training.augment),
        "mixed_precision": training.mixed_precision,
        "seed": work.seed,
        "progress": lambda epoch, epochs, loss: watch(f"{stage} (loss {loss:.3f})", epoch, epochs),
        **robust_settings(work, of_curve=of_curve),
    }
