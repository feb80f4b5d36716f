"""PAM: learn the permutation of one network and the curve to it in turns (Appendix E).

Proximal alternating minimisation (Attouch et al. 2010) of Q(phi, P) = E_t[loss(r(t))], r(1) being
P theta_2:

    P^{k+1}   = argmin_P   Q(phi^k, P)     + |P - P^k|^2 / (2 nu_P)
    phi^{k+1} = argmin_phi Q(phi, P^{k+1}) + |phi - phi^k|^2 / (2 nu_phi)

Neither minimum can be had exactly. What makes the scheme descend all the same is that each half
step is compared with staying, on batches and t that are drawn once; Q, its L2 term on r(t)
included, can therefore not rise on them.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, Unpack, get_args

from torch import nn

from ..align.match import align
from ..data.batches import Data
from ..data.images import ImageData
from ..errors import InputError
from ..state import Layout, State, check_states
from ..symmetry.groups import Symmetry
from ..symmetry.permutation import Permutation, identity_permutation, permute
from ..symmetry.relaxed import Relaxation, relax
from ..train.loop import Progress, Recipe, Settings
from .fit import fit
from .paths import Bezier, Curve, Linear
from .permuting import RelaxedEnd, best_of, conditional_gradient, relaxed_permutation, rounded
from .probes import Probes

Start = Literal["aligned", "identity"]
PermutationMethod = Literal["projected", "conditional-gradient"]
Between: TypeAlias = Callable[[nn.Module, State], Curve]
ALIGNMENT_IMAGES = 10_000


@dataclass(frozen=True, eq=False)
class PamResult:
    """What PAM found: `curve` runs from network A to B renumbered by `permutation`.

    `history` is the objective in nats at the start and after every half step, permutation and
    curve in turns; it never rises.
    """

    curve: Curve
    permutation: Permutation
    history: tuple[float, ...]


def pam(
    net_a: nn.Module,
    net_b: nn.Module,
    data: Data,
    symmetry: Symmetry,
    *,
    start: Start | Permutation = "aligned",
    method: PermutationMethod = "projected",
    outer: int = 1,
    permutation_epochs: int = 20,
    nu_permutation: float = 1e3,
    nu_curve: float = 1e3,
    between: Between = Bezier.between,
    samples: int = 32,
    probes: int = 16,
    **settings: Unpack[Settings],
) -> PamResult:
    """A permutation of `net_b` and a curve from `net_a` to it, learned in turns.

    `start` is where the permutation begins: "aligned" (by `align`, on inputs as they are, whatever
    the objective), "identity", or one of your own. `between` makes the curve that is fitted, on the
    line between two networks: a Bezier curve of one bend unless given, else for one
    `functools.partial(PolyChain.between, bends=3)`; its ends must stay. `settings` are those of
    `fit`, and hold for the curve; a permutation step takes `permutation_epochs` at half the curve's
    learning rate. Its `method` is one of

    - "projected", the paper's: SGD over relaxed permutations (`relax`), each step projected onto
      the doubly stochastic matrices, and at the end rounded: the nearest permutation, `samples`
      from the heaviest terms of the Birkhoff-von Neumann decomposition and the previous one
      compete;
    - "conditional-gradient": up to `permutation_epochs` rounds of a gradient over one pass at the
      current permutation and one assignment for each group, until a round finds none better.

    Candidates compete on `probes` training batches, each at another t. In the first of `outer`
    iterations the inner control points stay on the line while the permutation is learned (as in
    the paper), in later ones they stay where they are. Groups that cannot be relaxed (attention
    heads, convolution groups) keep the order of `start`.

    `progress` counts the epochs of all half steps together; each has a `checkpoint` of its own.
    Source: Appendix E, Tatro et al. 2020.

    >>> import torch
    >>> import basinbridge as bb
    >>> net = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))
    >>> data = torch.randn(64, 4), torch.zeros(64, dtype=torch.long)
    >>> symmetry = bb.discover(net, data[0][:2])
    >>> other = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2))
    >>> found = pam(net, other, data, symmetry, epochs=1, permutation_epochs=1, batch_size=16)
    >>> len(found.history), list(found.history) == sorted(found.history, reverse=True)
    (3, True)
    """
    if method not in get_args(PermutationMethod):
        raise InputError(f"method {method!r}: {' or '.join(get_args(PermutationMethod))}")
    if outer < 1 or permutation_epochs < 0 or not (nu_permutation > 0 and nu_curve > 0):
        raise InputError(
            f"PAM needs outer >= 1, permutation epochs >= 0 and both nu > 0; got "
            f"{outer}, {permutation_epochs}, {nu_permutation}, {nu_curve}"
        )
    settings.setdefault("learning_rate", 0.01)
    recipe = Recipe(**settings)
    check_states(net_a.state_dict(), net_b.state_dict(), "network a", "network b")
    permutation = _begun(start, net_a, net_b, data, symmetry, recipe.seed)
    problem = _Problem(net_a, net_b.state_dict(), relax(symmetry), between, data, nu_permutation)
    curve = problem.curve(permutation, None)
    if {0, len(curve.points) - 1} & {*curve.movable}:
        raise InputError("PAM's curve ends at a renumbered network; give one whose ends stay")
    judge = Probes(curve, data, recipe, probes)
    history = [judge.objective(curve)]
    both = permutation_epochs + recipe.epochs
    for turn in range(outer):
        seed = recipe.seed + turn
        step = replace(
            recipe,
            seed=seed,
            epochs=permutation_epochs,
            learning_rate=recipe.learning_rate / 2,
            progress=_counted(recipe.progress, turn * both, outer * both),
            checkpoint=recipe.checkpoint and recipe.checkpoint.part(f"permutation-{turn + 1}"),
        )
        now = None if turn == 0 else curve
        permutation = problem.permuted(permutation, now, method, samples, step, judge)
        curve = problem.curve(permutation, now)
        history.append(judge.objective(curve))
        settings["seed"] = seed
        settings["progress"] = _counted(
            recipe.progress, turn * both + permutation_epochs, outer * both
        )
        settings["checkpoint"] = recipe.checkpoint and recipe.checkpoint.part(f"curve-{turn + 1}")
        fitted = fit(curve, data, proximal=nu_curve, **settings)
        reached = judge.objective(fitted)
        if reached + _apart(curve, fitted) / (2 * nu_curve) <= history[-1]:
            curve = fitted
            history.append(reached)
        else:
            history.append(history[-1])
    return PamResult(curve, permutation, tuple(history))


def _begun(
    start: Start | Permutation,
    net_a: nn.Module,
    net_b: nn.Module,
    data: Data,
    symmetry: Symmetry,
    seed: int,
) -> Permutation:
    """The permutation to begin with."""
    if not isinstance(start, str):
        return {name: order.cpu() for name, order in start.items()}
    if start not in get_args(Start):
        raise InputError(f"start {start!r}: {', '.join(get_args(Start))}, or a permutation")
    if start == "identity":
        return identity_permutation(symmetry)
    if isinstance(data, ImageData):
        data = data.at_most(ALIGNMENT_IMAGES, seed)
    return align(net_a, net_b, data, symmetry)


@dataclass(frozen=True, eq=False)
class _Problem:
    """The two networks, what may be renumbered, and how far a permutation step may go."""

    net_a: nn.Module
    state_b: State
    relaxation: Relaxation
    between: Between
    data: Data
    nu: float

    def curve(self, permutation: Permutation, now: Curve | None) -> Curve:
        """The curve `now` with its end renumbered; where there is none yet, the line."""
        end = permute(self.state_b, self.relaxation.symmetry, permutation)
        if now is None:
            return self.between(self.net_a, end)
        points = now.points.clone()
        points[-1] = now.layout.flatten(end)
        return now.with_points(points)

    def relaxed(self, permutation: Permutation, now: Curve | None) -> tuple[RelaxedEnd, Curve]:
        """The end as a function of relaxed permutations, and the curve of which it is the end.

        On the line the inner control points move with the end, whatever curve is fitted later: a
        curve of two points says so.
        """
        curve = self.curve(permutation, now)
        if now is None:
            line = Linear.between(self.net_a, curve.state_at(1))
            return RelaxedEnd(self.relaxation, line.layout, self.state_b, permutation), line
        return RelaxedEnd(self.relaxation, curve.layout, self.state_b, permutation), curve

    def permuted(
        self,
        begun: Permutation,
        now: Curve | None,
        method: PermutationMethod,
        samples: int,
        recipe: Recipe,
        judge: Probes,
    ) -> Permutation:
        """One permutation step, which may stay where it is."""

        def score(candidate: Permutation) -> float:
            moved = sum(
                int((candidate[name] != begun[name]).sum()) for name in self.relaxation.groups
            )
            # |P - P^k|^2 / (2 nu), as each neuron that moves changes two entries by 1.
            return judge.objective(self.curve(candidate, now)) + moved / self.nu

        if not self.relaxation.groups:
            return begun
        if method == "projected":
            end, curve = self.relaxed(begun, now)
            matrices = relaxed_permutation(end, curve, self.data, recipe, self.nu)
            found = rounded(matrices, begun, samples, recipe.seed)
            return best_of([begun, *found], score)[0]
        return conditional_gradient(
            begun, lambda one: self.relaxed(one, now), score, self.data, recipe, self.nu
        )


def _apart(one: Curve, other: Curve) -> float:
    """Squared distance of the control points' parameters."""
    parameters = Layout.of(one.network).parameters
    return float((one.points - other.points)[:, :parameters].double().square().sum())


def _counted(progress: Progress | None, done: int, total: int) -> Progress | None:
    """Progress of a half step as progress of the whole."""
    if progress is None:
        return None
    return lambda epoch, _, loss: progress(done + epoch, total, loss)
