import math

import pytest
import torch
from kornia.enhance import (
    adjust_contrast_with_mean_subtraction,
    adjust_saturation_with_gray_subtraction,
)
from kornia.geometry import warp_affine

from basinbridge.data import augment
from basinbridge.data.augment import Recipe, augmentation

NAMES = ["cifar10", "cifar100", "tiny-imagenet"]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def test_every_data_set_of_the_paper_has_its_recipe_and_others_have_none():
    assert augmentation("cifar10") == augmentation("uoft-cs/cifar100") == Recipe(degrees=15)
    tiny = Recipe(degrees=30, scale=0.2, colour=0.25)
    assert augmentation("/data/tiny-imagenet-subset") == tiny
    assert augmentation("digits") is None
    assert augmentation("owner/flowers") is None


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(3, 32, 32), (3, 64, 64), (1, 28, 20)])
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


def test_without_rotation_pixels_move_whole_with_black_behind_them():
    image = torch.rand(1, 3, 32, 32) + 1  # nothing in it is black
    candidates = []
    for flipped in (image, image.flip(3)):
        padded = torch.nn.functional.pad(flipped, (4, 4, 4, 4))
        candidates += [padded[0, :, y : y + 32, x : x + 32] for y in range(9) for x in range(9)]
    candidates = torch.stack(candidates)
    moved = Recipe(degrees=0)(image.expand(200, -1, -1, -1))
    nearest = [(candidates - one).abs().amax(dim=(1, 2, 3)).min() for one in moved]
    assert max(nearest) < 1e-4
    chosen = {int((candidates - one).abs().amax(dim=(1, 2, 3)).argmin()) for one in moved}
    assert min(chosen) < 81 <= max(chosen)  # flipped and not
    assert len(chosen) > 90  # of 162 in 200 draws


def test_rotation_and_scale_agree_with_kornias_warp(monkeypatch):
    images = torch.rand(2, 3, 24, 32, dtype=torch.float64)
    angle, zoom = math.radians(20), 1.1
    draws = iter([torch.full((2,), angle).double(), torch.full((2,), zoom - 1).double()])
    monkeypatch.setattr(augment, "_uniform", lambda *_: next(draws))
    monkeypatch.setattr(augment, "_whole", lambda *_: torch.zeros(2, dtype=torch.float64))
    ours = Recipe(degrees=20, scale=0.2)(images)
    x, y = 15.5, 11.5
    cosine, sine = zoom * math.cos(angle), zoom * math.sin(angle)
    forward = torch.tensor(
        [
            [cosine, sine, x - cosine * x - sine * y],
            [-sine, cosine, y + sine * x - cosine * y],
        ],
        dtype=torch.float64,
    ).expand(2, 2, 3)
    theirs = warp_affine(images, forward, (24, 32), align_corners=True)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)  # kornia inverts in float32


def test_turns_stay_within_the_angle_and_scales_within_theirs():
    maps = Recipe(degrees=30, scale=0.2)._maps(torch.rand(500, 3, 64, 64))
    angles = torch.atan2(maps[:, 1, 0], maps[:, 1, 1]) * 180 / math.pi
    zooms = 1 / maps[:, 1, :2].norm(dim=1)
    assert 25 < angles.max() <= 30.001
    assert -30.001 <= angles.min() < -25
    assert 0.799 <= zooms.min() < 0.85
    assert 1.15 < zooms.max() <= 1.201


def test_recolouring_is_contrast_and_then_saturation():
    images = torch.rand(3, 3, 5, 6) * 0.4 + 0.3  # far enough from 0 and 1 that nothing is cut
    contrast, saturation = torch.tensor([0.8, 1.0, 1.2]), torch.tensor([1.2, 0.8, 1.0])
    expected = adjust_saturation_with_gray_subtraction(
        adjust_contrast_with_mean_subtraction(images, contrast), saturation
    )
    column = (slice(None), None, None, None)
    result = augment._recoloured(images, contrast[column], saturation[column])
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-6)
