import platform
import subprocess
import sys

import pytest

LOOK_WHAT_IS_KEPT = """
import torch
from basinbridge.data.batches import evaluation_batches, training_batches

def held():
    (line,) = (line for line in open("/proc/self/status") if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024

pair = torch.zeros(2, 1), torch.zeros(2)
{call}
before = held()
tensors = [torch.zeros(2**22) for _ in range(20)]
most = held()
del tensors
print(most - before > 300, held() - before > 300)
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
def test_memory_freed_behind_batches_is_kept(call, kept):
    """20 tensors of 16 MiB, more than glibc keeps by itself."""
    program = LOOK_WHAT_IS_KEPT.format(call=call)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"True {kept}\n"
