"""Discovery and its proof on the 80 classifiers of torchvision's registry, at full width.

    OMP_NUM_THREADS=1 python benchmarks/symmetry.py [NAME ...]

proves each network (all of them, small ones first, if none is named), writes what it measured into
docs/results/symmetry.json after each, and prints that as a table. Networks that stand there
already are passed over unless they are named. Seconds are processor
seconds of one core, after a first discovery that loads torch.export. The largest network needs
10 GB.

    OMP_NUM_THREADS=1 python benchmarks/symmetry.py --memory NAME

prints the memory of discovery beyond the network's own (Linux only).
"""

import gc
import json
import sys
import time
from pathlib import Path

import torch
from torch import nn

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
LIMIT = 1e-4
RESULTS = ROOT / "docs/results/symmetry.json"

from families.registry import REGISTRY, Registered  # noqa: E402

import basinbridge as bb  # noqa: E402
from basinbridge.symmetry.proof import DOUBLE_LIMIT, prove  # noqa: E402


def measured(one: Registered) -> dict[str, float | int | str]:
    """Discover, prove and check one network against what the registry expects of it."""
    torch.manual_seed(0)
    network, example = one.build().eval(), one.example()
    parameters = sum(parameter.numel() for parameter in network.parameters())
    began = time.process_time()
    symmetry = bb.discover(network, example, proof=False)
    found = time.process_time()
    change = prove(network, symmetry, example)
    proved = time.process_time()
    precision = "double" if parameters <= DOUBLE_LIMIT else "single"
    if change > LIMIT and precision == "single":  # rounding, if double precision says so
        precision, change = "double", prove(network, symmetry, example, double_limit=parameters)
    assert parameters == one.parameters
    assert symmetry.unsupported == ()
    assert one.groups in (None, len(symmetry.groups))
    assert symmetry.parameter_share >= 0.95
    assert change <= LIMIT
    return {
        "parameters": parameters,
        "image": one.side,
        "groups": len(symmetry.groups),
        "share": symmetry.parameter_share,
        "precision": precision,
        "change": change,
        "discovery_seconds": found - began,
        "proof_seconds": proved - found,
    }


def show_memory(name: str) -> None:
    """Print how far discovery raises the resident size, in parts of the parameters' own size."""
    network, example = REGISTRY[name].build().eval(), REGISTRY[name].example()
    before, largest = _resident("VmRSS"), {}
    for proof in (False, True):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        bb.discover(network, example, proof=proof)
        largest[proof] = (_resident("VmHWM") - before) / (4 * REGISTRY[name].parameters)
    print(f"{name}: {largest[False]:.2f} without the proof, {largest[True]:.2f} with it")


def _resident(field: str) -> int:
    """A line of this process's status, in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field))


def table(results: dict[str, dict[str, float | int | str]]) -> str:
    """The results in Markdown."""
    lines = ["| network | parameters | groups | share, % | change | discovery, s | proof, s |"]
    lines.append("| --- " + "| ---: " * 6 + "|")
    for name, row in sorted(results.items()):
        lines.append(
            f"| {name} | {row['parameters']:,} | {row['groups']} | {100 * float(row['share']):.2f} "
            f"| {row['change']:.0e} | {row['discovery_seconds']:.1f} | {row['proof_seconds']:.1f} |"
        )
    return "\n".join(lines)


def main() -> None:
    torch.set_num_threads(1)
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    waiting = [name for name in REGISTRY if name not in results]
    names = sys.argv[1:] or sorted(waiting, key=lambda name: REGISTRY[name].parameters)
    bb.discover(nn.Linear(2, 2), torch.zeros(2, 2))
    if names[:1] == ["--memory"]:
        show_memory(names[1])
        return
    for name in names:
        results[name] = measured(REGISTRY[name])
        RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        print(name, results[name], file=sys.stderr, flush=True)
        gc.collect()
    print(table(results))


if __name__ == "__main__":
    main()
