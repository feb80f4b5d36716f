"""What the command `plane` does."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ..curve.files import load_curve
from ..curve.paths import Curve
from ..errors import InputError
from ..evaluate.plane import Plane, Point, plane
from ..experiments.pair import Watch
from ..report.picture import write_result
from ..report.planes import draw_plane
from ..state import load_state
from .work import Setting


@dataclass(frozen=True)
class _Corners:
    """Three networks, their names, the straight lines to draw, and curves."""

    states: list[dict[str, Tensor]]
    names: list[str]
    lines: list[tuple[int, int]]
    curves: dict[str, Curve]


@dataclass(frozen=True)
class Grid:
    """The options of a grid."""

    size: int
    across: Point
    up: Point
    images: int
    training_data: bool
    batchnorm_images: int


def draw_plane_of(
    work: Setting, files: Sequence[Path], grid: Grid, folder: Path, *, watch: Watch
) -> Plane:
    """Score the plane through three states, one curve or two, and write plane.json, plane.png."""
    corners = _corners(work, files)
    data = work.train_data if grid.training_data else work.test_data
    data = data.subset(min(grid.images, len(data)), work.seed)
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
        progress=lambda done, total: watch("evaluating the plane", done, total),
    )
    kind = "training" if grid.training_data else "test"
    result: dict[str, Any] = {
        "title": f"{work.train_data.name}, {work.model}: {len(data):,} {kind} images",
        "names": corners.names,
        "lines": [list(pair) for pair in corners.lines],
        **asdict(found),
        "record": work.record(began, files=[str(file) for file in files], **asdict(grid)),
    }
    write_result(result, folder / "plane.json", "plane")
    draw_plane(result, folder / "plane.png")
    return found


def _corners(work: Setting, files: Sequence[Path]) -> _Corners:
    """Three states as they are; one curve's ends and bend; two curves' start and both ends."""
    if len(files) == 3:
        states = [load_state(path) for path in files]
        return _Corners(states, [path.stem for path in files], [(0, 1), (0, 2)], {})
    if len(files) > 3:
        raise InputError(f"{len(files)} files: give three states, one curve, or two curves")
    loaded = [load_curve(path, work.network) for path in files]
    curves: dict[str, Curve] = {}
    for path, (curve, record) in zip(files, loaded, strict=True):
        name = f"{'aligned' if record.get('aligned') else 'unaligned'} curve"
        if name in curves:
            raise InputError(f"{path}: a second {name}; give one of each")
        curves[name] = curve
    if len(files) == 1:
        return _of_one_curve(files[0], next(iter(curves)), loaded[0][0])
    unaligned, aligned = curves.get("unaligned curve"), curves["aligned curve"]
    assert unaligned is not None
    if not bool((unaligned.points[0] == aligned.points[0]).all()):
        raise InputError(f"{files[1]}: starts at another network than {files[0]}")
    states = [unaligned.state_at(0), unaligned.state_at(1), aligned.state_at(1)]
    return _Corners(states, ["θ₁", "θ₂", "P θ₂"], [(0, 1), (0, 2)], curves)


def _of_one_curve(path: Path, name: str, curve: Curve) -> _Corners:
    if len(curve.points) < 3:
        raise InputError(f"{path}: a straight line spans no plane; give a curve or three states")
    middle = curve.with_points(curve.points[[0, len(curve.points) // 2, -1]])
    vectors = [middle.points[place] for place in (0, 2, 1)]
    states = [_state_of(curve, vector) for vector in vectors]
    end = "P θ₂" if name.startswith("aligned") else "θ₂"
    return _Corners(states, ["θ₁", end, "bend"], [(0, 1)], {name: curve})


def _state_of(curve: Curve, vector: Tensor) -> dict[str, Tensor]:
    """A control point as a state."""
    return {**curve.state_at(0), **curve.layout.views(vector.clone())}
