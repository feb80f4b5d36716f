import platform
import subprocess
import sys

import pytest

LOOK_WHERE_A_TENSOR_LIES = """
import torch
from basinbridge.data.batches import evaluation_batches, training_batches

pair = torch.zeros(2, 1), torch.zeros(2)
{call}
tensor = torch.empty(2**24, dtype=torch.uint8)
(heap,) = (line.split()[0] for line in open("/proc/self/maps") if "[heap]" in line)
first, last = (int(place, 16) for place in heap.split("-"))
print(first <= tensor.data_ptr() < last)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="how another C library allocates")
@pytest.mark.parametrize(
    ("call", "kept"),
    [
        ("", False),
        ("evaluation_batches(pair, 1)", True),
        ("training_batches(pair, 1, generator=torch.Generator())", True),
    ],
)
def test_behind_batches_activations_lie_where_freed_memory_is_kept(call, kept):
    """Not in pages that were mapped for one tensor, and go back to the system with it."""
    program = LOOK_WHERE_A_TENSOR_LIES.format(call=call)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{kept}\n"
