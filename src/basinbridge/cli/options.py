"""Options that several commands share, each stated once."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from ..align import methods
from ..errors import InputError

Model = Annotated[
    str,
    typer.Option(
        help="One of ours (TinyTen, ResNet32, GoogLeNet, DigitsNet) or package.module:factory."
    ),
]
Dataset = Annotated[
    str,
    typer.Option(
        help="digits, cifar10, cifar100, tiny-imagenet, a folder, or owner/name on the Hub."
    ),
]
DataRoot = Annotated[
    Path | None,
    typer.Option(help="Folder with local copies of data sets.", envvar="BASINBRIDGE_DATA"),
]
Out = Annotated[Path, typer.Option(help="Where to write the result.")]
Force = Annotated[bool, typer.Option("--force", help="Replace a result that is there already.")]
Seed = Annotated[int, typer.Option(help="Seed of every random choice.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...")]
Threads = Annotated[
    int | None, typer.Option(min=1, help="CPU threads; as many as there are cores if left out.")
]
Method = Annotated[methods.Method, typer.Option(help="What makes neurons alike.")]
Activations = Annotated[
    methods.Activations, typer.Option(help="Behind or before the nonlinearity.")
]
Epochs = Annotated[int, typer.Option(min=0, help="Passes over the training data.")]
LearningRate = Annotated[float, typer.Option(help="The largest learning rate.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Images in a training batch.")]
WeightDecay = Annotated[float, typer.Option(min=0, help="Factor of the L2 term.")]
Augment = Annotated[bool, typer.Option(help="The paper's augmentation for the data set.")]
MixedPrecision = Annotated[
    bool, typer.Option("--mixed-precision", help="Forward passes in bfloat16.")
]
CheckpointSeconds = Annotated[
    float,
    typer.Option(min=0, help="How often to save what is unfinished, at most 1 % of the time."),
]
RetryRate = Annotated[
    float | None,
    typer.Option(
        "--retry-lr",
        help="Go on from the last good state of a training that diverged, at this rate.",
    ),
]
BatchnormImages = Annotated[
    int, typer.Option(min=1, help="Training images that give each point's batch-norm statistics.")
]


def numbers(text: str) -> tuple[int, ...]:
    """Whole numbers separated by commas.

    >>> numbers("0,1, 2")
    (0, 1, 2)
    """
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"{text!r}: give whole numbers and commas, as in 0,1,2,3") from None


class ScheduleName(StrEnum):
    """How the learning rate falls."""

    cosine = "cosine"
    halving = "halving"
    piecewise_linear = "piecewise_linear"


class CurveName(StrEnum):
    """Kinds of curves."""

    bezier = "bezier"
    polychain = "polychain"
    linear = "linear"


Objective = Annotated[
    Literal["standard", "adversarial"],
    typer.Option(help="adversarial: images are attacked before every step; networks normalise."),
]
Epsilon = Annotated[
    float | None,
    typer.Option(help="Half-width of the attack, of pixels in [0, 1]; a step is a quarter of it."),
]
AttackSteps = Annotated[int, typer.Option(min=1, help="Steps of the attack.")]
Schedule = Annotated[
    ScheduleName,
    typer.Option(
        help="cosine with warm-up; half as much every 20 epochs, or falling after half time, as in "
        "the paper, the latter for robust networks."
    ),
]
