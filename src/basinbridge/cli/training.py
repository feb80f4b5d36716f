"""The commands that train: networks, curves, and the renumbering along with a curve."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from . import options
from .progress import Bars


def train(
    model: options.Model,
    dataset: options.Dataset,
    out: options.Out,
    epochs: options.Epochs = 20,
    learning_rate: options.LearningRate = 0.1,
    batch_size: options.BatchSize = 128,
    weight_decay: options.WeightDecay = 5e-4,
    schedule: options.Schedule = options.ScheduleName.cosine,
    augment: options.Augment = True,
    mixed_precision: options.MixedPrecision = False,
    checkpoint_seconds: options.CheckpointSeconds = 60.0,
    retry_lr: options.RetryRate = None,
    objective: options.Objective = "standard",
    epsilon: options.Epsilon = None,
    attack_steps: options.AttackSteps = 5,
    seed: options.Seed = 0,
    device: options.Device = "cpu",
    threads: options.Threads = None,
    data_root: options.DataRoot = None,
    force: options.Force = False,
) -> None:
    """Train a network from scratch and write its state (safetensors)."""
    from .robust_work import robust_settings, under_objective
    from .work import Training, refuse_to_overwrite, setting, train_endpoint

    refuse_to_overwrite(out, force)
    work = setting(model, dataset, data_root, device, threads, seed)
    work = under_objective(work, objective, epsilon, attack_steps)
    chosen = Training(
        epochs,
        learning_rate,
        batch_size,
        weight_decay,
        schedule.value,
        augment,
        mixed_precision,
        checkpoint_seconds,
        retry_lr,
    )
    with Bars() as bars:
        robust = robust_settings(work, of_curve=False)
        score = train_endpoint(work, chosen, out, robust, watch=bars)
    print(f"{out}: test {score}")


def connect(
    start: Annotated[Path, typer.Argument(help="State of one network.")],
    end: Annotated[Path, typer.Argument(help="State of the other.")],
    model: options.Model,
    dataset: options.Dataset,
    out: options.Out,
    match: Annotated[
        Path | None, typer.Option(help="Renumber END by this result of `align` first.")
    ] = None,
    curve: Annotated[
        options.CurveName, typer.Option(help="Kind of curve.")
    ] = options.CurveName.bezier,
    bends: Annotated[
        int | None, typer.Option(min=0, help="Control points between the ends; 1 if left out.")
    ] = None,
    movable_ends: Annotated[
        bool, typer.Option("--movable-ends", help="Fit the two ends as well.")
    ] = False,
    autoneb_cycles: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Relax a polychain as an elastic band: so many times EPOCHS, bends added between.",
        ),
    ] = None,
    epochs: options.Epochs = 20,
    learning_rate: options.LearningRate = 0.01,
    batch_size: options.BatchSize = 128,
    weight_decay: options.WeightDecay = 5e-4,
    schedule: options.Schedule = options.ScheduleName.cosine,
    augment: options.Augment = True,
    mixed_precision: options.MixedPrecision = False,
    checkpoint_seconds: options.CheckpointSeconds = 60.0,
    retry_lr: options.RetryRate = None,
    objective: options.Objective = "standard",
    epsilon: options.Epsilon = None,
    attack_steps: options.AttackSteps = 5,
    seed: options.Seed = 0,
    device: options.Device = "cpu",
    threads: options.Threads = None,
    data_root: options.DataRoot = None,
    force: options.Force = False,
) -> None:
    """Learn a low-loss curve from START to END and write it (safetensors).

    With the adversarial objective also its most robust network, as OUT with -best in its name.
    """
    from .connect_work import Shape, fit_curve
    from .robust_work import robust_settings, save_best, under_objective
    from .work import Training, refuse_to_overwrite, setting

    refuse_to_overwrite(out, force)
    work = setting(model, dataset, data_root, device, threads, seed)
    chosen = Training(
        epochs,
        learning_rate,
        batch_size,
        weight_decay,
        schedule.value,
        augment,
        mixed_precision,
        checkpoint_seconds,
        retry_lr,
    )
    work = under_objective(work, objective, epsilon, attack_steps)
    best = out.with_name(f"{out.stem}-best{out.suffix}")
    if work.attack is not None:
        refuse_to_overwrite(best, force)
    shape = Shape(curve.value, bends, movable_ends, autoneb_cycles)
    with Bars() as bars:
        robust = robust_settings(work, of_curve=True)
        found = fit_curve(work, (start, end), match, shape, chosen, out, robust, watch=bars)
        point = save_best(work, found, best, watch=bars)
    if point is not None:
        print(f"{point}\n{best}: the most robust network")
    print(f"{out}: {curve.value} of {len(found.points)} control points; see it with evaluate {out}")


def pam(
    start: Annotated[Path, typer.Argument(help="State of one network.")],
    end: Annotated[Path, typer.Argument(help="State of the other, which is renumbered.")],
    model: options.Model,
    dataset: options.Dataset,
    out: options.Out,
    match_out: Annotated[
        Path | None, typer.Option(help="Also write the renumbering, as `align` does.")
    ] = None,
    begin: Annotated[
        Literal["aligned", "identity"], typer.Option(help="The renumbering to begin with.")
    ] = "aligned",
    method: Annotated[
        Literal["projected", "conditional-gradient"],
        typer.Option(help="Relaxed permutations, as in the paper, or one assignment a round."),
    ] = "projected",
    outer: Annotated[int, typer.Option(min=1, help="How often both take turns.")] = 1,
    permutation_epochs: Annotated[
        int, typer.Option(min=0, help="Passes over the data for each renumbering.")
    ] = 20,
    epochs: options.Epochs = 20,
    learning_rate: options.LearningRate = 0.01,
    batch_size: options.BatchSize = 128,
    weight_decay: options.WeightDecay = 5e-4,
    schedule: options.Schedule = options.ScheduleName.cosine,
    augment: options.Augment = True,
    mixed_precision: options.MixedPrecision = False,
    checkpoint_seconds: options.CheckpointSeconds = 60.0,
    retry_lr: options.RetryRate = None,
    seed: options.Seed = 0,
    device: options.Device = "cpu",
    threads: options.Threads = None,
    data_root: options.DataRoot = None,
    force: options.Force = False,
) -> None:
    """Learn END's renumbering and the curve to it in turns; write the curve (safetensors)."""
    from .pam_work import Turns, fit_in_turns
    from .work import Training, refuse_to_overwrite, setting

    refuse_to_overwrite(out, force)
    refuse_to_overwrite(match_out, force)
    work = setting(model, dataset, data_root, device, threads, seed)
    chosen = Training(
        epochs,
        learning_rate,
        batch_size,
        weight_decay,
        schedule.value,
        augment,
        mixed_precision,
        checkpoint_seconds,
        retry_lr,
    )
    turns = Turns(begin, method, outer, permutation_epochs)
    with Bars() as bars:
        history = fit_in_turns(work, (start, end), turns, chosen, out, match_out, watch=bars)
    print(f"{out}: objective {' > '.join(f'{value:.4f}' for value in history)} nats")
