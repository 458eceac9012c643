"""Counting concordant pairs of patients in O(n log n), with NumPy alone.

The counting behind `concordance.py`: patients are ordered by time on one scale and by risk on the other, and a
concordant pair is an inversion between the two orders. ``group`` numbers the times, doubled, plus 1 for the censored,
so that at one time the events come first: those censored then lived longer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_LEAF = 32  # blocks this small are compared pair by pair
_TABLE_LEAST, _TABLE_MOST = 20_000, 8  # cells of a table of times and levels, altogether or a patient: else sort


@dataclass(frozen=True)
class PairCounts:
    """Comparable pairs of patients by what their risks say."""

    concordant: int
    discordant: int
    tied: int


def count_pairs(time: np.ndarray, event: np.ndarray, risk: np.ndarray, tolerance: float) -> PairCounts:
    """Comparable pairs, where risks at most ``tolerance`` apart are tied.

    Being close is not transitive. Where every chain of close risks is no longer than the tolerance, the chains are
    classes of equals and one pass over them counts everything; otherwise each patient asks with thresholds of its own.
    """
    n = len(time)
    if n < 2:
        return PairCounts(0, 0, 0)
    ascending = np.argsort(risk)
    ordered = risk[ascending]
    starts = np.flatnonzero(np.r_[True, ordered[1:] - ordered[:-1] > tolerance])  # of each chain of close risks
    lasts = np.r_[starts[1:], n] - 1
    if bool((ordered[lasts] - ordered[starts] > tolerance).any()):
        return _count_close(time, event, risk, tolerance)
    level = np.empty(n, dtype=np.int64)
    level[ascending] = np.repeat(np.arange(len(starts)), lasts - starts + 1)
    return _count_levels(time, event, level, len(starts))


def _count_levels(time: np.ndarray, event: np.ndarray, level: np.ndarray, levels: int) -> PairCounts:
    """Count pairs when risks are levels 0..levels-1: equal level = tied, higher level = higher risk."""
    n, all_differ = len(time), levels == len(time)
    order = np.argsort(time)
    ordered = time[order]
    number = np.cumsum(np.r_[0, ordered[1:] != ordered[:-1]])
    event, level = event[order], level[order]
    if (number[-1] + 1) * levels <= max(_TABLE_LEAST, _TABLE_MOST * n):
        return _count_table(number, event, level, levels)
    group = 2 * number + ~event
    if number[-1] < n - 1:  # some times are equal: within one, events first and by rising level
        again = np.argsort(group * n + level)
        event, level, group = event[again], level[again], group[again]
    ends = np.flatnonzero(np.r_[group[1:] != group[:-1], True]) + 1  # (groups,)
    dying = event[ends - 1]
    comparable = int((np.diff(np.r_[0, ends]) * (n - ends))[dying].sum())
    if all_differ:
        places = np.empty(n, dtype=np.int64)
        places[level] = np.arange(n)
    else:
        places = np.argsort(level * n + np.arange(n))  # places in time, by rising level
    concordant = later_before(places, event[places])
    tied = 0 if all_differ else _tied_pairs(level[places], group[places], event[places])
    return PairCounts(concordant, comparable - concordant - tied, tied)


def _count_table(number: np.ndarray, event: np.ndarray, level: np.ndarray, levels: int) -> PairCounts:
    """Count pairs from how many patients share each time (rising, numbered) and level: quick where these are few."""
    shape = (int(number[-1]) + 1, levels)
    cell = number * levels + level
    leaving = np.bincount(cell, minlength=shape[0] * levels).reshape(shape)
    dying = np.bincount(cell[event], minlength=shape[0] * levels).reshape(shape)
    later = np.cumsum(leaving[::-1], axis=0)[::-1] - dying  # those who die at the same time are not comparable
    at_most = np.cumsum(later, axis=1)  # later, and of this level or a lower one
    concordant = int((dying[:, 1:] * at_most[:, :-1]).sum())
    tied = int((dying * later).sum())
    return PairCounts(concordant, int((dying.sum(axis=1) * at_most[:, -1]).sum()) - concordant - tied, tied)


def _tied_pairs(level: np.ndarray, group: np.ndarray, event: np.ndarray) -> int:
    """Comparable pairs of one level; patients come sorted by level, then by place in time."""
    changes = level[1:] != level[:-1]
    ends = np.flatnonzero(np.r_[changes, True]) + 1
    later = np.repeat(ends, np.diff(np.r_[0, ends])) - 1 - np.arange(len(level))  # patients of the level after each
    runs = np.flatnonzero(np.r_[changes | (group[1:] != group[:-1]), True]) + 1  # one level and one group
    sizes = np.diff(np.r_[0, runs])
    together = (sizes * (sizes - 1) // 2)[event[runs - 1]]  # both died at one time: not comparable
    return int(later[event].sum() - together.sum())


def _count_close(time: np.ndarray, event: np.ndarray, risk: np.ndarray, tolerance: float) -> PairCounts:
    """Count pairs when close risks form chains longer than the tolerance."""
    number = np.unique(time, return_inverse=True)[1]
    group = 2 * number + ~event
    comparable = int((len(time) - np.searchsorted(np.sort(group), group[event], side="right")).sum())
    concordant = _below(group, event, risk, tolerance)
    discordant = _below(group, event, -risk, tolerance)
    return PairCounts(concordant, discordant, comparable - concordant - discordant)


def _below(group: np.ndarray, event: np.ndarray, risk: np.ndarray, tolerance: float) -> int:
    """Comparable pairs whose later patient has a risk lower by more than the tolerance.

    Every patient is counted at its own place and risk; every event asks once more from behind its group on the scale of
    time, and from below the risks that are close to its own.
    """
    values, rank = np.unique(risk, return_inverse=True)
    asking = risk[event]
    edge = np.searchsorted(values, asking - tolerance)  # values that are lower, up to rounding
    while (short := (asking - values[np.minimum(edge, len(values) - 1)] > tolerance) & (edge < len(values))).any():
        edge += short
    while (over := (edge > 0) & ~(asking - values[np.maximum(edge - 1, 0)] > tolerance)).any():
        edge -= over
    by_time = np.argsort(np.r_[2 * group, 2 * group[event] + 1], kind="stable")
    by_risk = np.argsort(np.r_[2 * rank + 1, 2 * edge], kind="stable")
    place = np.empty(len(by_time), dtype=np.int64)
    place[by_time] = np.arange(len(by_time))
    asks = by_risk >= len(risk)
    return later_before(place[by_risk], asks, ~asks)


def later_before(places: np.ndarray, asks: np.ndarray, counts: np.ndarray | None = None) -> int:
    """Over the asking items, the sum of how many counting items stand before each and have a greater place.

    Args:
        places: (n,) a permutation of 0..n-1.
        asks: (n,) bool, items that ask.
        counts: (n,) bool, items that are counted; every item if None.

    From the highest bit of the place down, each block is parted, keeping its order, into items with the bit clear and
    items with it set; an asking item with the bit clear gains the set items that stood before it. Blocks of 32 are
    compared directly.
    """
    width = max(_LEAF, 1 << int(len(places) - 1).bit_length())
    kind = np.int32 if width < 1 << 28 else np.int64
    items = 4 * np.arange(
        width, dtype=kind
    )  # the padding comes last on both scales: it is never counted and never asks
    items[: len(places)] = 4 * places + asks + (0 if counts is None else 2 * counts)
    total = 0
    while width > _LEAF:
        width //= 2
        is_high = (items & (4 * width)) != 0
        low_at, high = np.flatnonzero(~is_high), items[is_high]
        low = items[low_at]
        if counts is None:  # a block has `width` clear items, so those before each are known without summing
            before = (low_at.astype(kind).reshape(-1, width) & (2 * width - 1)) - np.arange(width, dtype=kind)
        else:
            before = np.cumsum((is_high & ((items & 2) != 0)).reshape(-1, 2 * width), axis=1, dtype=kind).ravel()[
                low_at
            ]
        total += int((before.ravel() * (low & 1)).sum())
        items = np.stack([low.reshape(-1, width), high.reshape(-1, width)], axis=1).ravel()
    return total + _leaves(items.reshape(-1, width), counts is None)


def _leaves(items: np.ndarray, all_count: bool) -> int:
    """The same within blocks (blocks, width), every pair compared."""
    pairs = items[:, :, None] > items[:, None, :]  # (blocks, before, asking)
    pairs &= np.triu(np.ones(items.shape[1:] * 2, dtype=bool), 1)
    pairs &= ((items & 1) != 0)[:, None, :]
    if not all_count:
        pairs &= ((items & 2) != 0)[:, :, None]
    return int(np.count_nonzero(pairs))
