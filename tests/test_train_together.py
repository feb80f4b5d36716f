import pytest
import torch
from networks import built, copy_of, data_for, same_bits
from torch import nn

import basinbridge as bb
from basinbridge.data.batches import training_batches
from basinbridge.data.images import ImageData
from basinbridge.train.loop import Recipe
from basinbridge.train.together import Dealt, train_together

SEEDS = (5, 11, 2)
SETTINGS = {"epochs": 2, "batch_size": 4, "learning_rate": 0.02}


def three(name):
    return [built(name, seed) for seed in range(len(SEEDS))]


def close(one, other):
    for key, tensor in one.state_dict().items():
        torch.testing.assert_close(other.state_dict()[key], tensor, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", ["mlp", "digits", "tinyten", "residual"])
def test_networks_become_what_each_would_alone(name):
    networks, data = three(name), data_for(name, 18)
    before = [copy_of(network) for network in networks]
    heard = []
    settings = {**SETTINGS, "weight_decay": 0.01, "momentum": 0.8}
    found = train_together(
        networks, data, seeds=SEEDS, progress=lambda *told: heard.append(told), **settings
    )
    losses = []
    for network, state, seed, trained in zip(networks, before, SEEDS, found, strict=True):
        mine = []
        alone = bb.train(
            network, data, seed=seed, progress=lambda *told, to=mine: to.append(told), **settings
        )
        close(alone, trained)
        losses.append([loss for _, _, loss in mine])
        assert same_bits(network, state)
        assert not same_bits(network, trained)
    means = torch.tensor(losses).mean(0).tolist()
    assert [loss for _, _, loss in heard] == pytest.approx(means)


def made_noisy():
    """Another function each time, as in another process."""

    def noisy(images):
        return images + 0.1 * torch.rand_like(images)

    return noisy


noisy = made_noisy()


def test_images_are_to_the_bit_those_that_each_would_see_alone():
    images = torch.randint(0, 256, (18, 3, 12, 12), dtype=torch.uint8)
    labels = torch.arange(18) % 5
    data = ImageData("noise", images, labels, tuple("abcde"), (0.5,) * 3, (0.25,) * 3)
    recipe = Recipe(batch_size=4, augmentation=noisy)
    dealt = Dealt.of(data, len(SEEDS), recipe, SEEDS, torch.device("cpu"))
    orders = [torch.Generator().manual_seed(seed) for seed in SEEDS]
    for _ in range(2):
        alone = zip(
            *(training_batches(data, 4, generator=one, augmentation=noisy) for one in orders),
            strict=True,
        )
        epoch = list(dealt)
        assert len(epoch) == len(dealt) == 4
        for (inputs, answers), batches in zip(epoch, alone, strict=True):
            assert torch.equal(inputs, torch.cat([one for one, _ in batches]))
            assert torch.equal(answers, torch.cat([one for _, one in batches]))


def test_augmentation_reaches_the_training():
    networks, data = three("mlp"), data_for("mlp", 18)
    found = train_together(networks, data, seed=7, augmentation=noisy, **SETTINGS)
    for place, (network, trained) in enumerate(zip(networks, found, strict=True)):
        close(bb.train(network, data, seed=7 + place, augmentation=noisy, **SETTINGS), trained)


def test_adversarial_training_attacks_each_network_by_itself():
    networks = three("tinyten")
    images, labels = data_for("tinyten", 12)
    data = torch.sigmoid(images), labels
    robust = bb.adversarial(epsilon=0.05, step=0.02, steps=2, random_start=False)
    found = train_together(networks, data, seeds=SEEDS, objective=robust, **SETTINGS)
    for network, seed, trained in zip(networks, SEEDS, found, strict=True):
        close(bb.train(network, data, seed=seed, objective=robust, **SETTINGS), trained)


def test_another_process_goes_on_with_functions_of_its_own_but_not_with_other_seeds(tmp_path):
    checkpoint = bb.Checkpoint(tmp_path / "state")

    def trained(seeds, augmentation):
        return train_together(
            three("tinyten"),
            data_for("tinyten", 18),
            seeds=seeds,
            augmentation=augmentation,
            checkpoint=checkpoint,
            **SETTINGS,
        )

    noise, same_noise = made_noisy(), made_noisy()
    for one, other in zip(trained(SEEDS, noise), trained(SEEDS, same_noise), strict=True):
        assert same_bits(one, other)
    with pytest.raises(bb.InputError, match="seeds"):
        trained((1, 2, 3), noise)


def test_what_cannot_be_done_together_is_refused():
    data = data_for("mlp", 8)
    networks = three("mlp")
    with pytest.raises(bb.InputError, match="2 seeds for 3 networks"):
        train_together(networks, data, seeds=(1, 2))
    with pytest.raises(bb.InputError, match="whole tensors"):
        train_together(networks, [data])
    with pytest.raises(bb.InputError, match="stop early"):
        train_together(networks, data, early_stopping=bb.EarlyStopping(lambda network: 0.0))
    with pytest.raises(bb.InputError, match="weight"):
        train_together([nn.Linear(6, 5), nn.Linear(6, 4)], data)
