"""The commands. Torch is imported inside them, so that `--help` answers at once."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from . import options
from .progress import Bars


def demo(
    out: options.Out,
    pairs: Annotated[int, typer.Option(min=1, help="How many pairs of networks.")] = 1,
    seed: options.Seed = 0,
    epochs: options.Epochs = 20,
    curve_epochs: Annotated[int, typer.Option(min=0, help="Epochs for each curve.")] = 5,
    objective: options.Objective = "standard",
    threads: options.Threads = None,
) -> None:
    """Join pairs of small networks on handwritten digits: table, report.json, curve.png."""
    from ..experiments.demo import demo_settings, run_demo
    from .work import prepare, show_report

    prepare("cpu", threads)
    settings = demo_settings(epochs, curve_epochs, robust=objective == "adversarial")
    with Bars() as bars:
        found = run_demo(pairs, seed, settings, watch=bars)
    show_report(found, out)


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
    from .robust_work import robust_settings, under_attack
    from .work import Training, refuse_to_overwrite, setting, train_endpoint

    refuse_to_overwrite(out, force)
    work = setting(model, dataset, data_root, device, threads, seed)
    if objective == "adversarial":
        work = under_attack(work, epsilon, attack_steps)
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


def discover(
    model: options.Model,
    dataset: options.Dataset,
    out: Annotated[Path | None, typer.Option(help="Write the groups as JSON.")] = None,
    fix: Annotated[
        list[str] | None, typer.Option(help="TENSOR or TENSOR:DIM that keeps its order.")
    ] = None,
    tie: Annotated[
        list[str] | None, typer.Option(help="TENSOR:DIM=TENSOR:DIM, axes that move alike.")
    ] = None,
    data_root: options.DataRoot = None,
    force: options.Force = False,
) -> None:
    """Show which renumberings of its neurons leave a network's function unchanged."""
    from .work import refuse_to_overwrite, setting, show_symmetry

    refuse_to_overwrite(out, force)
    show_symmetry(setting(model, dataset, data_root, "cpu", None, 0), out, fix or [], tie or [])


def align(
    start: Annotated[Path, typer.Argument(help="State of the network that stays as it is.")],
    end: Annotated[Path, typer.Argument(help="State of the network to renumber.")],
    model: options.Model,
    dataset: options.Dataset,
    out: options.Out,
    aligned: Annotated[Path | None, typer.Option(help="Also write END renumbered.")] = None,
    images: Annotated[int, typer.Option(min=2, help="Training images to compare on.")] = 10_000,
    method: options.Method = "correlation",
    activations: options.Activations = "post",
    objective: options.Objective = "standard",
    epsilon: options.Epsilon = None,
    attack_steps: options.AttackSteps = 5,
    attacked: Annotated[
        bool, typer.Option("--attacked", help="Each network sees images that attack it.")
    ] = False,
    seed: options.Seed = 0,
    device: options.Device = "cpu",
    threads: options.Threads = None,
    data_root: options.DataRoot = None,
    force: options.Force = False,
) -> None:
    """Find the renumbering of END that fits START best, and write it (safetensors)."""
    from .robust_work import under_attack
    from .work import align_states, refuse_to_overwrite, setting

    refuse_to_overwrite(out, force)
    refuse_to_overwrite(aligned, force)
    work = setting(model, dataset, data_root, device, threads, seed)
    if objective == "adversarial":
        work = under_attack(work, epsilon, attack_steps)
    align_states(work, start, end, out, aligned, images, method, activations, attacked)
    print(f"{out}: renumbering of {end}; pass it on with connect --match {out}")


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
    from .robust_work import robust_settings, save_best, under_attack
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
    if objective == "adversarial":
        work = under_attack(work, epsilon, attack_steps)
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


def evaluate(
    curves: Annotated[list[Path], typer.Argument(help="Results of `connect`, one pair's.")],
    model: options.Model,
    dataset: options.Dataset,
    out: Annotated[Path, typer.Option(help="Folder for report.json and curve.png.")],
    points: Annotated[int, typer.Option(min=2, help="Equally spaced t, ends included.")] = 61,
    lines: Annotated[bool, typer.Option(help="Also the straight line below every curve.")] = True,
    batchnorm_images: options.BatchnormImages = 2_000,
    objective: options.Objective = "standard",
    epsilon: options.Epsilon = None,
    attack_steps: options.AttackSteps = 5,
    seed: options.Seed = 0,
    device: options.Device = "cpu",
    threads: options.Threads = None,
    data_root: options.DataRoot = None,
    force: options.Force = False,
) -> None:
    """Loss and accuracy along curves: table, report.json, curve.png."""
    from .robust_work import under_attack
    from .work import evaluate_curves, refuse_to_overwrite, setting, show_report

    refuse_to_overwrite(out / "report.json", force)
    work = setting(model, dataset, data_root, device, threads, seed)
    if objective == "adversarial":
        work = under_attack(work, epsilon, attack_steps)
    with Bars() as bars:
        found = evaluate_curves(work, curves, points, lines, batchnorm_images, watch=bars)
    show_report(found, out)


def plane(
    files: Annotated[
        list[Path], typer.Argument(help="Three states; or one curve; or two curves of one pair.")
    ],
    model: options.Model,
    dataset: options.Dataset,
    out: Annotated[Path, typer.Option(help="Folder for plane.json and plane.png.")],
    size: Annotated[int, typer.Option(min=2, help="Points a side of the grid.")] = 17,
    across: Annotated[
        tuple[float, float], typer.Option(help="From where to where, as shares of the extent.")
    ] = (-0.05, 1.05),
    up: Annotated[tuple[float, float], typer.Option(help="The same at a right angle.")] = (
        -0.05,
        1.05,
    ),
    images: Annotated[int, typer.Option(min=1, help="How many images to evaluate on.")] = 2_000,
    training_data: Annotated[
        bool, typer.Option("--training-data", help="Evaluate on training images.")
    ] = False,
    batchnorm_images: options.BatchnormImages = 2_000,
    seed: options.Seed = 0,
    device: options.Device = "cpu",
    threads: options.Threads = None,
    data_root: options.DataRoot = None,
    force: options.Force = False,
) -> None:
    """Loss and accuracy over the plane through three networks: plane.json, plane.png.

    Two curves give the plane through start, end and renumbered end; one gives its own plane.
    """
    from .plane_work import Grid, draw_plane_of
    from .work import refuse_to_overwrite, setting

    refuse_to_overwrite(out / "plane.json", force)
    work = setting(model, dataset, data_root, device, threads, seed)
    grid = Grid(size, across, up, images, training_data, batchnorm_images)
    with Bars() as bars:
        found = draw_plane_of(work, files, grid, out, watch=bars)
    print(found)
    print(f"wrote {out / 'plane.json'} and {out / 'plane.png'}")


def signature(
    model: options.Model,
    dataset: options.Dataset,
    out: Annotated[Path, typer.Option(help="Folder for signature.json and signature.png.")],
    states: Annotated[
        list[Path] | None, typer.Argument(help="States, the two of each pair side by side.")
    ] = None,
    curve: Annotated[
        list[Path] | None, typer.Option(help="Also a curve's middle against its ends; repeatable.")
    ] = None,
    images: Annotated[int, typer.Option(min=2, help="Training images to align on.")] = 10_000,
    method: options.Method = "correlation",
    activations: options.Activations = "post",
    seed: options.Seed = 0,
    device: options.Device = "cpu",
    threads: options.Threads = None,
    data_root: options.DataRoot = None,
    force: options.Force = False,
) -> None:
    """How alike networks are layer by layer, before and after alignment, on test images."""
    from .signature_work import draw_signatures_of
    from .work import refuse_to_overwrite, setting

    refuse_to_overwrite(out / "signature.json", force)
    work = setting(model, dataset, data_root, device, threads, seed)
    with Bars() as bars:
        draw_signatures_of(
            work, states or [], curve or [], method, activations, images, out, watch=bars
        )
    print(f"wrote {out / 'signature.json'} and {out / 'signature.png'}")


def subset_study(
    start: Annotated[Path, typer.Argument(help="State of the network that stays as it is.")],
    end: Annotated[Path, typer.Argument(help="State of the network to renumber.")],
    model: options.Model,
    dataset: options.Dataset,
    sizes: Annotated[
        list[int] | None, typer.Option("--size", min=2, help="Number of images; repeatable.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the result as JSON.")] = None,
    method: options.Method = "correlation",
    activations: options.Activations = "post",
    seed: options.Seed = 0,
    device: options.Device = "cpu",
    threads: options.Threads = None,
    data_root: options.DataRoot = None,
    force: options.Force = False,
) -> None:
    """How the renumbering changes with the number of images it is found on."""
    from .subset_work import study_subsets
    from .work import refuse_to_overwrite, setting

    refuse_to_overwrite(out, force)
    work = setting(model, dataset, data_root, device, threads, seed)
    chosen = sizes or [1_000, 2_500, 5_000, 10_000]
    with Bars() as bars:
        found = study_subsets(work, (start, end), chosen, method, activations, out, watch=bars)
    print(found)
