"""The middle of a curve compared with its ends (Figure 1, middle and right, of the paper)."""

from dataclasses import asdict
from typing import Any

from ..align.methods import Activations
from ..curve.paths import Curve, Linear
from ..data.batches import Augmentation, Data
from ..evaluate.along import BATCHNORM_IMAGES
from ..evaluate.signature import Signature, signature_along
from ..symmetry.groups import Symmetry
from ..train.adversarial import Attack


def midpoint_signatures(
    curve: Curve,
    data: Data,
    symmetry: Symmetry,
    batchnorm_data: Data,
    *,
    batchnorm_images: int = BATCHNORM_IMAGES,
    augmentation: Augmentation | None = None,
    activations: Activations = "post",
    attack: Attack | None = None,
) -> tuple[tuple[Signature, Signature], list[dict[str, Any]]]:
    """Signatures of the curve's two ends with its middle, and the same as values of JSON.

    The latter also hold `line`: the correlation with the middle of the straight line instead.
    """
    line = Linear.between(curve.network_at(0), curve.state_at(1))
    both, straight = (
        signature_along(
            one,
            data,
            symmetry,
            batchnorm_data=batchnorm_data,
            batchnorm_images=batchnorm_images,
            augmentation=augmentation,
            activations=activations,
            attack=attack,
        )
        for one in (curve, line)
    )
    entries = [
        {**asdict(one), "line": other.before} for one, other in zip(both, straight, strict=True)
    ]
    return both, entries
