"""What is recorded beside a result."""

import torch

from basinbridge.data.datasets import load
from basinbridge.experiments.provenance import describe_data, describe_device, versions


def test_versions_name_python_and_torch():
    found = versions()
    assert found["torch"] == torch.__version__
    assert found["python"].count(".") == 2


def test_device_in_words():
    assert describe_device(torch.device("cpu")) == f"cpu, {torch.get_num_threads()} threads"


def test_data_are_fingerprinted():
    train, test = load("digits", "train"), load("digits", "test")
    found = describe_data(train, test)
    assert (found["name"], found["train"], found["test"]) == ("digits", 1197, 600)
    assert found["fingerprint"]["train"] != found["fingerprint"]["test"]
