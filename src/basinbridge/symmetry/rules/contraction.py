"""Operators that contract a dimension: linear maps, matrix products, convolutions, attention."""

from .call import (
    Call,
    Result,
    Value,
    merge_dims,
    mixed,
    parted,
    reduced,
    rule,
    spell,
    tail,
    with_dim,
    with_fixed_dims,
    without_dim,
)
from .movement import repeated


@rule("linear")
def linear(call: Call) -> Result:
    """Input features meet the weight's columns; its rows number the result."""
    inputs, weight = call.tensor("input"), call.tensor("weight")
    batch = spell(len(inputs.shape) - 1, skip="io")
    operands = [(inputs, batch + "i"), (weight, "oi"[-len(weight.shape) :])]
    if isinstance(call["bias"], Value):
        operands.append((call["bias"], "o"))
    return call.contract(operands, batch + ("o" if len(weight.shape) == 2 else ""))


_FACTORS = {
    "addmm": ("mat1", "mat2"),
    "addmv": ("mat", "vec"),
    "addbmm": ("batch1", "batch2"),
    "baddbmm": ("batch1", "batch2"),
    "mm": ("self", "mat2"),
    "bmm": ("self", "mat2"),
    "mv": ("self", "vec"),
    "dot": ("self", "tensor"),
    "matmul": ("self", "other"),
}


@rule(*_FACTORS)
def matmul(call: Call) -> Result:
    """The contracted dimension is numbered alike on both sides, batch dimensions likewise."""
    left, right = (call.tensor(name) for name in _FACTORS[call.name])
    batch = spell(max(len(left.shape), len(right.shape), 2) - 2, skip="nkm")
    one = "k" if len(left.shape) == 1 else tail(batch, len(left.shape) - 2) + "nk"
    other = "k" if len(right.shape) == 1 else tail(batch, len(right.shape) - 2) + "km"
    result = batch + ("n" if "n" in one else "") + ("m" if "m" in other else "")
    if call.name == "addbmm":
        result = result.replace(batch, "")
    operands = [(left, one), (right, other)]
    if call.name.startswith(("add", "badd")):
        added = call.tensor("self")
        operands.append((added, tail(result, len(added.shape))))
    return call.contract(operands, result)


@rule("einsum")
def einsum(call: Call) -> Result:
    """The equation says it all; one with an ellipsis has no rule."""
    inputs, arrow, result = str(call["equation"]).replace(" ", "").partition("->")
    if "." in inputs or not arrow:
        return None
    return call.contract(list(zip(call["tensors"], inputs.split(","), strict=True)), result)


@rule("conv1d", "conv2d", "conv3d", "convolution")
def convolution(call: Call) -> Result:
    """Channels are contracted, group by group; space and kernel keep their order."""
    return _convolve(call, transposed=bool(call["transposed"]))


@rule("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def transposed_convolution(call: Call) -> Result:
    """As a convolution, with the weight's first two dimensions exchanged."""
    return _convolve(call, transposed=True)


def _convolve(call: Call, transposed: bool) -> Result:
    inputs, weight, groups = call.tensor("input"), call.tensor("weight"), call["groups"] or 1
    rank = len(weight.shape) - 2
    batched = len(inputs.shape) == rank + 2
    if not batched:
        inputs = with_dim(inputs, 0)
    space = spell(rank, skip="bgoi")
    kernel = spell(rank, skip="bgoi" + space)
    inputs = call.pin(inputs, range(2, rank + 2))
    weight = call.pin(weight, range(2, rank + 2))
    inputs, weight = parted(call, inputs, 1, groups), parted(call, weight, 0, groups)
    operands = [
        (inputs, "bgi" + space),
        (weight, ("gio" if transposed else "goi") + kernel),
    ]
    if isinstance(call["bias"], Value):
        operands.append((parted(call, call["bias"], 0, groups), "go"))
    axes = call.contract(operands, "bgo")
    out = (inputs.shape[0], groups, call.shape[1 if batched else 0] // groups)
    merged = merge_dims(call.equations, Value(out, axes), 1)
    merged = merged if batched else without_dim(merged, 0)
    return with_fixed_dims(merged.axes, rank)


@rule("scaled_dot_product_attention")
def attention(call: Call) -> Result:
    """Query and key share their inner numbering; values carry theirs to the result."""
    query, key, value = (call.tensor(name) for name in ("query", "key", "value"))
    batch = spell(len(query.shape) - 2, skip="qkdv")
    if call["enable_gqa"] and key.shape[-3] != query.shape[-3]:
        times = query.shape[-3] // key.shape[-3]
        key, value = (repeated(call.equations, one, len(batch) - 1, times) for one in (key, value))
    rank = len(query.shape)
    axes = call.contract([(query, batch + "qd"), (key, batch + "kd")], batch + "qk")
    scores = Value((*query.shape[:-1], key.shape[-2]), axes)
    if call["is_causal"]:
        scores = call.pin(scores, (rank - 2, rank - 1))
    operands = [(mixed(call, scores, [rank - 1]), batch + "qk"), (value, batch + "kv")]
    if isinstance(call["attn_mask"], Value):
        operands.append((call["attn_mask"], tail(batch + "qk", len(call["attn_mask"].shape))))
    return call.contract(operands, batch + "qv")


@rule("embedding")
def embedding(call: Call) -> Result:
    """Rows are named by the indices, so they keep their order; columns are free."""
    weight, indices = call.pin(call.tensor("weight"), [0]), call.tensor("indices")
    call.pin(indices, range(len(indices.shape)))
    return with_fixed_dims(reduced(call, weight, [0], keep=False), len(indices.shape), leading=True)
