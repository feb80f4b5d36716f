"""The last section of a run's page: settings, data, versions, devices and times."""

from collections.abc import Callable, Iterator, Sequence
from html import escape
from typing import Any

from basinbridge.report.run import Run


def settings_section(run: Run) -> Iterator[str]:
    """Schedule, data, versions, devices, and the seconds of every stage."""
    records = {name: found["record"] for name, found in run.results.items() if found.get("record")}
    seconds = sum(record.get("seconds", 0.0) for record in records.values())
    yield "<section><h2 id='settings'>Settings and times</h2><dl>"
    for term, text in _schedule_items(run.schedule):
        yield f"<dt>{escape(term)}</dt><dd>{escape(text)}</dd>"
    for name, found in run.results.items():
        if run.plan["stages"][name]["kind"] == "data":
            data = found["data"]
            text = (
                f"{data['train']:,} training and {data['test']:,} test images; fingerprints "
                f"{data['fingerprint']['train']} and {data['fingerprint']['test']}"
            )
            yield f"<dt>data: {escape(str(data['name']))}</dt><dd>{escape(text)}</dd>"
            classes = ", ".join(str(one) for one in found.get("class_names", []))
            yield f"<dt>classes</dt><dd>{escape(classes)}</dd>"
    devices = sorted({str(record.get("device")) for record in records.values()})
    yield f"<dt>devices</dt><dd>{escape('; '.join(devices))}</dd>"
    every = sorted(
        {f"{k} {v}" for record in records.values() for k, v in record.get("versions", {}).items()}
    )
    yield f"<dt>versions</dt><dd>{escape(', '.join(every))}</dd>"
    for term, entry in (("commit", "commit"), ("commands", "command")):
        found_of_it = sorted({str(one[entry]) for one in records.values() if one.get(entry)})
        if found_of_it:
            yield f"<dt>{term}</dt><dd>{escape('; '.join(found_of_it))}</dd>"
    yield f"<dt>time of all stages</dt><dd>{_duration(seconds)}</dd></dl>"
    yield "<details><summary>Every stage, with its time</summary><table class='stages'><thead><tr>"
    yield "<th>stage</th><th>time</th><th class='wide'>finished (UTC)</th>"
    yield "<th class='wide'>result</th></tr></thead><tbody>"
    for name, entry in run.plan["stages"].items():
        record = records.get(name, {})
        time = _duration(record["seconds"]) if "seconds" in record else "—"
        if record.get("resumed"):
            time += " since it went on"
        yield (
            f"<tr><th>{escape(entry['label'])}</th><td>{time}</td>"
            f"<td class='wide'>{escape(str(record.get('finished', 'not done')))}</td>"
            f"<td class='wide'>{escape(entry['file'])}</td></tr>"
        )
    yield "</tbody></table></details></section>"


def _schedule_items(schedule: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - values of JSON
    yield "schedule", str(schedule["name"])
    for what, name in (
        ("endpoint", "training, endpoints"),
        ("curve", "training, curves"),
        ("robust", "training, robust ones"),
    ):
        one = schedule[what]
        precision = ", bfloat16 forward passes" if one["mixed_precision"] else ""
        yield (
            name,
            f"{one['epochs']} epochs, learning rate {one['learning_rate']:g} ({one['schedule']}), "
            f"batch {one['batch_size']}, weight decay {one['weight_decay']:g}{precision}"
            + _attack(one["attack"]),
        )
    yield "curves on CIFAR-100", f"learning rate {schedule['cifar100_learning_rate']:g}"
    yield "epochs of PAM's permutation step", str(schedule["permutation_epochs"])
    every: Callable[[str], str] = lambda name: (  # noqa: E731
        f"{schedule[name]:,}" if schedule[name] else "all"
    )
    yield "points along a curve", str(schedule["points"])
    yield "images for alignment", every("alignment_images")
    yield "images for batch norm", every("batchnorm_images")
    yield (
        "planes",
        f"{schedule['plane_size']} x {schedule['plane_size']} points, "
        f"{every('plane_images')} test images",
    )


def _attack(attack: Sequence[float] | None) -> str:
    """The attack of a training in words, if it has one."""
    if attack is None:
        return ""
    epsilon, step, steps = attack
    return f", attacked by {steps} steps of {255 * step:g}/255 within {255 * epsilon:g}/255"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"
