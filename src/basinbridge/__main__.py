"""Start the command line: `basinbridge` or `python -m basinbridge`."""

import sys


def main() -> None:
    """Run the command line, or say what to install where its extra is missing."""
    try:
        from .cli.app import run
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich"):
            raise
        sys.exit(f"the command line needs {error.name}: pip install 'basinbridge[cli]'")
    run()


if __name__ == "__main__":
    main()
