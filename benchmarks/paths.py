"""Evaluating a curve, in bare forward passes of the same images by the same network."""

import torch
from timing import Ratio, ratio
from torch import nn

import basinbridge as bb
from basinbridge.evaluate.along import BATCH_SIZE, prepared


def evaluation(network: type[nn.Module], images: int, repeats: int, points: int = 4) -> Ratio:
    """`bb.evaluate` at `points` t, `images` for batch norm and as many to score.

    The yardstick runs all of these images through the network in evaluation mode, from batches of
    the size and in the memory order of `bb.evaluate`, and does nothing with the logits.
    """
    ends = [network() for _ in range(2)]
    data = torch.randn(images, 3, 32, 32), torch.randint(10, (images,))
    batches = prepared(data, BATCH_SIZE, torch.device("cpu"))
    line, bare = bb.Linear.between(*ends), ends[0].eval()

    def forwards() -> None:
        with torch.no_grad():
            for _ in range(2 * points):
                for inputs, _ in batches:
                    bare(inputs)

    return ratio(
        forwards,
        lambda: bb.evaluate(
            line, data, batchnorm_data=data, points=points, batchnorm_images=images
        ),
        repeats,
    )
