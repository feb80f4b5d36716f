"""Networks that make images: U-Net, autoencoders, generators, super-resolution, WaveNet."""

import torch
import torch.nn.functional as F
from torch import nn

from . import Built, family
from .parts import Residual, conv, image


@family(groups=12)
def unet() -> Built:
    """U-Net (Ronneberger et al. 2015) of depth 2: two convolutions at each of 5 places.

    Every convolution but the last makes a group (10), and so does every up-convolution (2), which
    is joined to the encoder's features by concatenation, not by addition.
    """

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            double = lambda width, out: nn.Sequential(conv(width, out), conv(out, out + 1))  # noqa: E731
            self.down = nn.ModuleList([double(3, 4), double(5, 6)])
            self.middle = double(7, 8)
            self.up = nn.ModuleList(
                [nn.ConvTranspose2d(9, 7, 2, 2), nn.ConvTranspose2d(8, 5, 2, 2)]
            )
            self.back = nn.ModuleList([double(14, 7), double(10, 5)])
            self.last = nn.Conv2d(6, 2, 1)

        def forward(self, x):
            skips = []
            for level in self.down:
                x = level(x)
                skips.append(x)
                x = F.max_pool2d(x, 2)
            x = self.middle(x)
            for up, level in zip(self.up, self.back, strict=True):
                x = level(torch.cat([skips.pop(), up(x)], dim=1))
            return self.last(x)

    return Net(), image(16)


@family(groups=5)
def autoencoder() -> Built:
    """Convolutions to a code and back: flatten, linear, view, transposed convolutions.

    Two convolutions, the code, the linear layer behind it (channels times fixed places), and one
    transposed convolution.
    """

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Conv2d(1, 4, 3, 2, 1), nn.Conv2d(4, 6, 3, 2, 1)
            self.code, self.open = nn.Linear(6 * 16, 5), nn.Linear(5, 6 * 16)
            self.three = nn.ConvTranspose2d(6, 4, 3, 2, 1, output_padding=1)
            self.four = nn.ConvTranspose2d(4, 1, 3, 2, 1, output_padding=1)

        def forward(self, x):
            x = F.relu(self.two(F.relu(self.one(x))))
            x = F.relu(self.open(self.code(torch.flatten(x, 1)))).view(-1, 6, 4, 4)
            return torch.sigmoid(self.four(F.relu(self.three(x))))

    return Net(), image(16, channels=1)


@family(groups=4)
def variational() -> Built:
    """A variational autoencoder in evaluation: the code's mean and log variance share a group."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.mean, self.spread = nn.Linear(8, 12), nn.Linear(12, 4), nn.Linear(12, 4)
            self.two, self.three, self.four = nn.Linear(4, 10), nn.Linear(10, 9), nn.Linear(9, 8)

        def forward(self, x):
            x = F.relu(self.one(x))
            code = self.mean(x) + 0.1 * torch.exp(0.5 * self.spread(x))
            return self.four(F.relu(self.three(F.relu(self.two(code)))))

    return Net(), torch.randn(3, 8)


@family(groups=4)
def generator() -> Built:
    """DCGAN's generator (Radford et al. 2016): a code, linear, and transposed convolutions."""
    layers = [nn.Linear(5, 8 * 16), nn.Unflatten(1, (8, 4, 4)), nn.BatchNorm2d(8), nn.ReLU()]
    for width, out in ((8, 7), (7, 6), (6, 4)):
        layers += [nn.ConvTranspose2d(width, out, 4, 2, 1), nn.BatchNorm2d(out), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(4, 3, 3, padding=1), nn.Tanh()), torch.randn(2, 5)


@family(groups=4)
def discriminator() -> Built:
    """DCGAN's discriminator: four strided convolutions with leaky slopes."""
    layers = []
    for width, out in ((3, 4), (4, 5), (5, 6), (6, 7)):
        layers += [nn.Conv2d(width, out, 4, 2, 1), nn.BatchNorm2d(out), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(7 * 4, 1)), image()


@family(groups=4)
def super_resolution() -> Built:
    """EDSR (Lim et al. 2017): a stream, the insides of 2 blocks, and a pixel shuffle's channels.

    A channel of the upsampled image is 4 of the convolution before, whose order is fixed.
    """

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Conv2d(3, 6, 3, padding=1)
            blocks = [nn.Sequential(conv(6, 7, norm=None), conv(7, 6, norm=None, act=None))] * 1
            blocks += [nn.Sequential(conv(6, 8, norm=None), conv(8, 6, norm=None, act=None))]
            self.body = nn.Sequential(*(Residual(block) for block in blocks))
            self.up, self.last = nn.Conv2d(6, 24, 3, padding=1), nn.Conv2d(6, 3, 3, padding=1)

        def forward(self, x):
            x = self.first(x)
            return self.last(F.pixel_shuffle(self.up(x + self.body(x)), 2))

    return Net(), image(6)


@family(groups=3)
def pixel_unshuffled() -> Built:
    """Space to channels and back, by torch's operator and by a view.

    The first convolution's channels (each is 4 of the next one's), the second's, and those of the
    third before they become places.
    """

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(16, 6, 1)
            self.three = nn.Conv2d(6, 20, 1)
            self.four = nn.Conv2d(5, 3, 1)

        def forward(self, x):
            x = F.relu(self.two(F.pixel_unshuffle(F.relu(self.one(x)), 2)))
            x = self.three(x)
            batch, _, tall, wide = x.shape
            x = x.view(batch, 5, 2, 2, tall, wide).permute(0, 1, 4, 2, 5, 3)
            return self.four(F.relu(x.reshape(batch, 5, 2 * tall, 2 * wide)))

    return Net(), image(8)


@family(groups=8)
def wavenet() -> Built:
    """WaveNet (van den Oord et al. 2016): causal dilated 1-d convolutions with gates.

    The residual stream, the skip stream, the gated inside of each of 5 layers and one hidden
    layer of the head: 2 + 5 + 1.
    """

    class Layer(nn.Module):
        def __init__(self, dilation):
            super().__init__()
            self.reach = dilation
            self.both = nn.Conv1d(6, 10, 2, dilation=dilation)
            self.out, self.skip = nn.Conv1d(5, 6, 1), nn.Conv1d(5, 7, 1)

        def forward(self, x):
            wave, gate = self.both(F.pad(x, (self.reach, 0))).chunk(2, dim=1)
            y = torch.tanh(wave) * torch.sigmoid(gate)
            return x + self.out(y), self.skip(y)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Conv1d(1, 6, 1)
            self.layers = nn.ModuleList(Layer(2**place) for place in range(5))
            self.hidden, self.last = nn.Conv1d(7, 8, 1), nn.Conv1d(8, 4, 1)

        def forward(self, x):
            x, total = self.first(x), 0
            for layer in self.layers:
                x, skip = layer(x)
                total = total + skip
            return self.last(F.relu(self.hidden(F.relu(total))))

    return Net(), torch.randn(2, 1, 12)


@family(groups=16)
def diffusion_unet() -> Built:
    """A denoiser (Ho et al. 2020): group norm, time embedding, attention over places, skips.

    2 for the time embedding; the 8 channels of the first stream as blocks of 4 with insides
    (the last level's join is normalised over other boundaries) 2; the insides of 4 residual blocks
    as blocks and within 8; the last block's stream 2; query-key and value of the attention 2. The
    12 channels of the middle stream are fixed: groups of 6 and, joined to a skip, of 10 cross.
    """

    class Block(nn.Module):
        def __init__(self, width, out):
            super().__init__()
            self.one = nn.Sequential(
                nn.GroupNorm(2, width), nn.SiLU(), nn.Conv2d(width, out, 3, padding=1)
            )
            self.time = nn.Linear(10, out)
            self.two = nn.Sequential(
                nn.GroupNorm(2, out), nn.SiLU(), nn.Conv2d(out, out, 3, padding=1)
            )
            self.short = nn.Conv2d(width, out, 1) if width != out else nn.Identity()

        def forward(self, x, time):
            y = self.one(x) + self.time(time)[:, :, None, None]
            return self.two(y) + self.short(x)

    class Attend(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.norm, self.qkv = nn.GroupNorm(2, width), nn.Conv1d(width, 3 * width, 1)
            self.out = nn.Conv1d(width, width, 1)

        def forward(self, x):
            flat = x.flatten(2)
            q, k, v = self.qkv(self.norm(flat)).chunk(3, dim=1)
            scores = torch.einsum("bct,bcs->bts", q, k) * q.shape[1] ** -0.5
            y = torch.einsum("bts,bcs->bct", scores.softmax(-1), v)
            return x + self.out(y).reshape(x.shape)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.time = nn.Sequential(nn.Linear(6, 10), nn.SiLU(), nn.Linear(10, 10))
            self.first, self.one, self.two = (
                nn.Conv2d(3, 8, 3, padding=1),
                Block(8, 8),
                Block(8, 12),
            )
            self.attend, self.three, self.four = Attend(12), Block(12, 12), Block(20, 8)
            self.last = nn.Sequential(nn.GroupNorm(2, 8), nn.SiLU(), nn.Conv2d(8, 3, 3, padding=1))

        def forward(self, x, t):
            angles = t[:, None] * torch.exp(torch.arange(3) * -1.0)
            time = self.time(torch.cat([angles.sin(), angles.cos()], dim=-1))
            skip = self.one(self.first(x), time)
            x = self.attend(self.two(F.avg_pool2d(skip, 2), time))
            x = F.interpolate(self.three(x, time), scale_factor=2.0, mode="nearest")
            return self.last(self.four(torch.cat([x, skip], dim=1), time))

    return Net(), (image(8), torch.rand(2))
