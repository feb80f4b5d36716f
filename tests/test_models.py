import pytest
import torch
from torch.nn import functional

from basinbridge.models import (
    DigitsNet,
    GoogLeNet,
    GoogLeNetOutput,
    ResidualNetwork,
    ResNet32,
    TinyTen,
)

PAPER = [TinyTen, ResNet32, GoogLeNet]


def count_parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("factory", "expected"), [(TinyTen, 86_778), (ResNet32, 466_906), (GoogLeNet, 9_960_638)]
)
def test_parameter_counts_at_ten_classes_are_the_papers(factory, expected):
    assert count_parameters(factory()) == expected


def test_googlenet_at_a_hundred_classes_has_table_1s_10_24_million_parameters():
    assert round(count_parameters(GoogLeNet(num_classes=100)) / 1e6, 2) == 10.24


@pytest.mark.parametrize("factory", PAPER)
@pytest.mark.parametrize("side", [32, 64])
def test_evaluation_gives_one_row_of_logits_per_image(factory, side):
    model = factory(num_classes=7).eval()
    with torch.no_grad():
        logits = model(torch.rand(2, 3, side, side))
    assert isinstance(logits, torch.Tensor)
    assert logits.shape == (2, 7)
    assert logits.isfinite().all()


def test_training_googlenet_gives_the_auxiliary_logits_too():
    model = GoogLeNet(num_classes=5)
    output = model(torch.rand(2, 3, 32, 32))
    assert isinstance(output, GoogLeNetOutput)
    assert [logits.shape for logits in output] == [(2, 5)] * 3
    output.auxiliary1.sum().backward()
    reached = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert any(name.startswith("inception4a.") for name in reached)
    assert not any(name.startswith(("inception4bcd.", "auxiliary2.")) for name in reached)


def test_googlenet_keeps_32_pixels_through_the_stem_and_8_to_the_end():
    model = GoogLeNet().eval()
    sides = {}
    for name in ("stem", "inception3", "inception4e", "inception5"):
        model.get_submodule(name).register_forward_hook(
            lambda _module, _inputs, output, name=name: sides.update({name: output.shape[-1]})
        )
    with torch.no_grad():
        model(torch.rand(1, 3, 32, 32))
    assert sides == {"stem": 32, "inception3": 16, "inception4e": 8, "inception5": 8}


def test_tinytens_widths_and_sides_are_the_papers():
    model = TinyTen().eval()
    shapes = []
    for block in model.features:
        block.register_forward_hook(
            lambda _module, _inputs, output: shapes.append(tuple(output.shape[1:3]))
        )
    with torch.no_grad():
        model(torch.rand(1, 3, 32, 32))
    assert shapes == [(16, 32), (16, 32), (32, 16), (32, 16), (32, 16), (64, 8), (64, 6), (64, 6)]


def test_digits_net_takes_grey_images_of_8_pixels_and_other_depths_when_told():
    assert DigitsNet()(torch.rand(4, 1, 8, 8)).shape == (4, 10)
    assert DigitsNet(num_classes=3, in_channels=3)(torch.rand(4, 3, 8, 8)).shape == (4, 3)


def test_a_residual_network_has_depth_blocks_a_stage_and_shortcuts_where_the_shape_changes():
    model = ResidualNetwork(depth=2)
    blocks = [block for stage in model.stages for block in stage]
    has_convolution = [count_parameters(block.shortcut) > 0 for block in blocks]
    assert has_convolution == [False, False, True, False, True, False]


def test_initial_weights_follow_the_papers_distributions():
    torch.manual_seed(0)
    tinyten, resnet, googlenet = TinyTen(), ResNet32(), GoogLeNet()
    wide = tinyten.features[6].conv
    assert wide.weight.std().item() == pytest.approx((2 / (64 * 9 * 2)) ** 0.5, rel=0.03)
    assert wide.bias.abs().max() == 0
    assert tinyten.classifier.bias.abs().max() == 0
    last = resnet.stages[2][4].second.conv.weight
    assert last.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.03)
    hidden = googlenet.auxiliary1.hidden.weight
    assert hidden.abs().max() <= 0.02
    # A normal distribution cut at two deviations keeps 0.880 of its deviation.
    assert hidden.std().item() == pytest.approx(0.00880, rel=0.01)


@pytest.mark.parametrize("factory", [TinyTen, ResNet32, DigitsNet, GoogLeNet])
def test_a_seed_fixes_the_initial_weights(factory):
    def built(seed):
        torch.manual_seed(seed)
        return factory().state_dict()

    first, again, other = built(1), built(1), built(2)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize(
    ("factory", "shape"),
    [(TinyTen, (3, 16, 16)), (ResNet32, (3, 16, 16)), (DigitsNet, (1, 8, 8))],
)
def test_a_few_steps_lower_the_loss_on_a_fixed_batch(factory, shape):
    torch.manual_seed(0)
    model = factory()
    images, labels = torch.rand(16, *shape), torch.arange(16) % 10
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
