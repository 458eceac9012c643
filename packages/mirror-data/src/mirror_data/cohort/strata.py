"""Deal patients into parts: the same deal on every machine and version, even over strata, whole groups if asked.

The order of a deal comes from SHA-256 of seed and id, not from a random generator: it depends on nothing else.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from mirror_data.errors import BadInput

_SWEEPS = 20


def draw_order(ids: Sequence[str], seed: int, purpose: str) -> list[str]:
    """Ids in a random order that is a function of (seed, purpose, id) alone."""
    return sorted(ids, key=lambda name: hashlib.sha256(f"{seed}/{purpose}/{name}".encode()).digest())


def deal(strata: Mapping[str, str], weights: Sequence[float], seed: int, purpose: str) -> dict[str, int]:
    """Part of every patient; the parts get shares of each stratum as their weights say, to within a patient or so.

    The patients, stratum by stratum, each go to the part that lags most behind its weight; the next stratum goes on
    where the last ended, so that rare strata do not all begin with the first part.
    """
    wanted = np.asarray(weights, dtype=float) / sum(weights)
    counts = np.zeros(len(wanted))
    part_of: dict[str, int] = {}
    for stratum in sorted(set(strata.values())):
        for name in draw_order([n for n, s in strata.items() if s == stratum], seed, purpose):
            part = int(np.argmax(np.round(wanted * (len(part_of) + 1) - counts, 9)))
            part_of[name] = part
            counts[part] += 1
    return part_of


def deal_groups(
    strata: Mapping[str, str], groups: Mapping[str, str], weights: Sequence[float], seed: int, purpose: str
) -> dict[str, int]:
    """As `deal`, but a group (a site) stays whole: the largest first, each where it leaves the parts most even.

    Raises:
        BadInput: ``BAD_OPTION`` if there are fewer groups than parts.
    """
    sizes = Counter(groups[name] for name in strata)
    if len(sizes) < len(weights):
        got, expected = f"{len(sizes)} groups", f"{len(weights)} or more"
        raise BadInput("BAD_OPTION", "there are fewer groups than parts", key="--group", expected=expected, got=got)
    order = sorted(draw_order(list(sizes), seed, purpose), key=lambda g: -sizes[g])
    margins, weight = _margins(strata, groups, order)  # (groups, m): share of each margin that a group holds; (m,)
    wanted = np.asarray(weights, dtype=float)[:, None] / sum(weights)  # (parts, 1)
    part_of = np.full(len(order), -1)

    def cost() -> float:
        held = np.stack([margins[part_of == part].sum(axis=0) for part in range(len(wanted))])  # (parts, m)
        return round(float((held / wanted).var(axis=0) @ weight), 12)

    for _ in range(_SWEEPS):  # the first sweep places, the others move and swap while that helps
        before = part_of.copy()
        for place in range(len(order)):
            costs = []
            for part in range(len(wanted)):
                part_of[place] = part
                costs.append(cost())
            part_of[place] = int(np.argmin(costs))
        for one, other in itertools.combinations(range(len(order)), 2) if (before >= 0).all() else ():
            now = cost()
            part_of[[one, other]] = part_of[[other, one]]
            if cost() >= now:
                part_of[[one, other]] = part_of[[other, one]]
        if np.array_equal(before, part_of):
            break
    found = dict(zip(order, part_of.tolist(), strict=True))
    return {name: found[groups[name]] for name in sorted(strata)}


def _margins(
    strata: Mapping[str, str], groups: Mapping[str, str], order: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Share of everybody, and of each level of each variable in the strata, that each group holds (groups, m).

    The weights (m,) count each variable once, however many levels it has.
    """
    levels = {name: ["all", *(f"{i}|{level}" for i, level in enumerate(s.split("|")))] for name, s in strata.items()}
    columns = {level: m for m, level in enumerate(sorted({level for own in levels.values() for level in own}))}
    rows = {group: row for row, group in enumerate(order)}
    counts = np.zeros((len(order), len(columns)))
    for name, own in levels.items():
        for level in own:
            counts[rows[groups[name]], columns[level]] += 1
    variables = Counter(level.split("|")[0] for level in columns)
    weight = np.array([1 / variables[level.split("|")[0]] for level in columns])
    return counts / counts.sum(axis=0), weight


def strata_of(table: pd.DataFrame, by: str) -> dict[str, str]:
    """Stratum of every patient of a `Patients` table, "missing" being one of its own.

    Args:
        by: ``subtype``; ``event``, meaning event x quarter of the time; ``subtype+event``; ``none``; a text covariate.

    Raises:
        BadInput: ``BAD_OPTION`` if the table has no such column.
    """
    labels = [pd.Series("", index=table.index)]
    for name in () if by == "none" else by.split("+"):
        if name == "event":
            labels.append(_event_by_time(table))
        elif name in table and not pd.api.types.is_numeric_dtype(table[name]):
            labels.append(table[name].where(table[name].notna(), "missing").astype(str))
        else:
            hint = "stratify by subtype, event, subtype+event, none, or a text column of the clinical table"
            raise BadInput("BAD_OPTION", f"patients have no {name} to stratify by", key="--stratify", hint=hint)
    joined = pd.concat(labels, axis=1).agg("|".join, axis=1) if len(labels) > 1 else labels[0]
    return {str(patient): str(stratum) for patient, stratum in joined.items()}


def _event_by_time(table: pd.DataFrame) -> pd.Series:
    if "event" not in table:
        raise BadInput("BAD_OPTION", "patients have no outcome to stratify by", key="--stratify", got="event")
    event, time = table["event"], table["time_days"]
    labels = pd.Series("missing|", index=table.index)
    for value in (0.0, 1.0):
        among = event == value
        if among.any():
            quarter = (time[among].rank(method="first") - 1) * 4 // among.sum()
            labels.loc[among] = quarter.map(lambda q, value=value: f"{int(value)}|quarter {int(q)}")
    return labels


def default_strata(table: pd.DataFrame) -> str:
    """What to stratify by when nobody says: subtype, else event x time, else nothing."""
    if "subtype" in table and table["subtype"].notna().any():
        return "subtype"
    return "event" if "event" in table and table["event"].notna().any() else "none"
