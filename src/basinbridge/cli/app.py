"""The application: commands by name, and one clear line for whatever a user got wrong."""

import functools
import os
import signal
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from ..errors import InputError, Stopped
from . import combine, commands, options, studies, training


def _stoppable(command: Callable[..., None]) -> Callable[..., None]:
    """A command that tells in one line that a signal ended it; status 128 and the signal's."""

    @functools.wraps(command)
    def run(*arguments: object, **options: object) -> None:
        try:
            command(*arguments, **options)
        except KeyboardInterrupt as stop:
            line = str(stop) if isinstance(stop, Stopped) else "interrupted; nothing was written"
            print(f"basinbridge: {line}", file=sys.stderr)
            number = stop.signal if isinstance(stop, Stopped) else signal.SIGINT
            raise typer.Exit(128 + number) from stop
        except RuntimeError as error:
            if "deterministic" not in str(error):
                raise
            first = str(error).splitlines()[0]
            raise InputError(f"--deterministic: {first}; leave it out") from error

    return run


app = typer.Typer(
    name="basinbridge",
    help="Join independently trained neural networks: align them, learn a low-loss curve between.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (
    commands.demo,
    training.train,
    commands.discover,
    commands.align,
    training.connect,
    training.pam,
    commands.evaluate,
    commands.plane,
    commands.signature,
    commands.subset_study,
    combine.merge,
    combine.ensemble,
    studies.report,
    studies.reproduce,
    studies.status,
):
    app.command()(_stoppable(options.spread(command)))


@app.callback()
def main(
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="The same bits on a GPU too, more slowly.")
    ] = False,
) -> None:
    """Start with `basinbridge demo --out demo`; every command has its own --help."""
    if deterministic:
        # CUDA's matrix library reads this when it starts.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        import torch

        torch.use_deterministic_algorithms(True)


def run() -> None:
    """Run the command line; input that cannot be used gives one line and exit status 2."""
    try:
        app()
    except InputError as error:
        line = " ".join(str(error).split())
        print(f"basinbridge: {line}", file=sys.stderr)
        sys.exit(2)
