"""The commands about whole studies: `reproduce`, `status` and `report`."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from . import options

Run = Annotated[Path, typer.Argument(help="The folder of a run, made by `reproduce --out`.")]


def reproduce(
    exhibit: Annotated[
        str, typer.Argument(help="table1, table2, figure1 ... figure9, appendix-f, or all.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the run; what is done there stays done.")],
    only: Annotated[
        str | None, typer.Option(help="Network and data set, such as tinyten/cifar10 or */cifar10.")
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(help="Seeds of the networks, two for each pair: 0,1,2,3.")
    ] = None,
    schedule: Annotated[
        Literal["paper", "short", "smoke"],
        typer.Option(help="The paper's 250 epochs; a CPU evening; a few minutes."),
    ] = "paper",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only list all stages and their expected times.")
    ] = False,
    executor: Annotated[
        Literal["local", "ray"], typer.Option(help="This process, or many workers by Ray.")
    ] = "local",
    gpus: Annotated[
        float, typer.Option(min=0, help="Part of a card for each of Ray's workers, e.g. 0.25.")
    ] = 0.0,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Losses for TensorBoard too, in OUT/tensorboard.")
    ] = False,
    mixed_precision: options.MixedPrecision = False,
    together: options.Together = 1,
    device: options.Device = "cpu",
    threads: options.Threads = None,
    data_root: options.DataRoot = None,
) -> None:
    """Make a table or a figure of the paper: train, align, join and measure what it needs.

    A run that was stopped goes on where it was; tables and figures in one folder share their
    networks and curves.
    """
    from ..errors import InputError
    from ..experiments.scalars import scalar_writer
    from ..experiments.store import Store, in_order
    from ..experiments.workplace import Workplace
    from . import reproduce_work
    from .work import prepare

    chosen = reproduce_work.chosen_schedule(schedule, mixed_precision)
    numbers = options.numbers(seeds) if seeds is not None else None
    plans = reproduce_work.plans_for(exhibit, only, numbers, chosen, data_root)
    place = Workplace(Store(out), prepare(device, threads), data_root, together=together)
    if together > 1 and executor == "ray":
        raise InputError("--together goes with --executor local only; Ray has --gpus 0.25")
    if dry_run:
        reproduce_work.show_estimates(plans, place.store, place.device, data_root)
        return
    if tensorboard:
        if executor == "ray":
            raise InputError("--tensorboard goes with --executor local only")
        place.scalars = scalar_writer(out / "tensorboard")
    by = (
        reproduce_work.in_process
        if executor == "local"
        else reproduce_work.on_ray(threads or 1, gpus)
    )
    outcome = reproduce_work.carry_out(plans, chosen, place, by)
    stages = in_order(stage for plan in plans for stage in plan.stages)
    raise typer.Exit(reproduce_work.show_outcome(outcome, len(stages), out))


def status(
    run: Run,
    everything: Annotated[bool, typer.Option("--all", help="List every stage.")] = False,
) -> None:
    """Show which stages of a run are done, running and missing."""
    from .reproduce_work import show_status

    show_status(run, everything)


def report(
    folder: Annotated[
        Path, typer.Argument(help="A run, or a folder (or file) with a report.json.")
    ],
    pictures: Annotated[
        bool, typer.Option(help="Of a run, also every picture as PNG and PDF, for a paper.")
    ] = True,
) -> None:
    """Show saved results again, computing nothing: tables, pictures, and a run's report.html."""
    from ..experiments.plan import PLAN
    from ..report.figures import draw_paths
    from ..report.load import read_report
    from ..report.tables import print_table

    if (folder / PLAN).is_file():
        from .reproduce_work import write_report_of

        write_report_of(folder, pictures)
        return
    found = read_report(folder)
    print_table(found)
    where = folder if folder.is_dir() else folder.parent
    draw_paths(found, where / "curve.png")
