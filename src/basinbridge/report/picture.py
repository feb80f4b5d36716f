"""What all figures share, and writing them into files, the same bytes for the same numbers."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from basinbridge.errors import InputError
from basinbridge.reading import read_json
from basinbridge.state import replacing

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure

FONT_SIZE = 10.5
# Two hues that stay apart for every kind of colour vision (Okabe and Ito, 2008).
HUES = {"unaligned": "#D55E00", "aligned": "#0072B2"}
# Without a creation date the same report gives the same bytes.
_METADATA: dict[str, dict[str, None]] = {".png": {}, ".pdf": {"CreationDate": None}}


def check_name(path: Path) -> None:
    """Raise `InputError` unless a picture's name ends in `.png` or `.pdf`."""
    if path.suffix.lower() not in _METADATA:
        raise InputError(f"{path}: a picture's name must end in {' or '.join(_METADATA)}")


def label_figure(figure: "Figure", shown: Mapping[str, "Artist"], title: str | None) -> None:
    """Put a legend of what is shown below a figure's panels, and a title above them."""
    if shown:
        figure.legend(
            shown.values(),
            shown.keys(),
            loc="outside lower center",
            ncols=len(shown),
            frameon=False,
            fontsize=FONT_SIZE,
            handlelength=3,
        )
    if title:
        figure.suptitle(title, fontsize=FONT_SIZE + 1, parse_math=False)


def save_picture(figure: "Figure", path: Path) -> None:
    """Write a figure as `.png` or `.pdf`; an older file is replaced whole."""
    check_name(path)
    suffix = path.suffix.lower()
    with replacing(path) as draft:
        figure.savefig(draft, format=suffix[1:], dpi=160, metadata=_METADATA[suffix])


def read_result(path: Path, kind: str) -> dict[str, Any]:
    """Load a saved result, an object of format 1 whose `kind` is the one asked for.

    Raises `InputError` if the file is missing, is not JSON, or holds something else.
    """
    found = read_json(path, "make it again")
    if not isinstance(found, dict) or found.get("format") != 1 or found.get("kind") != kind:
        raise InputError(f"{path}: holds no {kind} of format 1; make it with `basinbridge {kind}`")
    return found


def write_result(result: dict[str, Any], path: Path, kind: str) -> None:
    """Write a result for `read_result`; raises `InputError` if a number is not finite."""
    try:
        text = json.dumps({"format": 1, "kind": kind, **result}, indent=1, allow_nan=False) + "\n"
    except ValueError as error:
        raise InputError(f"{path}: not written, since a number is not finite") from error
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8")
