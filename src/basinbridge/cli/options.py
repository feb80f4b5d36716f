"""Options that several commands share, each stated once, and groups of them.

A parameter of a command whose type is a group stands for the options of all its fields: `spread`
makes them of it.
"""

import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from inspect import Parameter
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ..align import methods
from ..errors import InputError

_TRAINING, _ATTACK, _PLACE = "Training", "Attack", "Seed, device, data"
_UNFINISHED = "Unfinished work"

Out = Annotated[Path, typer.Option(help="Where to write the result.")]
Force = Annotated[bool, typer.Option("--force", help="Replace a result that is there already.")]
DataRoot = Annotated[
    Path | None,
    typer.Option(
        help="Folder with local copies of data sets.",
        envvar="BASINBRIDGE_DATA",
        rich_help_panel=_PLACE,
    ),
]
Seed = Annotated[int, typer.Option(help="Seed of every random choice.", rich_help_panel=_PLACE)]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...", rich_help_panel=_PLACE)]
Threads = Annotated[
    int | None,
    typer.Option(min=1, help="CPU threads; as many as cores if left out.", rich_help_panel=_PLACE),
]
Method = Annotated[methods.Method, typer.Option(help="What makes neurons alike.")]
Activations = Annotated[
    methods.Activations, typer.Option(help="Behind or before the nonlinearity.")
]
BatchnormImages = Annotated[
    int, typer.Option(min=1, help="Training images that give each point's batch-norm statistics.")
]
AugmentStatistics = Annotated[
    bool,
    typer.Option(
        "--augment/--no-augment",
        help="Augment the images of batch norm's statistics as in training.",
    ),
]
CurveKind = Annotated[Literal["bezier", "polychain", "linear"], typer.Option(help="Kind of curve.")]
Bends = Annotated[
    int | None,
    typer.Option(min=0, help="Control points between the ends; 1 if left out, none in a line."),
]
Epochs = Annotated[
    int, typer.Option(min=0, help="Passes over the training data.", rich_help_panel=_TRAINING)
]
MixedPrecision = Annotated[
    bool,
    typer.Option(
        "--mixed-precision", help="Forward passes in bfloat16.", rich_help_panel=_TRAINING
    ),
]
Together = Annotated[
    int,
    typer.Option(
        min=1,
        help="Networks run as one batch of networks, which a card may do faster.",
        rich_help_panel=_PLACE,
    ),
]
ObjectiveName = Annotated[
    Literal["standard", "adversarial"],
    typer.Option(
        help="adversarial: images are attacked, in training as in measuring; networks normalise.",
        rich_help_panel=_ATTACK,
    ),
]


@dataclass(frozen=True)
class Subject:
    """What a command works on, where, and with which seed."""

    model: Annotated[
        str,
        typer.Option(
            help="TinyTen, ResNet32, GoogLeNet, DigitsNet, or what makes yours, as module:factory."
        ),
    ]
    dataset: Annotated[
        str,
        typer.Option(
            help="digits, cifar10, cifar100, tiny-imagenet, a folder, or owner/name on the Hub."
        ),
    ]
    seed: Seed = 0
    device: Device = "cpu"
    threads: Threads = None
    data_root: DataRoot = None


@dataclass(frozen=True)
class Training:
    """How networks and curves are trained, and how unfinished work is kept."""

    epochs: Epochs = 20
    learning_rate: Annotated[
        float, typer.Option(help="The largest learning rate.", rich_help_panel=_TRAINING)
    ] = 0.1
    batch_size: Annotated[
        int, typer.Option(min=1, help="Images in a training batch.", rich_help_panel=_TRAINING)
    ] = 128
    weight_decay: Annotated[
        float, typer.Option(min=0, help="Factor of the L2 term.", rich_help_panel=_TRAINING)
    ] = 5e-4
    schedule: Annotated[
        Literal["cosine", "halving", "piecewise_linear"],
        typer.Option(
            help="cosine with warm-up; half as much every 20 epochs, or falling after half time, "
            "as in the paper, the latter for robust networks.",
            rich_help_panel=_TRAINING,
        ),
    ] = "cosine"
    augment: Annotated[
        bool,
        typer.Option(help="The paper's augmentation for the data set.", rich_help_panel=_TRAINING),
    ] = True
    mixed_precision: MixedPrecision = False
    checkpoint_seconds: Annotated[
        float,
        typer.Option(
            min=0,
            help="How often to save what is unfinished, at most 1 % of the time.",
            rich_help_panel=_UNFINISHED,
        ),
    ] = 60.0
    retry_lr: Annotated[
        float | None,
        typer.Option(
            help="Go on from the last good state of a training that diverged, at this rate.",
            rich_help_panel=_UNFINISHED,
        ),
    ] = None


@dataclass(frozen=True)
class Objective:
    """What is minimised and measured: the loss on images as they are, or under attack."""

    objective: ObjectiveName = "standard"
    epsilon: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Half-width of the attack, of pixels in [0, 1]; a step is a quarter of it.",
            rich_help_panel=_ATTACK,
        ),
    ] = None
    attack_steps: Annotated[
        int, typer.Option(min=1, help="Steps of the attack.", rich_help_panel=_ATTACK)
    ] = 5


STANDARD = Objective()


def spread(command: Callable[..., None]) -> Callable[..., None]:
    """A command that takes the options of a group's fields where `command` takes the group.

    The default of such a parameter, itself a group, gives the options' defaults.
    """
    signature = inspect.signature(command)
    groups: dict[str, Any] = {
        name: one.annotation
        for name, one in signature.parameters.items()
        if is_dataclass(one.annotation)
    }

    @functools.wraps(command)
    def run(**options: object) -> None:
        for name, group in groups.items():
            options[name] = group(**{one.name: options.pop(one.name) for one in fields(group)})
        command(**options)

    taken = [option for one in signature.parameters.values() for option in _options_of(one)]
    run.__signature__ = signature.replace(parameters=taken)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in taken}
    return run


def _options_of(one: Parameter) -> list[Parameter]:
    """A parameter for each field of a group, or the one that there is."""
    if not is_dataclass(one.annotation):
        return [one.replace(kind=Parameter.KEYWORD_ONLY)]
    found = []
    for field in fields(one.annotation):
        default: Any = Parameter.empty if field.default is MISSING else field.default
        if one.default is not Parameter.empty:
            default = getattr(one.default, field.name)
        found.append(
            Parameter(field.name, Parameter.KEYWORD_ONLY, default=default, annotation=field.type)
        )
    return found


def numbers(text: str) -> tuple[int, ...]:
    """Whole numbers separated by commas.

    >>> numbers("0,1, 2")
    (0, 1, 2)
    """
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"{text!r}: give whole numbers and commas, as in 0,1,2,3") from None
