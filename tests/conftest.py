import pytest
import torch


@pytest.fixture(autouse=True)
def seeded():
    """Every test starts from one seed, whichever ran before it."""
    torch.manual_seed(0)


# Networks here are too small to gain from threads, and threads change the order of summation.
torch.set_num_threads(1)
