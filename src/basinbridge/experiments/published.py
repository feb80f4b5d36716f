"""The figures of the paper's Table 1, to stand beside ours."""

from dataclasses import dataclass

from .exhibits import DATASETS
from .specs import Case


@dataclass(frozen=True)
class Published:
    """A row of the paper's Table 1, in %: mean and standard deviation over three pairs."""

    average: tuple[float, float]
    minimum: tuple[float, float] | None = None


def _rows(
    *rows: tuple[str, tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]],
) -> dict[tuple[str, str], Published]:
    """Rows of one network: by data set and method, `endpoints` being one."""
    return {
        (dataset, method): Published(
            (numbers[0], numbers[1]), (numbers[2], numbers[3]) if len(numbers) > 2 else None
        )
        for method, cells in rows
        for dataset, numbers in zip(DATASETS, cells, strict=True)
    }


# Average, its deviation, minimum, its deviation, for each of DATASETS.
TABLE_1: dict[str, dict[tuple[str, str], Published]] = {
    "TinyTen": _rows(
        ("endpoints", ((89.0, 0.1), (58.1, 0.5), (34.2, 0.2))),
        ("unaligned", ((87.4, 0.1, 82.8, 0.5), (56.0, 0.2, 53.2, 1.1), (32.5, 0.1, 30.0, 0.3))),
        ("pam_unaligned", ((87.6, 0.1, 84.0, 0.3), (57.3, 0.2, 55.9, 0.9), (33.6, 0.1, 32.5, 0.1))),
        ("pam_aligned", ((88.4, 0.1, 87.6, 0.2), (58.8, 0.1, 57.7, 0.3), (34.2, 0.1, 33.4, 0.2))),
        ("aligned", ((88.5, 0.1, 87.8, 0.1), (58.7, 0.2, 57.7, 0.4), (34.4, 0.1, 33.7, 0.1))),
    ),
    "ResNet32": _rows(
        ("endpoints", ((92.9, 0.1), (67.1, 0.5), (50.2, 0.0))),
        ("unaligned", ((92.2, 0.1, 89.1, 0.2), (66.5, 0.2, 64.7, 0.4), (48.2, 0.1, 45.2, 0.1))),
        ("pam_unaligned", ((92.4, 0.1, 89.9, 0.2), (67.0, 0.1, 66.1, 0.1), (48.5, 0.1, 46.6, 0.1))),
        ("pam_aligned", ((92.7, 0.0, 92.1, 0.1), (67.6, 0.4, 66.8, 0.1), (49.2, 0.4, 47.9, 0.6))),
        ("aligned", ((92.7, 0.1, 92.2, 0.0), (67.7, 0.1, 66.6, 0.1), (49.5, 0.3, 48.8, 0.4))),
    ),
    "GoogLeNet": _rows(
        ("endpoints", ((93.4, 0.0), (73.2, 0.4), (51.6, 0.2))),
        ("unaligned", ((93.3, 0.0, 92.1, 0.1), (73.1, 0.4, 69.8, 0.3), (51.9, 0.1, 48.7, 0.4))),
        ("aligned", ((93.4, 0.0, 93.1, 0.0), (73.4, 0.3, 72.9, 0.3), (52.4, 0.2, 51.4, 0.3))),
    ),
}


def published(case: Case, method: str) -> Published | None:
    """What Table 1 says of a case and a method; None where it says nothing.

    >>> published(Case("TinyTen", "cifar10"), "aligned").minimum
    (87.8, 0.1)
    """
    return TABLE_1.get(case.model, {}).get((case.dataset, method))
