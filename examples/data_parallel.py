"""Fit a curve by several processes: `torchrun --nproc-per-node 2 examples/data_parallel.py`.

Started as an ordinary script it does the same alone.
"""

import os

import torch
from sklearn.datasets import load_digits
from torch import nn

import basinbridge as bb

ranks = bb.Ranks.joined() if "RANK" in os.environ else None

digits = load_digits()
images = torch.tensor(digits.data, dtype=torch.float32) / 16
labels = torch.tensor(digits.target)
order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
data = (images[order[:1200]], labels[order[:1200]])
test_data = (images[order[1200:]], labels[order[1200:]])


def trained(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 10))
    return bb.train(network, data, epochs=10, batch_size=32, seed=seed, ranks=ranks)


net_a, net_b = trained(0), trained(1)
symmetry = bb.discover(net_a, data[0][:2])
net_b = bb.permute(net_b, symmetry, bb.align(net_a, net_b, data, symmetry))
curve = bb.Bezier.between(net_a, net_b)
curve = bb.fit(curve, data, epochs=5, learning_rate=0.05, batch_size=32, ranks=ranks)
if ranks is None or ranks.first:
    print(str(bb.evaluate(curve, test_data, points=11)).splitlines()[0])
if ranks is not None:
    ranks.leave()
