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
    """The equation says it all; an ellipsis stands for further dimensions, aligned on the right."""
    inputs, arrow, result = str(call["equation"]).replace(" ", "").partition("->")
    parts, tensors = inputs.split(","), call["tensors"]
    if not arrow:
        once = sorted({letter for letter in inputs if inputs.count(letter) == 1} - set(",."))
        result = ("..." if "." in inputs else "") + "".join(once)
    more = [
        len(one.shape) - len(part.replace(".", ""))
        for one, part in zip(tensors, parts, strict=True)
    ]
    letters = spell(max(more), skip=inputs)
    spelled = [
        part.replace("...", tail(letters, rest)) for part, rest in zip(parts, more, strict=True)
    ]
    if any(len(set(part)) < len(part) for part in spelled):
        return None
    operands = list(zip(tensors, spelled, strict=True))
    return call.contract(operands, result.replace("...", letters))


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
    pointwise = _pointwise(call, inputs, weight)
    if not pointwise:
        inputs = call.pin(inputs, range(2, rank + 2))
    weight = call.pin(weight, range(2, rank + 2))
    inputs, weight = parted(call, inputs, 1, groups), parted(call, weight, 0, groups)
    operands = [
        (inputs, "bgi" + space),
        (weight, ("gio" if transposed else "goi") + kernel),
    ]
    if isinstance(call["bias"], Value):
        operands.append((parted(call, call["bias"], 0, groups), "go"))
    axes = call.contract(operands, "bgo" + (space if pointwise else ""))
    size = call.shape[1 if batched else 0] // groups
    out = (inputs.shape[0], groups, size, *(inputs.shape[3:] if pointwise else ()))
    merged = merge_dims(call.equations, Value(out, axes), 1)
    merged = merged if batched else without_dim(merged, 0)
    return merged.axes if pointwise else with_fixed_dims(merged.axes, rank)


def _pointwise(call: Call, inputs: Value, weight: Value) -> bool:
    """Whether a convolution treats every place alike and alone, so that places may move."""
    alone = all(size == 1 for size in weight.shape[2:])
    return alone and tuple(inputs.shape[2:]) == tuple(call.shape[-len(weight.shape) + 2 :])


@rule("bilinear")
def bilinear(call: Call) -> Result:
    """Two inputs meet in a weight (result, first, second)."""
    first, second = call.tensor("input1"), call.tensor("input2")
    batch = spell(len(first.shape) - 1, skip="oij")
    operands = [(first, batch + "i"), (second, batch + "j"), (call.tensor("weight"), "oij")]
    if isinstance(call["bias"], Value):
        operands.append((call["bias"], "o"))
    return call.contract(operands, batch + "o")


@rule("cosine_similarity", "pairwise_distance")
def compared(call: Call) -> Result:
    """Two tensors compared along a dimension, which is summed over."""
    one, other = (call.tensor(name) for name in ("x1", "x2"))
    rank = max(len(one.shape), len(other.shape))
    dim = (call["dim"] if isinstance(call["dim"], int) else -1) % rank
    letters = spell(rank)
    left = letters[:dim] + letters[dim + 1 :]
    axes = call.contract([(v, tail(letters, len(v.shape))) for v in (one, other)], left)
    return with_dim(Value((1,) * (rank - 1), axes), dim).axes if call["keepdim"] else axes


@rule("cdist")
def distances(call: Call) -> Result:
    """Every row of one matrix against every row of another."""
    one, other = call.tensor("x1"), call.tensor("x2")
    batch = spell(max(len(one.shape), len(other.shape)) - 2, skip="nmd")
    operands = [
        (value, tail(batch, len(value.shape) - 2) + letters)
        for value, letters in ((one, "nd"), (other, "md"))
    ]
    return call.contract(operands, batch + "nm")


@rule("outer", "ger", "kron")
def outer(call: Call) -> Result:
    """Every element of one vector times every element of another; matrices have no rule."""
    one, other = call.tensor("self"), call["vec2"] or call["other"]
    if len(one.shape) != 1 or len(call.shape) != 2:
        return None
    return call.contract([(one, "n"), (other, "m")], "nm")


@rule("tensordot")
def tensordot(call: Call) -> Result:
    """Pairs of dimensions are summed over; the others stand in a row."""
    one, other = call.tensor("self"), call.tensor("other")
    letters = list(spell(len(one.shape) + len(other.shape)))
    left, right = letters[: len(one.shape)], letters[len(one.shape) :]
    dims = [
        [dim % len(value.shape) for dim in call[name]]
        for value, name in ((one, "dims_self"), (other, "dims_other"))
    ]
    for mine, theirs in zip(*dims, strict=True):
        right[theirs] = left[mine]
    kept = [letter for dim, letter in enumerate(left) if dim not in dims[0]]
    kept += [letter for dim, letter in enumerate(right) if dim not in dims[1]]
    return call.contract([(one, "".join(left)), (other, "".join(right))], "".join(kept))


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


@rule("embedding_bag", "_embedding_bag", "_embedding_bag_forward_only")
def embedding_bag(call: Call) -> Result:
    """Sums of rows named by indices."""
    weight = call.pin(call.tensor("weight"), [0])
    for name in ("indices", "offsets", "per_sample_weights"):
        if isinstance(call[name], Value):
            call.pin(call[name], range(len(call[name].shape)))
    kept = with_fixed_dims(reduced(call, weight, [0], keep=False), 1, leading=True)
    return [kept, *((None,) * len(shape) for shape in call.shapes[1:])]


@rule("embedding")
def embedding(call: Call) -> Result:
    """Rows are named by the indices, so they keep their order; columns are free."""
    weight, indices = call.pin(call.tensor("weight"), [0]), call.tensor("indices")
    call.pin(indices, range(len(indices.shape)))
    return with_fixed_dims(reduced(call, weight, [0], keep=False), len(indices.shape), leading=True)
