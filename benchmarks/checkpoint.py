"""What a checkpoint costs: trainings with and without one in turns, by processor time.

OMP_NUM_THREADS=1 python benchmarks/checkpoint.py
"""

import statistics
import tempfile
import time
from pathlib import Path

import torch

import basinbridge as bb
from basinbridge.data.datasets import load
from basinbridge.models import DigitsNet

TURNS, EPOCHS = 8, 20


def main() -> None:
    data = load("digits", "train")

    def seconds(checkpoint: bb.Checkpoint | None) -> float:
        torch.manual_seed(0)
        network = DigitsNet()
        began = time.process_time()
        bb.train(network, data, epochs=EPOCHS, batch_size=32, checkpoint=checkpoint)
        return time.process_time() - began

    seconds(None)
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(TURNS):
            without = seconds(None)
            ratios.append(seconds(bb.Checkpoint(Path(folder) / str(turn))) / without)
    steps = EPOCHS * (len(data) // 32)
    print(
        f"{steps} steps of DigitsNet with a checkpoint over without: median "
        f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
    )


if __name__ == "__main__":
    main()
