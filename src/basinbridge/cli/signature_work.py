"""What the command `signature` does."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from ..align.match import align
from ..align.methods import Activations, Method
from ..curve.paths import Curve
from ..errors import InputError
from ..evaluate.signature import Signature, signature
from ..experiments.midpoints import midpoint_signatures
from ..experiments.pair import Watch
from ..report.picture import write_result
from ..report.signatures import draw_signatures
from .work import Setting


def draw_signatures_of(
    work: Setting,
    states: Sequence[Path],
    curves: Sequence[Path],
    method: Method,
    activations: Activations,
    images: int,
    augment: bool,
    folder: Path,
    *,
    watch: Watch,
) -> None:
    """Compare pairs of states, and curves' middles with their ends; write and draw all of it.

    Pairs are aligned on training images and compared on test images.
    """
    if len(states) % 2 or not (states or curves):
        raise InputError(f"{len(states)} states: give pairs of them, or curves with --curve")
    # All files are read first: a broken one must not cost the work on those before it.
    networks = [work.network_with(path) for path in states]
    loaded = [work.curve_in(path) for path in curves]
    began = time.perf_counter()
    total = len(states) // 2 + len(curves)
    panels: list[dict[str, Any]] = []
    entries = []
    for number in range(1, len(states) // 2 + 1):
        pair = slice(2 * number - 2, 2 * number)
        found = _of_pair(work, networks[pair], method, activations, images)
        print(f"{', '.join(map(str, states[pair]))}:\n{found}")
        entries.append(asdict(found))
        watch("comparing", number, total)
    if entries:
        title = f"{len(entries)} pairs of networks" if len(entries) > 1 else "the two networks"
        panels.append({"title": title, "entries": entries})
    for number, (path, one) in enumerate(zip(curves, loaded, strict=True), start=len(entries) + 1):
        panels.append(_of_curve(work, path, one, activations, augment))
        watch("comparing", number, total)
    record = work.record(
        began,
        files=[str(path) for path in (*states, *curves)],
        method=method,
        activations=activations,
        images=min(images, len(work.train_data)),
        augment=augment,
    )
    title = f"{work.train_data.name}, {work.model}: {len(work.test_data):,} test images"
    title += "" if work.attack is None else " under attack"
    result = {"title": title, "panels": panels, "record": record}
    write_result(result, folder / "signature.json", "signature")
    draw_signatures(result, folder / "signature.png")


def _of_pair(
    work: Setting,
    pair: Sequence[nn.Module],
    method: Method,
    activations: Activations,
    images: int,
) -> Signature:
    start, end = pair
    symmetry = work.symmetry
    data = work.train_data.at_most(images, work.seed)
    match = align(
        start,
        end,
        data,
        symmetry,
        method=method,
        activations=activations,
        seed=work.seed,
        attack=work.attack,
    )
    return signature(
        start,
        end,
        work.test_data,
        symmetry,
        match,
        activations=activations,
        attack=work.attack,
    )


def _of_curve(
    work: Setting,
    path: Path,
    loaded: tuple[Curve, dict[str, Any]],
    activations: Activations,
    augment: bool,
) -> dict[str, Any]:
    """A panel that compares the middle of a curve with its two ends."""
    curve, record = loaded
    both, entries = midpoint_signatures(
        curve,
        work.test_data,
        work.symmetry,
        work.train_data,
        augmentation=work.augmentation(augment),
        activations=activations,
        attack=work.attack,
    )
    kind = "aligned" if record.get("aligned") else "unaligned"
    for end, found in zip(("start", "end"), both, strict=True):
        print(f"{path}, its {end} and its middle:\n{found}")
    return {"title": f"ends and middle of the {kind} curve", "entries": entries}
