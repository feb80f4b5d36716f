"""The permutation step of PAM: change the permutation of a curve's end while the curve stays.

Minimises E_t[loss(r(t))] + |P - P^k|^2 / (2 nu) over permutations P, with r(1) = P theta_2. Neither
of the two ways runs the network more often than training does: a step finds the gradient at r(t),
c_end(t) times which is the end's, and the chain rule through r(1) = P theta_2 leads on to P.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from ..align.assignment import assign
from ..data.batches import Batch, Data, global_seed, training_batches
from ..state import Layout
from ..symmetry.permutation import Permutation, permute
from ..symmetry.relaxed import Relaxation
from ..train.checkpoint import Carried, Keeper, Position
from ..train.loop import Recipe, descend
from .birkhoff import decompose, draw, nearest_permutation, permutation_matrix, project
from .fit import Walker
from .paths import Curve

Score = Callable[[Permutation], float]
STEP_TOLERANCE = 1e-5
"""How exactly each step is projected; what is missing is made up for in the next."""
SHARES = (0.0, 0.5, 0.75, 0.9, 0.97, 0.99)
"""Shares of the neurons that a conditional-gradient step bids to stay, one candidate for each."""


class RelaxedEnd:
    """The end of a curve as a function of one vector that holds a matrix for each relaxed group.

    `vector` starts at `permutation`, whose hard part is applied to `state` once and for all.
    """

    def __init__(
        self,
        relaxation: Relaxation,
        layout: Layout,
        state: Mapping[str, Tensor],
        permutation: Permutation,
    ) -> None:
        self.relaxation = relaxation
        moved = permute(dict(state), relaxation.symmetry, relaxation.hard_part(permutation))
        names = [*layout.shapes]
        sizes = torch.tensor([layout.shapes[name].numel() for name in names]).cumsum(0)
        ends = zip(names, sizes.tolist(), strict=True)
        kept = [name for name, end in ends if end <= layout.parameters]
        self.tensors = {name: moved[name] for name in kept}
        first = next(iter(self.tensors.values()))
        self.groups = sorted(relaxation.groups, key=lambda name: self._size(name))
        starts = [permutation_matrix(permutation[name]).ravel() for name in self.groups]
        self.vector = torch.cat([torch.zeros(0, dtype=torch.float64), *starts]).to(first)
        self.stacks = [*self._stacks(self.vector)]
        self.corrections = [torch.zeros_like(stack) for stack in self.stacks]

    def _size(self, name: str) -> int:
        return self.relaxation.symmetry.groups[name].size

    def _stacks(self, vector: Tensor) -> Iterator[Tensor]:
        """The matrices of all groups of one size together, (groups, size, size), as views."""
        start = 0
        for size in sorted({self._size(name) for name in self.groups}):
            count = sum(self._size(name) == size for name in self.groups)
            end = start + count * size**2
            yield vector[start:end].view(count, size, size)
            start = end

    def matrices(self, vector: Tensor) -> dict[str, Tensor]:
        """The matrix of each group."""
        unbound = [matrix for stack in self._stacks(vector) for matrix in stack.unbind()]
        return dict(zip(self.groups, unbound, strict=True))

    def parameters(self, vector: Tensor) -> Tensor:
        """The parameters of r(1) = P theta_2 as one vector; differentiable."""
        moved = self.relaxation.apply(self.tensors, self.matrices(vector))
        return torch.cat([moved[name].reshape(-1) for name in self.tensors])

    def step(self, walker: Walker, t: float, batch: Batch, recipe: Recipe) -> tuple[Tensor, Tensor]:
        """Loss of a batch at r(t), and its gradient by `vector`, the L2 term's included.

        `walker` is on a curve with a free end, which is moved to where `vector` says.
        """
        variable = self.vector.detach().requires_grad_()
        moved = self.parameters(variable)
        walker.movable_points[0].copy_(moved.detach())
        loss = walker.step(t, batch, recipe)
        (gradient,) = torch.autograd.grad(moved, variable, walker.gradient[0])
        return loss, gradient

    def project(self, tolerance: float = STEP_TOLERANCE) -> None:
        """Bring all matrices back among the doubly stochastic ones, in place."""
        for stack, corrections in zip(self.stacks, self.corrections, strict=True):
            stack.copy_(project(stack, tolerance=tolerance, corrections=corrections))


def relaxed_permutation(
    end: RelaxedEnd, curve: Curve, data: Data, recipe: Recipe, nu: float
) -> dict[str, Tensor]:
    """Descend over relaxed permutations, projected after each step; the matrix of each group.

    `curve` must end at the permutation that `end` starts from. Source: Appendix E, Tatro et al.
    """
    walker = walker_with_free_end(curve)
    begun = end.vector.clone()
    gradient = torch.zeros_like(begun)
    generator = torch.Generator().manual_seed(recipe.seed + 1)

    def step(batch: Batch) -> Tensor:
        t = float(torch.rand((), generator=generator, dtype=torch.float64))
        loss, found = end.step(walker, t, batch, recipe)
        torch.add(found, end.vector - begun, alpha=1 / nu, out=gradient)
        return loss

    corrections = {f"corrections/{place}": one for place, one in enumerate(end.corrections)}
    descend(
        end.vector,
        gradient,
        step,
        data,
        recipe,
        after=end.project,
        carried={"network": walker.network, "t": generator, **corrections},
        fixed={**walker.fixed(), "nu": nu},
        where=walker.where,
    )
    end.project(tolerance=1e-6)
    return {name: matrix.detach() for name, matrix in end.matrices(end.vector).items()}


def walker_with_free_end(curve: Curve) -> Walker:
    """A walker on a curve of which nothing but the end moves."""
    return Walker.on(replace(curve, movable=(len(curve.points) - 1,)))


def rounded(
    matrices: Mapping[str, Tensor], hard: Permutation, samples: int, seed: int
) -> list[Permutation]:
    """Permutations near relaxed ones: the nearest, and `samples` drawn group by group.

    Draws come from the `samples` heaviest terms of each matrix's Birkhoff-von Neumann
    decomposition. Groups without a matrix are as in `hard`.
    """
    found = [{**hard, **{name: nearest_permutation(one) for name, one in matrices.items()}}]
    if samples < 1:
        return found
    generator = torch.Generator().manual_seed(seed)
    drawn: dict[str, Tensor] = {}
    for name, matrix in matrices.items():
        weights, permutations = decompose(matrix, most_terms=samples)
        drawn[name] = draw(weights, permutations, samples, generator)
    return found + [
        {**hard, **{name: orders[place] for name, orders in drawn.items()}}
        for place in range(samples)
    ]


def best_of(candidates: list[Permutation], score: Score) -> tuple[Permutation, float]:
    """The candidate of lowest score, the first of equals, and its score."""
    different: dict[tuple[object, ...], Permutation] = {}
    for one in candidates:
        different.setdefault(tuple(str(order.tolist()) for order in one.values()), one)
    scores = [(score(one), place) for place, one in enumerate(different.values())]
    lowest, place = min(scores)
    return list(different.values())[place], lowest


def linearised_steps(
    slope: Mapping[str, Tensor], current: Permutation, pull: Mapping[str, Tensor]
) -> list[Permutation]:
    """Permutations that minimise a linear function, by steps that go less and less far.

    `slope[group]` is the gradient by the group's matrix, `pull[group]` what the proximal term adds
    to every entry's worth. Since all permutation matrices have one norm, |P - P^k|^2 is linear in
    P on them, and the sum of both is one assignment for each group, exactly. As a gradient says
    little about far permutations, the current one is then bid for: a bonus per neuron that stays,
    as large as the gain that 50, 75, ... % of all neurons can at most hope for.
    """
    worth = {name: pull[name] - slope[name] for name in slope}
    here = {name: permutation_matrix(current[name]) for name in slope}
    hopes = torch.cat(
        [(worth[name].max(1).values - (worth[name] * here[name]).sum(1)) for name in slope]
    )
    bonuses = [0.0 if share == 0 else float(hopes.quantile(share)) for share in SHARES]
    return [
        {**current, **{name: assign(worth[name] + bonus * here[name]) for name in slope}}
        for bonus in bonuses
    ]


def conditional_gradient(
    start: Permutation,
    curve_of: Callable[[Permutation], tuple[RelaxedEnd, Curve]],
    score: Score,
    data: Data,
    recipe: Recipe,
    nu: float,
) -> Permutation:
    """Go from permutation to permutation: a pass over the data for the gradient, then assignments.

    At most `recipe.epochs` rounds. Each goes to the best step by `score`; where none is better than
    staying, the two longest are tried a group at a time, and where that helps no group either, it
    is the last. A pass costs what an epoch of curve training does. Source: the conditional gradient
    of Frank and Wolfe (1956), without its inner points.
    """
    generator = torch.Generator().manual_seed(recipe.seed + 1)
    shuffles = torch.Generator().manual_seed(recipe.seed)
    current = {name: order.clone() for name, order in start.items()}
    lowest = torch.tensor(score(start), dtype=torch.float64)
    first = curve_of(start)[1]
    position = Position(None)
    carried: dict[str, Carried] = {**current, "lowest": lowest, "t": generator}
    compared = {**vars(recipe), "points": first.points, "nu": nu}
    with (
        global_seed(recipe.seed, first.points.device),
        Keeper(recipe.checkpoint, position, carried, shuffles, data, compared) as keeper,
    ):
        recipe.tell_again(position.history)
        while position.epoch < recipe.epochs:
            end, curve = curve_of(current)
            batches = training_batches(
                data,
                recipe.batch_size,
                generator=shuffles,
                device=curve.points.device,
                augmentation=recipe.augmentation,
            )
            slope, loss = _slope(end, curve, keeper.unseen(batches), recipe, generator)
            position.epoch += 1
            best, found = _step_down(slope, start, current, float(lowest), score, nu)
            position.history.append(loss)
            recipe.tell(position.epoch, loss)
            if not found < lowest:
                position.epoch = recipe.epochs
            for name, order in best.items():
                current[name].copy_(order)
            lowest.fill_(found)
            keeper.ended()
    return current


def _step_down(
    slope: Mapping[str, Tensor],
    start: Permutation,
    current: Permutation,
    lowest: float,
    score: Score,
    nu: float,
) -> tuple[Permutation, float]:
    """The best permutation that a gradient leads to, the current one if there is none better."""
    pull = {name: permutation_matrix(start[name]) / nu for name in slope}
    steps = linearised_steps(slope, current, pull)
    best, found = best_of(steps, score)
    if found < lowest:
        return best, found
    return _group_by_group(steps[:2], current, lowest, score)


def _group_by_group(
    steps: list[Permutation], current: Permutation, lowest: float, score: Score
) -> tuple[Permutation, float]:
    """Take over from the steps, one group after the other, what lowers the score."""
    for step in steps:
        for name, order in step.items():
            if not torch.equal(order, current[name]):
                found = score({**current, name: order})
                if found < lowest:
                    current, lowest = {**current, name: order}, found
    return current, lowest


def _slope(
    end: RelaxedEnd,
    curve: Curve,
    batches: Iterator[Batch],
    recipe: Recipe,
    generator: torch.Generator,
) -> tuple[dict[str, Tensor], float]:
    """The gradient by each group's matrix, the mean over one pass, and the mean loss in nats."""
    walker = walker_with_free_end(curve)
    total = torch.zeros_like(walker.gradient[0])
    losses = []
    for batch in batches:
        t = float(torch.rand((), generator=generator, dtype=torch.float64))
        losses.append(walker.step(t, batch, recipe))
        total += walker.gradient[0]
    # The permutation stays during a pass, so one pullback serves for all of it.
    variable = end.vector.detach().requires_grad_()
    (found,) = torch.autograd.grad(end.parameters(variable), variable, total / len(losses))
    slope = {name: one.double().cpu() for name, one in end.matrices(found).items()}
    return slope, float(torch.stack(losses).mean())
