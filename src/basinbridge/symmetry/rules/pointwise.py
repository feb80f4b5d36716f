"""Operators that treat every element alike, reductions, and orderings along a dimension."""

from .call import Call, Result, Value, mixed, normal_dims, reduced, rule, spell, tail

NONLINEAR = frozenset(
    """relu relu6 gelu silu sigmoid tanh softplus elu selu celu leaky_relu hardswish hardsigmoid
    hardtanh mish log_sigmoid softsign threshold hardshrink softshrink prelu rrelu glu""".split()
)

ELEMENTWISE = """
abs neg exp expm1 log log1p log2 sqrt rsqrt square sin cos erf reciprocal sign round floor ceil
clamp clamp_min clamp_max clip nan_to_num isnan isinf logical_not bitwise_not
add sub rsub mul div true_divide pow maximum minimum fmod remainder where lerp addcmul addcdiv
eq ne lt le gt ge logical_and logical_or bitwise_and bitwise_or masked_fill
dropout feature_dropout alpha_dropout native_dropout
to _to_copy type_as clone contiguous detach alias lift_fresh_copy float double half bfloat16
zeros_like ones_like full_like empty_like rand_like randn_like
""".split()


@rule(*ELEMENTWISE, *(NONLINEAR - {"prelu", "glu"}))
def pointwise(call: Call) -> Result:
    """Broadcast partners are numbered alike."""
    letters = spell(len(call.shape))
    values = [value for value in call.arguments.values() if isinstance(value, Value)]
    return call.contract([(value, tail(letters, len(value.shape))) for value in values], letters)


@rule("softmax", "_softmax", "log_softmax", "_log_softmax", "_safe_softmax")
def softmax(call: Call) -> Result:
    """A normalisation along a dimension commutes with any renumbering of it."""
    value = call.tensor("self")
    return mixed(call, value, [call["dim"] % len(value.shape)]).axes


@rule("sum", "mean", "amax", "amin", "var", "std", "logsumexp", "prod", "all", "any", "norm")
@rule("linalg_vector_norm", "max", "min", "var_mean")
def reduction(call: Call) -> Result:
    """A reduction is blind to the order along what it reduces, but a position found is not."""
    value = call.tensor("self")
    if isinstance(call["other"], Value):
        return pointwise(call)
    dims = normal_dims(call["dim"], len(value.shape))
    if len(call.shapes) == 2 and call.name in ("max", "min"):
        value = call.pin(value, dims)
    axes = reduced(call, value, dims, bool(call["keepdim"]))
    return [axes] * len(call.shapes) if len(call.shapes) > 1 else axes


@rule("cumsum", "cumprod", "sort", "argsort", "topk", "argmax", "argmin")
def ordered(call: Call) -> Result:
    """The order along the dimension matters, so it is pinned; the others are kept."""
    value = call.tensor("self")
    last = None if call.name in ("argmax", "argmin") else -1
    dims = normal_dims(last if call["dim"] is None else call["dim"], len(value.shape))
    axes = reduced(call, call.pin(value, dims), dims, keep=len(call.shape) == len(value.shape))
    return [axes] * len(call.shapes) if len(call.shapes) > 1 else axes
