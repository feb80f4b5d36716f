"""The tables and figures of the paper as data: what is trained, joined and measured for each.

Nothing here runs anything. `plan` makes stages of it; without torch, so that the shell can list the
names at once. Source of all settings and figures: Tatro et al. 2020, its released experiments for
what the text leaves open.
"""

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
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


UNALIGNED = CurveMethod("unaligned", "Unaligned (Garipov)")
PAM_UNALIGNED = CurveMethod("pam_unaligned", "PAM Unaligned", pam=True)
PAM_ALIGNED = CurveMethod("pam_aligned", "PAM Aligned", ("correlation", "post"), pam=True)
ALIGNED = CurveMethod("aligned", "Aligned", ("correlation", "post"))

# The paper's attack on CIFAR: PGD of 5 steps within 8/255.
_ATTACK = (8 / 255, 2 / 255, 5)

SCHEDULES: dict[str, Schedule] = {
    one.name: one
    for one in (
        Schedule(
            name="paper",
            endpoint=Training(250, 0.1),
            curve=Training(250, 0.01),
            robust=Training(200, 0.1, "piecewise_linear", attack=_ATTACK),
            cifar100_learning_rate=0.1,
            permutation_epochs=20,
            points=65,
        ),
        Schedule(
            name="short",
            endpoint=Training(10, 0.1, "cosine"),
            curve=Training(8, 0.05, "cosine"),
            robust=Training(4, 0.1, "cosine", attack=_ATTACK),
            cifar100_learning_rate=0.1,
            permutation_epochs=2,
            points=33,
            batchnorm_images=2_000,
            plane_size=11,
            plane_images=1_000,
        ),
        Schedule(
            name="smoke",
            endpoint=Training(6, 0.1, "cosine", batch_size=32),
            curve=Training(3, 0.05, "cosine", batch_size=32),
            robust=Training(3, 0.1, "cosine", batch_size=32, attack=(8 / 255, 4 / 255, 2)),
            cifar100_learning_rate=0.1,
            permutation_epochs=1,
            points=7,
            alignment_images=500,
            batchnorm_images=500,
            plane_size=5,
            plane_images=200,
            train_images=1_000,
            test_images=500,
        ),
    )
}

NETWORKS = ("TinyTen", "ResNet32", "GoogLeNet")
DATASETS = ("cifar10", "cifar100", "tiny-imagenet")
# Small enough for everyone, and without a download: stands in where a smoke run has no data.
STAND_IN = Case("DigitsNet", "digits")

_PAPER = (UNALIGNED, PAM_UNALIGNED, PAM_ALIGNED, ALIGNED)
_BOTH = (UNALIGNED, ALIGNED)


def _cases(networks: tuple[str, ...], datasets: tuple[str, ...]) -> tuple[Case, ...]:
    return tuple(Case(model, dataset) for model in networks for dataset in datasets)


def _aligned_by(method: Method, activations: Activations) -> CurveMethod:
    title = f"{'correlation' if method == 'correlation' else 'L2'}, {activations}-activation"
    return CurveMethod(f"{method}_{activations}", title, (method, activations))


def _varied() -> tuple[CurveMethod, ...]:
    """Both curves under other settings. The text at hand names none: the values are ours."""
    variations: tuple[tuple[str, str, Any], ...] = (
        ("learning rate 0.05", "learning_rate", 0.05),
        ("learning rate 0.01", "learning_rate", 0.01),
        ("batch size 64", "batch_size", 64),
        ("batch size 256", "batch_size", 256),
        ("cosine schedule", "schedule", "cosine"),
    )
    return _BOTH + tuple(
        replace(
            one,
            name=f"{one.name}_{title.replace(' ', '_')}",
            title=f"{one.title}, {title}",
            changes=((field, value),),
        )
        for title, field, value in variations
        for one in _BOTH
    )


EXHIBITS = {
    one.name: one
    for one in (
        Exhibit(
            "table1",
            "Average and minimum accuracy of models along the learned curve",
            _cases(NETWORKS, DATASETS),
            _PAPER,
            ("paths", "training"),
            pairs=3,
        ),
        Exhibit(
            "table2",
            "Training loss of the curves at convergence",
            _cases(NETWORKS, DATASETS),
            _PAPER,
            ("training",),
            pairs=3,
        ),
        Exhibit(
            "figure1",
            "Correlation signatures of endpoints and of curves' midpoints",
            # The text does not say which network the figure shows.
            _cases(("TinyTen",), DATASETS),
            _BOTH,
            ("signatures", "midpoints"),
            pairs=3,
        ),
        Exhibit(
            "figure2",
            "Techniques of alignment compared",
            _cases(("TinyTen",), DATASETS),
            (
                UNALIGNED,
                ALIGNED,
                _aligned_by("correlation", "pre"),
                _aligned_by("l2", "post"),
                _aligned_by("l2", "pre"),
            ),
            ("paths",),
        ),
        Exhibit(
            "figure3",
            "CIFAR-100: the plane of the initialisations, training, and the learned curves",
            _cases(NETWORKS, ("cifar100",)),
            _BOTH,
            ("paths", "lines", "training", "planes"),
        ),
        Exhibit(
            "figure4",
            "CIFAR-100: clean and robust accuracy along curves between robust networks",
            _cases(NETWORKS, ("cifar100",)),
            _BOTH,
            ("paths", "training"),
            robust=True,
        ),
        Exhibit(
            "figure5",
            "CIFAR-100: loss on the planes of the initialisations and of the learned curves",
            _cases(NETWORKS, ("cifar100",)),
            _BOTH,
            ("planes", "curve planes"),
        ),
        Exhibit(
            "figure6",
            "CIFAR-10 and Tiny ImageNet: planes, training, and the learned curves",
            _cases(NETWORKS, ("cifar10", "tiny-imagenet")),
            _BOTH,
            ("paths", "lines", "training", "planes"),
        ),
        Exhibit(
            "figure7",
            "The planes that contain the learned curves",
            _cases(NETWORKS, DATASETS),
            _BOTH,
            ("curve planes",),
        ),
        Exhibit(
            "figure8",
            "CIFAR-100: clean and robust loss along curves between robust networks",
            _cases(NETWORKS, ("cifar100",)),
            _BOTH,
            ("paths", "training"),
            robust=True,
        ),
        Exhibit(
            "figure9",
            "CIFAR-10: clean and robust scores along curves between robust networks",
            _cases(NETWORKS, ("cifar10",)),
            _BOTH,
            ("paths", "training"),
            robust=True,
        ),
        Exhibit(
            "appendix-f",
            "TinyTen on CIFAR-100 under other settings of the curve's training",
            _cases(("TinyTen",), ("cifar100",)),
            _varied(),
            ("paths", "training"),
            pairs=3,
        ),
    )
}


def chosen_exhibits(name: str) -> tuple[Exhibit, ...]:
    """The exhibit of a name, or every one for `all`."""
    if name == "all":
        return tuple(EXHIBITS.values())
    if name not in EXHIBITS:
        raise InputError(f"{name!r}: give one of {', '.join(EXHIBITS)}, or all")
    return (EXHIBITS[name],)


def chosen_cases(exhibit: Exhibit, only: str | None) -> tuple[Case, ...]:
    """An exhibit's cases whose names match `only`, such as `tinyten/*`; may be empty.

    >>> [case.name for case in chosen_cases(EXHIBITS["table1"], "*net*/cifar10")]
    ['resnet32/cifar10', 'googlenet/cifar10']
    """
    pattern = (only or "*").lower()
    return tuple(case for case in exhibit.cases if fnmatchcase(case.name, pattern))


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
