"""The commands that make one predictor of two networks: one merged network, or an ensemble."""

from pathlib import Path
from typing import Annotated

import typer

from . import options


def merge(
    start: Annotated[Path, typer.Argument(help="State of one network.")],
    end: Annotated[Path, typer.Argument(help="State of the other.")],
    subject: options.Subject,
    out: options.Out,
    match: Annotated[
        Path | None,
        typer.Option(help="Renumber END by this result of `align`; found anew if left out."),
    ] = None,
    soft_transport: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Mix END's neurons by a transport plan, the entropy weighing this much.",
        ),
    ] = None,
    t: Annotated[
        float, typer.Option("--t", min=0, max=1, help="The share of END in the weights.")
    ] = 0.5,
    repair: Annotated[
        bool, typer.Option(help="Put the activations' variance back (REPAIR).")
    ] = True,
    images: Annotated[int, typer.Option(min=2, help="Training images to look at.")] = 5_000,
    augment: options.AugmentStatistics = True,
    force: options.Force = False,
) -> None:
    """Average two networks, END renumbered, into one, and write its state (safetensors)."""
    from .combine_work import Mixture, merge_states
    from .work import refuse_to_overwrite, setting

    refuse_to_overwrite(out, force)
    work = setting(subject, files=(start, end))
    chosen = Mixture(t, repair, images, soft_transport, augment)
    scores = merge_states(work, (start, end), match, chosen, out)
    for name, score in scores.items():
        print(f"{name}: test accuracy {100 * score.accuracy:.2f} %, loss {score.loss:.4f} nats")


def ensemble(
    curve: Annotated[Path, typer.Argument(help="A result of `connect` or `pam`.")],
    subject: options.Subject,
    times: Annotated[
        list[float] | None,
        typer.Option("--t", min=0, max=1, help="A member; repeatable, else 0, 0.25, ... 1."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the scores as JSON.")] = None,
    batchnorm_images: options.BatchnormImages = 2_000,
    augment: options.AugmentStatistics = True,
    force: options.Force = False,
) -> None:
    """Average the predictions of networks on a curve: accuracy, likelihood, calibration."""
    from .combine_work import score_ensemble
    from .work import refuse_to_overwrite, setting

    refuse_to_overwrite(out, force)
    work = setting(subject, files=[curve])
    members = times or [0.0, 0.25, 0.5, 0.75, 1.0]
    print(score_ensemble(work, curve, members, batchnorm_images, augment, out))
