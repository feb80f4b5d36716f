"""A network by name: one of ours, or any factory in a module of the user's."""

import importlib
import inspect
import os
import sys

from torch import nn

from ..errors import InputError


def build(model: str, num_classes: int) -> nn.Module:
    """Call the factory `package.module:name` (or one of `basinbridge.models`, by bare name).

    `num_classes` is passed where the factory takes an argument of that name. Modules in the
    current folder are found too. Raises `InputError` if there is no such factory or it returns no
    network.

    >>> type(build("TinyTen", 10)).__name__, build("torch.nn:Identity", 10)
    ('TinyTen', Identity())
    """
    package, _, name = model.rpartition(":")
    if not name.isidentifier():
        raise InputError(f"model {model!r}: give package.module:factory")
    if os.getcwd() not in sys.path:  # noqa: PTH109 - sys.path holds strings
        sys.path.insert(0, os.getcwd())  # noqa: PTH109
    try:
        module = importlib.import_module(package or "basinbridge.models")
    except ImportError as error:
        raise InputError(f"model {model!r}: cannot import {package!r} ({error})") from error
    factory = getattr(module, name, None)
    if not callable(factory):
        known = ", ".join(sorted(getattr(module, "__all__", []))) or "none exported"
        raise InputError(f"model {model!r}: {module.__name__} has no {name!r} (it has {known})")
    try:
        takes_classes = "num_classes" in inspect.signature(factory).parameters
    except ValueError:  # something built in, which tells no signature
        takes_classes = False
    try:
        network = factory(num_classes=num_classes) if takes_classes else factory()
    except TypeError as error:
        raise InputError(f"model {model!r} cannot be called without arguments: {error}") from error
    if not isinstance(network, nn.Module):
        raise InputError(f"model {model!r}: gave a {type(network).__name__}, not a torch.nn.Module")
    return network
