"""From the paper's tables and figures to stages, and the file that says what a run holds.

`plan.json` lists for every exhibit, case and pair which result is which, and every stage with its
settings; a report needs nothing else but the results themselves.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import InputError
from ..reading import read_json
from ..state import replacing
from .exhibits import ALIGNED, EXHIBITS, UNALIGNED
from .specs import Case, CurveMethod, Exhibit, Part, Schedule, Training
from .store import Stage, Store, in_order

FORMAT = 1
PLAN = "plan.json"


@dataclass(frozen=True, eq=False)
class PairPlan:
    """One pair of networks: `parts[part][key]` is the stage that measures it.

    Keys are names of methods; the part `endpoints` has `start` and `end`, `planes` and `signatures`
    have `both`. Curves as such are the part `training`.
    """

    seeds: tuple[int, int]
    parts: dict[str, dict[str, Stage]]


@dataclass(frozen=True, eq=False)
class CasePlan:
    """All pairs of one exhibit's case."""

    exhibit: Exhibit
    case: Case
    pairs: tuple[PairPlan, ...]

    @property
    def stages(self) -> list[Stage]:
        """All stages, each once and behind its inputs."""
        return in_order(
            stage for pair in self.pairs for part in pair.parts.values() for stage in part.values()
        )


def plan_case(
    exhibit: Exhibit, case: Case, seeds: Sequence[tuple[int, int]], schedule: Schedule
) -> CasePlan:
    """The stages of one case of an exhibit, for the first `exhibit.pairs` pairs of `seeds`."""
    builder = _Builder(case, schedule, exhibit.robust)
    methods = exhibit.methods_for(case)
    pairs = [
        PairPlan(pair, builder.parts(pair, methods, exhibit.parts))
        for pair in seeds[: exhibit.pairs]
    ]
    return CasePlan(exhibit, case, tuple(pairs))


@dataclass(frozen=True)
class _Builder:
    """Stages of one case."""

    case: Case
    schedule: Schedule
    robust: bool

    def parts(
        self, seeds: tuple[int, int], methods: Sequence[CurveMethod], parts: Sequence[Part]
    ) -> dict[str, dict[str, Stage]]:
        ends = self.ends(seeds)
        curves = {method.name: self.curve(seeds, method) for method in methods}
        found: dict[str, dict[str, Stage]] = {"endpoints": ends, "training": curves}
        if "paths" in parts:
            found["paths"] = {
                method.name: self.evaluation(seeds, method, curves[method.name])
                for method in methods
            }
        if "lines" in parts:
            found["lines"] = {
                method.name: self.evaluation(seeds, method, curves[method.name], line=True)
                for method in methods
            }
        if "planes" in parts:
            found["planes"] = {"both": self.plane(seeds)}
        if "curve planes" in parts:
            found["curve planes"] = {
                method.name: self.curve_plane(seeds, method, curves[method.name])
                for method in methods
            }
        if "signatures" in parts:
            found["signatures"] = {"both": self.signature(seeds)}
        if "midpoints" in parts:
            found["midpoints"] = {
                method.name: self.midpoint(seeds, method, curves[method.name]) for method in methods
            }
        return found

    @property
    def data(self) -> Stage:
        settings = {
            "dataset": self.case.dataset,
            "train_images": self.schedule.train_images,
            "test_images": self.schedule.test_images,
        }
        return Stage("data", settings, label=f"{self.case.dataset}: read the data")

    def ends(self, seeds: tuple[int, int]) -> dict[str, Stage]:
        training = asdict(self.schedule.robust if self.robust else self.schedule.endpoint)
        kind = "robust network" if self.robust else "network"
        start, end = (
            Stage(
                "endpoint",
                {
                    "model": self.case.model,
                    "seed": seed,
                    "training": training,
                },
                {"data": self.data},
                f"{self.case.name} {seed}: train the {kind}",
            )
            for seed in seeds
        )
        return {"start": start, "end": end}

    def match(self, seeds: tuple[int, int], method: CurveMethod) -> Stage:
        assert method.match is not None
        kind, activations = method.match
        settings = {
            "method": kind,
            "activations": activations,
            "images": self.schedule.alignment_images,
            "seed": seeds[0],
        }
        inputs = {"data": self.data, **self.ends(seeds)}
        return Stage(
            "alignment", settings, inputs, self.label(seeds, f"align by {kind}, {activations}")
        )

    def curve(self, seeds: tuple[int, int], method: CurveMethod) -> Stage:
        training: Training = self.schedule.curve_training(self.case, method, robust=self.robust)
        settings: dict[str, Any] = {"training": asdict(training), "seed": seeds[0]}
        if method.pam:
            settings["permutation_epochs"] = self.schedule.permutation_epochs
        inputs = {"data": self.data, **self.ends(seeds)}
        if method.match is not None:
            inputs["match"] = self.match(seeds, method)
        kind = "pam" if method.pam else "curve"
        return Stage(kind, settings, inputs, self.label(seeds, f"fit {method.title}"))

    def evaluation(
        self, seeds: tuple[int, int], method: CurveMethod, curve: Stage, *, line: bool = False
    ) -> Stage:
        settings = {
            "points": self.schedule.points,
            "batchnorm_images": self.schedule.batchnorm_images,
            "augment": curve.settings["training"]["augment"],
            "path": "line" if line else "curve",
        }
        what = f"evaluate {'the line of ' if line else ''}{method.title}"
        label = self.label(seeds, what)
        return Stage("evaluation", settings, {"data": self.data, "curve": curve}, label)

    def plane(self, seeds: tuple[int, int]) -> Stage:
        curves = {one.name: self.curve(seeds, one) for one in (UNALIGNED, ALIGNED)}
        label = self.label(seeds, "plane of the initialisations")
        settings = self.grid(1.05, curves[ALIGNED.name])
        return Stage("plane", settings, {"data": self.data, **curves}, label)

    def curve_plane(self, seeds: tuple[int, int], method: CurveMethod, curve: Stage) -> Stage:
        label = self.label(seeds, f"plane of {method.title}")
        renumbered = method.match is not None or method.pam
        settings = {**self.grid(1.5, curve), "title": method.title, "renumbered": renumbered}
        return Stage("plane", settings, {"data": self.data, "curve": curve}, label)

    def grid(self, top: float, curve: Stage) -> dict[str, Any]:
        return {
            "size": self.schedule.plane_size,
            "across": [-0.05, 1.05],
            "up": [-0.05, top],
            "images": self.schedule.plane_images,
            "batchnorm_images": self.schedule.batchnorm_images,
            "augment": curve.settings["training"]["augment"],
        }

    def signature(self, seeds: tuple[int, int]) -> Stage:
        inputs = {"data": self.data, **self.ends(seeds), "match": self.match(seeds, ALIGNED)}
        return Stage("signature", {}, inputs, self.label(seeds, "compare the endpoints"))

    def midpoint(self, seeds: tuple[int, int], method: CurveMethod, curve: Stage) -> Stage:
        settings = {
            "batchnorm_images": self.schedule.batchnorm_images,
            "augment": curve.settings["training"]["augment"],
        }
        label = self.label(seeds, f"compare middle and ends of {method.title}")
        return Stage("midpoint", settings, {"data": self.data, "curve": curve}, label)

    def label(self, seeds: tuple[int, int], what: str) -> str:
        robust = "robust, " if self.robust else ""
        return f"{self.case.name} {seeds[0]},{seeds[1]}: {robust}{what}"


def write_plan(store: Store, plans: Iterable[CasePlan], schedule: Schedule) -> None:
    """Add what is planned to the run's `plan.json`; a case planned before is planned anew.

    Raises `InputError` if the run holds another schedule.
    """
    with store.alone():
        plan = read_plan(store) if (store.folder / PLAN).exists() else _empty(schedule)
        if plan["schedule"] != json.loads(json.dumps(asdict(schedule))):
            raise InputError(
                f"{store.folder}: holds a run of the schedule {plan['schedule'].get('name')!r}, "
                "or of other settings; give another folder with --out"
            )
        for one in plans:
            entry = plan["exhibits"].setdefault(
                one.exhibit.name, {"title": one.exhibit.title, "cases": {}}
            )
            entry["cases"][one.case.name] = _described(one)
            plan["stages"].update({stage.name: _entry(stage) for stage in one.stages})
        plan["stages"] = _reachable(plan)
        # As in the paper, in whatever order they were asked for.
        plan["exhibits"] = {
            name: plan["exhibits"][name] for name in EXHIBITS if name in plan["exhibits"]
        }
        text = json.dumps(plan, indent=1) + "\n"
        with replacing(store.folder / PLAN) as draft:
            draft.write_text(text, encoding="utf-8")


def read_plan(store: Store) -> dict[str, Any]:
    """What `write_plan` wrote. Raises `InputError` if the folder holds no run."""
    file = store.folder / PLAN
    if not file.is_file():
        raise InputError(
            f"{store.folder}: holds no {PLAN}; make a run with `basinbridge reproduce`"
        )
    plan = read_json(file, "make the run again")
    if not isinstance(plan, dict) or plan.get("kind") != "plan" or plan.get("format") != FORMAT:
        raise InputError(f"{file}: is no plan of format {FORMAT}")
    return plan


def _empty(schedule: Schedule) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "kind": "plan",
        "schedule": json.loads(json.dumps(asdict(schedule))),
        "exhibits": {},
        "stages": {},
    }


def _described(plan: CasePlan) -> dict[str, Any]:
    return {
        "model": plan.case.model,
        "dataset": plan.case.dataset,
        "methods": {one.name: one.title for one in plan.exhibit.methods_for(plan.case)},
        "shown": list(plan.exhibit.parts),
        "pairs": [
            {
                "seeds": list(pair.seeds),
                "parts": {
                    part: {key: stage.name for key, stage in stages.items()}
                    for part, stages in pair.parts.items()
                },
            }
            for pair in plan.pairs
        ],
    }


def _entry(stage: Stage) -> dict[str, Any]:
    return {
        "kind": stage.kind,
        "label": stage.label,
        "file": stage.file,
        "settings": dict(stage.settings),
        "inputs": {role: needed.name for role, needed in stage.inputs.items()},
    }


def _reachable(plan: dict[str, Any]) -> dict[str, Any]:
    """The stages that some exhibit still needs, in their order."""
    needed = {
        name
        for exhibit in plan["exhibits"].values()
        for case in exhibit["cases"].values()
        for pair in case["pairs"]
        for part in pair["parts"].values()
        for name in part.values()
    }
    front = set(needed)
    while front:
        front = {name for one in front for name in plan["stages"][one]["inputs"].values()} - needed
        needed |= front
    return {name: entry for name, entry in plan["stages"].items() if name in needed}
