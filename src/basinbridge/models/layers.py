"""The layer that every network here is made of."""

from torch import Tensor, nn
from torch.nn import functional


class ConvolutionBlock(nn.Module):
    """Convolution, batch norm, and ReLU unless `rectify` is false.

    Input (n, in_channels, height, width), output (n, out_channels, height', width').
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        *,
        stride: int = 1,
        padding: int = 0,
        bias: bool = False,
        epsilon: float = 1e-5,
        rectify: bool = True,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel, stride=stride, padding=padding, bias=bias
        )
        self.norm = nn.BatchNorm2d(out_channels, eps=epsilon)
        self.rectify = rectify

    def forward(self, inputs: Tensor) -> Tensor:
        """The block's activations."""
        outputs: Tensor = self.norm(self.conv(inputs))
        return functional.relu(outputs) if self.rectify else outputs
