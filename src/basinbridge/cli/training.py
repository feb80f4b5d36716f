"""The commands that train: networks, curves, and the renumbering along with a curve."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from . import options
from .progress import Bars

NETWORK = options.Training()
CURVE = options.Training(learning_rate=0.01)


def train(
    subject: options.Subject,
    out: options.Out,
    training: options.Training = NETWORK,
    objective: options.Objective = options.STANDARD,
    force: options.Force = False,
) -> None:
    """Train a network from scratch and write its state (safetensors)."""
    from .train_work import train_endpoint
    from .work import refuse_to_overwrite, setting

    refuse_to_overwrite(out, force)
    work = setting(subject, objective)
    with Bars() as bars:
        score = train_endpoint(work, training, out, watch=bars)
    print(f"{out}: test {score}")


def connect(
    start: Annotated[Path, typer.Argument(help="State of one network.")],
    end: Annotated[Path, typer.Argument(help="State of the other.")],
    subject: options.Subject,
    out: options.Out,
    match: Annotated[
        Path | None, typer.Option(help="Renumber END by this result of `align` first.")
    ] = None,
    curve: options.CurveKind = "bezier",
    bends: options.Bends = None,
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
    training: options.Training = CURVE,
    objective: options.Objective = options.STANDARD,
    force: options.Force = False,
) -> None:
    """Learn a low-loss curve from START to END and write it (safetensors).

    With the adversarial objective also its most robust network, as OUT with -best in its name.
    """
    from .connect_work import Shape, fit_curve
    from .robust_work import beside, save_best
    from .work import refuse_to_overwrite, setting

    refuse_to_overwrite(out, force)
    work = setting(subject, objective, (start, end))
    if work.attack is not None:
        refuse_to_overwrite(beside(out), force)
    shape = Shape(curve, bends, movable_ends, autoneb_cycles)
    with Bars() as bars:
        found = fit_curve(work, (start, end), match, shape, training, out, watch=bars)
        point = save_best(work, found, beside(out), watch=bars)
    if point is not None:
        print(f"{point}\n{beside(out)}: the most robust network")
    print(f"{out}: {curve} of {len(found.points)} control points; see it with evaluate {out}")


def pam(
    start: Annotated[Path, typer.Argument(help="State of one network.")],
    end: Annotated[Path, typer.Argument(help="State of the other, which is renumbered.")],
    subject: options.Subject,
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
    curve: options.CurveKind = "bezier",
    bends: options.Bends = None,
    training: options.Training = CURVE,
    objective: options.Objective = options.STANDARD,
    force: options.Force = False,
) -> None:
    """Learn END's renumbering and the curve to it in turns; write the curve (safetensors).

    With the adversarial objective also its most robust network, as OUT with -best in its name.
    """
    from .connect_work import Shape
    from .pam_work import Turns, fit_in_turns
    from .robust_work import beside, save_best
    from .work import refuse_to_overwrite, setting

    refuse_to_overwrite(out, force)
    refuse_to_overwrite(match_out, force)
    work = setting(subject, objective, (start, end))
    if work.attack is not None:
        refuse_to_overwrite(beside(out), force)
    turns, shape = Turns(begin, method, outer, permutation_epochs), Shape(curve, bends)
    with Bars() as bars:
        found = fit_in_turns(work, (start, end), turns, shape, training, out, match_out, watch=bars)
        point = save_best(work, found.curve, beside(out), watch=bars)
    if point is not None:
        print(f"{point}\n{beside(out)}: the most robust network")
    print(f"{out}: objective {' -> '.join(f'{value:.4f}' for value in found.history)} nats")
