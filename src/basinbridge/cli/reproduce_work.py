"""What the commands `reproduce` and `status` do."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from ..data.datasets import is_local
from ..errors import InputError
from ..experiments import work
from ..experiments.estimate import FACTS, Speeds, measure, seconds_of, sizes_of
from ..experiments.exhibits import SCHEDULES, STAND_IN, chosen_cases, chosen_exhibits
from ..experiments.plan import PLAN, CasePlan, plan_case, read_plan, write_plan
from ..experiments.run import Outcome, run
from ..experiments.specs import Case, Exhibit, Schedule, pairs_of
from ..experiments.store import Stage, Store, in_order
from ..experiments.together import group_at
from ..experiments.workplace import Workplace
from ..reading import blaming
from .progress import Bars

DEFAULT_SEEDS = (0, 1, 2, 3, 4, 5)
Executor = Callable[[Sequence[Stage], Workplace, Bars], Outcome]


def plans_for(
    exhibits: str,
    only: str | None,
    seeds: Sequence[int] | None,
    schedule: Schedule,
    data_root: Path | None,
) -> list[CasePlan]:
    """Plan the exhibits' cases that `only` and the data at hand leave.

    Raises `InputError` if none is left.
    """
    smoke = schedule.name == "smoke"
    chosen = pairs_of(tuple(seeds) if seeds else DEFAULT_SEEDS[: 2 if smoke else 6])
    if smoke and not seeds:
        chosen = chosen[:1]
    plans = []
    for exhibit in chosen_exhibits(exhibits):
        if seeds:
            exhibit = replace(exhibit, pairs=len(chosen))
        cases = _smoke_cases(exhibit, data_root) if smoke and only is None else ()
        if only == STAND_IN.name:
            cases = (STAND_IN,)
        for case in cases or chosen_cases(exhibit, only):
            plans.append(plan_case(exhibit, case, chosen, schedule))
    if not plans:
        known = {case.name for one in chosen_exhibits(exhibits) for case in one.cases}
        raise InputError(
            f"--only {only!r} leaves nothing of {exhibits}: {', '.join(sorted(known))}"
        )
    return plans


def _smoke_cases(exhibit: Exhibit, data_root: Path | None) -> tuple[Case, ...]:
    """The smallest network on the first data set that is there; the stand-in if there is none."""
    found = [
        case for case in chosen_cases(exhibit, "tinyten/*") if is_local(case.dataset, data_root)
    ]
    return tuple(found[:1]) or (STAND_IN,)


def chosen_schedule(name: str, mixed_precision: bool) -> Schedule:
    """A schedule by name."""
    found = SCHEDULES.get(name)
    if found is None:
        raise InputError(f"schedule {name!r}: give one of {', '.join(SCHEDULES)}")
    return found.with_mixed_precision() if mixed_precision else found


def show_estimates(
    plans: Sequence[CasePlan], store: Store, device: torch.device, data_root: Path | None
) -> None:
    """Print every stage with the time it should take, and what there is already."""
    speeds: dict[tuple[str, int], Speeds] = {}
    console = Console(highlight=False, soft_wrap=False)
    total, seen = 0.0, set()
    with Bars() as bars:
        for place, plan in enumerate(plans):
            bars("measuring how fast this machine is", place, len(plans))
            kind = (plan.case.model, FACTS[plan.case.dataset].side)
            if kind not in speeds:
                training = plan.pairs[0].parts["endpoints"]["start"].settings["training"]
                speeds[kind] = measure(
                    plan.case,
                    device,
                    mixed_precision=training["mixed_precision"],
                    permuting=any(stage.kind == "pam" for stage in plan.stages),
                )
    for plan in plans:
        known = speeds[plan.case.model, FACTS[plan.case.dataset].side]
        for stage in plan.stages:
            if stage.name in seen:
                continue
            seen.add(stage.name)
            data = stage.inputs.get("data", stage)
            seconds = 0.0 if store.has(stage) else seconds_of(stage, known, sizes_of(data))
            total += seconds
            state = "done" if store.has(stage) else readable(seconds)
            console.print(f"{state:>9}  {stage.label}", overflow="ellipsis", no_wrap=True)
    console.print(f"{readable(total):>9}  in all, {len(seen)} stages, on this machine, one by one")
    for name in missing_data(plans, data_root):
        console.print(f"data set {name} is in no local folder; the Hub will be asked for it")


def missing_data(plans: Sequence[CasePlan], data_root: Path | None) -> list[str]:
    """The data sets of plans that no local folder holds."""
    wanted = dict.fromkeys(plan.case.dataset for plan in plans)
    return [name for name in wanted if not is_local(name, data_root)]


def readable(seconds: float) -> str:
    """Seconds in words.

    >>> readable(0.2), readable(75), readable(7260)
    ('0 s', '1 min 15 s', '2 h 01 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def carry_out(
    plans: Sequence[CasePlan], schedule: Schedule, place: Workplace, executor: Executor
) -> Outcome:
    """Write the plan and do whatever of it is not done yet."""
    write_plan(place.store, plans, schedule)
    stages = in_order(stage for plan in plans for stage in plan.stages)
    with Bars() as bars:
        place.watch = bars
        return executor(stages, place, bars)


def in_process(stages: Sequence[Stage], place: Workplace, bars: Bars) -> Outcome:
    """Carry out stages here, one by one, or so many together as the place says."""
    return run(
        stages,
        place.store,
        partial(work.carry_out, place),
        group=group_at(place),
        watch=lambda done, total: bars("all stages", done, total),
    )


def on_ray(cpus: int, gpus: float) -> Executor:
    """Carry out stages on Ray's workers, each with so many processors and cards."""
    from ..experiments.ray_run import at_a_place, run_on_ray

    def executor(stages: Sequence[Stage], place: Workplace, bars: Bars) -> Outcome:
        return run_on_ray(
            stages,
            place.store,
            at_a_place(place),
            cpus=cpus,
            gpus=gpus,
            watch=lambda done, total: bars("all stages", done, total),
        )

    return executor


def show_outcome(outcome: Outcome, stages: int, folder: Path) -> int:
    """Say what was done and what could not be; return the exit status."""
    missing = len(outcome.failed)
    print(f"{stages - missing} of {stages} stages are done, {outcome.done} of them now")
    reasons: dict[str, int] = {}
    for reason in outcome.failed.values():
        reasons[reason] = reasons.get(reason, 0) + 1
    for reason, count in reasons.items():
        print(f"basinbridge: {count} stages could not be done: {reason}", file=sys.stderr)
    print(f"see it with: basinbridge report {folder}")
    return 2 if outcome.failed else 0


def show_status(folder: Path, everything: bool) -> None:
    """Print how many stages of each kind are done, running and missing, and which are running."""
    store = Store(folder)
    plan = read_plan(store)
    with blaming(folder / PLAN, "make the run again"):
        _print_status(store, plan, everything)


def _print_status(store: Store, plan: dict[str, Any], everything: bool) -> None:
    states = {}
    for name, entry in plan["stages"].items():
        done = (store.folder / "results" / entry["file"]).is_file()
        states[name] = "done" if done else "running" if store.running(name) else "missing"
    console = Console(highlight=False)
    names = ", ".join(plan["exhibits"])
    console.print(f"{names}; schedule {plan['schedule']['name']}", markup=False)
    kinds = dict.fromkeys(entry["kind"] for entry in plan["stages"].values())
    console.print(f"{'':<12}{'done':>8}{'running':>9}{'missing':>9}")
    for kind in (*kinds, "all"):
        found = [
            state for name, state in states.items() if kind in (plan["stages"][name]["kind"], "all")
        ]
        counts = [found.count(state) for state in ("done", "running", "missing")]
        console.print(f"{kind:<12}{counts[0]:>8}{counts[1]:>9}{counts[2]:>9}")
    for name, state in states.items():
        if everything or state == "running":
            line = f"{state:>8}  {plan['stages'][name]['label']}"
            console.print(line, overflow="ellipsis", no_wrap=True, markup=False)


def write_report_of(folder: Path, pictures: bool) -> None:
    """Print a run's tables, write its page and, if asked for, its pictures."""
    from ..report.comparison import print_comparison
    from ..report.html import write_html
    from ..report.pictures import write_pictures
    from ..report.run import read_run

    run = read_run(folder)
    page = folder / "report.html"
    with blaming(folder, "delete the stages that are damaged and run again"):
        print_comparison(run)
        write_html(run, page)
        print(f"wrote {page}")
        if pictures:
            files = write_pictures(run, folder / "pictures")
            print(f"wrote {len(files)} files in {folder / 'pictures'}")
