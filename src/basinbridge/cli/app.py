"""The application: commands by name, and one clear line for whatever a user got wrong."""

import sys

import typer

from . import combine, commands, studies

app = typer.Typer(
    name="basinbridge",
    help="Join independently trained neural networks: align them, learn a low-loss curve between.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (
    commands.demo,
    commands.train,
    commands.discover,
    commands.align,
    commands.connect,
    commands.pam,
    commands.evaluate,
    commands.plane,
    commands.signature,
    commands.subset_study,
    combine.merge,
    combine.ensemble,
    commands.report,
    studies.reproduce,
    studies.status,
):
    app.command()(command)


@app.callback()
def main() -> None:
    """Start with `basinbridge demo --out demo`; every command has its own --help."""


def run() -> None:
    """Run the command line; input that cannot be used gives one line and exit status 2."""
    from ..errors import InputError

    try:
        app()
    except InputError as error:
        line = " ".join(str(error).split())
        print(f"basinbridge: {line}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("basinbridge: interrupted; no half-written result is left", file=sys.stderr)
        sys.exit(130)
