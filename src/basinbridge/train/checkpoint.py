"""Checkpoints of a descent: whatever it changes, in one file, so that it can go on bit by bit.

A file is safetensors, written whole or not at all. It holds the weights and their momentum, what
the step carries (a network's buffers, generators), the state of every generator, and how far the
descent has come. Within an epoch, the batches that were seen are drawn once more and dropped, so
that shuffling and augmentation need no state beyond that of the epoch's beginning.
"""

import glob
import hashlib
import itertools
import json
import re
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self, TypeAlias

import torch
from torch import Tensor, nn

from ..data.batches import Batch, Data
from ..data.images import ImageData
from ..errors import InputError, Stopped
from ..reading import parsed, read_tensors, reason, short
from ..state import check_finite, check_states, save_state

FORMAT = "basinbridge checkpoint 1"
Carried: TypeAlias = Tensor | torch.Generator | nn.Module
SIGNALS = (signal.SIGINT, signal.SIGTERM)
MOST_SHARE = 0.01
"""Share of the time that may go into writing, where `Checkpoint.seconds` would take more."""
FREE = ("progress", "checkpoint")
"""The settings that may be others when a descent goes on."""


@dataclass(frozen=True)
class Checkpoint:
    """A file that a descent goes on from if it is there, and keeps its state in.

    It is written at the beginning, then every `seconds`, and at the end; a descent that is
    repeated with it after its end returns at once. SIGINT and SIGTERM stop the descent behind its
    next step, with the file written; `Stopped` is raised. A file made with other settings, data or
    networks is refused; with `other_rate` the learning rate may be another one, so that what
    diverged can go on from its last good state.

    An iterable of batches must give the same ones again when it is begun again from the same state
    of torch's global generator, or of its own `generator`, as a `DataLoader` does.
    """

    path: Path
    seconds: float = 60.0
    other_rate: bool = False

    def part(self, name: str) -> "Checkpoint":
        """The checkpoint of one of several descents that make a result together."""
        return replace(self, path=self.path.with_name(f"{self.path.name}-{name}"))

    def files(self) -> list[Path]:
        """The files that are there: this checkpoint's and its parts'."""
        parts = self.path.parent.glob(f"{glob.escape(self.path.name)}-*")
        return [file for file in (self.path, *sorted(parts)) if file.is_file()]

    def remove(self) -> None:
        """Delete the files; do so when the result is safe elsewhere."""
        for file in self.files():
            file.unlink(missing_ok=True)


@dataclass
class Position:
    """How far a descent has come: whole epochs, steps of the next one, and past mean losses.

    `batches` is how many an epoch has, None as long as that is unknown.
    """

    batches: int | None
    epoch: int = 0
    step: int = 0
    history: list[float] = field(default_factory=list)

    @property
    def epochs(self) -> float:
        """Epochs in fractions; whole ones while it is unknown how many batches make one."""
        return self.epoch + (self.step / self.batches if self.batches else 0.0)

    def end_epoch(self, total: Tensor) -> None:
        """Note the mean of an epoch's losses, whose sum begins anew at zero."""
        self.history.append(float(total) / max(self.step, 1))
        total.zero_()
        self.batches, self.step, self.epoch = self.step, 0, self.epoch + 1


class Keeper:
    """Brings a descent to where its checkpoint says, and writes it; without one it does nothing.

    Use it as a context: inside, signals wait for the end of a step. `carried` changes from step to
    step (of a network, the buffers), `order` is the generator that batches are drawn by, `compared`
    what must be as it was.
    """

    def __init__(
        self,
        checkpoint: Checkpoint | None,
        position: Position,
        carried: Mapping[str, Carried],
        order: torch.Generator,
        data: Data,
        compared: Mapping[str, object],
    ) -> None:
        self.checkpoint = checkpoint
        self.position = position
        self.handlers: dict[int, Any] = {}
        self.stopped_by: int | None = None
        self.due = 0.0
        if checkpoint is None:
            return
        self.tensors = _tensors(carried)
        device = next(iter(self.tensors.values())).device
        self.stepping = _generators(carried, device)
        self.reading = {"order": order, **_generators({}, device)}
        if isinstance(own := getattr(data, "generator", None), torch.Generator):
            self.reading["loader"] = own
        for place, own in enumerate(getattr(data, "generators", ())):
            self.reading[f"order {place}"] = own
        networks = {name: one for name, one in carried.items() if isinstance(one, nn.Module)}
        self.identity: dict[str, object] = {
            **{name: described(one) for name, one in compared.items() if name not in FREE},
            **{name: _digest_of(repr(one).encode()) for name, one in networks.items()},
            "data": data_digest(data),
            "start": digest(self.tensors),
        }
        self.epoch_began = _states(self.reading)
        self.after_skipping: dict[str, Tensor] = {}

    def __enter__(self) -> Self:
        if self.checkpoint is None:
            return self
        if threading.current_thread() is threading.main_thread():
            self.handlers = {number: signal.signal(number, self._stop) for number in SIGNALS}
        try:
            self._resume(self.checkpoint)
        except BaseException:
            self._put_handlers_back()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._put_handlers_back()

    def unseen(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """The batches of an epoch that are still to come."""
        if self.checkpoint is None:
            return batches
        self.epoch_began = _states(self.reading)
        skipped = sum(1 for _ in itertools.islice(batches, self.position.step))
        if skipped < self.position.step:
            raise InputError(
                f"{self.checkpoint.path}: was made with other data, which gave "
                f"{self.position.step} batches or more; here it is {skipped}"
            )
        for name, state in self.after_skipping.items():
            self.stepping[name].set_state(state)
        self.after_skipping = {}
        return batches

    def stepped(self) -> None:
        """Write, if it is time to; and stop, if a signal came."""
        if self.checkpoint is None:
            return
        if self.stopped_by is not None:
            self._write(self.checkpoint)
            raise Stopped(
                f"stopped in epoch {self.position.epoch + 1} behind step {self.position.step}; "
                f"do the same again to go on from {self.checkpoint.path}",
                self.stopped_by,
            )
        if time.monotonic() >= self.due:
            self._write(self.checkpoint)

    def ended(self) -> None:
        """Write what the epochs up to here have led to; behind the last one that is the end."""
        if self.checkpoint is None:
            return
        self.epoch_began = _states(self.reading)
        self.due = 0.0
        self.stepped()

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.stopped_by = number
        self._put_handlers_back()  # so that a second signal acts at once

    def _put_handlers_back(self) -> None:
        for number, handler in self.handlers.items():
            signal.signal(number, handler or signal.SIG_DFL)
        self.handlers = {}

    def _write(self, checkpoint: Checkpoint) -> None:
        _check_weights(self.tensors, f"training diverged; {checkpoint.path} is as it was before")
        began = time.monotonic()
        generators = {
            **{f"reading/{name}": state for name, state in self.epoch_began.items()},
            **{f"stepping/{name}": state for name, state in _states(self.stepping).items()},
        }
        save_state(
            {**self.tensors, **generators},
            checkpoint.path,
            kind=FORMAT,
            position=json.dumps(asdict(self.position)),
            identity=json.dumps(self.identity),
        )
        took = time.monotonic() - began
        self.due = time.monotonic() + max(checkpoint.seconds, took / MOST_SHARE)

    def _resume(self, checkpoint: Checkpoint) -> None:
        if not checkpoint.path.exists():
            self._write(checkpoint)
            return
        tensors, metadata = read_tensors(checkpoint.path)
        if metadata.get("kind") != FORMAT:
            raise InputError(f"{checkpoint.path}: not a {FORMAT}; move it out of the way")
        self._check_identity(checkpoint, metadata)
        generators = {
            **{f"reading/{name}": state for name, state in _states(self.reading).items()},
            **{f"stepping/{name}": state for name, state in _states(self.stepping).items()},
        }
        here = {**self.tensors, **generators}
        check_states(here, tensors, "the descent", str(checkpoint.path))
        _check_weights(tensors, str(checkpoint.path))
        try:
            self._check_position(parsed(metadata["position"]))
            for name, generator in self.reading.items():
                generator.set_state(tensors[f"reading/{name}"])
            for name in self.stepping:
                self.after_skipping[name] = tensors[f"stepping/{name}"]
                torch.Generator().set_state(self.after_skipping[name])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise InputError(
                f"{checkpoint.path}: is damaged ({reason(error)}); remove it"
            ) from error
        for name, tensor in self.tensors.items():
            tensor.data.copy_(tensors[name])
        self.due = time.monotonic() + checkpoint.seconds

    def _check_identity(self, checkpoint: Checkpoint, metadata: Mapping[str, str]) -> None:
        """Raise `InputError` naming the first entry that is not as it was."""
        try:
            there = dict(parsed(metadata["identity"]))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{checkpoint.path}: is damaged ({reason(error)}); remove it"
            ) from error
        for name in {**self.identity, **there}:
            if name == "learning_rate" and checkpoint.other_rate:
                continue
            if there.get(name) != self.identity.get(name):
                raise InputError(
                    f"{checkpoint.path}: was made with {name} {short(there.get(name))}, not "
                    f"{short(self.identity.get(name))}; go on with that, or move the file away"
                )

    def _check_position(self, found: dict[str, Any]) -> None:
        """Take a position over; raise `ValueError` if it is none."""
        there = Position(**found)
        counts = (there.epoch, there.step, 0 if there.batches is None else there.batches)
        whole = all(type(count) is int and count >= 0 for count in counts)
        losses = isinstance(there.history, list) and all(
            type(loss) is float for loss in there.history
        )
        if not (whole and losses and len(there.history) <= there.epoch):
            raise ValueError("its position makes no sense")
        vars(self.position).update(vars(there))


def _check_weights(tensors: Mapping[str, Tensor], owner: str) -> None:
    """Only these must be finite; a network's buffer, a mask for one, may hold infinities."""
    check_finite({name: one for name, one in tensors.items() if name == "weights"}, owner)


def _states(generators: Mapping[str, torch.Generator]) -> dict[str, Tensor]:
    return {name: generator.get_state() for name, generator in generators.items()}


def _tensors(carried: Mapping[str, Carried]) -> dict[str, Tensor]:
    """The tensors, and the buffers of networks."""
    found: dict[str, Tensor] = {}
    for name, one in carried.items():
        if isinstance(one, Tensor):
            found[name] = one
        elif isinstance(one, nn.Module):
            found |= {f"{name}/{inner}": buffer for inner, buffer in one.named_buffers()}
    return found


def _generators(carried: Mapping[str, Carried], device: torch.device) -> dict[str, torch.Generator]:
    """The generators, torch's own of the CPU and of the device among them."""
    found = {name: one for name, one in carried.items() if isinstance(one, torch.Generator)}
    found["global"] = torch.default_generator
    if device.type == "cuda":
        place = torch.cuda.current_device() if device.index is None else device.index
        found["device"] = torch.cuda.default_generators[place]
    return found


def described(value: object) -> object:
    """A value as JSON can hold it: a plain one itself, a tensor's digest, else its text."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Tensor):
        return digest({"": value})
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def digest(tensors: Mapping[str, Tensor]) -> str:
    """16 hexadecimal digits that tell names, types, shapes and contents of tensors."""
    parts: list[bytes | memoryview] = []
    for name, tensor in tensors.items():
        parts.append(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        parts.append(flat.view(torch.uint8).numpy().data)
    return _digest_of(*parts)


def _digest_of(*parts: bytes | memoryview) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(part)
    return found.hexdigest()[:16]


def data_digest(data: Data) -> str:
    """A fingerprint of data that are tensors; of an iterable nothing but its type can be told."""
    if isinstance(data, ImageData):
        return f"{data.name} {data.fingerprint()}"
    if isinstance(data, tuple | list) and all(isinstance(part, Tensor) for part in data):
        return digest({str(place): part for place, part in enumerate(data)})
    return type(data).__name__
