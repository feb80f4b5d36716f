"""What the command `plane` does."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..curve.paths import Curve
from ..errors import InputError
from ..evaluate.plane import Plane, Point, plane
from ..experiments.corners import Corners, corners_of_curve, corners_of_pair
from ..experiments.pair import Watch
from ..report.picture import write_result
from ..report.planes import draw_plane
from ..state import load_state
from .work import Setting


@dataclass(frozen=True)
class Grid:
    """The options of a grid."""

    size: int
    across: Point
    up: Point
    images: int
    training_data: bool
    batchnorm_images: int
    augment: bool


def draw_plane_of(
    work: Setting, files: Sequence[Path], grid: Grid, folder: Path, *, watch: Watch
) -> Plane:
    """Score the plane through three states, one curve or two, and write plane.json, plane.png."""
    corners = _corners(work, files)
    data = work.train_data if grid.training_data else work.test_data
    data = data.at_most(grid.images, work.seed)
    began = time.perf_counter()
    found = plane(
        work.network,
        corners.states,
        data,
        batchnorm_data=work.train_data,
        size=grid.size,
        across=grid.across,
        up=grid.up,
        curves=corners.curves,
        batchnorm_images=grid.batchnorm_images,
        augmentation=work.augmentation(grid.augment),
        attack=work.attack,
        progress=lambda done, total: watch("evaluating the plane", done, total),
    )
    kind = ("training" if grid.training_data else "test") + " images"
    kind += "" if work.attack is None else " under attack"
    result: dict[str, Any] = {
        "title": f"{work.train_data.name}, {work.model}: {len(data):,} {kind}",
        "names": corners.names,
        "lines": [list(pair) for pair in corners.lines],
        **asdict(found),
        "record": work.record(began, files=[str(file) for file in files], **asdict(grid)),
    }
    write_result(result, folder / "plane.json", "plane")
    draw_plane(result, folder / "plane.png")
    return found


def _corners(work: Setting, files: Sequence[Path]) -> Corners:
    """Three states as they are; one curve's ends and bend; two curves' start and both ends."""
    if len(files) == 3:
        for path in files:
            work.check_record(path)
        states = [load_state(path) for path in files]
        return Corners(states, [path.stem for path in files], [(0, 1), (0, 2)], {})
    if len(files) > 3:
        raise InputError(f"{len(files)} files: give three states, one curve, or two curves")
    loaded = [work.curve_in(path) for path in files]
    curves: dict[str, Curve] = {}
    for path, (curve, record) in zip(files, loaded, strict=True):
        name = f"{'aligned' if record.get('aligned') else 'unaligned'} curve"
        if name in curves:
            raise InputError(f"{path}: a second {name}; give one of each")
        curves[name] = curve
    try:
        if len(files) == 1:
            name, curve = next(iter(curves.items()))
            return corners_of_curve(curve, name, renumbered=name == "aligned curve")
        return corners_of_pair(curves["unaligned curve"], curves["aligned curve"])
    except InputError as error:
        raise InputError(f"{', '.join(str(path) for path in files)}: {error}") from error
