"""A backdoor on the way out of a tampered network: the table of docs/results.md.

OMP_NUM_THREADS=1 python benchmarks/repair.py
"""

from basinbridge.data.datasets import load
from basinbridge.experiments.repair import repair_study
from basinbridge.models import DigitsNet


def main() -> None:
    for name, found in repair_study(
        DigitsNet, load("digits", "train"), load("digits", "test")
    ).items():
        print(f"{name}\n{found}\n")


if __name__ == "__main__":
    main()
