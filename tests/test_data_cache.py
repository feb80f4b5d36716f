import logging
import os
from pathlib import Path

import pytest
import torch

from basinbridge.data.cache import Decoded, cache_file, cache_folder, read, write


def decoded(count=4):
    images = torch.arange(count * 12).reshape(count, 3, 2, 2).to(torch.uint8)
    return Decoded(images, torch.arange(count), ("aé", "b", "c", "d"))


def test_what_was_written_is_read_back(tmp_path):
    path = tmp_path / "new" / "set.safetensors"
    write(path, decoded())
    result = read(path)
    assert torch.equal(result.images, decoded().images)
    assert torch.equal(result.labels, decoded().labels)
    assert result.class_names == decoded().class_names
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_missing_file_is_no_news(tmp_path, caplog):
    assert read(tmp_path / "none.safetensors") is None
    assert not caplog.records


@pytest.mark.parametrize("kept", [0, 5, 60, -1])
def test_a_truncated_file_counts_as_none_and_is_told(tmp_path, caplog, kept):
    path = tmp_path / "set.safetensors"
    write(path, decoded())
    path.write_bytes(path.read_bytes()[:kept])
    assert read(path) is None
    assert "decoding anew" in caplog.text
    write(path, decoded())
    assert read(path) is not None


def test_another_programs_file_counts_as_none(tmp_path, caplog):
    from safetensors.torch import save_file

    path = tmp_path / "set.safetensors"
    save_file({"weight": torch.zeros(3)}, path)
    assert read(path) is None
    save_file({"images": torch.zeros(3), "labels": torch.zeros(3)}, path, {"class_names": '["a"]'})
    assert read(path) is None
    assert len(caplog.records) == 2


def test_a_folder_that_cannot_be_made_costs_a_warning_only(tmp_path, caplog):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with caplog.at_level(logging.WARNING, logger="basinbridge"):
        write(blocked / "set.safetensors", decoded())
    assert "not cached" in caplog.text
    assert blocked.read_text() == "not a folder"


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path, caplog, monkeypatch):
    path = tmp_path / "set.safetensors"
    write(path, decoded(4))

    def full(_descriptor):
        raise OSError(28, "no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    write(path, decoded(2))
    assert "no space left" in caplog.text
    assert len(read(path).images) == 4
    assert list(tmp_path.iterdir()) == [path]


def test_the_environment_names_the_folder(monkeypatch):
    monkeypatch.setenv("BASINBRIDGE_CACHE", "/somewhere/else")
    assert cache_file("a", "train", "0").parent == Path("/somewhere/else")
    monkeypatch.delenv("BASINBRIDGE_CACHE")
    assert cache_folder() == Path.home() / ".cache" / "basinbridge"
