"""Normalisation layers, parametric activations and pooling: one number per channel."""

from .call import Call, Result, Value, mixed, parted, rule, spell, tail, with_fixed_dims
from .movement import taken


@rule("batch_norm", "_native_batch_norm_legit_no_training", "cudnn_batch_norm", "instance_norm")
def batch_norm(call: Call) -> Result:
    """Every channel has its own statistics, scale and shift."""
    value = call.tensor("input")
    letters = spell(len(value.shape))
    per_channel = ("weight", "bias", "running_mean", "running_var")
    operands = [(value, letters)]
    operands += [(call[name], letters[1]) for name in per_channel if isinstance(call[name], Value)]
    axes = call.contract(operands, letters)
    return [axes] + [None] * (len(call.shapes) - 1) if len(call.shapes) > 1 else axes


@rule("group_norm")
def group_norm(call: Call) -> Result:
    """Groups of channels move as blocks, and channels inside a group."""
    value, groups = call.tensor("input"), int(call["num_groups"])
    letters = spell(len(value.shape) + 1)
    within = [place for place in range(len(letters)) if place not in (0, 1)]
    operands = [(mixed(call, parted(call, value, 1, groups), within), letters)]
    for name in ("weight", "bias"):
        if isinstance(call[name], Value):
            operands.append((parted(call, call[name], 0, groups), letters[1:3]))
    call.contract(operands, letters)
    return value.axes


@rule("layer_norm", "rms_norm")
def layer_norm(call: Call) -> Result:
    """Blind to the order of what it normalises over, but for its scale and shift."""
    value = call.tensor("input")
    letters = spell(len(value.shape))
    inside = tail(letters, len(call["normalized_shape"]))
    operands = [(mixed(call, value, [letters.index(letter) for letter in inside]), letters)]
    operands += [
        (call[name], inside) for name in ("weight", "bias") if isinstance(call[name], Value)
    ]
    return call.contract(operands, letters)


@rule("prelu")
def prelu(call: Call) -> Result:
    """One slope a channel (dimension 1), or one for all."""
    value, weight = call.tensor("self"), call.tensor("weight")
    letters = spell(len(value.shape))
    operands = [(value, letters)]
    if weight.shape != (1,):
        operands.append((weight, letters[1 if len(letters) > 1 else 0]))
    return call.contract(operands, letters)


@rule("glu")
def glu(call: Call) -> Result:
    """The first half gates with the second."""
    value = call.tensor("self")
    dim = (-1 if call["dim"] is None else call["dim"]) % len(value.shape)
    half = value.shape[dim] // 2
    letters = spell(len(value.shape))
    parts = [
        taken(call.equations, value, dim, slice(0, half)),
        taken(call.equations, value, dim, slice(half, None)),
    ]
    return call.contract([(part, letters) for part in parts], letters)


@rule("max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d")
@rule("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "_adaptive_avg_pool2d")
@rule("adaptive_max_pool1d", "adaptive_max_pool2d", "max_pool2d_with_indices", "lp_pool2d")
@rule("adaptive_max_pool3d", "max_pool3d_with_indices", "lp_pool1d", "lp_pool3d")
@rule("upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "upsample_linear1d")
@rule(
    "upsample_bilinear2d", "upsample_bicubic2d", "upsample_trilinear3d", "_upsample_bilinear2d_aa"
)
@rule("_upsample_bicubic2d_aa", "_upsample_nearest_exact1d", "_upsample_nearest_exact2d")
@rule("reflection_pad1d", "reflection_pad2d", "reflection_pad3d", "replication_pad1d")
@rule("replication_pad2d", "replication_pad3d")
def spatial(call: Call) -> Result:
    """Space (all dimensions after the channels) keeps its order; channels are kept."""
    value = call.tensor("input" if "input" in call.arguments else "self")
    rank = len(value.shape)
    count = next(int(digit) for digit in "123" if f"{digit}d" in call.name)
    space = range(rank - count, rank)
    letters = spell(rank)
    kept = call.contract([(call.pin(value, space), letters)], letters[: space[0]])
    axes = with_fixed_dims(kept, count)
    return [axes] * len(call.shapes) if len(call.shapes) > 1 else axes
