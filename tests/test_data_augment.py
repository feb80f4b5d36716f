"""The paper's augmentations: shape and range kept, every image changed in its own way."""

import pytest
import torch

from basinbridge.data.augment import augmentation

NAMES = ["cifar10", "cifar100", "tiny-imagenet"]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def test_every_data_set_of_the_paper_has_its_recipe_and_others_have_none():
    assert augmentation("uoft-cs/cifar100") is not None
    assert augmentation("/data/tiny-imagenet-subset") is not None
    assert augmentation("digits") is None
    assert augmentation("owner/flowers") is None


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(3, 32, 32), (3, 64, 64)])
def test_shape_type_and_range_are_kept_and_the_input_is_left_alone(name, shape):
    images = torch.rand(6, *shape)
    before = images.clone()
    changed = augmentation(name)(images)
    assert changed.shape == images.shape
    assert changed.dtype == images.dtype
    assert changed.min() >= 0
    assert changed.max() <= 1
    assert torch.equal(images, before)


@pytest.mark.parametrize("name", NAMES)
def test_every_image_is_changed_in_its_own_way_and_torchs_seed_decides_how(name):
    images = torch.rand(1, 3, 32, 32).expand(8, 3, 32, 32)
    torch.manual_seed(1)
    first = augmentation(name)(images)
    torch.manual_seed(1)
    assert torch.equal(first, augmentation(name)(images))
    assert len({tuple(image.flatten().tolist()) for image in first}) == 8


def corners(count: int) -> torch.Tensor:
    """Images with one bright square towards the upper left corner."""
    images = torch.zeros(count, 3, 32, 32)
    images[:, :, 8:12, 8:12] = 1
    return images


def test_cifar_moves_a_spot_by_flip_shift_and_rotation_and_no_further():
    changed = augmentation("cifar10")(corners(400))[:, 0]
    weight = changed.sum(dim=(1, 2))
    grid = torch.arange(32.0) - 15.5
    across = (changed.sum(1) * grid).sum(1) / weight
    down = (changed.sum(2) * grid).sum(1) / weight
    flipped = across > 0
    assert 0.4 < flipped.float().mean() < 0.6
    # At radius 6 on either axis, 15 degrees move it by 2 pixels at most, the shift by 4 more.
    assert (across.abs() - 6).abs().max() < 6.5
    assert (down + 6).abs().max() < 6.5
    assert down.std() > 1.5


def test_tiny_imagenet_changes_size_and_colour_too():
    changed = augmentation("tiny-imagenet")(corners(200))[:, 0]
    areas = changed.sum(dim=(1, 2))
    assert areas.std() > 0.1 * areas.mean()
    grey = torch.full((50, 3, 32, 32), 0.5)
    grey[:, 0] = 0.7
    middle = augmentation("tiny-imagenet")(grey)[:, :, 16, 16]
    assert (middle[:, 0] - middle[:, 1]).std() > 0.01
