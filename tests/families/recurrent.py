"""Recurrent networks: LSTM, GRU and plain ones as torch's modules, cells, and spelled out."""

import torch
from torch import nn

from . import Built, family
from .parts import words


class Recurrent(nn.Module):
    """Embedding, recurrent layers, a linear layer on the last or the averaged state."""

    def __init__(self, kind, layers=1, both=False, last=True, **more):
        super().__init__()
        self.embed = nn.Embedding(11, 6)
        self.core = kind(6, 8, layers, bidirectional=both, batch_first=True, **more)
        self.last = last
        self.head = nn.Linear((more.get("proj_size") or 8) * (2 if both else 1), 4)

    def forward(self, x):
        states, _ = self.core(self.embed(x))
        return self.head(states[:, -1] if self.last else states.mean(1))


@family(groups=2)
def lstm() -> Built:
    """An LSTM classifier (Hochreiter and Schmidhuber 1997): embedding and hidden state.

    The four gates and the cell share the hidden numbering.
    """
    return Recurrent(nn.LSTM), words()


@family(groups=5)
def lstm_bidirectional() -> Built:
    """Two layers in both directions: the embedding and four hidden states."""
    return Recurrent(nn.LSTM, 2, both=True, last=False), words()


@family(groups=3)
def lstm_projected() -> Built:
    """An LSTM with a projection (Sak et al. 2014): embedding, cell, and projected state."""
    return Recurrent(nn.LSTM, proj_size=5), words()


@family(groups=3)
def gru() -> Built:
    """Two layers of gated recurrent units (Cho et al. 2014), and the embedding."""
    return Recurrent(nn.GRU, 2), words()


@family(groups=3)
def rnn() -> Built:
    """Plain recurrence in both directions: the embedding and two hidden states."""
    return Recurrent(nn.RNN, both=True), words()


@family(groups=2)
def rnn_relu() -> Built:
    """Plain recurrence with ReLU and no biases."""
    return Recurrent(nn.RNN, nonlinearity="relu", bias=False), words()


@family(groups=4)
def cells() -> Built:
    """LSTM, GRU and plain cells applied by hand over time, started from zeros and a parameter."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.start = nn.Embedding(11, 6), nn.Parameter(torch.randn(7))
            self.one, self.two, self.three = nn.LSTMCell(6, 5), nn.GRUCell(5, 7), nn.RNNCell(7, 8)
            self.head = nn.Linear(8, 3)

        def forward(self, x):
            x = self.embed(x)
            h = c = torch.zeros(x.shape[0], 5)
            two, three = self.start.expand(x.shape[0], -1), torch.zeros(x.shape[0], 8)
            for step in range(x.shape[1]):
                h, c = self.one(x[:, step], (h, c))
                two = self.two(h, two)
                three = self.three(two, three)
            return self.head(three)

    return Net(), words(3)


@family(groups=4)
def sequence_to_sequence() -> Built:
    """An LSTM decoder started from an encoder's states: the hidden numberings become one.

    Two embeddings, the shared state, and a hidden layer over the attended memory.
    """

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.source, self.target = nn.Embedding(11, 6), nn.Embedding(9, 5)
            self.encoder = nn.LSTM(6, 8, batch_first=True)
            self.decoder = nn.LSTM(5, 8, batch_first=True)
            self.mix, self.head = nn.Linear(16, 7), nn.Linear(7, 9)

        def forward(self, x, y):
            memory, state = self.encoder(self.source(x))
            states, _ = self.decoder(self.target(y), state)
            weights = torch.bmm(states, memory.transpose(1, 2)).softmax(-1)
            context = torch.bmm(weights, memory)
            return self.head(torch.tanh(self.mix(torch.cat([states, context], dim=-1))))

    return Net(), (words(5), words(4, 9))


@family(groups=3)
def convolutional_recurrent() -> Built:
    """Speech: 2-d convolution over the spectrum, channels times frequency, a GRU over time.

    The convolution's channels, and two directions of the GRU.
    """

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 4, 3, padding=1)
            self.core = nn.GRU(4 * 6, 5, bidirectional=True, batch_first=True)
            self.head = nn.Linear(10, 3)

        def forward(self, x):
            x = torch.relu(self.conv(x))
            x = x.permute(0, 3, 1, 2).flatten(2)
            return self.head(self.core(x)[0]).log_softmax(-1)

    return Net(), torch.randn(2, 1, 6, 7)


@family(groups=2)
def minimal_state_space() -> Built:
    """A diagonal linear recurrence with gates (S4D-like), started from zeros.

    The channels, and the 3 states of each: as all channels share the projections that read and
    write them, the states have one numbering.
    """

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.decay = nn.Linear(4, 6), nn.Parameter(torch.rand(6, 3))
            self.b, self.c = nn.Linear(6, 3), nn.Linear(6, 3)
            self.skip, self.head = nn.Parameter(torch.ones(6)), nn.Linear(6, 2)

        def forward(self, x):
            x = self.first(x)
            state = torch.zeros(x.shape[0], 6, 3)
            results = []
            for step in range(x.shape[1]):
                here = x[:, step]
                state = state * torch.exp(-self.decay)
                state = state + here[:, :, None] * self.b(here)[:, None, :]
                results.append((state * self.c(here)[:, None, :]).sum(-1) + self.skip * here)
            return self.head(torch.stack(results, 1).mean(1))

    return Net(), torch.randn(2, 3, 4)
