"""What the commands `discover` and `align` do, and renumbering by what `align` found."""

import json
import time
from pathlib import Path

from torch import nn

from ..align.match import align as align_networks
from ..align.methods import Activations, Method
from ..errors import InputError
from ..reading import read_record
from ..state import load_state, replacing, save_state
from ..symmetry.discover import discover
from ..symmetry.groups import Symmetry
from ..symmetry.permutation import Permutation, permute, tensor_indices
from .work import Setting


def show_symmetry(work: Setting, out: Path | None, fix: list[str], tie: list[str]) -> None:
    """Print the groups of the network, and write them if a file is named."""
    fixed = [axis_named(text) if ":" in text else text for text in fix]
    tied = [
        (axis_named(one), axis_named(other))
        for one, _, other in (text.partition("=") for text in tie)
    ]
    symmetry = discover(work.network, work.example(), fixed=fixed, tied=tied)
    print(symmetry)
    if out is not None:
        groups = {
            name: {
                "size": group.size,
                "shape": list(group.shape),
                "parent": group.parent,
                "tensors": [list(tensor) for tensor in group.tensors],
            }
            for name, group in symmetry.groups.items()
        }
        content = {"groups": groups, "parameter_share": symmetry.parameter_share}
        with replacing(out) as draft:
            draft.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def axis_named(text: str) -> tuple[str, int]:
    """An axis written as TENSOR:DIM.

    >>> axis_named("layer.weight:0")
    ('layer.weight', 0)
    """
    name, _, dim = text.rpartition(":")
    if not name or not dim.isdecimal():
        raise InputError(f"{text!r} names no axis; write it as layer.weight:0")
    return name, int(dim)


def align_states(
    work: Setting,
    start: Path,
    end: Path,
    out: Path,
    aligned: Path | None,
    images: int,
    method: Method,
    activations: Activations,
) -> None:
    """Align two states and write the permutation, and the renumbered state if asked for."""
    net_a, net_b = work.network_with(start), work.network_with(end)
    data = work.train_data.at_most(images, work.seed)
    began = time.perf_counter()
    found = align_networks(
        net_a,
        net_b,
        data,
        work.symmetry,
        method=method,
        activations=activations,
        seed=work.seed,
        attack=work.attack,
    )
    record = work.record(began, images=len(data), method=method, activations=activations)
    save_state(found, out, kind="permutation", record=json.dumps(record))
    if aligned is not None:
        moved = {**read_record(end), "match": record}
        state = permute(net_b, work.symmetry, found).state_dict()
        save_state(state, aligned, record=json.dumps(moved))


def renumbered(work: Setting, end: nn.Module, match: Path | None) -> nn.Module:
    """The network `end` renumbered by a result of `align`, or as it is where there is none."""
    if match is None:
        return end
    work.check_record(match)
    return permute(end, work.symmetry, load_match(match, work.symmetry))


def load_match(path: Path, symmetry: Symmetry) -> Permutation:
    """The permutation in a file; raises `InputError` if it is not one of this network."""
    found = load_state(path)
    try:
        tensor_indices(symmetry, found)
    except InputError as error:
        raise InputError(f"{path}: not a renumbering of this network: {error}") from error
    return found
