"""A run's plan and results, read for tables and pictures; nothing is computed anew."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from basinbridge.errors import InputError
from basinbridge.experiments.plan import PLAN, read_plan
from basinbridge.experiments.published import Published, published
from basinbridge.experiments.specs import Case
from basinbridge.experiments.store import Store
from basinbridge.reading import blaming, read_json, read_record


@dataclass(frozen=True)
class Run:
    """The plan of a run and whatever is done of it.

    `results[name]` is a finished stage's result as it was written, and `record`, what made it, in
    it. Of networks and curves it is the record alone.
    """

    folder: Path
    plan: Mapping[str, Any]
    results: Mapping[str, Mapping[str, Any]]

    @property
    def schedule(self) -> Mapping[str, Any]:
        """The settings of all trainings and measurements."""
        found: Mapping[str, Any] = self.plan["schedule"]
        return found

    @property
    def cases(self) -> "Iterator[CaseResults]":
        """Every case of every exhibit, in the order of the plan."""
        for name, exhibit in self.plan["exhibits"].items():
            for case in exhibit["cases"].values():
                yield CaseResults(self, name, exhibit["title"], case)


@dataclass(frozen=True)
class CaseResults:
    """What an exhibit shows of one network on one data set."""

    run: Run
    exhibit: str
    title: str
    entry: Mapping[str, Any]

    @property
    def case(self) -> Case:
        """The network and the data set."""
        return Case(self.entry["model"], self.entry["dataset"])

    @property
    def methods(self) -> Mapping[str, str]:
        """Titles of the kinds of curves, by name."""
        found: Mapping[str, str] = self.entry["methods"]
        return found

    @property
    def seeds(self) -> list[list[int]]:
        """The seeds of every pair."""
        return [pair["seeds"] for pair in self.entry["pairs"]]

    def shows(self, part: str) -> bool:
        """Whether the exhibit shows a part."""
        return part in self.entry["shown"]

    def found(self, part: str, key: str) -> list[Mapping[str, Any]]:
        """The results of one part and key, of the pairs where it is done."""
        names = [pair["parts"].get(part, {}).get(key) for pair in self.entry["pairs"]]
        return [self.run.results[name] for name in names if name in self.run.results]

    def histories(self, part: str, key: str) -> list[list[float]]:
        """Mean loss of every epoch, in nats, of the same trainings; of none that had no epochs."""
        records = [one["record"] for one in self.found(part, key)]
        return [record["history"] for record in records if record.get("history")]

    @property
    def kinds(self) -> tuple[str, ...]:
        """What begins the names of scores: nothing, and `robust_` for those under attack."""
        found = [path for method in self.methods for path in self.found("paths", method)]
        return ("", "robust_") if found and "robust_accuracy" in found[0] else ("",)

    def endpoint_accuracies(self, kind: str = "") -> list[float]:
        """Mean accuracy of the two ends, for each pair with a measured curve."""
        for method in self.methods:
            paths = self.found("paths", method)
            if paths:
                ends = [path[f"{kind}accuracy"] for path in paths]
                return [(one[0] + one[-1]) / 2 for one in ends]
        return []


@dataclass(frozen=True)
class Row:
    """A row of Table 1: accuracies in %, one for each pair, beside the paper's."""

    title: str
    average: Sequence[float]
    minimum: Sequence[float] | None
    paper: Published | None


def difference(values: Sequence[float], paper: float) -> float:
    """Our mean less the paper's value, of what is shown of both: one digit.

    >>> difference([88.54, 88.64], 88.5), difference([77.7], 88.5)
    (0.1, -10.8)
    """
    return round(round(statistics.fmean(values), 1) - paper, 1)


def read_run(folder: Path) -> Run:
    """Read a run's plan and finished results. Raises `InputError` where one is damaged."""
    store = Store(folder)
    plan = read_plan(store)
    results = {}
    with blaming(folder / PLAN, "make the run again"):
        for name, entry in plan["stages"].items():
            file = folder / "results" / entry["file"]
            if file.is_file():
                results[name] = _read(file)
        for exhibit in plan["exhibits"].values():
            for case in exhibit["cases"].values():
                _ = case["model"], case["dataset"], case["methods"], case["pairs"], case["shown"]
    return Run(folder, plan, results)


def _read(file: Path) -> Mapping[str, Any]:
    if file.suffix == ".safetensors":
        return {"record": read_record(file)}
    found = read_json(file, "delete it and run again")
    if not isinstance(found, dict) or not isinstance(found.get("record"), dict):
        raise InputError(f"{file}: holds no result; delete it and run again")
    return found


def rows_of(case: CaseResults, kind: str = "") -> list[Row]:
    """The rows of Table 1 for a case: the endpoints, then every kind of curve that is measured.

    The paper's are beside those that are not of robust networks; `kind` is one of the case's.
    """

    def paper(method: str) -> Published | None:
        return published(case.case, method) if len(case.kinds) == 1 else None

    rows = []
    endpoints = [100 * value for value in case.endpoint_accuracies(kind)]
    if endpoints:
        rows.append(Row("Endpoints", endpoints, None, paper("endpoints")))
    for method, title in case.methods.items():
        paths = case.found("paths", method)
        if paths:
            average, minimum = (
                [100 * path[f"{kind}{what}_accuracy"] for path in paths]
                for what in ("average", "minimum")
            )
            rows.append(Row(title, average, minimum, paper(method)))
    return rows


def final_losses(case: CaseResults, method: str) -> list[float]:
    """Training loss at convergence, in nats: the last epoch's mean, with the L2 term (Table 2)."""
    records = [found["record"] for found in case.found("training", method)]
    return [
        record["history"][-1] + record["decay_term"] for record in records if record.get("history")
    ]
