"""Broken and hostile files: always one line that names the file.

500 files are tried in every run, 10,000 by BASINBRIDGE_FUZZ=10000.
"""

import functools
import io
import json
import os
import pickle
import resource
import struct
import tempfile
import time
import zipfile
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file
from sample_reports import sample_report
from torch import nn

import basinbridge as bb
from basinbridge.cli.symmetry_work import load_match
from basinbridge.curve.files import load_curve, save_curve
from basinbridge.data.datasets import load as load_data
from basinbridge.reading import parsed, read_names, read_record
from basinbridge.report.load import read_report
from basinbridge.report.picture import read_result
from basinbridge.state import check_states, with_state

CASES = int(os.environ.get("BASINBRIDGE_FUZZ", "500"))
MOST_SECONDS, MOST_MEMORY = 30.0, 2**30


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))


def _state(path):
    bb.save_state(network().state_dict(), path, record=json.dumps({"seed": 1, "seconds": 2.5}))


def _pickle(path):
    torch.save(network().state_dict(), path)


def _old_pickle(path):
    torch.save(network().state_dict(), path, _use_new_zipfile_serialization=False)


def _curve(path):
    record = {"aligned": True, "seconds": 1.0, "start": {"seed": 0}, "match": None}
    save_curve(bb.Bezier.between(network(), network()), path, record)


def _report(path):
    path.write_text(json.dumps(sample_report()), encoding="utf-8")


def _checkpoint(path):
    kept = bb.Checkpoint(path)
    bb.train(network(), data(), epochs=1, batch_size=4, checkpoint=kept)


def data():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(8, 3, generator=generator), torch.zeros(8, dtype=torch.long)


def _use_state(path):
    state = bb.load_state(path)
    read_record(path)
    check_states(network().state_dict(), state, "the network", str(path), types=False)
    with_state(network(), state).eval()(torch.zeros(2, 3))


def _use_curve(path):
    curve, record = load_curve(path, network())
    assert isinstance(record.get("start") or {}, dict)
    curve.network_at(0.5).eval()(torch.zeros(2, 3))
    curve.arc_length([0, 1])


SYMMETRY = bb.discover(network(), torch.zeros(2, 3))


def _match(path):
    permutation = bb.random_permutation(SYMMETRY, seed=1)
    bb.save_state(permutation, path, kind="permutation")


def _use_match(path):
    bb.permute(network(), SYMMETRY, load_match(path, SYMMETRY))


def _use_checkpoint(path):
    bb.train(network(), data(), epochs=1, batch_size=4, checkpoint=bb.Checkpoint(path))


KINDS = {
    "state.safetensors": (_state, _use_state),
    "state.pt": (_pickle, _use_state),
    "old.pth": (_old_pickle, _use_state),
    "curve.safetensors": (_curve, _use_curve),
    "match.safetensors": (_match, _use_match),
    "report.json": (_report, read_report),
    "kept.checkpoint": (_checkpoint, _use_checkpoint),
}
PARQUET_CASES = CASES // 50
FUZZ = settings(
    max_examples=(CASES - PARQUET_CASES) // len(KINDS),
    deadline=None,
    database=None,
    derandomize=CASES == 500,
    suppress_health_check=list(HealthCheck),
)


def memory():
    """The most that this process has held so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def refused(use, path):
    """The line that a file is refused by, None if it is taken; fails if there is anything else."""
    before, began = memory(), time.monotonic()
    try:
        use(path)
        line = None
    except bb.InputError as error:
        line = str(error)
        assert path.name in line
        assert "\n" not in line
        assert len(line) < 1000
    assert time.monotonic() - began < MOST_SECONDS
    assert memory() - before < MOST_MEMORY
    return line


@functools.cache
def good(name):
    """The bytes of a good file of a kind."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        KINDS[name][0](path)
        return path.read_bytes()


NUMBERS = st.one_of(
    st.integers(),
    st.floats(),
    st.sampled_from([-1, 0, 1, 2**31, 2**62, 2**63, 2**64 - 1, 10**400]),
)
TEXTS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["../../etc/passwd", "/etc/passwd", "", "__class__", "0/", "²/a", "\0"]),
    st.sampled_from(["{}", "[[]]", "null", "[9]", "[" * 5000]),
    st.sampled_from("F32 F64 F16 BF16 I8 U64 BOOL F4 F8_E4M3 F8_E8M0 C64".split()),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=8,
)


def bytes_changed(draw, content):
    """Cut off, flipped, overwritten, doubled or taken out somewhere."""
    content = bytearray(content)
    # What is dangerous stands in heads, or in the feet of archives and Parquet.
    last = len(content) - 1
    spans = st.sampled_from([(0, min(1200, last)), (0, last), (max(0, last - 1200), last)])
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(*draw(spans)))
        kind = draw(st.sampled_from(["cut", "flip", "write", "double", "remove", "length"]))
        if kind == "cut":
            content = content[:place]
        elif kind == "flip" and place < len(content):
            content[place] ^= 1 << draw(st.integers(0, 7))
        elif kind == "write":
            new = draw(st.binary(min_size=1, max_size=16))
            content[place : place + len(new)] = new
        elif kind == "double":
            content[place:place] = content[place : place + draw(st.integers(1, 400))]
        elif kind == "remove":
            del content[place : place + draw(st.integers(1, 400))]
        else:
            content[:8] = struct.pack("<Q", draw(st.integers(0, 2**64 - 1)))
    return bytes(content)


def value_changed(draw, value):
    """One place in a value of JSON replaced, renamed or taken out."""
    if isinstance(value, dict) and value and draw(st.integers(0, 9)):
        name = draw(st.sampled_from(sorted(value)))
        kind = draw(st.sampled_from(["inside", "inside", "inside", "rename", "remove"]))
        rest = {key: one for key, one in value.items() if key != name}
        if kind == "remove":
            return rest
        new = draw(TEXTS) if kind == "rename" else name
        return {**rest, new: value_changed(draw, value[name])}
    if isinstance(value, list) and value and draw(st.integers(0, 9)):
        place = draw(st.integers(0, len(value) - 1))
        return [*value[:place], value_changed(draw, value[place]), *value[place + 1 :]]
    return draw(VALUES)


def header_changed(draw, content):
    """A safetensors file with something else in its header, whose length is right."""
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    if draw(st.booleans()):
        texts = header["__metadata__"]
        name = draw(st.sampled_from(sorted(texts)))
        texts[name] = json.dumps(draw(VALUES)) if draw(st.booleans()) else draw(TEXTS)
    else:
        header = value_changed(draw, header)
    new = json.dumps(header).encode()
    return struct.pack("<Q", len(new)) + new + content[8 + length :]


def parquet(path):
    """A data set of some images."""
    generator = np.random.default_rng(0)
    cells = []
    for _ in range(6):
        buffer = io.BytesIO()
        pixels = generator.integers(256, size=(5, 4, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(buffer, "PNG")
        cells.append({"bytes": buffer.getvalue(), "path": None})
    features = datasets.Features(
        {"img": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])}
    )
    table = datasets.Dataset.from_dict({"img": cells, "label": [0, 1] * 3}, features=features)
    table.to_parquet(path)


@pytest.fixture
def own_caches(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("caches")
    monkeypatch.setenv("BASINBRIDGE_CACHE", str(folder / "ours"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "theirs")
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


def test_changed_parquet_data_are_taken_or_refused_in_one_line(own_caches, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    path = folder / "train.parquet"
    parquet(path)
    content = path.read_bytes()

    def use(folder):
        load_data(str(folder), "train")

    assert refused(use, folder) is None

    @settings(FUZZ, max_examples=PARQUET_CASES)
    @given(st.data())
    def try_one(data):
        path.write_bytes(bytes_changed(data.draw, content))
        refused(use, folder)

    try_one()


def archive_changed(draw, content):
    """A `.pt` archive with changed bytes inside an entry, whose checksum is right."""
    found = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(found, "w") as new:
        chosen = draw(st.sampled_from(old.namelist()))
        for name in old.namelist():
            inner = old.read(name)
            new.writestr(name, bytes_changed(draw, inner) if name == chosen and inner else inner)
    return found.getvalue()


def report_changed(draw, content):
    return json.dumps(value_changed(draw, json.loads(content))).encode()


def changed(draw, name):
    """The bytes of a good file with something wrong in them."""
    content = good(name)
    if draw(st.booleans()):
        return bytes_changed(draw, content)
    if name.endswith(".pt"):
        return archive_changed(draw, content)
    if name.endswith(".pth"):
        return bytes_changed(draw, content)
    return (report_changed if name.endswith(".json") else header_changed)(draw, content)


@pytest.mark.parametrize("name", KINDS)
def test_a_good_file_is_taken(name, tmp_path):
    (tmp_path / name).write_bytes(good(name))
    assert refused(KINDS[name][1], tmp_path / name) is None


@pytest.mark.parametrize("name", KINDS)
def test_a_changed_file_is_taken_or_refused_in_one_line(name, tmp_path):
    path = tmp_path / name

    @FUZZ
    @given(st.data())
    def try_one(data):
        path.write_bytes(changed(data.draw, name))
        refused(KINDS[name][1], path)
        # Nothing but the file itself is written, whatever the names in it say.
        assert [one.name for one in tmp_path.iterdir()] == [name]

    try_one()


class Running:
    """A pickle of it makes a file when it is loaded without care."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def _bare_pickle(content, path):
    path.write_bytes(pickle.dumps(content))


def _new_archive(content, path):
    torch.save(content, path)


def _old_archive(content, path):
    torch.save(content, path, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".ckpt", ".safetensors", ".anything"])
@pytest.mark.parametrize("write", [_bare_pickle, _new_archive, _old_archive])
def test_no_file_runs_code(write, suffix, tmp_path):
    marker = tmp_path / "marker"
    for place, content in enumerate(
        [Running(marker), {"0.weight": Running(marker)}, {"state_dict": {"a": Running(marker)}}]
    ):
        path = tmp_path / f"{place}{suffix}"
        write(content, path)
        assert refused(_use_state, path) is not None
        assert not marker.exists()
    pickle.loads((tmp_path / f"0{suffix}").read_bytes()) if write is _bare_pickle else None
    assert marker.exists() == (write is _bare_pickle)  # it would have run


def _packed(path):
    """An archive of some kilobytes that unpacks to megabytes of zeros."""
    torch.save({"0.weight": torch.zeros(2**20)}, path)
    with zipfile.ZipFile(path) as old:
        inner = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name, content in inner.items():
            new.writestr(name, content)


def _overlapping(path):
    """Many names for one tensor's bytes: legal in a pickle, not in what we read."""
    torch.save({"0.weight": torch.zeros(1).expand(2**20, 2**14)}, path)


def _header_of(header):
    def write(path):
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text)

    return write


def _entry(dtype="F32", shape=(1,), offsets=(0, 4)):
    return {"a": {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}}


BOMBS = {
    "packed.pt": _packed,
    "expanded.pt": _overlapping,
    "meta.pt": lambda path: torch.save({"a": torch.zeros(2**40, device="meta")}, path),
    "sparse.pt": lambda path: torch.save({"a": torch.zeros(3, 3).to_sparse()}, path),
    "complex.pt": lambda path: torch.save({"a": torch.zeros(3).to(torch.complex64)}, path),
    "float8.pt": lambda path: torch.save({"a": torch.zeros(3).to(torch.float8_e4m3fn)}, path),
    "number.pt": lambda path: torch.save(3, path),
    "names.pt": lambda path: torch.save({1: torch.zeros(1)}, path),
    "folder.pt": lambda path: path.mkdir(),
    "empty.pt": lambda path: path.touch(),
    "float8.safetensors": lambda path: save_file(
        {"a": torch.zeros(4).to(torch.float8_e4m3fn)}, path
    ),
    "length.safetensors": lambda path: path.write_bytes(b"\xff" * 8 + b"{}"),
    "long.safetensors": _header_of(b" " * 90_000_000 + b"{}"),
    "many.safetensors": _header_of(
        {str(place): _entry(shape=(0,), offsets=(0, 0))["a"] for place in range(20_000)}
    ),
    "deep.safetensors": _header_of(b'{"a":' + b"[" * 1_000_000),
    "large.safetensors": _header_of(_entry(shape=(2**61,), offsets=(0, 2**63))),
    "wrapped.safetensors": _header_of(_entry(shape=(2**32, 2**32), offsets=(0, 0))),
    "folder.safetensors": lambda path: path.mkdir(),
    "empty.safetensors": lambda path: path.touch(),
    "link.safetensors": lambda path: path.symlink_to("/dev/zero"),
    "missing.safetensors": lambda path: None,
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_file_that_claims_more_than_it_is_gets_refused(name, tmp_path):
    path = tmp_path / name
    BOMBS[name](path)
    assert refused(_use_state, path) is not None
    if name.endswith(".safetensors"):
        assert refused(_use_curve, path) is not None
        assert refused(_use_match, path) is not None


def test_a_packed_archive_is_not_unpacked(tmp_path):
    path = tmp_path / "packed.pt"
    _packed(path)
    assert "packed" in refused(bb.load_state, path)


REPORTS = {
    "deep lists": "[" * 1_000_000,
    "deep objects": '{"format": 1, "settings": ' + '{"a":' * 50_000 + "1" + "}" * 50_001,
    "rather deep": '{"format": 1, "settings": ' + '{"a":' * 500 + "1" + "}" * 501,
    "a long integer": '{"format": ' + "1" * 10_000 + "}",
    "no text": b"\xff\xfe\x00",
    "a number": "1",
    "no number": "NaN",
}


@pytest.mark.parametrize("name", REPORTS)
def test_a_report_of_another_shape_is_refused(name, tmp_path):
    path = tmp_path / "report.json"
    content = REPORTS[name]
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert refused(read_report, path) is not None
    assert refused(lambda path: read_result(path, "plane"), path) is not None


def test_a_report_too_large_to_be_one_is_not_even_read(tmp_path):
    path = tmp_path / "report.json"
    with path.open("wb") as file:
        file.truncate(3 * 2**30)
    assert "larger than 128 MiB" in refused(read_report, path)


def test_json_is_as_python_reads_it_up_to_a_depth():
    value = {"a": [1, 2.5, None, True, {"b": "c"}], "d": {}}
    assert parsed(json.dumps(value)) == value
    assert parsed("[" * 100 + "]" * 100)
    with pytest.raises(ValueError, match="too deeply"):
        parsed("[" * 101 + "]" * 101)


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_names_are_read_without_the_tensors_and_a_broken_file_is_named(suffix, tmp_path):
    path = tmp_path / f"a{suffix}"
    tensors = {"one": torch.zeros(3), "another.one": torch.ones(2)}
    save_file(tensors, path) if suffix == ".safetensors" else torch.save(tensors, path)
    assert read_names(path) == set(tensors)
    path.write_bytes(path.read_bytes()[:5])
    with pytest.raises(bb.InputError, match=rf"^[^\n]*a{suffix}: [^\n]*$"):
        read_names(path)
    with pytest.raises(bb.InputError, match=rf"b{suffix}: no such file"):
        read_names(tmp_path / f"b{suffix}")
    with pytest.raises(bb.InputError, match=r"is a folder; give a file"):
        read_names(tmp_path)


def test_names_that_look_like_paths_are_names(tmp_path):
    path = tmp_path / "state.safetensors"
    names = ["../../outside", "/outside", "a/../../b", "outside\\x"]
    bb.save_state({name: torch.ones(1) for name in names}, path)
    assert sorted(bb.load_state(path)) == sorted(names)
    assert [one.name for one in tmp_path.rglob("*")] == [path.name]


def test_a_record_of_another_kind_is_refused_by_a_curve_and_left_out_of_a_state(tmp_path):
    path = tmp_path / "curve.safetensors"
    save_curve(bb.Linear.between(network(), network()), path, {"start": [1]})
    assert "'start'" in refused(_use_curve, path)
    assert read_record(path) == {}
