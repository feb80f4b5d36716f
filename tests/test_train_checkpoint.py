import itertools
import json
import math
import os
import signal
import threading
import time
from dataclasses import replace

import pytest
import torch
from networks import built, data_for, same_bits
from torch import nn
from torch.nn import functional

import basinbridge as bb
from basinbridge.curve.neb import fit_chain
from basinbridge.curve.permuting import RelaxedEnd, relaxed_permutation
from basinbridge.errors import Stopped
from basinbridge.reading import read_tensors
from basinbridge.state import save_state
from basinbridge.symmetry.relaxed import relax
from basinbridge.train import checkpoint as checkpoints
from basinbridge.train.loop import Recipe, descend


class PowerCutError(Exception):
    """Ends a run where a kill would: nothing is written any more."""


class Objective:
    """Cross entropy that fails in the given call, or sends this process a signal there."""

    def __init__(self, cut=None, sends=None):
        self.calls, self.cut, self.sends = 0, cut, sends

    def __repr__(self):
        return "cross entropy"

    def __call__(self, network, inputs, labels):
        self.calls += 1
        if self.calls == self.cut:
            if self.sends is None:
                raise PowerCutError
            os.kill(os.getpid(), self.sends)
        return functional.cross_entropy(network(inputs), labels)


def noisy(images):
    return images + 0.1 * torch.randn_like(images)


def with_dropout(seed=0):
    """A network whose buffers change in training, and which draws from the global generator."""
    digits = built("digits", seed)
    return nn.Sequential(digits, nn.Dropout(0.2))


def trained(**settings):
    return bb.train(with_dropout(), data_for("digits", 20), augmentation=noisy, **settings)


def trained_by_loader(**settings):
    images, labels = data_for("digits", 20)
    dataset = torch.utils.data.TensorDataset(images, labels)
    loader = torch.utils.data.DataLoader(dataset, batch_size=4, shuffle=True)
    return bb.train(with_dropout(), loader, **settings)


def trained_by_seeded_loader(**settings):
    images, labels = data_for("digits", 20)
    dataset = torch.utils.data.TensorDataset(images, labels)
    own = torch.Generator().manual_seed(8)
    loader = torch.utils.data.DataLoader(dataset, batch_size=4, shuffle=True, generator=own)
    return bb.train(with_dropout(), loader, **settings)


def fitted(**settings):
    line = bb.Bezier.between(with_dropout(0), with_dropout(1))
    curve = bb.fit(line, data_for("digits", 20), proximal=5.0, augmentation=noisy, **settings)
    return curve.network_at(0.5)


def trained_together(**settings):
    networks = [with_dropout(seed) for seed in range(2)]
    data = data_for("digits", 20)
    return nn.ModuleList(bb.train_together(networks, data, augmentation=noisy, **settings))


def fitted_together(**settings):
    ends = [with_dropout(seed) for seed in range(3)]
    lines = [bb.Bezier.between(*pair) for pair in itertools.pairwise(ends)]
    curves = bb.fit_together(lines, data_for("digits", 20), augmentation=noisy, **settings)
    return nn.ModuleList(curve.network_at(0.5) for curve in curves)


def chained(**settings):
    chain = bb.PolyChain.between(built("digits", 0), built("digits", 1), bends=2)
    settings["learning_rate"] = 1e-3
    curve = fit_chain(chain, data_for("digits", 20), cycles=2, looks=2, **settings)
    return curve.network_at(0.5)


def in_turns(method):
    def run(**settings):
        one, other = built("mlp", 0), built("mlp", 1)
        data = data_for("mlp", 20)
        found = bb.pam(
            one,
            other,
            data,
            bb.discover(one, data[0][:2]),
            start="identity",
            method=method,
            outer=2,
            permutation_epochs=2,
            probes=2,
            samples=2,
            **settings,
        )
        return found.curve.network_at(0.75)

    return run


def relaxed(**settings):
    """The matrices that a permutation step ends at, as the weights of a network."""
    one, other = built("mlp", 0), built("mlp", 1)
    data = data_for("mlp", 20)
    symmetry = bb.discover(one, data[0][:2])
    start = bb.random_permutation(symmetry, seed=3)
    line = bb.Linear.between(one, bb.permute(other, symmetry, start))
    end = RelaxedEnd(relax(symmetry), line.layout, other.state_dict(), start)
    recipe = Recipe(**{**settings, "learning_rate": 0.5})
    matrices = relaxed_permutation(end, line, data, recipe, nu=100.0)
    return nn.ParameterDict(matrices)


DESCENTS = {
    "a permutation": relaxed,
    "train": trained,
    "train by a loader": trained_by_loader,
    "train by a seeded loader": trained_by_seeded_loader,
    "train together": trained_together,
    "fit": fitted,
    "fit together": fitted_together,
    "fit a chain": chained,
    "pam, projected": in_turns("projected"),
    "pam, conditional gradient": in_turns("conditional-gradient"),
}
SETTINGS = {"epochs": 2, "batch_size": 4, "learning_rate": 0.05}


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A checkpoint that is written behind every step."""
    monkeypatch.setattr(checkpoints, "MOST_SHARE", math.inf)
    return bb.Checkpoint(tmp_path / "kept", seconds=0)


@pytest.mark.parametrize("seconds", [0, 3600])
@pytest.mark.parametrize("name", DESCENTS)
def test_a_descent_that_is_cut_off_again_and_again_ends_with_the_same_bits(name, seconds, kept):
    kept = replace(kept, seconds=seconds)
    undisturbed = DESCENTS[name](objective=Objective(), **SETTINGS)
    cuts = range(7, 1000, 10 if seconds == 0 else 50)
    for attempt, cut in enumerate(cuts):
        torch.manual_seed(100 + attempt)  # what other programs would find there
        try:
            found = DESCENTS[name](objective=Objective(cut), checkpoint=kept, **SETTINGS)
        except PowerCutError:
            continue
        break
    assert attempt > 0
    assert same_bits(found, undisturbed)


def test_a_finished_descent_returns_at_once_and_tells_its_epochs_again(kept):
    told, again = [], []
    first = trained(checkpoint=kept, progress=lambda *news: told.append(news), **SETTINGS)
    assert len(told) == 2
    cut = Objective(cut=1)
    second = trained(checkpoint=kept, progress=lambda *news: again.append(news), **SETTINGS)
    assert cut.calls == 0
    assert same_bits(first, second)
    assert again == told


def test_a_checkpoint_changes_nothing(kept):
    generator_before = torch.get_rng_state()
    with_it, without = trained(checkpoint=kept, **SETTINGS), trained(**SETTINGS)
    assert same_bits(with_it, without)
    assert torch.equal(torch.get_rng_state(), generator_before)


@pytest.mark.parametrize(
    ("entry", "change"),
    [
        ("epochs", {"epochs": 3}),
        ("learning_rate", {"learning_rate": 0.01}),
        ("batch_size", {"batch_size": 5}),
        ("momentum", {"momentum": 0.5}),
        ("weight_decay", {"weight_decay": 0.1}),
        ("seed", {"seed": 1}),
        ("schedule", {"schedule": lambda epoch, epochs: 1.0}),
        ("objective", {"objective": functional.cross_entropy}),
        ("augmentation", {"augmentation": noisy}),
    ],
)
def test_a_checkpoint_of_other_settings_is_refused_by_the_entry(entry, change, kept):
    data = data_for("mlp", 16)
    bb.train(built("mlp"), data, checkpoint=kept, **SETTINGS)
    before = kept.path.read_bytes()
    with pytest.raises(bb.InputError, match=f"kept: was made with {entry} .*, not "):
        bb.train(built("mlp"), data, checkpoint=kept, **{**SETTINGS, **change})
    assert kept.path.read_bytes() == before


def test_a_checkpoint_of_another_network_start_or_data_is_refused(kept):
    data = data_for("mlp", 16)
    bb.train(built("mlp"), data, checkpoint=kept, **SETTINGS)
    other = built("mlp")
    other[1] = nn.Tanh()
    with pytest.raises(bb.InputError, match="was made with network"):
        bb.train(other, data, checkpoint=kept, **SETTINGS)
    with pytest.raises(bb.InputError, match="was made with start"):
        bb.train(built("mlp", seed=1), data, checkpoint=kept, **SETTINGS)
    with pytest.raises(bb.InputError, match="was made with data"):
        bb.train(built("mlp"), data_for("mlp", 16, seed=9), checkpoint=kept, **SETTINGS)


def test_a_checkpoint_of_another_curve_or_proximal_term_is_refused(kept):
    data = data_for("mlp", 16)
    ends = built("mlp", 0), built("mlp", 1)
    bb.fit(bb.Bezier.between(*ends), data, checkpoint=kept, **SETTINGS)
    with pytest.raises(bb.InputError, match="was made with curve 'bezier', not 'polychain'"):
        bb.fit(bb.PolyChain.between(*ends), data, checkpoint=kept, **SETTINGS)
    with pytest.raises(bb.InputError, match="was made with proximal None, not 3"):
        bb.fit(bb.Bezier.between(*ends), data, checkpoint=kept, proximal=3.0, **SETTINGS)
    line = bb.Bezier.between(ends[0], built("mlp", 2))
    with pytest.raises(bb.InputError, match="was made with points"):
        bb.fit(line, data, checkpoint=kept, **SETTINGS)


def tampered(kept, tensors=None, **metadata):
    """Overwrite some of a checkpoint's tensors and metadata."""
    there, header = read_tensors(kept.path)
    save_state({**there, **(tensors or {})}, kept.path, **{**header, **metadata})


@pytest.mark.parametrize(
    "damage",
    [
        lambda kept: kept.path.write_bytes(kept.path.read_bytes()[:-9]),
        lambda kept: kept.path.write_bytes(b""),
        lambda kept: save_state({"weights": torch.zeros(3)}, kept.path),
        lambda kept: tampered(kept, position="[1, 2]"),
        lambda kept: tampered(kept, position="[" * 100_000),
        lambda kept: tampered(kept, position='{"batches": 4, "epoch": -1, "step": 0}'),
        lambda kept: tampered(kept, position='{"batches": 4, "epoch": 0, "step": 1e9}'),
        lambda kept: tampered(kept, identity="7"),
        lambda kept: tampered(kept, {"weights": torch.zeros(3)}),
        lambda kept: tampered(kept, {"weights": read_tensors(kept.path)[0]["weights"] / 0}),
        lambda kept: tampered(kept, {"more": torch.zeros(3)}),
        lambda kept: tampered(kept, {"reading/order": torch.zeros(5056, dtype=torch.uint8)}),
        lambda kept: tampered(kept, {"stepping/global": torch.zeros(5056, dtype=torch.uint8)}),
        lambda kept: tampered(kept, {"stepping/global": torch.zeros(3, dtype=torch.uint8)}),
    ],
)
def test_a_damaged_checkpoint_is_told_in_a_line_that_names_it(damage, kept):
    bb.train(built("mlp"), data_for("mlp", 16), checkpoint=kept, **SETTINGS)
    damage(kept)
    with pytest.raises(bb.InputError, match=r"^[^\n]*kept[^\n]*$"):
        bb.train(built("mlp"), data_for("mlp", 16), checkpoint=kept, **SETTINGS)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_behind_the_step_and_the_same_call_goes_on(number, kept):
    kept = replace(kept, seconds=3600)
    before = [signal.getsignal(one) for one in checkpoints.SIGNALS]
    objective = Objective(cut=7, sends=number)
    with pytest.raises(Stopped, match=r"in epoch 2 behind step 2; .*kept") as caught:
        trained(objective=objective, checkpoint=kept, **SETTINGS)
    assert objective.calls == 7
    assert caught.value.signal == number
    assert [signal.getsignal(one) for one in checkpoints.SIGNALS] == before
    rest = Objective()
    found = trained(objective=rest, checkpoint=kept, **SETTINGS)
    assert rest.calls == 3
    assert same_bits(found, trained(objective=Objective(), **SETTINGS))


@pytest.fixture
def interrupts_raise():
    """As in a program in the foreground; one that was begun in the background ignores SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interrupts_raise")
def test_a_second_signal_acts_at_once(kept):
    class Impatient(Objective):
        def __call__(self, network, inputs, labels):
            before = signal.getsignal(signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            while signal.getsignal(signal.SIGINT) == before:
                time.sleep(0.001)  # two signals at once would count as one
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(60)
            return super().__call__(network, inputs, labels)

    impatient = Impatient()
    with pytest.raises(KeyboardInterrupt) as caught:
        trained(objective=impatient, checkpoint=kept, **SETTINGS)
    assert not isinstance(caught.value, Stopped)
    assert impatient.calls == 0


def test_without_a_checkpoint_signals_are_left_alone():
    before = [signal.getsignal(one) for one in checkpoints.SIGNALS]
    seen = []

    def look(network, inputs, labels):
        seen.append([signal.getsignal(one) for one in checkpoints.SIGNALS])
        return functional.cross_entropy(network(inputs), labels)

    bb.train(built("mlp"), data_for("mlp", 8), objective=look, **SETTINGS)
    assert all(one == before for one in seen)


def test_a_thread_may_train_with_a_checkpoint(kept):
    found = []
    worker = threading.Thread(target=lambda: found.append(trained(checkpoint=kept, **SETTINGS)))
    worker.start()
    worker.join()
    assert same_bits(found[0], trained(**SETTINGS))


@pytest.mark.parametrize("broken", ["loss", "gradient"])
def test_divergence_keeps_the_last_good_state_and_goes_on_at_another_rate_only_if_told(
    broken, kept
):
    class Breaking(Objective):
        """The third step's loss, or its gradient only, is no number."""

        def __call__(self, network, inputs, labels):
            loss = super().__call__(network, inputs, labels)
            if self.calls != 3:
                return loss
            factor = torch.tensor(math.nan).double()
            return loss * factor if broken == "loss" else loss + (loss - loss.detach()) * factor

    def run(objective, checkpoint, rate):
        settings = {**SETTINGS, "learning_rate": rate, "schedule": Constant()}
        data = data_for("mlp", 16)
        return bb.train(built("mlp"), data, objective=objective, checkpoint=checkpoint, **settings)

    with pytest.raises(bb.InputError, match=r"step 3 of epoch 1, learning rate 0.05.*kept$"):
        run(Breaking(), kept, 0.05)
    weights = read_tensors(kept.path)[0]["weights"]
    assert bool(torch.isfinite(weights).all())
    assert json.loads(read_tensors(kept.path)[1]["position"])["step"] == 2
    with pytest.raises(bb.InputError, match=r"was made with learning_rate 0\.05, not 0.01"):
        run(Objective(), kept, 0.01)
    rest = Objective()
    run(rest, replace(kept, other_rate=True), 0.01)
    assert rest.calls == 8 - 2


class Constant:
    """The schedule that changes nothing."""

    def __repr__(self):
        return "constant"

    def __call__(self, epoch, epochs):
        return 1.0


def test_a_divergence_between_two_looks_writes_no_bad_state(kept):
    """Elsewhere than on a CPU steps are looked at now and then; what is written always is."""
    weights, gradient = torch.zeros(1), torch.zeros(1)

    def step(batch):
        gradient.fill_(1e38)
        return weights.sum()

    recipe = Recipe(
        epochs=1, learning_rate=1e3, momentum=0, batch_size=1, schedule=Constant(), checkpoint=kept
    )
    with pytest.raises(bb.InputError, match="kept is as it was before: tensor 'weights' holds"):
        descend(weights, gradient, step, data_for("mlp", 4), recipe)
    assert read_tensors(kept.path)[0]["weights"].tolist() == [0.0]


def test_parts_are_kept_apart_and_removed_together(tmp_path):
    whole = bb.Checkpoint(tmp_path / "a[1]")
    others = bb.Checkpoint(tmp_path / "a1")
    for one in (whole, whole.part("one"), whole.part("two"), others.part("one")):
        one.path.touch()
    assert len(whole.files()) == 3
    whole.remove()
    assert [path.name for path in tmp_path.iterdir()] == ["a1-one"]


def test_writing_takes_a_hundredth_of_the_time_at_most(kept, monkeypatch):
    monkeypatch.setattr(checkpoints, "MOST_SHARE", 0.01)
    clock, writes = [0.0], []

    def slow(state, path, **metadata):
        clock[0] += 2.0
        writes.append(clock[0])
        save_state(state, path, **metadata)

    class Working(Objective):
        def __call__(self, network, inputs, labels):
            clock[0] += 1.0
            return super().__call__(network, inputs, labels)

    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(checkpoints, "save_state", slow)
    settings = {**SETTINGS, "epochs": 100, "checkpoint": kept, "objective": Working()}
    bb.train(built("mlp"), data_for("mlp", 20), **settings)
    # The beginning, the end, and what 500 seconds of work have room for.
    assert len(writes) == 2 + 2
