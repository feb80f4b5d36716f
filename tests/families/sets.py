"""Functions of sets and graphs."""

import torch
import torch.nn.functional as F
from torch import nn

from . import Built, family


@family(groups=2)
def deep_set() -> Built:
    """A function of a set (Zaheer et al. 2017): one layer for every element, then their maximum."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(3, 8), nn.Linear(8, 6)
            self.head = nn.Linear(12, 4)

        def forward(self, x):
            x = self.two(F.relu(self.one(x)))
            return self.head(torch.cat([x.max(dim=1)[0], x.mean(dim=1)], dim=-1))

    return Net(), torch.randn(2, 7, 3)


@family(groups=4)
def point_net() -> Built:
    """PointNet's aligned features (Qi et al. 2017): a matrix that the network makes itself.

    Three groups of the small network that makes a 3 x 3 matrix, and one behind it. Its rows and
    columns face the input, so they are fixed.
    """

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Conv1d(3, 6, 1), nn.Conv1d(6, 8, 1)
            self.hidden, self.matrix = nn.Linear(8, 7), nn.Linear(7, 9)
            self.three, self.head = nn.Conv1d(3, 9, 1), nn.Linear(9, 4)

        def forward(self, x):
            y = F.relu(self.two(F.relu(self.one(x)))).max(2)[0]
            matrix = self.matrix(F.relu(self.hidden(y))).view(-1, 3, 3) + torch.eye(3)
            x = torch.bmm(x.transpose(2, 1), matrix).transpose(2, 1)
            return self.head(F.relu(self.three(x)).amax(-1))

    return Net(), torch.randn(2, 3, 7)


@family(groups=2)
def graph_convolution() -> Built:
    """A graph network (Kipf and Welling 2017) with the adjacency matrix as an input."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(4, 8, bias=False), nn.Linear(8, 6)
            self.head = nn.Linear(6, 3)

        def forward(self, x, edges):
            x = F.relu(edges @ self.one(x))
            return self.head(F.relu(torch.matmul(edges, self.two(x))))

    return Net(), (torch.randn(2, 5, 4), torch.rand(2, 5, 5))


@family(groups=5)
def graph_attention() -> Built:
    """Graph attention with 3 heads (Velickovic et al. 2018), joined and then averaged.

    The embedding; layer 1: heads and their insides; layer 2: heads, and one numbering for the
    insides of all of them, as they are averaged.
    """

    class Layer(nn.Module):
        def __init__(self, width, inner, join):
            super().__init__()
            self.lin, self.join = nn.Linear(width, 3 * inner, bias=False), join
            self.left, self.right = (nn.Parameter(torch.randn(3, inner)) for _ in "lr")

        def forward(self, x):
            x = self.lin(x).unflatten(-1, (3, -1))
            scores = (x * self.left).sum(-1)[:, :, None] + (x * self.right).sum(-1)[:, None]
            shares = F.leaky_relu(scores, 0.2).softmax(2)
            x = torch.einsum("bijh,bjhd->bihd", shares, x)
            return x.flatten(2) if self.join else x.mean(2)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.one = nn.Linear(3, 6), Layer(6, 4, True)
            self.two, self.head = Layer(12, 5, False), nn.Linear(5, 2)

        def forward(self, x):
            return self.head(F.elu(self.two(F.elu(self.one(self.embed(x))))))

    return Net(), torch.randn(2, 5, 3)
