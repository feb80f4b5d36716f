import pytest
import torch
from test_data_images import image_data
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from basinbridge.data.batches import count_batches, evaluation_batches, training_batches
from basinbridge.errors import InputError


def pair(count=10):
    return torch.arange(float(count))[:, None], torch.arange(count)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(images):
    return images + torch.rand_like(images)


def train(data, batch_size, seed=0, **options):
    return list(training_batches(data, batch_size, generator=seeded(seed), **options))


class TestEvaluationBatches:
    def test_images_come_normalised_in_order_with_the_last_partial_batch(self):
        data = image_data()
        batches = list(evaluation_batches(data, 4))
        assert [len(labels) for _, labels in batches] == [4, 4, 2]
        images = torch.cat([images for images, _ in batches])
        assert torch.equal(images, data.normalised(data.scaled(data.images)))
        assert torch.equal(torch.cat([labels for _, labels in batches]), data.labels)

    def test_a_pair_a_list_and_a_loader_give_the_same_samples(self):
        inputs, labels = pair()
        loader = DataLoader(TensorDataset(inputs, labels), batch_size=3)
        for data in [(inputs, labels), [inputs, labels], loader, list(loader)]:
            batches = list(evaluation_batches(data, 4))
            assert torch.equal(torch.cat([batch for batch, _ in batches]), inputs)
            assert torch.equal(torch.cat([batch for _, batch in batches]), labels)

    @pytest.mark.parametrize("limit", [1, 4, 6, 10, 50])
    def test_the_limit_is_met_to_the_sample_by_every_kind_of_data(self, limit):
        inputs, labels = pair()
        loader = DataLoader(TensorDataset(inputs, labels), batch_size=4)
        for data in [image_data(), (inputs, labels), loader]:
            batches = list(evaluation_batches(data, 4, limit=limit))
            assert sum(len(labels) for _, labels in batches) == min(limit, 10)
            assert all(len(inputs) == len(labels) > 0 for inputs, labels in batches)

    def test_no_batch_beyond_the_limit_is_asked_for(self):
        def batches():
            yield pair(4)
            raise AssertionError("one batch too many")

        assert len(list(evaluation_batches(batches(), 4, limit=4))) == 1

    @pytest.mark.parametrize("data", [pair(0), [], iter([]), [pair(0)]])
    def test_data_without_a_sample_are_refused(self, data):
        with pytest.raises(InputError, match="empty"):
            list(evaluation_batches(data, 4))

    def test_an_iterator_read_once_is_empty_the_second_time_and_the_message_says_why(self):
        batches = iter([pair(4)])
        assert len(list(evaluation_batches(batches, 4))) == 1
        with pytest.raises(InputError, match="an iterator that was read once"):
            list(evaluation_batches(batches, 4))

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (torch.zeros(4, 3), "batch 0 of the data is of type Tensor"),
            ([pair(4), torch.zeros(4)], "batch 1 of the data is of type Tensor"),
            ([(torch.zeros(4), 3)], "batch 0 of the data"),
            ([(torch.zeros(4), torch.zeros(3))], "4 inputs but 3 labels"),
            ((torch.zeros(4, 2), torch.zeros(3)), "4 inputs but 3 labels"),
            (TensorDataset(torch.zeros(4), torch.zeros(4)), "of type TensorDataset"),
            (7, "of type int"),
        ],
    )
    def test_what_is_no_pair_of_tensors_is_refused(self, data, message):
        with pytest.raises(InputError, match=message):
            list(evaluation_batches(data, 4))

    @pytest.mark.parametrize("options", [{"batch_size": 0}, {"batch_size": 4, "limit": 0}])
    def test_sizes_below_one_are_refused_at_the_call(self, options):
        with pytest.raises(InputError, match="is 0; give 1 or more"):
            evaluation_batches(pair(), **options)


class TestTrainingBatches:
    def test_an_epoch_shuffles_without_repeats_and_drops_the_rest(self):
        batches = train(pair(), 4)
        assert [len(labels) for _, labels in batches] == [4, 4]
        seen = torch.cat([labels for _, labels in batches])
        assert len(seen.unique()) == 8
        assert not torch.equal(seen, seen.sort().values)

    def test_inputs_keep_their_labels(self):
        for inputs, labels in train(pair(), 4):
            assert torch.equal(inputs[:, 0], labels.float())

    def test_data_smaller_than_a_batch_make_one_batch(self):
        assert [len(labels) for _, labels in train(pair(3), 4)] == [3]

    def test_a_second_epoch_has_another_order(self):
        generator = seeded()
        first, second = (
            torch.cat([labels for _, labels in training_batches(pair(), 5, generator=generator)])
            for _ in range(2)
        )
        assert torch.equal(first.sort().values, second.sort().values)
        assert not torch.equal(first, second)

    def test_images_are_augmented_in_0_to_1_and_normalised_after(self):
        data = image_data()
        seen = []

        def inverted(images):
            seen.append(images)
            return 1 - images

        ((images, _),) = train(data, 10, augmentation=inverted)
        assert 0 <= seen[0].min() <= seen[0].max() <= 1
        assert torch.equal(images, data.normalised(1 - seen[0]))

    @pytest.mark.parametrize("data", [image_data(), (torch.rand(10, 3, 4, 5), torch.arange(10))])
    def test_the_seed_alone_decides_order_and_augmentation(self, data):
        def epoch(seed):
            return torch.cat([images for images, _ in train(data, 4, seed, augmentation=noise)])

        first = epoch(1)
        torch.rand(17)  # what others draw from torch's own generator changes nothing
        assert torch.equal(first, epoch(1))
        assert not torch.equal(first, epoch(2))

    def test_each_batch_is_augmented_differently(self):
        same = (torch.zeros(8, 1, 2, 2), torch.arange(8))
        first, second = train(same, 4, augmentation=noise)
        assert not torch.equal(first[0], second[0])

    def test_torchs_own_generator_is_left_as_it_was(self):
        before = torch.get_rng_state()
        train(image_data(), 4, augmentation=noise)
        assert torch.equal(torch.get_rng_state(), before)

    def test_an_iterable_keeps_its_batches_and_is_augmented(self):
        batches = train([pair(4), pair(3)], 2, augmentation=lambda inputs: inputs + 1)
        assert [len(labels) for _, labels in batches] == [4, 3]
        assert torch.equal(batches[0][0], pair(4)[0] + 1)

    def test_empty_data_are_refused(self):
        for data in [pair(0), []]:
            with pytest.raises(InputError, match="empty"):
                train(data, 4)


class TestCountBatches:
    @pytest.mark.parametrize("count", [3, 8, 10])
    @pytest.mark.parametrize("kind", [pair, image_data])
    def test_it_agrees_with_the_batches_that_come(self, count, kind):
        data = kind(count)
        assert count_batches(data, 4) == len(list(evaluation_batches(data, 4)))
        assert count_batches(data, 4, training=True) == len(train(data, 4))

    def test_a_loader_knows_its_own_length_and_a_stream_has_none(self):
        class Stream(IterableDataset):
            def __iter__(self):
                return iter([])

        assert count_batches(DataLoader(TensorDataset(*pair()), batch_size=3), 99) == 4
        assert count_batches(DataLoader(Stream()), 4) is None
        assert count_batches((part for part in [pair()]), 4) is None
