"""What each kind of stage does: read its inputs' results, compute, write its own."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict

import torch

from ..align.match import align
from ..curve.files import save_curve
from ..curve.fit import fit
from ..curve.pam import pam
from ..curve.paths import Bezier, Curve, Linear
from ..evaluate.along import evaluate
from ..evaluate.plane import plane
from ..evaluate.signature import signature
from ..state import save_state
from ..symmetry.permutation import permute
from ..train.loop import train
from .corners import corners_of_curve, corners_of_pair
from .midpoints import midpoint_signatures
from .pair import path_entry
from .store import Stage
from .workplace import Job, Workplace, reduced


def carry_out(place: Workplace, stage: Stage) -> None:
    """Do a stage, whose inputs are there, and write its result.

    Raises `InputError` for data that are missing or not those the run began with, and for a
    training that diverges.
    """
    began = time.perf_counter()
    if stage.kind == "data":
        place.note_data(stage, began)
    else:
        KINDS[stage.kind](Job.at(place, stage, began))


def _train(job: Job) -> None:
    history: list[float] = []
    resumed = bool(job.checkpoint.files())
    settings = job.training(job.settings["seed"], history)
    trained = train(job.network, job.train_data, **settings)
    save_network(job, trained, history=history, resumed=resumed)
    job.checkpoint.remove()


def save_network(job: Job, trained: torch.nn.Module, **more: object) -> None:
    """Write a trained network, and what made it."""
    save_state(trained.state_dict(), job.out, record=json.dumps(job.made(**more)))


def _align(job: Job) -> None:
    chosen = job.settings
    images = job.train_data.at_most(chosen["images"], chosen["seed"])
    symmetry = job.symmetry()
    found = align(
        job.end("start"),
        job.end("end"),
        images,
        symmetry,
        method=chosen["method"],
        activations=chosen["activations"],
        seed=chosen["seed"],
    )
    record = job.made(images=len(images))
    save_state(found, job.out, kind="permutation", record=json.dumps(record))


def _fit(job: Job) -> None:
    history: list[float] = []
    resumed = bool(job.checkpoint.files())
    settings = job.training(job.settings["seed"], history)
    curve = fit(unfitted(job), job.train_data, **settings)
    save_fitted(job, curve, history=history, resumed=resumed)
    job.checkpoint.remove()


def unfitted(job: Job) -> Curve:
    """The curve between a pair, its end renumbered if it was aligned, before it is fitted."""
    start, end, match = job.end("start"), job.end("end"), job.match()
    return Bezier.between(start, end if match is None else permute(end, job.symmetry(), match))


def _fit_in_turns(job: Job) -> None:
    match = job.match()
    epochs = job.settings["permutation_epochs"]
    history: list[float] = []
    resumed = bool(job.checkpoint.files())
    found = pam(
        job.end("start"),
        job.end("end"),
        job.train_data,
        job.symmetry(),
        start="identity" if match is None else match,
        permutation_epochs=epochs,
        **job.training(job.settings["seed"], history),
    )
    save_fitted(
        job,
        found.curve,
        history=history[epochs:],
        permutation_history=history[:epochs],
        objective=list(found.history),
        resumed=resumed,
    )
    job.checkpoint.remove()


def save_fitted(job: Job, curve: Curve, **more: object) -> None:
    """Write a fitted curve, and what made it."""
    decay = job.settings["training"]["weight_decay"]
    record = job.made(
        decay_term=0.5 * decay * mean_square(curve), aligned="match" in job.stage.inputs, **more
    )
    save_curve(curve, job.out, record)


def mean_square(curve: Curve, points: int = 257) -> float:
    """The mean over t of |r(t)|^2, parameters only; 0.5 * weight decay times it is the L2 term.

    >>> one = torch.nn.Linear(1, 1, bias=False)
    >>> _ = torch.nn.init.constant_(one.weight, 2.0)
    >>> mean_square(Linear.between(one, one))
    4.0
    """
    parameters = curve.points[:, : curve.layout.parameters].double()
    products = (parameters @ parameters.T).cpu()
    weights = torch.stack([curve.coefficients(i / (points - 1)) for i in range(points)])
    squares = ((weights @ products) * weights).sum(1)
    return float(torch.trapezoid(squares, dx=1 / (points - 1)))


def _evaluate(job: Job) -> None:
    curve = job.curve()
    if job.settings["path"] == "line":
        curve = Linear.between(curve.network_at(0), curve.state_at(1))
    found = evaluate(
        curve,
        job.test_data,
        batchnorm_data=job.train_data,
        points=job.settings["points"],
        batchnorm_images=job.batchnorm_images(),
        augmentation=job.augmentation(),
        attack=job.attack,
        together=job.place.together if job.attack is None else 1,
        progress=job.progress,
    )
    job.write({**path_entry(found), "batchnorm_images": found.batchnorm_images})


def _plane(job: Job) -> None:
    chosen = job.settings
    if "curve" in job.stage.inputs:
        corners = corners_of_curve(job.curve(), chosen["title"], renumbered=chosen["renumbered"])
    else:
        corners = corners_of_pair(job.curve("unaligned"), job.curve("aligned"))
    data = reduced(job.test_data, chosen["images"])
    found = plane(
        job.network,
        corners.states,
        data,
        batchnorm_data=job.train_data,
        size=chosen["size"],
        across=tuple(chosen["across"]),
        up=tuple(chosen["up"]),
        curves=corners.curves,
        batchnorm_images=job.batchnorm_images(),
        augmentation=job.augmentation(),
        progress=job.progress,
    )
    job.write(
        {
            "title": f"{job.stage.label}, {len(data):,} test images",
            "names": corners.names,
            "lines": [list(pair) for pair in corners.lines],
            **asdict(found),
        }
    )


def _signature(job: Job) -> None:
    found = signature(job.end("start"), job.end("end"), job.test_data, job.symmetry(), job.match())
    job.write(asdict(found))


def _midpoint(job: Job) -> None:
    _, entries = midpoint_signatures(
        job.curve(),
        job.test_data,
        job.symmetry(),
        job.train_data,
        batchnorm_images=job.batchnorm_images(),
        augmentation=job.augmentation(),
    )
    job.write({"entries": entries})


KINDS: dict[str, Callable[[Job], None]] = {
    "endpoint": _train,
    "alignment": _align,
    "curve": _fit,
    "pam": _fit_in_turns,
    "evaluation": _evaluate,
    "plane": _plane,
    "signature": _signature,
    "midpoint": _midpoint,
}
