"""The networks of the paper's experiments, and a small one for the demo.

They are ordinary modules: nothing in basinbridge knows them by name, and a user's own network
serves in their place.
"""

from basinbridge.models.digits import DigitsNet
from basinbridge.models.googlenet import GoogLeNet, GoogLeNetOutput
from basinbridge.models.normalised import Normalised
from basinbridge.models.resnet import ResidualNetwork, ResNet32
from basinbridge.models.tinyten import TinyTen

__all__ = [
    "DigitsNet",
    "GoogLeNet",
    "GoogLeNetOutput",
    "Normalised",
    "ResNet32",
    "ResidualNetwork",
    "TinyTen",
]
