"""The linear systems of Newton's method: (K_AA + I / 2C) b_A = r_A, solved to rounding.

Along an elimination such systems come by the thousand, each a little different from the last: a few genes fewer in K, a
sample more or less in A. A Cholesky factorisation for each (n^3 / 3 operations) would be most of the work. So they are
solved by conjugate gradients (n^2 operations a step) with an earlier system's factor as preconditioner: a twentieth of
the genes fewer takes about six steps to the last digit. Where genes go one at a time the inverse itself is kept, and
follows every gene and sample by a change of rank one, so that one or two steps do. How old the preconditioner is
changes how long it takes, never what comes out: every solution is checked against K.

K is (n, n), symmetric, in Fortran order; only its lower triangle is read.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import get_blas_funcs, get_lapack_funcs

from mirror_data.errors import BadInput

_EPS = float(np.finfo(np.float64).eps)
_FEWEST_STEPS = 8
_symv, _syr, _trsv = get_blas_funcs(("symv", "syr", "trsv"), dtype=np.float64)
_potrf, _potri = get_lapack_funcs(("potrf", "potri"), dtype=np.float64)


def times(K: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """K v (n,) from the lower triangle of K."""
    return _symv(1.0, K, vector, lower=True)


def less_outer(K: np.ndarray, vector: np.ndarray, by: float = 1.0) -> None:
    """K -= by v v' in its lower triangle, in place."""
    _syr(-by, vector, a=K, lower=True, overwrite_a=True)


class System:
    """Solves a sequence of systems that resemble each other.

    Args:
        ridge: 1 / 2C.
        one_by_one: genes will go one at a time, each told to `gene_gone`.
    """

    def __init__(self, ridge: float, one_by_one: bool) -> None:
        self.ridge, self.one_by_one = ridge, one_by_one
        self._helper: _Factor | _Inverse | None = None

    def solve(self, K: np.ndarray, right: np.ndarray, active: np.ndarray, start: np.ndarray) -> np.ndarray:
        """b (n,), 0 outside the active set; ``start`` (n,) is a guess.

        Raises:
            BadInput: ``BAD_SCALE`` if K is not positive definite to rounding; ``BAD_VALUE`` if it is not finite.
        """
        beta = np.where(active, start, 0.0)
        if not active.any():
            return beta
        most = max(_FEWEST_STEPS, len(K) // 32)  # so many steps cost what a factorisation does
        if self._helper is not None and self._helper.follow(K, active):
            beta, steps = self._descend(K, right, active, beta, most)
            if steps < most:
                if steps > most // 2:  # old; the next system gets a new one
                    self._helper = None
                return beta
        self._helper = (_Inverse if self.one_by_one else _Factor)(K, active, self.ridge)
        return self._descend(K, right, active, beta, most)[0]

    def gene_gone(self, gene: np.ndarray) -> None:
        """A gene (n,) was taken out of K."""
        if isinstance(self._helper, _Inverse) and not self._helper.less(gene):
            self._helper = None

    def _descend(
        self, K: np.ndarray, right: np.ndarray, active: np.ndarray, beta: np.ndarray, most: int
    ) -> tuple[np.ndarray, int]:
        """Conjugate gradients from ``beta`` down to rounding; and the steps taken, ``most`` if it did not get there."""
        assert self._helper is not None
        diagonal = np.diagonal(K)
        tallest = float(diagonal.max()) + self.ridge
        left = np.where(active, right - times(K, beta) - self.ridge * beta, 0.0)
        direction, before = np.zeros(len(K)), np.inf
        for step in range(most):
            # What rounding does to K b, its terms being of both signs.
            floor = _EPS * np.sqrt(tallest * float(diagonal @ (beta * beta)))
            if np.abs(left).max() <= floor:
                return beta, step
            helped = self._helper(left)
            product = float(left @ helped)
            direction = helped + (product / before) * direction
            image = times(K, direction) + self.ridge * direction
            curvature = float(direction @ image)
            if not curvature > 0:
                break
            length = product / curvature
            beta = beta + length * direction
            left = left - length * np.where(active, image, 0.0)
            before = product
        return beta, most


class _Factor:
    """Cholesky factor of a system; helps with others of nearly the same active set."""

    def __init__(self, K: np.ndarray, active: np.ndarray, ridge: float) -> None:
        self.places, self.active = np.flatnonzero(active), active
        self.factor = _factorise(K, self.places, ridge)
        self.scale = 1 / (np.diagonal(K) + ridge)  # for samples that the factor does not know
        self.unknown: np.ndarray | None = None
        self.gone = ~active

    def follow(self, K: np.ndarray, active: np.ndarray) -> bool:
        """Be ready for another active set; False if it differs by too many samples."""
        changed = int(np.count_nonzero(active != self.active))
        self.unknown, self.gone = (active & ~self.active if changed else None), ~active
        return changed <= max(_FEWEST_STEPS, len(K) // 64)  # a sample more or less costs a step or two

    def __call__(self, left: np.ndarray) -> np.ndarray:
        out = np.zeros(len(left))
        half = _trsv(self.factor, left[self.places], lower=True)
        out[self.places] = _trsv(self.factor, half, lower=True, trans=1)
        if self.unknown is not None:
            out[self.gone] = 0.0
            out[self.unknown] = left[self.unknown] * self.scale[self.unknown]
        return out


class _Inverse:
    """The inverse of a system (0 outside the active set), which follows genes and samples by changes of rank one."""

    def __init__(self, K: np.ndarray, active: np.ndarray, ridge: float) -> None:
        places = np.flatnonzero(active)
        self.active, self.ridge = active.copy(), ridge
        inner, _ = _potri(_factorise(K, places, ridge), lower=True, overwrite_c=True)
        if len(places) == len(K):
            self.inverse = inner
        else:
            self.inverse = np.zeros(K.shape, order="F")
            self.inverse[np.ix_(places, places)] = inner

    def follow(self, K: np.ndarray, active: np.ndarray) -> bool:
        """Take in and leave out samples; False if there are so many that a new inverse is cheaper, or it broke."""
        changed = np.flatnonzero(active != self.active).tolist()
        if len(changed) > len(K) // 16 + 1:
            return False
        for place in changed:
            if not (self._enter(K, place) if active[place] else self._leave(place)):
                return False
        self.active = active.copy()
        return True

    def less(self, gene: np.ndarray) -> bool:
        """(M - x x')^-1 = M^-1 + z z' / (1 - x z) with z = M^-1 x (Sherman and Morrison)."""
        z = times(self.inverse, gene)
        rest = 1 - float(gene @ z)
        if rest <= 1e-6:  # too much would be lost
            return False
        less_outer(self.inverse, z, -1 / rest)
        return True

    def _leave(self, place: int) -> bool:
        column = _column(self.inverse, place)
        if column[place] <= 0:
            return False
        less_outer(self.inverse, column, 1 / column[place])
        self.inverse[place, :] = self.inverse[:, place] = 0.0
        return True

    def _enter(self, K: np.ndarray, place: int) -> bool:
        column = _column(K, place)
        z = times(self.inverse, column)  # the inverse is 0 for samples outside, so these play no part
        rest = column[place] + self.ridge - float(column @ z)
        if rest <= 0:
            return False
        z[place] = -1.0
        less_outer(self.inverse, z, -1 / rest)
        return True

    def __call__(self, left: np.ndarray) -> np.ndarray:
        return times(self.inverse, left)


def _column(lower: np.ndarray, place: int) -> np.ndarray:
    return np.concatenate([lower[place, :place], lower[place:, place]])


def _factorise(K: np.ndarray, places: np.ndarray, ridge: float) -> np.ndarray:
    """Lower Cholesky factor of K_AA + ridge."""
    system = K.copy(order="F") if len(places) == len(K) else K.T[np.ix_(places, places)].T  # in Fortran order
    system.T.flat[:: len(places) + 1] += ridge
    factor, info = _potrf(system, lower=True, clean=False, overwrite_a=True)
    if not info:
        return factor
    if not np.isfinite(np.tril(K)).all():
        raise BadInput("BAD_VALUE", "the Gram matrix is not finite")
    hint = "standardise the genes, or use a smaller C"
    raise BadInput("BAD_SCALE", "the Gram matrix is not positive definite to rounding", hint=hint)
