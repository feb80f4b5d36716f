import copy
import os
import pickle
import stat
import time

import pytest
import torch
from networks import built, copy_of, data_for, inputs_for, same_bits
from safetensors.torch import save_file
from torch import nn

import basinbridge as bb
from basinbridge.state import (
    Layout,
    bind,
    check_finite,
    check_states,
    mode,
    replacing,
    state_of,
    take_gradient,
    with_state,
)


class Tied(nn.Module):
    """A decoder that is its encoder: one tensor under two names."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Linear(4, 4)
        self.decoder = nn.Linear(4, 4)
        self.decoder.weight = self.encoder.weight

    def forward(self, inputs):
        return self.decoder(torch.relu(self.encoder(inputs)))


# Files


@pytest.mark.parametrize("name", ["mlp", "tinyten", "resnet32"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_saved_state_comes_back_bit_for_bit(name, dtype, tmp_path):
    state = built(name).to(dtype).state_dict()
    bb.save_state(state, tmp_path / "new" / "a.safetensors")
    assert same_bits(dict(sorted(state.items())), bb.load_state(tmp_path / "new" / "a.safetensors"))


@pytest.mark.parametrize("suffix", [".pt", ".pth"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_pickled_state_dict_is_read(suffix, wrapped, tmp_path):
    state = built("tinyten").state_dict()
    path = tmp_path / f"a{suffix}"
    torch.save({"state_dict": state, "epoch": 3} if wrapped else state, path)
    assert same_bits(state, bb.load_state(path))


class Bomb:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".ckpt", ".safetensors"])
def test_a_pickle_that_would_run_code_is_refused_and_runs_none(suffix, tmp_path):
    marker, path = tmp_path / "ran", tmp_path / f"a{suffix}"
    torch.save({"weight": torch.zeros(2), "bomb": Bomb(marker)}, path)
    with pytest.raises(bb.InputError, match=f"a{suffix}"):
        bb.load_state(path)
    path.write_bytes(pickle.dumps(Bomb(marker)))
    with pytest.raises(bb.InputError, match=f"a{suffix}"):
        bb.load_state(path)
    assert not marker.exists()
    pickle.loads(path.read_bytes())  # the bomb is a live one
    assert marker.exists()


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(bb.InputError, match=r"none\.safetensors: no such file"):
        bb.load_state(tmp_path / "none.safetensors")
    with pytest.raises(bb.InputError, match="is a folder; give a file"):
        bb.load_state(tmp_path)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("kept", [0, 3, 40, -1, -100])
def test_a_truncated_file_is_named(suffix, kept, tmp_path):
    path = tmp_path / f"a{suffix}"
    state = built("mlp").state_dict()
    if suffix == ".pt":
        torch.save(state, path)
    else:
        bb.save_state(state, path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(bb.InputError, match=f"a{suffix}"):
        bb.load_state(path)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".txt"])
@pytest.mark.parametrize("content", [b"", b"hello, world\n" * 40, b"\x00" * 64, b"\xff" * 64])
def test_a_file_of_another_kind_is_named(suffix, content, tmp_path):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    with pytest.raises(bb.InputError, match=f"a{suffix}"):
        bb.load_state(path)


@pytest.mark.parametrize(
    "content", [[torch.zeros(2)], {"epoch": 3}, {"a": torch.zeros(2), "b": 1}, {1: torch.zeros(2)}]
)
def test_a_pickle_of_something_else_than_named_tensors_is_refused(content, tmp_path):
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(bb.InputError, match="not a state dict"):
        bb.load_state(tmp_path / "a.pt")


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_nan_or_an_infinity_in_a_file_is_named_with_its_tensor(suffix, value, tmp_path):
    state = {"fine": torch.zeros(2), "layer.bad": torch.tensor([0.0, value])}
    path = tmp_path / f"a{suffix}"
    if suffix == ".pt":
        torch.save(state, path)
    else:
        save_file(state, path)
    with pytest.raises(bb.InputError, match=rf"a{suffix}.*'layer\.bad'"):
        bb.load_state(path)


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    bb.save_state({"a": torch.ones(3)}, path)

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(bb.InputError, match=r"a\.safetensors: cannot be written \(No space"):
        bb.save_state({"a": torch.zeros(3)}, path)
    assert torch.equal(bb.load_state(path)["a"], torch.ones(3))
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_write_leaves_the_old_file_and_no_other(tmp_path, error):
    path = tmp_path / "a"
    path.write_text("old")

    def write_half():
        with replacing(path) as temporary:
            temporary.write_text("ne")
            raise error

    with pytest.raises(error):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_killed_writers_left_is_removed_after_an_hour(tmp_path):
    path, other = tmp_path / "a", tmp_path / "b"
    for seconds_ago, target in ((3700, path), (3500, path), (3700, other)):
        left = tmp_path / f".{target.name}.{seconds_ago}.unfinished"
        left.mkdir()
        (left / "half").write_text("ne")
        os.utime(left, (time.time() - seconds_ago,) * 2)
    with replacing(path) as temporary:
        temporary.write_text("new")
        (temporary.parent / "a library's own piece").write_text("ne")
    kept = {path, tmp_path / ".a.3500.unfinished", tmp_path / ".b.3700.unfinished"}
    assert set(tmp_path.iterdir()) == kept


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(bb.InputError, match=r"a\.safetensors: cannot be written"):
        bb.save_state({"a": torch.zeros(1)}, tmp_path / "file" / "a.safetensors")
    (tmp_path / "folder").mkdir()
    with pytest.raises(bb.InputError, match="folder: cannot be written"):
        bb.save_state({"a": torch.zeros(1)}, tmp_path / "folder")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_a_written_file_can_be_read_by_others(tmp_path):
    bb.save_state({"a": torch.zeros(1)}, tmp_path / "a.safetensors")
    assert stat.S_IMODE((tmp_path / "a.safetensors").stat().st_mode) == 0o644


def test_views_and_shared_memory_are_saved_as_what_they_show(tmp_path):
    base = torch.arange(12.0).reshape(3, 4)
    state = {"whole": base, "transposed": base.T, "row": base[1]}
    bb.save_state(state, tmp_path / "a.safetensors")
    loaded = bb.load_state(tmp_path / "a.safetensors")
    assert all(torch.equal(loaded[name], state[name]) for name in state)


# States of a network


@pytest.mark.parametrize("name", ["mlp", "tinyten", "residual"])
def test_a_state_is_a_copy_and_a_network_takes_it_on_a_copy(name):
    network, other = built(name), built(name, seed=1)
    before = copy_of(network)
    state = state_of(other)
    twin = with_state(network, state)
    assert same_bits(twin, other)
    for tensor in (*state.values(), *twin.state_dict().values()):
        tensor.zero_()
    assert same_bits(network, before)
    assert same_bits(other, built(name, seed=1))


def test_states_that_differ_are_told_apart_by_the_first_tensor():
    one = {"a": torch.zeros(2, 3), "b": torch.zeros(2), "c": torch.zeros(1)}
    check_states(one, dict(one), "one", "other")
    cases = [
        ({**one, "b": torch.zeros(3), "c": torch.zeros(9)}, r"'b' is \[2\] in one but \[3\]"),
        ({"a": one["a"], "c": one["c"]}, "other has no tensor 'b', which one has"),
        ({**one, "d": torch.zeros(1)}, "one has no tensor 'd', which other has"),
        ({**one, "c": torch.zeros(1).double()}, "'c' is float32 in one but float64 in other"),
    ]
    for other, message in cases:
        with pytest.raises(bb.InputError, match=message):
            check_states(one, other, "one", "other")
    with pytest.raises(bb.InputError, match=r"'0\.weight'"):
        with_state(built("mlp"), nn.Sequential(nn.Linear(2, 3)).state_dict())


def test_whole_numbers_are_finite():
    check_finite({"count": torch.tensor(3), "weight": torch.zeros(2)}, "it")
    with pytest.raises(bb.InputError, match="it: tensor 'weight'"):
        check_finite({"weight": torch.tensor([torch.nan])}, "it")


@pytest.mark.parametrize("training", [True, False])
def test_every_modules_mode_comes_back(training):
    network = built("resnet32").train()
    network.stages[1].eval()
    before = [module.training for module in network.modules()]

    def run():
        with mode(network, training):
            assert {module.training for module in network.modules()} == {training}
            raise KeyError

    with pytest.raises(KeyError):
        run()
    assert [module.training for module in network.modules()] == before


# Vectors


@pytest.mark.parametrize("name", ["mlp", "tinyten", "resnet32", "encoder"])
def test_a_vector_is_the_parameters_and_then_the_float_buffers_in_order(name):
    network = built(name)
    layout = Layout.of(network)
    parameters = [parameter.detach().ravel() for parameter in network.parameters()]
    buffers = [buffer.ravel() for buffer in network.buffers() if buffer.is_floating_point()]
    vector = layout.flatten(network.state_dict())
    assert torch.equal(vector, torch.cat(parameters + buffers))
    assert layout.parameters == sum(len(part) for part in parameters)
    assert layout.size == len(vector)
    views = layout.views(vector)
    assert all(torch.equal(views[name], network.state_dict()[name]) for name in views)
    views[next(iter(views))].fill_(7)
    assert vector[0] == 7


def test_integer_and_passing_buffers_are_no_part_of_a_vector():
    network = nn.BatchNorm1d(3)
    network.register_buffer("scratch", torch.zeros(5), persistent=False)
    assert list(Layout.of(network).shapes) == ["weight", "bias", "running_mean", "running_var"]


def test_a_tied_tensor_stands_once_in_a_vector_and_stays_tied():
    network = Tied()
    layout = Layout.of(network)
    assert list(layout.shapes) == ["encoder.weight", "encoder.bias", "decoder.bias"]
    twin = copy.deepcopy(network)
    vector = layout.flatten(twin.state_dict())
    bind(twin, vector)
    inputs = torch.randn(5, 4)
    twin(inputs).square().sum().backward()
    gradient = torch.full((Layout.of(twin).parameters,), torch.nan)
    take_gradient(twin, gradient)
    network(inputs).square().sum().backward()
    wanted = torch.cat([parameter.grad.ravel() for parameter in network.parameters()])
    assert torch.allclose(gradient, wanted)
    assert twin.decoder.weight is twin.encoder.weight


def test_a_tied_tensor_survives_a_file_training_and_a_curve(tmp_path):
    one, other = Tied(), Tied()
    bb.save_state(one.state_dict(), tmp_path / "a.safetensors")
    assert same_bits(with_state(other, bb.load_state(tmp_path / "a.safetensors")), one)
    data = (torch.randn(20, 4), torch.randint(4, (20,)))
    trained = bb.train(one, data, epochs=1, batch_size=5)
    assert trained.decoder.weight is trained.encoder.weight
    assert not same_bits(trained, one)
    curve = bb.fit(bb.Bezier.between(one, other), data, epochs=1, batch_size=5)
    for t, end in ((0, one), (1, other)):
        assert same_bits(curve.state_at(t), end)
    state = curve.state_at(0.5)
    assert torch.equal(state["encoder.weight"], state["decoder.weight"])


def test_several_types_of_numbers_are_refused_by_name():
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2).double())
    with pytest.raises(bb.InputError, match=r"'1\.weight' is float64 but '0\.weight' is float32"):
        Layout.of(network)


@pytest.mark.parametrize("name", ["mlp", "tinyten", "resnet32", "encoder"])
def test_writing_into_a_bound_vector_changes_the_network(name):
    network, other = built(name), built(name, seed=1)
    inputs = inputs_for(name, 3)
    layout = Layout.of(network)
    vector = layout.flatten(network.state_dict())
    bind(network, vector)
    assert torch.equal(network(inputs), built(name)(inputs))
    vector.copy_(layout.flatten(other.state_dict()))
    assert torch.equal(network(inputs), other(inputs))


@pytest.mark.parametrize("name", ["mlp", "tinyten", "resnet32"])
def test_gradients_are_taken_off_a_network_in_the_order_of_its_vector(name):
    network, plain = built(name), built(name)
    inputs, labels = data_for(name, 4)
    layout = Layout.of(network)
    bind(network, layout.flatten(network.state_dict()))
    gradient = torch.full((layout.parameters,), torch.nan, dtype=torch.float64)
    for model in (network, plain):
        nn.functional.cross_entropy(model(inputs), labels).backward()
    wanted = torch.cat([parameter.grad.ravel() for parameter in plain.parameters()])
    take_gradient(network, gradient)
    assert torch.equal(gradient, wanted)
    assert all(parameter.grad is None for parameter in network.parameters())
    take_gradient(network, gradient)
    assert gradient.count_nonzero() == 0


def test_batch_norm_writes_its_statistics_into_the_vector():
    network = nn.BatchNorm1d(3)
    layout = Layout.of(network)
    vector = layout.flatten(network.state_dict())
    bind(network, vector)
    network.train()(torch.randn(8, 3) + 5)
    assert torch.equal(layout.views(vector)["running_mean"], network.running_mean)
    assert (network.running_mean > 0.1).all()
