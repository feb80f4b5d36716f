"""A network for the 8x8 digits of scikit-learn that trains in seconds; the demo's."""

from torch import Tensor, nn

from basinbridge.models.layers import ConvolutionBlock


class DigitsNet(nn.Module):
    """Five 3x3 convolutions with batch norm (8, 8, 16, 16, 16 wide), a mean, a linear layer.

    Input (n, in_channels, height, width), 8x8 in the demo; output, the logits, (n, num_classes).
    The third and the fifth convolution halve the image, for speed.

    >>> sum(parameter.numel() for parameter in DigitsNet().parameters())
    6706
    """

    def __init__(self, num_classes: int = 10, in_channels: int = 1) -> None:
        super().__init__()
        self.features = nn.Sequential(
            ConvolutionBlock(in_channels, 8, 3, padding=1),
            ConvolutionBlock(8, 8, 3, padding=1),
            ConvolutionBlock(8, 16, 3, stride=2, padding=1),
            ConvolutionBlock(16, 16, 3, padding=1),
            ConvolutionBlock(16, 16, 3, stride=2, padding=1),
        )
        self.classifier = nn.Linear(16, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """The logits (n, num_classes) of `images` (n, in_channels, height, width)."""
        logits: Tensor = self.classifier(self.features(images).mean(dim=(2, 3)))
        return logits
