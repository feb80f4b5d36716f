"""The errors that a user's input can cause.

Each message is one line that says what is wrong, where, and what to do; the command line prints
it and exits with status 2.
"""


class InputError(ValueError):
    """Something the caller gave cannot be used: a file, an option, a state, a data set."""


class SymmetryError(InputError):
    """The permutation symmetry of a network could not be found or did not pass its proof."""
