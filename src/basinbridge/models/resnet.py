"""Residual networks for small images (He et al., "Deep Residual Learning", 2016, Section 4.2)."""

from torch import Tensor, nn
from torch.nn import functional

from basinbridge.models.layers import ConvolutionBlock

STAGE_WIDTHS = (16, 32, 64)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions added to their input, then ReLU.

    Input (n, in_channels, height, width), output (n, out_channels, height / stride, width /
    stride). Where the shape changes, a 1x1 convolution with batch norm carries the input across.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.first = ConvolutionBlock(in_channels, out_channels, 3, stride=stride, padding=1)
        self.second = ConvolutionBlock(out_channels, out_channels, 3, padding=1, rectify=False)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = ConvolutionBlock(
                in_channels, out_channels, 1, stride=stride, rectify=False
            )

    def forward(self, inputs: Tensor) -> Tensor:
        """The block's activations, after the addition's ReLU."""
        return functional.relu(self.second(self.first(inputs)) + self.shortcut(inputs))


class ResidualNetwork(nn.Module):
    """A 3x3 stem and three stages of `depth` blocks, 16, 32 and 64 channels wide.

    Input (n, 3, height, width), 32x32 in the paper; output, the logits, (n, num_classes).
    It has 6 * depth + 2 layers in the customary count. Convolutions start Kaiming-normal by
    fan-out.
    """

    def __init__(self, depth: int, num_classes: int = 10) -> None:
        super().__init__()
        self.stem = ConvolutionBlock(3, STAGE_WIDTHS[0], 3, padding=1)
        stages = []
        in_channels = STAGE_WIDTHS[0]
        for index, width in enumerate(STAGE_WIDTHS):
            stages.append(_stage(in_channels, width, depth, stride=1 if index == 0 else 2))
            in_channels = width
        self.stages = nn.Sequential(*stages)
        self.classifier = nn.Linear(in_channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """The logits (n, num_classes) of `images` (n, 3, height, width)."""
        features = self.stages(self.stem(images))
        logits: Tensor = self.classifier(features.mean(dim=(2, 3)))
        return logits


class ResNet32(ResidualNetwork):
    """The paper's residual network: five blocks a stage, 466,906 parameters at 10 classes.

    Input (n, 3, height, width), 32x32 in the paper; output, the logits, (n, num_classes).

    Source: Tatro et al. (2020), Table 1 and Appendix D.

    >>> sum(parameter.numel() for parameter in ResNet32().parameters())
    466906
    """

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__(depth=5, num_classes=num_classes)


def _stage(in_channels: int, width: int, depth: int, stride: int) -> nn.Sequential:
    first = ResidualBlock(in_channels, width, stride)
    return nn.Sequential(first, *(ResidualBlock(width, width) for _ in range(depth - 1)))
