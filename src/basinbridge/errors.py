"""The errors that a user's input can cause, and the one that a user's signal does.

Each message is one line that says what is wrong, where, and what to do; the command line prints
it and exits with status 2, or 128 and the signal's number.
"""


class InputError(ValueError):
    """Something the caller gave cannot be used: a file, an option, a state, a data set."""


class SymmetryError(InputError):
    """The permutation symmetry of a network could not be found or did not pass its proof."""


class Stopped(KeyboardInterrupt):
    """A signal stopped a descent between two steps, behind its checkpoint; `signal` is which."""

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.signal = signal
