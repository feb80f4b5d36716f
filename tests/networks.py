"""Networks for the tests: every model of the library and a few more, small inputs, float64."""

import copy
import functools

import torch
from torch import nn

import basinbridge as bb
from basinbridge.models import DigitsNet, GoogLeNet, ResidualNetwork, ResNet32, TinyTen

CLASSES = 5


def mlp():
    return nn.Sequential(
        nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 10), nn.ReLU(), nn.Linear(10, CLASSES)
    )


def grouped():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 12, 3, padding=1, groups=4),
        nn.ReLU(),
        nn.Conv2d(12, 6, 1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, CLASSES),
    )


def nested():
    """Halves of the channels that move as blocks, quarters within them, channels within those."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 1),
        nn.ReLU(),
        nn.Conv2d(8, 12, 3, padding=1, groups=2),
        nn.ReLU(),
        nn.Conv2d(12, 8, 1, groups=4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8 * 9, 6),
        nn.ReLU(),
        nn.Linear(6, CLASSES),
    )


def encoder(heads=3):
    return nn.TransformerEncoderLayer(12, heads, 16, dropout=0.0, batch_first=True)


NETWORKS = {
    "mlp": (mlp, (6,)),
    "digits": (functools.partial(DigitsNet, CLASSES), (1, 8, 8)),
    "tinyten": (functools.partial(TinyTen, CLASSES), (3, 12, 12)),
    "residual": (functools.partial(ResidualNetwork, 2, CLASSES), (3, 8, 8)),
    "resnet32": (functools.partial(ResNet32, CLASSES), (3, 8, 8)),
    "googlenet": (functools.partial(GoogLeNet, CLASSES), (3, 8, 8)),
    "grouped": (grouped, (3, 6, 6)),
    "nested": (nested, (3, 3, 3)),
    "encoder": (encoder, (5, 12)),
}


def built(name, seed=0):
    """A network in evaluation mode, every weight and buffer drawn so that none is trivial."""
    return copy.deepcopy(_built(name, seed))


@functools.cache
def _built(name, seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = NETWORKS[name][0]().double()
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                # Activations of much the same size in every layer.
                fan_in = module.weight[0].numel()
                nn.init.normal_(module.weight, std=(2 / fan_in) ** 0.5)
                if isinstance(module, nn.Linear):  # no unit that most inputs silence
                    module.weight.data -= module.weight.data.mean(1, keepdim=True)
                if module.bias is not None:
                    # GoogLeNet's 2048 hidden auxiliary units must all live on a few images.
                    mean = 3.0 if name == "googlenet" else 0.5
                    nn.init.normal_(module.bias, mean=mean, std=0.3)
            elif isinstance(module, nn.BatchNorm2d | nn.LayerNorm):
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, mean=0.5, std=0.3)
                if isinstance(module, nn.BatchNorm2d):
                    module.momentum = 1.0
            elif isinstance(module, nn.MultiheadAttention):
                nn.init.normal_(module.in_proj_bias, std=0.3)
        # Batch norm that fits the weights, so that no channel is dead.
        with torch.no_grad():
            network.train()(inputs_for(name, 16, seed=99))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.1
    return network.eval()


def inputs_for(name, count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, *NETWORKS[name][1], generator=generator, dtype=torch.float64)


def data_for(name, count, seed=0):
    generator = torch.Generator().manual_seed(seed + 1)
    return inputs_for(name, count, seed), torch.randint(CLASSES, (count,), generator=generator)


@functools.cache
def symmetry_for(name):
    return bb.discover(built(name), inputs_for(name, 2), proof=False)


def bits(tensor):
    """A tensor's bits, so that 0.0 and -0.0 differ and a NaN equals itself."""
    if not tensor.is_floating_point():
        return tensor
    return (
        tensor.detach()
        .contiguous()
        .view(torch.int64 if tensor.dtype.itemsize == 8 else torch.int32)
    )


def same_bits(one, other):
    """Whether two states (or networks) hold the same names and the same bits."""
    one, other = (x.state_dict() if isinstance(x, nn.Module) else x for x in (one, other))
    return list(one) == list(other) and all(
        one[name].dtype == other[name].dtype and torch.equal(bits(one[name]), bits(other[name]))
        for name in one
    )


def copy_of(network):
    """A network's state, each tensor copied, to compare with later."""
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
