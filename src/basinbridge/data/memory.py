"""Memory that one batch's activations leave is kept for the next batch's."""

import ctypes
import sys
from functools import cache

# Numbers of <malloc.h>, and the largest values that mallopt(3) takes for them.
M_TRIM_THRESHOLD, MOST_KEPT = -1, 2**31 - 1
M_MMAP_THRESHOLD, LARGEST_BLOCK = -3, 2**25


@cache
def keep_freed_memory() -> None:
    """Make the C library keep up to 2 GiB of what is freed, once in a process.

    By default glibc hands freed memory back to the system beyond twice the largest block freed so
    far, so that every step of a training asks for its activations' pages anew, which then must be
    cleared: some per cent of a step, and more of small networks. Blocks of more than 32 MiB are
    mapped one by one as before. Other C libraries, and devices of their own, are not affected.
    Source: M_TRIM_THRESHOLD and M_MMAP_THRESHOLD in mallopt(3).
    """
    if not sys.platform.startswith("linux"):
        return
    library = ctypes.CDLL(None)
    if hasattr(library, "gnu_get_libc_version"):
        library.mallopt(M_MMAP_THRESHOLD, LARGEST_BLOCK)
        library.mallopt(M_TRIM_THRESHOLD, MOST_KEPT)
