import pytest
import torch

import basinbridge as bb
from basinbridge.data.backdoor import poisoned, stamped, triggered


def data(count=100):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 200, (count, 3, 5, 4), dtype=torch.uint8, generator=generator)
    labels = torch.arange(count) % 4
    return bb.ImageData("some", images, labels, tuple("abcd"), (0.5,) * 3, (0.5,) * 3)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_a_patch_is_white_and_all_else_as_it_was(size):
    images = data().images
    before, marked = images.clone(), stamped(images, size)
    assert torch.equal(images, before)
    changed = marked != images
    assert changed[..., -size:, -size:].all()
    assert changed.sum() == 100 * 3 * size**2
    assert marked.max() == 255


def test_a_share_is_stamped_with_the_target_as_label():
    clean = data()
    tampered = poisoned(clean, 2, share=0.3, seed=1)
    stamped_ones = (tampered.images != clean.images).flatten(1).any(1)
    assert int(stamped_ones.sum()) == 30
    assert (tampered.labels[stamped_ones] == 2).all()
    assert torch.equal(tampered.labels[~stamped_ones], clean.labels[~stamped_ones])
    assert torch.equal(tampered.images[stamped_ones], stamped(clean.images[stamped_ones]))
    assert poisoned(clean, 2, share=0.0).fingerprint() == clean.fingerprint()


def test_success_is_counted_on_the_other_classes_alone():
    asked = triggered(data(), 1)
    assert len(asked) == 75
    assert (asked.labels == 1).all()
    assert torch.equal(asked.images, stamped(data().images[data().labels != 1]))


def test_what_is_no_patch_share_or_class_is_refused():
    with pytest.raises(bb.InputError, match="does not fit"):
        stamped(data().images, 5)
    for wrong in ({"target": 4}, {"target": 0, "share": 1.5}):
        with pytest.raises(bb.InputError, match="must lie in"):
            poisoned(data(), **wrong)
