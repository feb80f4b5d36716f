"""Stages of a study, each named by all that it depends on, and the folder of their results.

A stage's name holds a hash of its kind, its settings and the names of its inputs. So a result that
is there was made by exactly what is asked for, and is never made again; whatever differs in one
setting has another name. Results are written to a temporary file and renamed, so a file that is
there is whole.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..errors import InputError

# Counts up when a stage computes something else than before from the same settings.
FORMAT = 1
TENSORS = frozenset({"endpoint", "alignment", "curve", "pam"})


@dataclass(frozen=True, eq=False)
class Stage:
    """A piece of work with one result: what it does, with which settings, from which results.

    `settings` are values of JSON. `label` tells people what it is, and is not part of the name.

    >>> data = Stage("data", {"dataset": "digits"})
    >>> one = Stage("endpoint", {"seed": 0}, {"data": data}, label="the first network")
    >>> one.name == Stage("endpoint", {"seed": 0}, {"data": data}).name
    True
    >>> one.name == Stage("endpoint", {"seed": 1}, {"data": data}).name
    False
    >>> data.depth, one.depth
    (0, 1)
    """

    kind: str
    settings: Mapping[str, Any]
    inputs: Mapping[str, "Stage"] = field(default_factory=dict)
    label: str = ""

    @cached_property
    def name(self) -> str:
        """The kind and 16 hexadecimal digits of a SHA-256."""
        content = {
            "format": FORMAT,
            "kind": self.kind,
            "settings": self.settings,
            "inputs": {role: stage.name for role, stage in self.inputs.items()},
        }
        text = json.dumps(content, sort_keys=True)
        return f"{self.kind}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    @cached_property
    def depth(self) -> int:
        """How many stages behind one another it stands on."""
        return max((1 + needed.depth for needed in self.inputs.values()), default=0)

    @property
    def file(self) -> str:
        """The name of the result's file."""
        return f"{self.name}.{'safetensors' if self.kind in TENSORS else 'json'}"


def in_order(stages: Iterable[Stage]) -> list[Stage]:
    """Stages and all that they need, each once and behind its inputs."""
    found: dict[str, Stage] = {}

    def visit(stage: Stage) -> None:
        if stage.name not in found:
            for needed in stage.inputs.values():
                visit(needed)
            found[stage.name] = stage

    for stage in stages:
        visit(stage)
    return list(found.values())


@dataclass(frozen=True)
class Store:
    """The folder of a run: results in `results`, locks of running stages in `locks`."""

    folder: Path

    def path(self, stage: Stage) -> Path:
        """Where the result of a stage is, or will be."""
        return self.folder / "results" / stage.file

    def has(self, stage: Stage) -> bool:
        """Whether a stage is finished."""
        return self.path(stage).is_file()

    @contextmanager
    def claimed(self, name: str) -> Iterator[bool]:
        """Hold the stage of a name, if no other process does; say whether it is held now.

        The system gives it back when the process ends, however it ends.
        """
        lock = self._lock(name)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def running(self, name: str) -> bool:
        """Whether some process holds the stage of a name."""
        if not (self.folder / "locks" / name).exists():
            return False
        with self.claimed(name) as free:
            return not free

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Wait until no other process is in here too; for what is read, changed and written."""
        with self._lock("plan"):
            yield

    def _lock(self, name: str) -> FileLock:
        folder = self.folder / "locks"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"{self.folder}: not a folder to write a run to ({error.strerror or error})"
            ) from error
        return FileLock(folder / name)
