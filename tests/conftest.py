import pytest
import torch


@pytest.fixture(autouse=True)
def seeded():
    """Every test starts from one seed, whichever ran before it."""
    torch.manual_seed(0)
