"""Join two small networks on scikit-learn's digits: discover, align, fit a curve, evaluate it."""

import torch
from sklearn.datasets import load_digits
from torch import nn

import basinbridge as bb

digits = load_digits()
images = torch.tensor(digits.data, dtype=torch.float32) / 16
labels = torch.tensor(digits.target)
order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
data = (images[order[:1200]], labels[order[:1200]])
test_data = (images[order[1200:]], labels[order[1200:]])


def trained(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    network = nn.Sequential(
        nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 10)
    )
    return bb.train(network, data, epochs=20, learning_rate=0.1, batch_size=32, seed=seed)


net_a, net_b = trained(0), trained(1)
symmetry = bb.discover(net_a, data[0][:2])
print(symmetry, "\n")
match = bb.align(net_a, net_b, data, symmetry)
aligned = bb.permute(net_b, symmetry, match)
for name, end in (("as they are", net_b), ("aligned", aligned)):
    curve = bb.fit(bb.Bezier.between(net_a, end), data, epochs=5, learning_rate=0.05, batch_size=32)
    report = bb.evaluate(curve, test_data, points=11)
    print(f"curve between the networks {name}: {str(report).splitlines()[0]}")
