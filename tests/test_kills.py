"""Work that is killed at random moments and begun again; 50 times by BASINBRIDGE_KILLS=50."""

import os
import subprocess
import sys
from pathlib import Path

HARNESS = Path(__file__).parents[1] / "benchmarks" / "kills.py"


def test_work_that_is_killed_and_begun_again_leaves_the_same_bits():
    kills = os.environ.get("BASINBRIDGE_KILLS", "5")
    done = subprocess.run(
        [sys.executable, HARNESS, "--kills", kills], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("the same bits") == 4
    assert done.stderr == ""
