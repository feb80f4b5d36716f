"""Losses of long trainings for TensorBoard (the extra `tensorboard`)."""

from collections.abc import Callable
from pathlib import Path

from ..errors import InputError

Write = Callable[[str, int, float], None]


def scalar_writer(folder: Path) -> Write:
    """`write(name, step, value)` adds a value to the curve of a name, in its own run in `folder`.

    Values are on the disk once it returns. Raises `InputError` without tensorboard.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise InputError("no tensorboard: pip install 'basinbridge[tensorboard]'") from None

    def write(name: str, step: int, value: float) -> None:
        # A writer for each value: an epoch takes far longer, and no file is left open.
        safe = name.replace("/", " ").replace(":", "")
        with SummaryWriter(str(folder / safe)) as writer:
            writer.add_scalar("loss, nats", value, step)

    return write
