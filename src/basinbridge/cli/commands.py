"""The commands that look, align and measure.

Torch is imported inside all commands, so that `--help` answers at once.
"""

from pathlib import Path
from typing import Annotated

import typer

from . import options
from .progress import Bars


def demo(
    out: options.Out,
    pairs: Annotated[int, typer.Option(min=1, help="How many pairs of networks.")] = 1,
    seed: options.Seed = 0,
    epochs: options.Epochs = 20,
    curve_epochs: Annotated[int, typer.Option(min=0, help="Epochs for each curve.")] = 5,
    objective: options.ObjectiveName = "standard",
    threads: options.Threads = None,
) -> None:
    """Join pairs of small networks on handwritten digits: table, report.json, curve.png."""
    from ..experiments.demo import demo_settings, run_demo
    from .evaluate_work import show_report
    from .work import prepare

    prepare("cpu", threads)
    settings = demo_settings(epochs, curve_epochs, robust=objective == "adversarial")
    with Bars() as bars:
        found = run_demo(pairs, seed, settings, watch=bars)
    show_report(found, out)


def discover(
    subject: options.Subject,
    out: Annotated[Path | None, typer.Option(help="Write the groups as JSON.")] = None,
    fix: Annotated[
        list[str] | None, typer.Option(help="TENSOR or TENSOR:DIM that keeps its order.")
    ] = None,
    tie: Annotated[
        list[str] | None, typer.Option(help="TENSOR:DIM=TENSOR:DIM, axes that move alike.")
    ] = None,
    force: options.Force = False,
) -> None:
    """Show which renumberings of its neurons leave a network's function unchanged."""
    from .symmetry_work import show_symmetry
    from .work import refuse_to_overwrite, setting

    refuse_to_overwrite(out, force)
    show_symmetry(setting(subject), out, fix or [], tie or [])


def align(
    start: Annotated[Path, typer.Argument(help="State of the network that stays as it is.")],
    end: Annotated[Path, typer.Argument(help="State of the network to renumber.")],
    subject: options.Subject,
    out: options.Out,
    aligned: Annotated[Path | None, typer.Option(help="Also write END renumbered.")] = None,
    images: Annotated[int, typer.Option(min=2, help="Training images to compare on.")] = 10_000,
    method: options.Method = "correlation",
    activations: options.Activations = "post",
    objective: options.Objective = options.STANDARD,
    force: options.Force = False,
) -> None:
    """Find the renumbering of END that fits START best, and write it (safetensors)."""
    from .symmetry_work import align_states
    from .work import refuse_to_overwrite, setting

    refuse_to_overwrite(out, force)
    refuse_to_overwrite(aligned, force)
    work = setting(subject, objective, (start, end))
    align_states(work, start, end, out, aligned, images, method, activations)
    print(f"{out}: renumbering of {end}; pass it on with connect --match {out}")


def evaluate(
    curves: Annotated[list[Path], typer.Argument(help="Results of `connect`, one pair's.")],
    subject: options.Subject,
    out: Annotated[Path, typer.Option(help="Folder for report.json and curve.png.")],
    points: Annotated[int, typer.Option(min=2, help="Equally spaced t, ends included.")] = 61,
    no_lines: Annotated[
        bool, typer.Option("--no-lines", help="Leave out the straight line below every curve.")
    ] = False,
    batchnorm_images: options.BatchnormImages = 2_000,
    augment: options.AugmentStatistics = True,
    together: options.Together = 1,
    objective: options.Objective = options.STANDARD,
    force: options.Force = False,
) -> None:
    """Loss and accuracy along curves: table, report.json, curve.png."""
    from .evaluate_work import evaluate_curves, show_report
    from .work import refuse_to_overwrite, setting

    refuse_to_overwrite(out / "report.json", force)
    work = setting(subject, objective, curves)
    with Bars() as bars:
        found = evaluate_curves(
            work, curves, points, not no_lines, batchnorm_images, augment, together, watch=bars
        )
    show_report(found, out)


def plane(
    files: Annotated[
        list[Path], typer.Argument(help="Three states; or one curve; or two curves of one pair.")
    ],
    subject: options.Subject,
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
    augment: options.AugmentStatistics = True,
    objective: options.Objective = options.STANDARD,
    force: options.Force = False,
) -> None:
    """Loss and accuracy over the plane through three networks: plane.json, plane.png.

    Two curves give the plane through start, end and renumbered end; one gives its own plane.
    """
    from .plane_work import Grid, draw_plane_of
    from .work import refuse_to_overwrite, setting

    refuse_to_overwrite(out / "plane.json", force)
    work = setting(subject, objective, files)
    grid = Grid(size, across, up, images, training_data, batchnorm_images, augment)
    with Bars() as bars:
        found = draw_plane_of(work, files, grid, out, watch=bars)
    print(found)
    print(f"wrote {out / 'plane.json'} and {out / 'plane.png'}")


def signature(
    subject: options.Subject,
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
    augment: options.AugmentStatistics = True,
    objective: options.Objective = options.STANDARD,
    force: options.Force = False,
) -> None:
    """How alike networks are layer by layer, before and after alignment, on test images."""
    from .signature_work import draw_signatures_of
    from .work import refuse_to_overwrite, setting

    refuse_to_overwrite(out / "signature.json", force)
    work = setting(subject, objective, (*(states or []), *(curve or [])))
    with Bars() as bars:
        draw_signatures_of(
            work, states or [], curve or [], method, activations, images, augment, out, watch=bars
        )
    print(f"wrote {out / 'signature.json'} and {out / 'signature.png'}")


def subset_study(
    start: Annotated[Path, typer.Argument(help="State of the network that stays as it is.")],
    end: Annotated[Path, typer.Argument(help="State of the network to renumber.")],
    subject: options.Subject,
    sizes: Annotated[
        list[int] | None, typer.Option("--size", min=2, help="Number of images; repeatable.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the result as JSON.")] = None,
    method: options.Method = "correlation",
    activations: options.Activations = "post",
    objective: options.Objective = options.STANDARD,
    force: options.Force = False,
) -> None:
    """How the renumbering changes with the number of images it is found on."""
    from .subset_work import study_subsets
    from .work import refuse_to_overwrite, setting

    refuse_to_overwrite(out, force)
    work = setting(subject, objective, (start, end))
    chosen = sizes or [1_000, 2_500, 5_000, 10_000]
    with Bars() as bars:
        found = study_subsets(work, (start, end), chosen, method, activations, out, watch=bars)
    print(found)
