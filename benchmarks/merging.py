"""Merged networks and ensembles of the pairs that benchmarks/techniques.py trained.

    OMP_NUM_THREADS=1 python benchmarks/merging.py --data-root DATA --cache CACHE [--pairs 3]

CACHE is that of techniques.py. TinyTen's batch norm is re-estimated for every merged network. To
see REPAIR at work, each network is also taken with its batch norm folded into the convolutions:
that changes no output and leaves nothing to re-estimate.
"""

import argparse
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import mean

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

import basinbridge as bb
from basinbridge.curve.files import load_curve
from basinbridge.data.augment import augmentation
from basinbridge.data.datasets import load
from basinbridge.data.images import ImageData
from basinbridge.evaluate.along import prepared, score
from basinbridge.evaluate.ensemble import Quality
from basinbridge.models import TinyTen
from basinbridge.models.layers import ConvolutionBlock
from basinbridge.report.caption import mean_and_spread
from basinbridge.symmetry.permutation import identity_permutation

IMAGES = 2_000
AUGMENTATION = augmentation("cifar10")  # the training's
ENSEMBLES = {
    "both ends": ("identity", (0.0, 1.0)),
    "five on the curve, unaligned": ("identity", (0.0, 0.25, 0.5, 0.75, 1.0)),
    "five on the curve, aligned": ("correlation-post", (0.0, 0.25, 0.5, 0.75, 1.0)),
}


def folded(network: TinyTen) -> nn.Module:
    """The same function without batch norm."""
    layers: list[nn.Module] = []
    for block in network.eval().features:
        assert isinstance(block, ConvolutionBlock)
        layers += [fuse_conv_bn_eval(block.conv, block.norm), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), network.classifier)


def merged(
    nets: tuple[nn.Module, nn.Module],
    data: ImageData,
    tests: list[tuple[torch.Tensor, torch.Tensor]],
) -> dict[str, tuple[float, float]]:
    """Accuracy and loss of the ends (their mean) and of the networks in the middle."""
    symmetry = bb.discover(nets[0], data.example())
    orders = {
        "unaligned": identity_permutation(symmetry),
        "aligned": bb.align(*nets, data, symmetry),
    }
    ends = [score(net, tests) for net in nets]
    found = {"ends": (mean(one.accuracy for one in ends), mean(one.loss for one in ends))}
    for name, order in orders.items():
        for repair in (False, True):
            made = bb.merge(*nets, data, symmetry, order, repair=repair, augmentation=AUGMENTATION)
            if repair and not made.repaired:
                continue
            result = score(made.network, tests)
            found[f"{name}, repaired" if repair else name] = (result.accuracy, result.loss)
    return found


def percent(shares: Sequence[float]) -> str:
    return mean_and_spread([100 * share for share in shares], 1)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data-root", type=Path, help="folder with local copies of data sets")
    parser.add_argument("--cache", type=Path, default=Path("techniques"))
    parser.add_argument("--pairs", type=int, default=3)
    return parser.parse_args()


def main() -> None:
    chosen = options()
    torch.set_num_threads(1)
    train_data, test_data = (
        load("cifar10", split, root=chosen.data_root) for split in ("train", "test")
    )
    tests = prepared(test_data, 200, torch.device("cpu"))
    points: dict[str, list[tuple[float, float]]] = defaultdict(list)
    ensembles: dict[str, list[Quality]] = defaultdict(list)
    for number in range(chosen.pairs):
        nets = TinyTen(), TinyTen()
        for place, net in enumerate(nets):
            net.load_state_dict(
                bb.load_state(chosen.cache / f"net-{2 * number + place}.safetensors")
            )
        data = train_data.subset(IMAGES, 2 * number)
        for kind, pair in (("batch norm", nets), ("folded", (folded(nets[0]), folded(nets[1])))):
            for name, score_of_it in merged(pair, data, tests).items():
                points[f"{kind}, {name}"].append(score_of_it)
        for name, (technique, times) in ENSEMBLES.items():
            curve, _ = load_curve(
                chosen.cache / f"pair-{number}-{technique}.safetensors", TinyTen()
            )
            made = bb.ensemble(
                curve,
                test_data,
                times=times,
                batchnorm_data=data,
                batchnorm_images=IMAGES,
                augmentation=AUGMENTATION,
            )
            ensembles[name].append(made.together)
            if name != "both ends":
                ensembles[f"{name}: middle alone"].append(made.members[2])
    print("| network | accuracy, % | loss, nats |\n| --- | ---: | ---: |")
    for name, pairs in points.items():
        accuracies, losses = zip(*pairs, strict=True)
        print(f"| {name} | {percent(accuracies)} | {mean_and_spread(losses, 3)} |")
    print("\n| ensemble | accuracy, % | loss, nats | calibration error, % |")
    print("| --- | ---: | ---: | ---: |")
    for name, scores in ensembles.items():
        accuracy, error = (
            percent([getattr(one, what) for one in scores]) for what in ("accuracy", "calibration")
        )
        loss = mean_and_spread([one.loss for one in scores], 3)
        print(f"| {name} | {accuracy} | {loss} | {error} |")


if __name__ == "__main__":
    main()
