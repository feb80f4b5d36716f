import pytest
import torch


@pytest.fixture(autouse=True)
def seeded():
    """Every test starts from one seed, whichever ran before it."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory):
    """The folder of a finished small run that shows every part; tests only read it."""
    from small_runs import small_run

    folder = tmp_path_factory.mktemp("digits_run")
    exhibits = ("table1", "table2", "figure1", "figure6", "figure7", "figure9")
    small_run(folder, *exhibits, seeds=((0, 1), (2, 3)))
    return folder


# Networks here are too small to gain from threads, and threads change the order of summation.
torch.set_num_threads(1)
