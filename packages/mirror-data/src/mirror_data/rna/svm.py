"""Linear support vector machines, solved exactly on the Gram matrix.

Minimise 1/2 |w|^2 + C sum_i max(0, 1 - y_i f_i)^2 with f_i = w.x_i + w_0, the intercept being the weight of one more
feature of value 1 (so it is regularised, as in liblinear; of value s for intercept_scaling = s). At the optimum
(w, w_0) = sum_i b_i (x_i, 1) with b_i = 2 C y_i max(0, 1 - y_i f_i), so that everything about a fit lies in the n x n
matrix K = X X' + 1.

Newton's method on the active set A = {i : y_i f_i < 1} solves (K_AA + I / 2C) b_A = y_A until A repeats (Keerthi and
DeCoste, JMLR 6, 2005; Mangasarian, Optim. Methods Softw. 17, 2002): a finite number of steps, each one linear system
(`mirror_data.rna.systems`). Where a whole step would not bring the objective down, an exact line search along it does,
so that no active set comes twice.

Shapes: n samples, c classes (one row for two classes). Everything is float64: a near-tie in a float32 fit decides which
gene an elimination drops, and the difference grows from there.

BLAS should run on one thread here (`mirror_data.rna.crew` sees to it): the matrices are small, and OpenBLAS on two
threads was measured at 750 ms for a Cholesky factorisation of 840 x 840 beside another process, against 14 ms on one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mirror_data.errors import BadInput
from mirror_data.rna.systems import System, times

RESIDUAL = 1e-9  # the promise; what is reached is nearer to 1e-13
_SETTLED = 1e-12
_PATIENCE = 30  # steps; real data takes 2 to 15, so a longer way means that rounding decides who is active
_MAX_STEPS = 200


@dataclass(frozen=True)
class Fit:
    """Fitted machines, one a row."""

    beta: np.ndarray  # (c, n): coefficients of the samples, 0 outside the active sets; weights are beta @ X
    scores: np.ndarray  # (c, n): decision values of all samples, also of those left out
    active: np.ndarray  # bool (c, n)
    residual: float  # largest violation of the optimality conditions, in units of the decision value
    solves: int  # linear systems solved


def signs(labels: np.ndarray, among: np.ndarray | None = None) -> np.ndarray:
    """Targets of class indices 0, 1, ...: (1, n) for two classes (+1 is class 1), one-vs-rest (c, n) for more.

    Args:
        among: bool (n,), the samples to fit on; the others get the target 0 and take no part.
    """
    count = int(labels.max()) + 1
    y = np.where(labels == 1, 1.0, -1.0)[None, :] if count == 2 else _one_vs_rest(labels, count)
    return y if among is None else np.where(among, y, 0.0)


def _one_vs_rest(labels: np.ndarray, count: int) -> np.ndarray:
    return np.where(labels[None, :] == np.arange(count)[:, None], 1.0, -1.0)


def fit(K: np.ndarray, y: np.ndarray, C: float = 1.0, warm: np.ndarray | None = None) -> Fit:
    """Fit one machine a row of ``y``.

    Args:
        K: (n, n), X X' + 1, symmetric, float64.
        y: (c, n) of +1 and -1; a sample of target 0 is left out of the fit.
        C: weight of the squared hinge loss.
        warm: bool (c, n): active sets to begin with, from a similar fit.

    Raises:
        BadInput: ``BAD_SCALE`` if rounding alone keeps the fit from settling (features of very large values and a large
            C); ``BAD_VALUE`` if K is not finite.
    """
    return Machines(y, C).fit(np.asfortranarray(K), warm=warm)


class Machines:
    """Machines that are fitted again and again while K changes a little, each time beginning from the last fit.

    Args:
        y: (c, n) as for `fit`.
        one_by_one: features will leave K one at a time, each told to `feature_gone`.
    """

    def __init__(self, y: np.ndarray, C: float, *, one_by_one: bool = False) -> None:
        self._each = [_Machine(row, C, one_by_one) for row in y]

    def fit(self, K: np.ndarray, *, warm: np.ndarray | None = None, offset: np.ndarray | None = None) -> Fit:
        """Fit all machines.

        Args:
            K: (n, n) in Fortran order; only its lower triangle is read.
            warm: bool (c, n): active sets to begin with instead of the last.
            offset: (c, n), known decision values minus K b near the solution, where K itself is not exact.

        Raises:
            BadInput: as `fit`.
        """
        for k, machine in enumerate(self._each):
            machine.fit(K, machine.active if warm is None else warm[k], 0.0 if offset is None else offset[k])
        return Fit(
            beta=np.stack([machine.beta for machine in self._each]),
            scores=np.stack([machine.scores for machine in self._each]),
            active=np.stack([machine.active for machine in self._each]),
            residual=max(machine.residual for machine in self._each),
            solves=sum(machine.solves for machine in self._each),
        )

    def feature_gone(self, feature: np.ndarray) -> None:
        """A feature (n,) has left K."""
        for machine in self._each:
            machine.system.gene_gone(feature)


def decide(scores: np.ndarray) -> np.ndarray:
    """Class index of decision values (c, n): the sign for two classes, else the largest (the first of equals)."""
    return (scores[0] > 0).astype(np.int64) if len(scores) == 1 else scores.argmax(axis=0)


class _Machine:
    """One machine, between fits."""

    def __init__(self, y: np.ndarray, C: float, one_by_one: bool) -> None:
        self.y, self.C, self.among = y, C, y != 0
        self.system = System(1 / (2 * C), one_by_one)
        self.beta = self.scores = np.zeros(len(y))
        self.active = self.among
        self.residual, self.solves = np.inf, 0  # of the last fit

    def fit(self, K: np.ndarray, active: np.ndarray, offset: np.ndarray | float) -> None:
        y, C = self.y, self.C
        beta, f = self.beta, self.scores
        residual = np.inf
        for step in range(1, _MAX_STEPS + 1):
            target = self.system.solve(K, y - offset, active, beta)  # the minimum, if the active set is right
            reached = times(K, target) + offset  # (n,)
            residual = _residual(target, reached, y, C)
            now = self.among & (y * reached < 1)
            settled = residual < _SETTLED or (residual < RESIDUAL and np.array_equal(now, active))
            if settled or (step > _PATIENCE and residual < _rounding(K, target)):
                self.beta, self.scores, self.active = target, reached, now
                self.residual, self.solves = residual, step
                return
            if not np.isfinite(residual):
                raise BadInput("BAD_VALUE", "the Gram matrix is not finite")
            if step == 1:  # anywhere is as good as the origin to begin from
                beta, f = target, reached
            else:
                t = 1.0
                if _objective(target, reached, offset, y, C) >= _objective(beta, f, offset, y, C):
                    t = _line_search(beta, target - beta, f, reached - f, offset, y, C)
                beta, f = beta + t * (target - beta), f + t * (reached - f)
            active = self.among & (y * f < 1)
        raise BadInput(
            "BAD_SCALE",
            "the support vector machine cannot be solved in double precision",
            expected=f"a residual below {RESIDUAL:g}",
            got=f"{residual:g}",
            hint="standardise the genes, or use a smaller C",
        )


def _residual(beta: np.ndarray, f: np.ndarray, y: np.ndarray, C: float) -> float:
    """Largest |b_i / 2C - y_i max(0, 1 - y_i f_i)|: 0 exactly at the optimum."""
    return float(np.abs(beta / (2 * C) - y * np.maximum(0.0, 1 - y * f)).max())


def _rounding(K: np.ndarray, beta: np.ndarray) -> float:
    """What rounding may do to a decision value."""
    sizes = np.abs(np.tril(K))
    return 16 * float(np.finfo(np.float64).eps * times(np.asfortranarray(sizes), np.abs(beta)).max())


def _objective(beta: np.ndarray, f: np.ndarray, offset: np.ndarray | float, y: np.ndarray, C: float) -> float:
    return 0.5 * float(beta @ (f - offset)) + C * float((np.maximum(0.0, 1 - y * f) ** 2)[y != 0].sum())


def _line_search(
    beta: np.ndarray,
    d_beta: np.ndarray,
    f: np.ndarray,
    d_f: np.ndarray,
    offset: np.ndarray | float,
    y: np.ndarray,
    C: float,
) -> float:
    """Step in (0, 1] that minimises the objective along a direction; its slope is increasing and piecewise linear."""
    curvature, slope = float(d_beta @ d_f), float(d_beta @ (f - offset))

    def derivative(t: float) -> float:
        slack = np.maximum(0.0, 1 - y * (f + t * d_f))
        return slope + t * curvature - 2 * C * float((slack * y) @ d_f)

    low, high = 0.0, 1.0
    if derivative(high) <= 0:
        return high
    for _ in range(60):
        middle = (low + high) / 2
        if derivative(middle) > 0:
            high = middle
        else:
            low = middle
    return low if low > 0 else high
