"""Memory that one batch's activations leave is kept for the next batch's."""

from functools import cache

import torch

# The largest block that glibc learns from is one of 32 MiB, its own header included.
LARGEST = 31 * 2**20


@cache
def keep_freed_memory() -> None:
    """Make the C library keep what is freed, once in a process.

    By default glibc hands freed memory back to the system beyond twice the largest block freed so
    far, and pages that the system gives anew cost more than small networks compute on them. A
    large block that is freed untouched raises that bound to 62 MiB. Other allocators, and
    devices of their own, are not affected. Source: M_MMAP_THRESHOLD and M_TRIM_THRESHOLD in
    mallopt(3).
    """
    torch.empty(LARGEST, dtype=torch.uint8)
