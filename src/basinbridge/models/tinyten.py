"""TinyTen, the paper's smallest network (Section 4; 0.09 million parameters)."""

from torch import Tensor, nn

from basinbridge.models.layers import ConvolutionBlock


class TinyTen(nn.Module):
    """Ten layers, plain and narrow: eight convolutions with batch norm, a mean, a linear layer.

    Input (n, 3, height, width), at least 9 pixels a side and 32 in the paper; output, the logits,
    (n, num_classes).
    Weights start Xavier-normal, biases at zero. 86,778 parameters at 10 classes.

    Source: Tatro et al., "Optimizing Mode Connectivity via Neuron Alignment" (2020), Table 1.

    >>> sum(parameter.numel() for parameter in TinyTen().parameters())
    86778
    """

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.features = nn.Sequential(
            ConvolutionBlock(3, 16, 3, padding=1, bias=True),
            ConvolutionBlock(16, 16, 3, padding=1, bias=True),
            ConvolutionBlock(16, 32, 3, stride=2, padding=1, bias=True),
            ConvolutionBlock(32, 32, 3, padding=1, bias=True),
            ConvolutionBlock(32, 32, 3, padding=1, bias=True),
            ConvolutionBlock(32, 64, 3, stride=2, padding=1, bias=True),
            ConvolutionBlock(64, 64, 3, bias=True),
            ConvolutionBlock(64, 64, 1, bias=True),
        )
        self.classifier = nn.Linear(64, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_normal_(module.weight)
                assert module.bias is not None  # every layer above has one
                nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        """The logits (n, num_classes) of `images` (n, 3, height, width)."""
        logits: Tensor = self.classifier(self.features(images).mean(dim=(2, 3)))
        return logits
