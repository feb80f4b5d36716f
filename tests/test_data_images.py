import pytest
import torch

from basinbridge.data.batches import evaluation_batches
from basinbridge.data.images import ImageData
from basinbridge.errors import InputError


def image_data(count=10, channels=3):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (count, channels, 4, 5), generator=generator, dtype=torch.uint8)
    images[:, 0, 0, 0] = torch.arange(count)  # which image it is
    labels = torch.arange(count) % 3
    mean, std = (0.5,) * channels, (0.25,) * channels
    return ImageData("made up", images, labels, ("a", "b", "c"), mean, std)


class TestImageData:
    def test_normalised_pixels_are_scaled_less_the_mean_over_the_std(self):
        data = image_data()
        expected = (data.images.double() / 255 - 0.5) / 0.25
        result = data.normalised(data.scaled(data.images))
        assert result.dtype == torch.float32
        torch.testing.assert_close(result.double(), expected, rtol=0, atol=1e-6)

    def test_a_subset_has_distinct_images_with_their_own_labels(self):
        data = image_data(100)
        part = data.subset(40, seed=3)
        numbers = part.images[:, 0, 0, 0].long()
        assert len(part) == len(numbers.unique()) == 40
        assert torch.equal(part.labels, numbers % 3)
        assert part.class_names == data.class_names

    def test_the_seed_decides_the_subset(self):
        data = image_data(100)
        assert data.subset(40, seed=3).fingerprint() == data.subset(40, seed=3).fingerprint()
        assert data.subset(40, seed=3).fingerprint() != data.subset(40, seed=4).fingerprint()

    def test_at_most_is_a_subset_of_as_many_as_there_are(self):
        data = image_data(100)
        for count, wanted in ((40, 40), (100, 100), (1000, 100)):
            found = data.at_most(count, seed=3)
            assert found.fingerprint() == data.subset(wanted, seed=3).fingerprint()

    def test_a_part_keeps_images_with_their_labels(self):
        data = image_data(10)
        for places in (slice(2, 9, 3), torch.tensor([7, 0])):
            part = data.part(places)
            assert torch.equal(part.images, data.images[places])
            assert torch.equal(part.labels, data.labels[places])
            assert part.class_names == data.class_names

    def test_an_example_is_the_first_two_images_as_a_network_sees_them(self):
        data = image_data(10)
        first, _ = next(evaluation_batches(data, 2))
        assert torch.equal(data.example(), first)

    @pytest.mark.parametrize("count", [0, 11])
    def test_a_subset_larger_than_the_data_or_empty_is_refused(self, count):
        with pytest.raises(InputError, match=f"cannot draw {count} of 10"):
            image_data().subset(count, seed=0)

    def test_the_fingerprint_changes_with_one_pixel_one_label_or_the_shape(self):
        data = image_data()
        pixels, labels = data.images.clone(), data.labels.clone()
        pixels[9, 2, 3, 4] ^= 1
        labels[9] = 2
        changed = [
            ImageData("x", pixels, data.labels, data.class_names, data.mean, data.std),
            ImageData("x", data.images, labels, data.class_names, data.mean, data.std),
            ImageData(
                "x",
                data.images.reshape(10, 3, 5, 4),
                data.labels,
                data.class_names,
                data.mean,
                data.std,
            ),
        ]
        prints = {part.fingerprint() for part in [data, *changed]}
        assert len(prints) == 4
        assert data.to("cpu").fingerprint() == data.fingerprint()
        assert all(len(print_) == 16 for print_ in prints)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"images": torch.zeros(2, 1, 3, 3)}, "images are float32"),
            ({"images": torch.zeros(2, 3, 3, dtype=torch.uint8)}, r"shape \(2, 3, 3\)"),
            ({"labels": torch.zeros(3, dtype=torch.int64)}, r"int64 of shape \(2,\)"),
            ({"labels": torch.zeros(2)}, "labels are float32"),
            ({"labels": torch.tensor([0, 2])}, "label 2 is outside 0 to 1"),
            ({"labels": torch.tensor([-1, 1])}, "label -1 is outside 0 to 1"),
            ({"mean": (0.5, 0.5)}, "do not suit 1 channels"),
            ({"std": (0.0,)}, "std above zero"),
        ],
    )
    def test_what_does_not_fit_together_is_refused(self, change, message):
        parts = {
            "images": torch.zeros(2, 1, 3, 3, dtype=torch.uint8),
            "labels": torch.tensor([0, 1]),
            "mean": (0.5,),
            "std": (0.5,),
        }
        with pytest.raises(InputError, match=message):
            ImageData("made up", class_names=("a", "b"), **(parts | change))
