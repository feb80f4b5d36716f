"""Adversarial training: images are attacked before every step (Madry et al. 2018)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from ..errors import InputError
from .objective import Objective, logits_of, standard


@dataclass(frozen=True)
class Attack:
    """Projected gradient descent within a box of half-width `epsilon` around images in [0, 1].

    `steps` times each pixel moves by `step` in the direction in which the cross entropy grows,
    then back into the box and into [0, 1]. It starts at the image or, with `random_start`, at a
    uniformly drawn point of the box; draws come from torch's global generator of the images'
    device.

    Source: Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks" (ICLR
    2018), the l_inf attack; the defaults are those of the paper's runs on CIFAR.

    >>> network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    >>> images, labels = torch.rand(3, 1, 2, 2), torch.tensor([0, 1, 0])
    >>> moved = Attack(epsilon=0.1, step=0.05)(network, images, labels)
    >>> bool((moved - images).abs().max() <= 0.1 + 1e-6), 0 <= moved.min() <= moved.max() <= 1
    (True, tensor(True))
    """

    epsilon: float = 8 / 255
    step: float = 2 / 255
    steps: int = 5
    random_start: bool = True

    def __post_init__(self) -> None:
        if not (self.epsilon >= 0 and self.step > 0 and self.steps >= 0):
            raise InputError(
                f"an attack needs epsilon >= 0, step > 0 and steps >= 0; got "
                f"{self.epsilon}, {self.step}, {self.steps}"
            )

    def __call__(self, network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """The images (n, ...) after the attack on `network`, which stays as it is.

        The network runs in the mode that it is in, so that in training batch norm uses the batch;
        its parameters get no gradients and its buffers do not move. Raises `InputError` for images
        outside [0, 1]: an attack on normalised ones would have another epsilon for each channel.
        """
        lowest, highest = (float(value) for value in torch.aminmax(images.detach()))
        if not 0 <= lowest <= highest <= 1:
            raise InputError(
                f"the images to attack reach from {lowest:.3g} to {highest:.3g}, not from 0 to 1; "
                "leave them in [0, 1] and normalise inside the network (models.Normalised)"
            )
        # Copies of the buffers move in place of the network's own, and then are forgotten.
        tensors = {name: parameter.detach() for name, parameter in network.named_parameters()}
        tensors |= {name: buffer.clone() for name, buffer in network.named_buffers()}
        images = images.detach()
        lower, upper = (images - self.epsilon).clamp_min(0), (images + self.epsilon).clamp_max(1)
        moved = images
        if self.random_start:
            noise = torch.empty_like(images).uniform_(-self.epsilon, self.epsilon)
            moved = torch.clamp(images + noise, lower, upper)
        for _ in range(self.steps):
            moved.requires_grad_()
            with torch.enable_grad():
                logits = logits_of(functional_call(network, tensors, (moved,)))[0]
                # A sum, as the mean of a large batch could round small gradients to zero.
                loss = functional.cross_entropy(logits, labels, reduction="sum")
            (gradient,) = torch.autograd.grad(loss, moved)
            moved = torch.clamp(moved.detach() + self.step * gradient.sign(), lower, upper)
        return moved


def adversarial(
    epsilon: float = 8 / 255, step: float = 2 / 255, steps: int = 5, random_start: bool = True
) -> Objective:
    """The objective of robust networks and curves: the `standard` one on attacked images.

    The arguments are those of an `Attack`, in units of images in [0, 1]; the network normalises
    them itself (`models.Normalised`). On a curve each batch is attacked at the r(t) that its step
    is taken at. Source: Section 5, Tatro et al. 2020.

    >>> import basinbridge as bb
    >>> data = torch.rand(32, 4), torch.zeros(32, dtype=torch.long)
    >>> robust = adversarial(epsilon=0.1, step=0.03)
    >>> trained = bb.train(nn.Linear(4, 2), data, objective=robust, epochs=1, batch_size=8)
    """
    return _Adversarial(Attack(epsilon, step, steps, random_start))


@dataclass(frozen=True)
class _Adversarial:
    """No function of its own, so that its text, which checkpoints compare, tells the attack."""

    attack: Attack

    def __call__(self, network: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
        return standard(network, self.attack(network, inputs, labels), labels)
