"""Several processes that train together, by gloo: the same as one process, to rounding."""

import multiprocessing
import os
import socket
import time

import pytest
import torch
from torch import nn

import basinbridge as bb
from basinbridge.data.images import ImageData
from basinbridge.errors import InputError
from basinbridge.train.checkpoint import Checkpoint
from basinbridge.train.loop import Recipe
from basinbridge.train.ranks import Ranks

PROCESSES = 2
SETTINGS = {"epochs": 2, "learning_rate": 0.05, "weight_decay": 1e-3, "seed": 3}


def curve():
    """A curve between two small networks without batch norm, in float64."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        start, end = (
            nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).double() for _ in range(2)
        )
    return bb.Bezier.between(start, end)


def batches(part=slice(None)):
    """Ten batches of eight, of each of which `part` is taken."""
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(10, 8, 4, generator=generator, dtype=torch.float64)
    labels = torch.randint(3, (10, 8), generator=generator)
    return [(one[part], two[part]) for one, two in zip(inputs, labels, strict=True)]


def _work(rank, port, folder):
    """One process: every fit that the tests look at."""
    os.environ |= {
        "RANK": str(rank),
        "WORLD_SIZE": str(PROCESSES),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    torch.set_num_threads(1)
    shared, own = (Ranks.joined(shared_t=value, backend="gloo") for value in (True, False))
    half = batches(slice(rank * 4, rank * 4 + 4))
    pair = torch.cat([one for one, _ in batches()]), torch.cat([two for _, two in batches()])
    heard = []
    found = {
        "shared": bb.fit(
            curve(),
            half,
            ranks=shared,
            progress=lambda epoch, epochs, loss: heard.append(loss),
            **SETTINGS,
        ).points,
        "own": bb.fit(curve(), half, ranks=own, **SETTINGS).points,
        "whole data": bb.fit(curve(), pair, ranks=own, batch_size=8, **SETTINGS).points,
        "network": torch.cat(
            [
                tensor.flatten()
                for tensor in bb.train(curve().network, half, ranks=shared, **SETTINGS)
                .state_dict()
                .values()
            ]
        ),
        "losses": torch.tensor(heard, dtype=torch.float64),
    }
    torch.save(found, folder / f"{rank}.pt")
    time.sleep(rank)
    own.leave()
    assert not torch.distributed.is_initialized()
    (folder / f"{rank}.left").write_text(str(time.monotonic()))


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What each of two processes ends with."""
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(target=_work, args=(rank, port, folder)) for rank in range(PROCESSES)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0] * PROCESSES
    found = [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(PROCESSES)]
    for rank, tensors in enumerate(found):
        tensors["left"] = float((folder / f"{rank}.left").read_text())
    return found


def close(one, other):
    return torch.allclose(one, other, rtol=1e-10, atol=1e-12)


def test_processes_part_together(found):
    # One of them came a second later.
    assert abs(found[0]["left"] - found[1]["left"]) < 0.9


def test_two_halves_of_a_batch_are_one_process_with_the_whole(found):
    heard = []
    alone = bb.fit(
        curve(), batches(), progress=lambda epoch, epochs, loss: heard.append(loss), **SETTINGS
    )
    assert close(found[0]["shared"], alone.points)
    # The running sum of losses is kept in single precision.
    assert found[0]["losses"].tolist() == pytest.approx(heard, rel=1e-5)
    assert not torch.equal(alone.points, curve().points)


def test_a_network_too(found):
    alone = bb.train(curve().network, batches(), **SETTINGS)
    weights = torch.cat([tensor.flatten() for tensor in alone.state_dict().values()])
    assert close(found[0]["network"], weights)


@pytest.mark.parametrize("kind", ["shared", "own", "whole data", "network"])
def test_all_processes_end_with_the_same_bits(found, kind):
    assert torch.equal(found[0][kind], found[1][kind])


def test_each_draws_its_own_t_by_default(found):
    assert not close(found[0]["own"], found[0]["shared"])


def test_shares_are_equally_long_and_meet_nowhere():
    data = torch.arange(11), torch.arange(11)
    parts = [Ranks(rank, 3).share(data)[0].tolist() for rank in range(3)]
    assert [len(part) for part in parts] == [3, 3, 3]
    assert sorted(number for part in parts for number in part) == list(range(9))


def test_a_share_of_images_keeps_images_and_labels_together():
    images = torch.arange(6, dtype=torch.uint8).reshape(6, 1, 1, 1)
    data = ImageData("x", images, torch.arange(6), tuple("abcdef"), (0.5,), (0.5,))
    part = Ranks(1, 2).share(data)
    assert part.labels.tolist() == part.images.flatten().tolist() == [1, 3, 5]


def test_what_cannot_be_is_refused(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="dealt out"):
        Recipe(batch_size=7, ranks=Ranks(0, 2))
    with pytest.raises(InputError, match="checkpoint"):
        Recipe(batch_size=8, ranks=Ranks(0, 2), checkpoint=Checkpoint(tmp_path / "kept"))
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(InputError, match="torchrun"):
        Ranks.joined()
