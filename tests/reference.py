"""The paper's definitions written out slowly: what the library's fast code is compared with."""

import copy
import itertools

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import nn
from torch.func import functional_call
from torch.nn import functional


def samples_of(activations):
    """(n, channels, ...) as (samples, channels), every position a sample."""
    return torch.movedim(activations, 1, -1).reshape(-1, activations.shape[1]).numpy()


def cross_correlation(one, other):
    """Eq. (3): of samples (n, p) and (n, q), entry by entry of the (p, q) matrix."""
    result = np.zeros((one.shape[1], other.shape[1]))
    columns, others = ([x - x.mean() for x in samples.T] for samples in (one, other))
    for i, x in enumerate(columns):
        for j, y in enumerate(others):
            scale = np.sqrt(np.dot(x, x) * np.dot(y, y))
            result[i, j] = np.dot(x, y) / scale if scale > 0 else 0.0
    return result


def squared_distance(one, other):
    """Mean of (x_i - y_j)^2 over samples, entry by entry."""
    result = np.zeros((one.shape[1], other.shape[1]))
    for i, j in np.ndindex(result.shape):
        result[i, j] = np.square(one[:, i] - other[:, j]).mean()
    return result


def layers_of(network):
    """The (linear or convolution, norm or None) pairs in front of the last linear layer."""
    if hasattr(network, "features"):
        return [(block.conv, block.norm) for block in network.features]
    linear = [module for module in network if isinstance(module, nn.Linear)]
    return [(module, None) for module in linear[:-1]]


def last_of(network):
    return network.classifier if hasattr(network, "classifier") else network[-1]


def activations_behind(network, images, depth):
    """Pre- and post-activations of layer `depth`, all images at once, in evaluation mode."""
    pre, post = None, images
    with torch.no_grad():
        for linear, norm in layers_of(network)[: depth + 1]:
            pre = linear(post)
            if norm is not None:
                pre = norm(pre)
            post = functional.relu(pre)
    return pre, post


def algorithm_1(net_a, net_b, images, method="correlation", activations="post"):
    """Network B aligned with A, one layer after the other; each is read anew on all the images."""
    net_b = copy.deepcopy(net_b)
    layers = layers_of(net_b)
    followers = [linear for linear, _ in layers[1:]] + [last_of(net_b)]
    for depth, (linear, norm) in enumerate(layers):
        place = 0 if activations == "pre" else 1
        one = samples_of(activations_behind(net_a, images, depth)[place])
        other = samples_of(activations_behind(net_b, images, depth)[place])
        cost = (
            1 - cross_correlation(one, other)
            if method == "correlation"
            else squared_distance(one, other)
        )
        _, order = linear_sum_assignment(cost)
        with torch.no_grad():
            linear.weight.copy_(linear.weight[order].clone())
            if linear.bias is not None:
                linear.bias.copy_(linear.bias[order].clone())
            if norm is not None:
                for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
                    tensor.copy_(tensor[order].clone())
            followers[depth].weight.copy_(followers[depth].weight[:, order].clone())
    return net_b


def best_order(scores):
    """The assignment of largest total by trying all: (order, total); `scores` is (n, n)."""
    best, total = None, -np.inf
    for order in itertools.permutations(range(len(scores))):
        value = sum(scores[row, column] for row, column in enumerate(order))
        if value > total:
            best, total = order, value
    return best, total


def all_permutations(groups):
    """Every permutation of groups {name: (shape, parent)}, blocks and what lies within them."""
    choices = []
    for shape, _ in groups.values():
        rows = int(np.prod(shape[:-1]))
        orders = itertools.product(itertools.permutations(range(shape[-1])), repeat=rows)
        choices.append([np.array(order).reshape(shape) for order in orders])
    for choice in itertools.product(*choices):
        yield dict(zip(groups, choice, strict=True))


def total_score(groups, scores, permutation):
    """The sum over groups and members of the score of a member of A and who comes to its place."""
    total = 0.0
    for name, (shape, _) in groups.items():
        if scores[name] is None:
            continue
        for place in np.ndindex(shape):
            total += scores[name][place + comes_from(groups, permutation, name, place)]
    return total


def comes_from(groups, permutation, name, place):
    """The member of B that a permutation brings to a place."""
    parent = groups[name][1]
    around = () if parent is None else comes_from(groups, permutation, parent, place[:-1])
    return (*around, int(permutation[name][place]))


def de_casteljau(points, t):
    """A point of a Bezier curve by repeated interpolation; `points` are tensors or arrays."""
    points = list(points)
    while len(points) > 1:
        points = [(1 - t) * one + t * other for one, other in itertools.pairwise(points)]
    return points[0]


def chain_point(points, t):
    """A point of a polygonal chain: find the piece that holds t, interpolate in it."""
    pieces = len(points) - 1
    piece = min(int(t * pieces), pieces - 1)
    share = t * pieces - piece
    return (1 - share) * points[piece] + share * points[piece + 1]


def curve_gradients(network, states, t, images, labels, weight_decay, point):
    """Gradients of cross entropy + weight_decay / 2 |r(t)|^2 by every control point, by autograd.

    `states` holds the parameters of each control point by name; `point` combines tensors.
    """
    leaves = [
        {name: tensor.clone().requires_grad_() for name, tensor in state.items()}
        for state in states
    ]
    here = {name: point([leaf[name] for leaf in leaves], t) for name in states[0]}
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    outputs = functional_call(network, (here, buffers), (images,))
    loss = functional.cross_entropy(outputs, labels)
    for tensor in here.values():
        loss = loss + weight_decay / 2 * tensor.square().sum()
    everything = [leaf[name] for leaf in leaves for name in states[0]]
    gradients = torch.autograd.grad(loss, everything, allow_unused=True)
    gradients = [  # a control point whose coefficient is 0 is not part of the graph
        torch.zeros_like(leaf) if gradient is None else gradient
        for leaf, gradient in zip(everything, gradients, strict=True)
    ]
    count = len(states[0])
    return [
        torch.cat([gradient.ravel() for gradient in gradients[start : start + count]])
        for start in range(0, len(gradients), count)
    ]


def batch_norm_statistics(network, batches):
    """Means over batches of each batch-norm layer's input mean and unbiased variance, by name."""
    network = copy.deepcopy(network).eval()
    seen = {}

    def watch(name, layer):
        layer.train()

        def look(_module, inputs):
            channels = torch.movedim(inputs[0], 1, 0).flatten(1).numpy()
            seen.setdefault(name, []).append((channels.mean(axis=1), channels.var(axis=1, ddof=1)))

        layer.register_forward_pre_hook(look)

    for name, module in network.named_modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            watch(name, module)
    with torch.no_grad():
        for images, _ in batches:
            network(images)
    return {
        name: tuple(np.mean([pair[part] for pair in pairs], axis=0) for part in (0, 1))
        for name, pairs in seen.items()
    }


def average_over_arc_length(values, times, position, per_piece=2000):
    """Mean of values, linear in arc length between `times`; `position(t)` is a numpy vector."""
    lengths = []
    for early, late in itertools.pairwise(times):
        path = np.stack([position(t) for t in np.linspace(early, late, per_piece + 1)])
        lengths.append(np.linalg.norm(np.diff(path, axis=0), axis=1).sum())
    means = [(one + other) / 2 for one, other in itertools.pairwise(values)]
    return float(np.dot(means, lengths) / np.sum(lengths))


def score(network, images, labels):
    """Mean cross entropy in nats and accuracy, sample by sample."""
    network = copy.deepcopy(network).eval()
    losses, hits = [], []
    for image, label in zip(images, labels, strict=True):
        with torch.no_grad():
            logits = network(image[None])[0].numpy()
        shifted = logits - logits.max()
        losses.append(np.log(np.exp(shifted).sum()) - shifted[label])
        hits.append(int(np.argmax(logits)) == int(label))
    return float(np.mean(losses)), float(np.mean(hits))


def projected_gradient_ascent(network, images, labels, start, epsilon, step, steps):
    """Madry et al. 2018, l_inf: sign steps, then the box around the image, then [0, 1].

    The network runs in its own mode, each time as a new copy, so that nothing of it can move.
    """
    moved = start.clone()
    for _ in range(steps):
        twin, variable = copy.deepcopy(network), moved.clone().requires_grad_()
        outputs = twin(variable)
        main = outputs if isinstance(outputs, torch.Tensor) else outputs[0]
        functional.cross_entropy(main, labels).backward()
        moved = moved + step * variable.grad.sign()
        moved = images + (moved - images).clamp(-epsilon, epsilon)
        moved = moved.clamp(0, 1)
    return moved
