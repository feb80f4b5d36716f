import sys

import pytest
import torch

from basinbridge.data import datasets as module
from basinbridge.data.cache import Decoded
from basinbridge.data.datasets import channel_statistics, family, load
from basinbridge.errors import InputError


def images(split, count=6):
    generator = torch.Generator().manual_seed(len(split))
    return torch.randint(256, (count, 3, 4, 4), generator=generator, dtype=torch.uint8)


@pytest.fixture
def sources(monkeypatch):
    """The sources that `load` asks the decoder for, in order; what they hold is made up."""
    asked = []

    def decode(source, split):
        asked.append(source)
        return Decoded(images(split), torch.arange(6) % 3, ("a", "b", "c"))

    monkeypatch.setattr(module, "decode", decode)
    monkeypatch.delenv("BASINBRIDGE_DATA", raising=False)
    return asked


class TestDigits:
    def test_the_split_is_1197_and_600_different_images(self):
        from sklearn.datasets import load_digits

        training, test = load("digits", "train"), load("digits", "test")
        assert training.images.shape == (1197, 1, 8, 8)
        assert test.images.shape == (600, 1, 8, 8)
        together = torch.cat([training.images, test.images])[:, 0].double() / 255 * 16
        whole = torch.tensor(load_digits().images)
        order = [sorted(map(tuple, part.flatten(1).round().tolist())) for part in (together, whole)]
        assert order[0] == order[1]

    def test_pixels_and_labels_belong_together_and_the_split_never_changes(self):
        assert load("digits", "train").fingerprint() == "b3811ddf4401edea"
        assert load("digits", "test").fingerprint() == "d388c1bad494961c"

    def test_without_scikit_learn_a_line_says_what_to_install(self, monkeypatch):
        monkeypatch.setattr(sys, "path", [])
        with pytest.raises(InputError, match=r"basinbridge\[cli\]"):
            load("digits", "train")

    def test_mean_and_std_are_the_training_splits_in_both(self):
        training, test = load("digits", "train"), load("digits", "test")
        pixels = training.images.double() / 255
        assert training.mean == test.mean == pytest.approx((pixels.mean().item(),))
        assert training.std == test.std == pytest.approx((pixels.std(correction=0).item(),))


class TestShortNames:
    def test_a_local_folder_of_that_name_is_found_under_the_root(self, sources, tmp_path):
        for name in ("cifar10", "cifar100", "cifar10-small", "tiny-imagenet-subset"):
            (tmp_path / name).mkdir()
        for short, expected in [
            ("cifar10", "cifar10"),
            ("cifar100", "cifar100"),
            ("tiny-imagenet", "tiny-imagenet-subset"),
        ]:
            data = load(short, "train", root=tmp_path)
            assert sources[-1].place == str(tmp_path / expected)
            assert sources[-1].local
            assert data.name == expected

    def test_cifar100s_folder_is_not_taken_for_cifar10(self, sources, tmp_path):
        (tmp_path / "cifar100").mkdir()
        load("cifar10", "train", root=tmp_path)
        assert sources[0].place == "uoft-cs/cifar10"
        assert not sources[0].local

    def test_the_environment_names_the_root_and_the_argument_goes_before_it(
        self, sources, tmp_path, monkeypatch
    ):
        for root in ("a", "b"):
            (tmp_path / root / "cifar10").mkdir(parents=True)
        monkeypatch.setenv("BASINBRIDGE_DATA", str(tmp_path / "a"))
        load("cifar10", "train")
        load("cifar10", "train", root=tmp_path / "b")
        assert [source.place for source in sources] == [
            str(tmp_path / "a" / "cifar10"),
            str(tmp_path / "b" / "cifar10"),
        ]

    def test_a_root_that_is_not_there_is_refused(self, sources, tmp_path):
        with pytest.raises(InputError, match="no such folder"):
            load("cifar10", "train", root=tmp_path / "nowhere")

    def test_mean_std_and_label_column_are_the_papers(self, sources):
        data = load("cifar100", "test")
        assert data.mean == (0.4914, 0.4822, 0.4465)
        assert data.std == (0.247, 0.243, 0.261)
        assert sources[0].label == "fine_label"
        assert load("tiny-imagenet", "train").mean == (0.485, 0.456, 0.406)


class TestOtherNames:
    def test_mean_and_std_come_from_the_training_split(self, sources, tmp_path):
        (tmp_path / "mine").mkdir()
        for name in (str(tmp_path / "mine"), "owner/mine"):
            data = load(name, "test")
            assert torch.equal(data.images, images("test"))
            assert (data.mean, data.std) == channel_statistics(images("train"))
        assert [source.local for source in sources] == [True, True, False, False]

    @pytest.mark.parametrize(
        ("name", "hint"),
        [
            ("cifar11", "did you mean 'cifar10'"),
            ("Digit", "did you mean 'digits'"),
            ("tiny-imagent", "did you mean 'tiny-imagenet'"),
            ("flowers", "give one of those"),
            ("./nothing", "give one of those"),
            ("../data/nothing", "give one of those"),
            ("", "give one of those"),
        ],
    )
    def test_a_name_that_leads_nowhere_is_refused_without_asking_the_hub(self, sources, name, hint):
        with pytest.raises(InputError, match=f"no such folder; {hint}"):
            load(name, "train")
        assert not sources

    def test_another_split_is_refused(self, sources):
        with pytest.raises(InputError, match="give 'train' or 'test'"):
            load("digits", "valid")

    def test_images_without_labels_are_refused(self, monkeypatch):
        unlabelled = Decoded(images("test"), torch.full((6,), -1), ("a", "b"))
        monkeypatch.setattr(module, "decode", lambda *_: unlabelled)
        with pytest.raises(InputError, match="'owner/hidden': label -1 is outside 0 to 1"):
            load("owner/hidden", "test")


def test_channel_statistics_agree_with_the_direct_computation():
    pixels = images("train").double() / 255
    mean, std = channel_statistics(images("train"))
    assert mean == pytest.approx(pixels.mean(dim=(0, 2, 3)).tolist(), rel=1e-12)
    assert std == pytest.approx(pixels.std(dim=(0, 2, 3), correction=0).tolist(), rel=1e-12)


def test_a_family_is_the_short_name_and_whatever_follows_a_mark():
    assert family("cifar10") == family("uoft-cs/cifar10") == family("CIFAR10_small") == "cifar10"
    assert family("cifar100.v2") == "cifar100"
    assert family("cifar1000") is None
    assert family("digits") is None
