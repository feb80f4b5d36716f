"""The tables and figures of the paper as data: what is trained, joined and measured for each.

Source of all settings and figures: Tatro et al. 2020, its released experiments for what the text
leaves open.
"""

from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

from ..align.methods import Activations, Method
from ..errors import InputError
from .specs import Case, CurveMethod, Exhibit, Schedule, Training

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
