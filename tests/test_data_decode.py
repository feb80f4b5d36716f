import io
import os
import socket
import sys

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from basinbridge.data import decode as module
from basinbridge.data.decode import Source, decode
from basinbridge.errors import InputError


@pytest.fixture(autouse=True)
def _own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("BASINBRIDGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hugging-face")


def encoded(pixels, kind="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return {"bytes": buffer.getvalue(), "path": None}


def pixels(count, shape=(4, 5, 3), seed=0):
    return np.random.default_rng(seed).integers(256, size=(count, *shape), dtype=np.uint8)


def folder(path, splits, *, label="label", kind=None, **more):
    """A data set of Parquet files: for each split a list of images and a list of labels."""
    features = datasets.Features(
        {
            **{name: datasets.Value("int64") for name in more},
            "img": datasets.Image(),
            label: kind or datasets.ClassLabel(names=["cat", "dog", "eel"]),
        }
    )
    (path / "data").mkdir(parents=True, exist_ok=True)
    for split, (images, labels) in splits.items():
        cells = [
            image if image is None or isinstance(image, dict) else encoded(image)
            for image in images
        ]
        extra = {name: [value] * len(cells) for name, value in more.items()}
        table = datasets.Dataset.from_dict(
            {**extra, "img": cells, label: labels}, features=features
        )
        table.to_parquet(path / "data" / f"{split}-00000-of-00001.parquet")
    return Source("made up", str(path), local=True)


@pytest.fixture
def quiet_datasets():
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


pytestmark = pytest.mark.usefixtures("quiet_datasets")


def test_pixels_labels_and_class_names_come_out_as_they_went_in(tmp_path):
    images = pixels(7)
    source = folder(tmp_path / "set", {"train": (images, [0, 1, 2, 0, 1, 2, 2])})
    result = decode(source, "train")
    assert torch.equal(result.images, torch.from_numpy(images).permute(0, 3, 1, 2))
    assert result.images.is_contiguous()
    assert result.labels.tolist() == [0, 1, 2, 0, 1, 2, 2]
    assert result.class_names == ("cat", "dog", "eel")


def test_blocks_are_joined_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK", 3)
    images = pixels(8)
    source = folder(tmp_path / "set", {"train": (images, [0] * 8)})
    assert torch.equal(decode(source, "train").images, torch.from_numpy(images).permute(0, 3, 1, 2))


def test_the_data_folder_is_only_read(tmp_path):
    source = folder(tmp_path / "set", {"train": (pixels(2), [0, 1])})
    before = sorted((tmp_path / "set").rglob("*"))
    decode(source, "train")
    assert sorted((tmp_path / "set").rglob("*")) == before


@pytest.mark.parametrize("names", [["test", "valid"], ["valid", "validation"], ["validation"]])
def test_the_test_split_is_the_first_of_test_valid_validation(tmp_path, names):
    splits = {name: (pixels(2 + i, seed=i), [0] * (2 + i)) for i, name in enumerate(names)}
    source = folder(tmp_path / "set", {"train": (pixels(1), [0]), **splits})
    assert len(decode(source, "test").images) == 2


def test_a_missing_split_is_refused_with_those_there_are(tmp_path):
    source = folder(tmp_path / "set", {"train": (pixels(1), [0])})
    with pytest.raises(InputError, match=r"no split test or valid or validation; it has train"):
        decode(source, "test")


def test_grey_images_stay_grey_where_all_are(tmp_path):
    grey = pixels(3, (4, 5))
    source = folder(tmp_path / "set", {"train": (grey, [0, 1, 2]), "test": (grey[:1], [0])})
    assert torch.equal(decode(source, "train").images, torch.from_numpy(grey)[:, None])


def test_one_colour_image_in_any_split_makes_all_rgb(tmp_path):
    grey, colour = pixels(150, (4, 5)), pixels(1)
    splits = {"train": (grey, [0] * 150), "test": ([grey[0], colour[0]], [0, 1])}
    result = decode(folder(tmp_path / "set", splits), "train")
    assert result.images.shape == (150, 3, 4, 5)
    assert torch.equal(result.images[7, 2], torch.from_numpy(grey[7]))


def test_images_of_two_sizes_are_refused(tmp_path):
    images = [*pixels(2), pixels(1, (6, 5, 3))[0]]
    source = folder(tmp_path / "set", {"train": (images, [0, 1, 2])})
    with pytest.raises(InputError, match="image 2 is 5x6, image 0 is 5x4; all must have one size"):
        decode(source, "train")


@pytest.mark.parametrize(
    "damaged",
    [
        None,
        {"bytes": b"no image", "path": None},
        {"bytes": encoded(pixels(1)[0])["bytes"][:70], "path": None},
    ],
)
def test_a_damaged_image_is_named(tmp_path, damaged):
    source = folder(tmp_path / "set", {"train": ([pixels(1)[0], damaged], [0, 1])})
    with pytest.raises(InputError, match="image 1 cannot be read"):
        decode(source, "train")


def test_image_files_in_class_folders_are_read_too(tmp_path):
    for split in ("train", "test"):
        for name in ("ant", "bee"):
            (tmp_path / "set" / split / name).mkdir(parents=True)
            Image.fromarray(pixels(1)[0]).save(tmp_path / "set" / split / name / "0.png")
    result = decode(Source("made up", str(tmp_path / "set"), local=True), "train")
    assert result.images.shape == (2, 3, 4, 5)
    assert result.class_names == ("ant", "bee")
    assert sorted(result.labels.tolist()) == [0, 1]


def test_integers_serve_as_labels_and_classes_are_counted_over_all_splits(tmp_path):
    kind = datasets.Value("int32")
    splits = {"train": (pixels(2), [0, 1]), "test": (pixels(1), [3])}
    result = decode(folder(tmp_path / "set", splits, kind=kind), "train")
    assert result.class_names == ("0", "1", "2", "3")


def test_a_class_label_goes_before_an_integer_column(tmp_path):
    result = decode(folder(tmp_path / "set", {"train": (pixels(1), [2])}, number=1), "train")
    assert result.labels.tolist() == [2]


def test_the_named_label_column_goes_before_the_first(tmp_path):
    splits = {"train": (pixels(1), [2])}
    kind = datasets.Value("int64")
    folder(tmp_path / "set", splits, label="fine", kind=kind, coarse=1)
    place = str(tmp_path / "set")
    assert decode(Source("x", place, True), "train").labels.tolist() == [1]
    assert decode(Source("x", place, True, label="fine"), "train").labels.tolist() == [2]


@pytest.mark.parametrize(
    ("kind", "labels", "message"),
    [
        (datasets.Value("string"), ["cat"], "no label column among img, label"),
        (datasets.Value("int64"), [None], "column 'label' lacks labels"),
        (datasets.Image(), [encoded(pixels(1)[0])], "2 image columns among img, label"),
    ],
)
def test_columns_that_do_not_serve_are_refused(tmp_path, kind, labels, message):
    source = folder(tmp_path / "set", {"train": (pixels(1), labels)}, kind=kind)
    with pytest.raises(InputError, match=message):
        decode(source, "train")


def test_the_second_time_comes_from_the_cache(tmp_path, monkeypatch):
    source = folder(tmp_path / "set", {"train": (pixels(3), [0, 1, 2])})
    first = decode(source, "train")
    monkeypatch.setattr(module, "_open", None)
    assert torch.equal(decode(source, "train").images, first.images)


def test_a_changed_source_is_decoded_anew(tmp_path):
    source = folder(tmp_path / "set", {"train": (pixels(3), [0, 1, 2])})
    decode(source, "train")
    folder(tmp_path / "set", {"train": (pixels(3, seed=5), [0, 1, 2])})
    file = next((tmp_path / "set" / "data").iterdir())
    os.utime(file, ns=(0, file.stat().st_mtime_ns + 1_000_000_000))
    assert torch.equal(
        decode(source, "train").images, torch.from_numpy(pixels(3, seed=5)).permute(0, 3, 1, 2)
    )


def test_a_truncated_cache_file_is_replaced(tmp_path, caplog):
    source = folder(tmp_path / "set", {"train": (pixels(3), [0, 1, 2])})
    first = decode(source, "train")
    expected = first.images.clone()
    (cached,) = (tmp_path / "cache").iterdir()
    whole = cached.read_bytes()
    cached.unlink()
    cached.write_bytes(whole[:-20])
    assert torch.equal(decode(source, "train").images, expected)
    assert cached.read_bytes() == whole
    assert "decoding anew" in caplog.text


def test_a_folder_without_data_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"data set 'made up': cannot read .*data files"):
        decode(Source("made up", str(tmp_path), local=True), "train")


def test_progress_bars_are_off_while_loading_and_as_before_afterwards(tmp_path, capfd):
    source = folder(tmp_path / "set", {"train": (pixels(2), [0, 1])})
    datasets.enable_progress_bars()
    decode(source, "train")
    assert not datasets.are_progress_bars_disabled()
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


def test_an_unreachable_hub_is_told_at_once_and_its_settings_are_put_back(monkeypatch):
    def unreachable(*_arguments, **_options):
        raise OSError("name or service not known")

    monkeypatch.setattr(socket, "create_connection", unreachable)
    monkeypatch.setattr(module.urllib.request, "getproxies", dict)
    offline = datasets.config.HF_HUB_OFFLINE
    with pytest.raises(InputError, match=r"'no/such'.*the Hub does not have it.*no connection"):
        decode(Source("no/such", "no/such", local=False), "train")
    assert offline == datasets.config.HF_HUB_OFFLINE


def test_a_data_set_of_the_hub_is_decoded_and_cached_by_its_fingerprint(tmp_path, monkeypatch):
    local = folder(tmp_path / "set", {"train": (pixels(3), [0, 1, 2])})
    opened = module._open(local)
    monkeypatch.setattr(module, "_open", lambda _source: opened)
    source = Source("owner/set", "owner/set", local=False)
    assert len(decode(source, "train").images) == 3
    monkeypatch.setattr(module, "_decoded", None)
    assert len(decode(source, "train").images) == 3
    (cached,) = (tmp_path / "cache").iterdir()
    assert cached.name.startswith("owner-set-train-")


def test_a_missing_extra_is_named_with_the_command_that_brings_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match=r"pip install 'basinbridge\[cli\]'"):
        decode(Source("made up", str(tmp_path), local=True), "train")
