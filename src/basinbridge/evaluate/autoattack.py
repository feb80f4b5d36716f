"""Robustness against attacks of another kind: AutoAttack, by an outside library."""

import copy
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..data.batches import Data, evaluation_batches, global_seed
from ..errors import InputError
from ..train.objective import logits_of
from .along import score


def auto_attack(
    network: nn.Module,
    data: Data,
    epsilon: float,
    *,
    batch_size: int = 100,
    square_steps: int = 5_000,
    seed: int = 0,
) -> float:
    """Accuracy in [0, 1] under AutoAttack, in the l_inf box of half-width `epsilon`.

    Images must be in [0, 1] (`models.Normalised`), classes three or more. Four attacks take turns
    on the images that are still told right: Auto-PGD up the cross entropy and up the difference of
    logits ratio, each from five starts with 100 steps, DeepFool, and the Square attack, which needs
    no gradients and asks the network up to `square_steps` times. That is thousands of passes an
    image: give a few hundred images. Batch norm's statistics must be right beforehand.

    Source: Croce and Hein, "Reliable evaluation of adversarial robustness with an ensemble of
    diverse parameter-free attacks" (ICML 2020), as the Adversarial Robustness Toolbox has it, with
    DeepFool in the place of FAB. Raises `InputError` if that package is missing.
    """
    try:
        evasion = importlib.import_module("art.attacks.evasion")
        estimators = importlib.import_module("art.estimators.classification")
    except ImportError as error:
        raise InputError(
            f"AutoAttack needs another package: pip install 'basinbridge[robust]' ({error})"
        ) from error
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    logits = _Logits(copy.deepcopy(network)).eval().requires_grad_(False)
    attacked = []
    with global_seed(seed, device), _numpy_seed(seed):
        for images, labels in evaluation_batches(data, batch_size, device=device):
            with torch.no_grad():
                classes = logits(images[:1]).shape[-1]
            classifier = estimators.PyTorchClassifier(
                logits,
                nn.CrossEntropyLoss(),
                tuple(images.shape[1:]),
                classes,
                clip_values=(0.0, 1.0),
                device_type="gpu" if device.type == "cuda" else "cpu",
            )
            attacks = _attacks(evasion, classifier, epsilon, batch_size, square_steps)
            attack = evasion.AutoAttack(
                classifier, eps=epsilon, batch_size=batch_size, attacks=attacks
            )
            moved = attack.generate(images.cpu().numpy(), labels.cpu().numpy())
            attacked.append((torch.from_numpy(moved).to(images), labels))
    return score(logits, attacked).accuracy


def _attacks(
    evasion: Any,  # noqa: ANN401 - a module
    classifier: Any,  # noqa: ANN401 - one of its estimators
    epsilon: float,
    batch_size: int,
    square_steps: int,
) -> list[Any]:
    """The ensemble that is the toolbox's standard, without its progress bars."""
    quiet = {"batch_size": batch_size, "verbose": False}
    ascents = [
        evasion.AutoProjectedGradientDescent(
            classifier,
            eps=epsilon,
            eps_step=epsilon / 4,
            max_iter=100,
            nb_random_init=5,
            loss_type=loss,
            **quiet,
        )
        for loss in ("cross_entropy", "difference_logits_ratio")
    ]
    deep_fool = evasion.DeepFool(classifier, max_iter=100, epsilon=1e-3, **quiet)
    square = evasion.SquareAttack(classifier, eps=epsilon, max_iter=square_steps, **quiet)
    return [*ascents, deep_fool, square]


class _Logits(nn.Module):
    """A network whose only output are its logits."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return logits_of(self.network(images))[0]


@contextmanager
def _numpy_seed(seed: int) -> Iterator[None]:
    """NumPy's global generator, which the toolbox draws from, seeded and put back afterwards."""
    before = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002
