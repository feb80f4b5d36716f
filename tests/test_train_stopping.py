import math

import pytest
import torch
from networks import built, copy_of, data_for, same_bits

import basinbridge as bb
from basinbridge.train import checkpoint as checkpoints
from basinbridge.train.objective import standard
from basinbridge.train.stopping import EarlyStopping

SETTINGS = {"batch_size": 8, "learning_rate": 0.02, "schedule": lambda epoch, epochs: 1.0}


class Told:
    """Gives the scores that it was told to, and remembers the networks."""

    def __init__(self, *scores):
        self.scores = iter(scores)
        self.seen = []

    def __repr__(self):
        return "told"

    def __call__(self, network):
        assert not any(module.training for module in network.modules())
        self.seen.append(copy_of(network))
        for tensor in network.state_dict().values():  # a copy: nothing of this is kept
            tensor.zero_()
        return next(self.scores)


class Killed:
    """The standard objective, until step `at`."""

    def __init__(self, at):
        self.at = at
        self.steps = 0

    def __repr__(self):
        return "standard"

    def __call__(self, network, inputs, labels):
        self.steps += 1
        if self.steps == self.at:
            raise KeyboardInterrupt
        return standard(network, inputs, labels)


@pytest.mark.parametrize("name", ["mlp", "tinyten"])
def test_the_best_epoch_is_kept_with_its_buffers(name):
    data = data_for(name, 24)
    told = Told(0.1, 0.4, 0.3, 0.2)
    found = bb.train(built(name), data, epochs=4, early_stopping=EarlyStopping(told), **SETTINGS)
    assert len(told.seen) == 4
    for key, tensor in found.state_dict().items():
        if tensor.is_floating_point():
            assert torch.equal(tensor, told.seen[1][key])
    assert not same_bits(told.seen[1], told.seen[3])


@pytest.mark.parametrize(
    ("scores", "patience", "epochs"),
    [
        ((0.5, 0.4, 0.6, 0.5, 0.5), 2, 5),
        ((0.5, 0.4, 0.3), 2, 3),
        ((0.5, 0.5, 0.5), 2, 3),  # as good is not better
        ((0.5, 0.4), 1, 2),
        ((0.1, 0.2, 0.3, 0.4, 0.5, 0.6), 1, 6),
    ],
)
def test_training_stops_when_patience_is_at_its_end(scores, patience, epochs):
    told, heard = Told(*scores), []
    bb.train(
        built("mlp"),
        data_for("mlp", 16),
        epochs=6,
        early_stopping=EarlyStopping(told, patience),
        progress=lambda *news: heard.append(news),
        **SETTINGS,
    )
    assert len(told.seen) == len(heard) == epochs


def test_an_epoch_is_the_same_whether_it_is_scored_or_not():
    data = data_for("tinyten", 24)
    plain = bb.train(built("tinyten"), data, epochs=3, **SETTINGS)
    told = Told(0.1, 0.2, 0.3)
    scored = bb.train(
        built("tinyten"), data, epochs=3, early_stopping=EarlyStopping(told), **SETTINGS
    )
    assert same_bits(plain, scored)


def test_of_a_curve_the_middle_is_scored_and_the_best_bend_kept():
    curve = bb.Bezier.between(built("digits"), built("digits", seed=1))
    data = data_for("digits", 24)
    told = Told(0.3, 0.2, 0.1)
    found = bb.fit(curve, data, epochs=5, early_stopping=EarlyStopping(told, 2), **SETTINGS)
    assert len(told.seen) == 3
    assert same_bits(copy_of(found.network_at(0.5)), told.seen[0])
    once = bb.fit(curve, data, epochs=1, **SETTINGS)
    assert torch.equal(found.points, once.points)


@pytest.mark.parametrize("at", [5, 9])  # steps, three of which make an epoch
def test_a_descent_that_was_killed_stops_where_it_would_have(at, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "MOST_SHARE", math.inf)  # written behind every step
    data, scores = data_for("tinyten", 24), (0.3, 0.4, 0.2, 0.1)
    whole = Told(*scores)
    wanted = bb.train(
        built("tinyten"), data, epochs=9, early_stopping=EarlyStopping(whole, 2), **SETTINGS
    )
    checkpoint = bb.Checkpoint(tmp_path / "file", seconds=0.0)

    def run(told, objective=standard):
        return bb.train(
            built("tinyten"),
            data,
            epochs=9,
            early_stopping=EarlyStopping(told, 2),
            checkpoint=checkpoint,
            objective=objective,
            **SETTINGS,
        )

    killed = Killed(at)
    with pytest.raises(KeyboardInterrupt):
        run(Told(*scores), killed)
    killed.at = None
    rest = Told(*scores[(at - 1) // 3 :])
    assert same_bits(run(rest, killed), wanted)
    assert len(rest.seen) == 4 - (at - 1) // 3
    assert same_bits(run(Told(), killed), wanted)  # the end was kept too


def test_no_patience_is_refused():
    with pytest.raises(bb.InputError, match="patience is 0"):
        EarlyStopping(lambda network: 0.0, patience=0)
