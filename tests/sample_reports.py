"""Made-up reports of the shape a real run writes, for the tests of `basinbridge.report`."""

import numpy

POINTS = 61
# Accuracy in the middle of each path, and the loss there, as in a run on digits.
MIDDLES = {
    "linear_unaligned": (0.30, 2.6),
    "linear_aligned": (0.86, 0.45),
    "curve_unaligned": (0.945, 0.19),
    "curve_aligned": (0.973, 0.09),
}
FACTORS = {
    "accuracy": 0.5,
    "loss": 2.0,
    "average_accuracy": 0.5,
    "minimum_accuracy": 0.5,
    "average_loss": 2.0,
    "barrier": 2.0,
}
ENDPOINTS = {"start": {"accuracy": 0.988, "loss": 0.05}, "end": {"accuracy": 0.990, "loss": 0.045}}


def sample_pair(seeds=(0, 1), shift=0.0):
    """One pair; `shift` lowers every accuracy and raises every loss inside the paths."""
    t = numpy.linspace(0.0, 1.0, POINTS)
    pair = {"seeds": list(seeds), "endpoints": {end: dict(ENDPOINTS[end]) for end in ENDPOINTS}}
    for path, (accuracy_dip, loss_peak) in MIDDLES.items():
        bump = numpy.sin(numpy.pi * t) ** (2 if path.startswith("linear") else 1)
        line = (1 - t) * 0.988 + t * 0.990
        loss_line = (1 - t) * 0.05 + t * 0.045
        accuracy = line - (line.min() - accuracy_dip + shift) * bump
        loss = loss_line + (loss_peak + shift) * bump
        pair[path] = {
            "t": t.tolist(),
            "loss": loss.tolist(),
            "accuracy": accuracy.tolist(),
            "average_accuracy": float(accuracy.mean()),
            "minimum_accuracy": float(accuracy.min()),
            "average_loss": float(loss.mean()),
            "barrier": float((loss - loss_line).max()),
        }
    pair["seconds"] = {"train": 4.0, "align": 0.25, "evaluate": 1.25}
    return pair


def robust_report(pairs=1):
    """A report with scores under attack: every accuracy halved, every loss doubled."""
    report = sample_report(pairs)
    for pair in (report, *report["pairs"]):
        for path in MIDDLES:
            pair[path] |= {
                f"robust_{name}": numpy.multiply(pair[path][name], factor).tolist()
                for name, factor in FACTORS.items()
            }
        for end in ENDPOINTS:
            pair["endpoints"][end] |= {
                f"robust_{name}": FACTORS[name] * ENDPOINTS[end][name] for name in ENDPOINTS[end]
            }
    report["settings"]["attack"] = {"epsilon": 0.1, "step": 0.025, "steps": 5}
    return report


def sample_report(pairs=1):
    """A whole report of some pairs, each a little worse than the one before."""
    listed = [sample_pair((2 * index, 2 * index + 1), 0.002 * index) for index in range(pairs)]
    settings = {
        "model": "basinbridge.models:DigitNet",
        "dataset": "digits",
        "epochs": 20,
        "learning_rate": 0.1,
        "curve_epochs": 5,
        "curve_learning_rate": 0.05,
        "batch_size": 32,
        "points": POINTS,
        "alignment_images": 1197,
        "batchnorm_images": 1197,
    }
    return {"format": 1, "settings": settings, **sample_pair(), "pairs": listed}
