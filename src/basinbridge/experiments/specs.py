"""What the paper's tables and figures are made of: cases, trainings, kinds of curves, schedules.

`exhibits` declares them and `plan` makes stages of them. Nothing here runs anything or needs torch,
so that the shell can list the names at once.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

from ..align.methods import Activations, Method
from ..errors import InputError

Part = Literal["paths", "lines", "training", "planes", "curve planes", "signatures", "midpoints"]
ScheduleName = Literal["paper", "short", "smoke"]


@dataclass(frozen=True)
class Case:
    """A network and a data set."""

    model: str
    dataset: str

    @property
    def name(self) -> str:
        """As `--only` takes it.

        >>> Case("TinyTen", "cifar10").name
        'tinyten/cifar10'
        """
        return f"{self.model}/{self.dataset}".lower()


@dataclass(frozen=True)
class Training:
    """How a network or a curve is trained; `schedule` names how the learning rate falls.

    With `attack` (epsilon, step, steps) the images of every step are attacked first.
    """

    epochs: int
    learning_rate: float
    schedule: str = "halving"
    batch_size: int = 128
    weight_decay: float = 5e-4
    augment: bool = True
    mixed_precision: bool = False
    attack: tuple[float, float, int] | None = None


@dataclass(frozen=True)
class CurveMethod:
    """One kind of curve: how the end is renumbered, and what differs in the training.

    Without `match` the end stays as it is; `pam` learns its numbering along with the curve,
    beginning there. `changes` replace fields of the curve's `Training`.
    """

    name: str
    title: str
    match: tuple[Method, Activations] | None = None
    pam: bool = False
    changes: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Schedule:
    """How long everything takes: trainings, and the numbers of points and images.

    `robust` is the training of robust networks and of the curves between them. Numbers of images
    that are None are all there are. Curves on CIFAR-100 are trained at
    `cifar100_learning_rate`. A plane is `plane_size` points a side, each scored on `plane_images`
    test images.
    """

    name: ScheduleName
    endpoint: Training
    curve: Training
    robust: Training
    cifar100_learning_rate: float
    permutation_epochs: int
    points: int
    alignment_images: int = 10_000
    batchnorm_images: int | None = None
    plane_size: int = 17
    plane_images: int | None = None
    train_images: int | None = None
    test_images: int | None = None

    def curve_training(self, case: Case, method: CurveMethod, *, robust: bool = False) -> Training:
        """The training of a curve by `method`.

        Robust curves of GoogLeNet end after 20 epochs, before they overfit (Section 5); the
        learning rate has not begun to fall by then.
        """
        training = self.robust if robust else self.curve
        if robust and case.model == "GoogLeNet" and training.epochs > 20:
            training = replace(training, epochs=20, schedule="constant")
        if case.dataset == "cifar100" and not robust:
            training = replace(training, learning_rate=self.cifar100_learning_rate)
        return replace(training, **dict(method.changes))

    def with_mixed_precision(self) -> "Schedule":
        """The same with all trainings' forward passes in bfloat16."""
        return replace(
            self,
            endpoint=replace(self.endpoint, mixed_precision=True),
            curve=replace(self.curve, mixed_precision=True),
            robust=replace(self.robust, mixed_precision=True),
        )


@dataclass(frozen=True)
class Exhibit:
    """A table or a figure: for each of `cases` and `pairs` pairs, curves by `methods`.

    `parts` say what is measured of them. If it is `robust`, networks and curves are trained and
    measured under attack.
    """

    name: str
    title: str
    cases: tuple[Case, ...]
    methods: tuple[CurveMethod, ...]
    parts: tuple[Part, ...]
    pairs: int = 1
    robust: bool = False

    def methods_for(self, case: Case) -> tuple[CurveMethod, ...]:
        """The methods for a case: the paper's Table 1 has no PAM for GoogLeNet."""
        return tuple(one for one in self.methods if not (one.pam and case.model == "GoogLeNet"))


def pairs_of(seeds: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """Seeds two by two.

    >>> pairs_of((0, 1, 2, 3))
    ((0, 1), (2, 3))
    """
    if not seeds or len(seeds) % 2 or len(set(seeds)) < len(seeds):
        raise InputError(
            f"seeds {list(seeds)}: give two for each pair, all different, as in 0,1,2,3"
        )
    return tuple(zip(seeds[::2], seeds[1::2], strict=True))
