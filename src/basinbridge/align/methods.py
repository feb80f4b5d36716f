"""The names of what `align` can do; without torch, so that the shell can list them at once."""

from typing import Literal

Method = Literal["correlation", "l2", "weights", "optimal-transport", "identity", "random"]
Activations = Literal["post", "pre"]
