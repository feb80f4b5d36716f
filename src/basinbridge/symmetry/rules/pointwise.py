"""Operators that treat every element alike, reductions, and orderings along a dimension."""

from .call import Call, Result, Value, mixed, normal_dims, reduced, rule, spell, tail
from .movement import joined

NONLINEAR = frozenset(
    """relu relu6 gelu silu sigmoid tanh softplus elu selu celu leaky_relu hardswish hardsigmoid
    hardtanh mish log_sigmoid softsign threshold hardshrink softshrink prelu rrelu glu""".split()
)

ELEMENTWISE = """
abs neg exp exp2 expm1 log log1p log2 log10 sqrt rsqrt square sin cos tan sinh cosh asin acos atan
asinh acosh atanh erf erfc erfinv lgamma digamma logit reciprocal sign sgn positive round floor ceil
trunc frac clamp clamp_min clamp_max clip nan_to_num isnan isinf isfinite logical_not bitwise_not
add sub rsub mul div true_divide pow maximum minimum fmod remainder where lerp addcmul addcdiv
atan2 hypot logaddexp xlogy floor_divide fmax fmin copysign heaviside copy complex polar
eq ne lt le gt ge logical_and logical_or logical_xor bitwise_and bitwise_or bitwise_xor masked_fill
__and__ __or__ real imag conj angle special_expit
dropout feature_dropout alpha_dropout native_dropout
to _to_copy type_as clone contiguous detach alias lift_fresh_copy float double half bfloat16
""".split()


@rule(*ELEMENTWISE, *(NONLINEAR - {"prelu", "glu"}))
def pointwise(call: Call) -> Result:
    """Broadcast partners are numbered alike."""
    letters = spell(len(call.shape))
    values = [value for value in call.arguments.values() if isinstance(value, Value)]
    if call.name in ("to", "type_as"):
        values = [call.tensor("self")]
    return call.contract([(value, tail(letters, len(value.shape))) for value in values], letters)


@rule("softmax", "_softmax", "log_softmax", "_log_softmax", "_safe_softmax")
def softmax(call: Call) -> Result:
    """A normalisation along a dimension commutes with any renumbering of it."""
    value = call.tensor("self")
    return mixed(call, value, [call["dim"] % len(value.shape)]).axes


@rule("sum", "mean", "amax", "amin", "var", "std", "logsumexp", "prod", "all", "any", "norm")
@rule("linalg_vector_norm", "max", "min", "var_mean", "std_mean", "nansum", "nanmean", "aminmax")
@rule("count_nonzero")
def reduction(call: Call) -> Result:
    """A reduction is blind to the order along what it reduces, but a position found is not."""
    value = call.tensor("self")
    if isinstance(call["other"], Value):
        return pointwise(call)
    dims = normal_dims(call["dim"], len(value.shape))
    if call.name in ("max", "min") and 1 in call.used:
        value = call.pin(value, dims)
    axes = reduced(call, value, dims, bool(call["keepdim"]))
    return [axes] * len(call.shapes) if len(call.shapes) > 1 else axes


@rule(
    "cumsum", "cumprod", "logcumsumexp", "argsort", "argmax", "argmin", "cummax", "cummin", "diff"
)
def ordered(call: Call) -> Result:
    """The order along the dimension matters, so it is pinned; the others are kept."""
    value = call.tensor("self")
    last = None if call.name in ("argmax", "argmin") else -1
    dims = normal_dims(last if call["dim"] is None else call["dim"], len(value.shape))
    if isinstance(call["prepend"], Value) or isinstance(call["append"], Value):
        parts = [call[name] for name in ("prepend", "self", "append")]
        value = joined(call, [part for part in parts if isinstance(part, Value)], dims[0])
    axes = reduced(call, call.pin(value, dims), dims, keep=len(call.shape) == len(value.shape))
    return [axes] * len(call.shapes) if len(call.shapes) > 1 else axes


@rule("sort", "topk", "median", "nanmedian", "kthvalue", "mode")
def ranked(call: Call) -> Result:
    """Values by rank are blind to the order along the dimension; where they were found is not."""
    value = call.tensor("self")
    last = -1 if call.name in ("sort", "topk") or len(call.shapes) > 1 else None
    dims = normal_dims(last if call["dim"] is None else call["dim"], len(value.shape))
    if 1 in call.used or call["sorted"] is False:
        value = call.pin(value, dims)
    axes = reduced(call, value, dims, keep=len(call.shape) == len(value.shape))
    return [axes] * len(call.shapes) if len(call.shapes) > 1 else axes


@rule("bucketize")
def bucketize(call: Call) -> Result:
    """Every element by itself; the boundaries keep their order."""
    call.pin(call.tensor("boundaries"), [0])
    return call.tensor("self").axes
