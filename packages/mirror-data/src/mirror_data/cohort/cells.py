"""Cells of a clinical table: times, events and words, or the sign for missing."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mirror_data.cohort.columns import DAYS, MISSING_WORDS, OutcomeNames
from mirror_data.errors import BadInput
from mirror_data.tables import words

_HAPPENED = frozenset(
    words("1|1.0|true|yes|y|event|dead|deceased|died|death|progression|progressed|recurred|recurrence", "|")
)
_CENSORED = frozenset(
    words("0|0.0|false|no|n|censored|censor|alive|living|no event|disease free|diseasefree|no progression", "|")
)
_LONGEST_DAYS = 120 * 365.25


def to_words(cells: pd.Series) -> pd.Series:
    """Text cells; None where one says that it is missing."""
    texts = [None if cell is None or cell.lower() in MISSING_WORDS else cell for cell in cells]
    return pd.Series(texts, index=cells.index, name=cells.name, dtype=object)


def to_days(cells: pd.Series, unit: str, file: object) -> pd.Series:
    """Times in days, NaN where missing.

    Raises:
        BadInput: ``BAD_TIME`` for text, negative or infinite times, or times beyond a human life in that unit.
    """
    words = to_words(cells)
    times = pd.to_numeric(words, errors="coerce")
    days = times * DAYS[unit]

    def refuse(count: int, what: str, hint: str) -> None:
        if count:
            got = f"{count} rows"
            raise BadInput("BAD_TIME", f"times are {what}", file=file, key=cells.name, got=got, hint=hint)

    refuse(int((times.isna() & words.notna()).sum()), "not numbers", "leave the cell empty where the time is missing")
    refuse(int(np.isinf(times).sum()), "infinite", "leave the cell empty where the time is missing")
    refuse(int((days < 0).sum()), "negative", "times count from diagnosis; correct the table")
    refuse(int((days > _LONGEST_DAYS).sum()), f"longer than a life in {unit}", "state the right --time-unit")
    return days


def to_events(rows: pd.DataFrame, names: OutcomeNames, file: object) -> pd.Series:
    """Events: 1 = death or progression, 0 = censored, NaN where missing.

    Raises:
        BadInput: ``BAD_EVENT``; ``CONFLICT`` if an event and a censorship column contradict each other.
    """
    event = None if names.event is None else _coded(rows[names.event], file)
    if names.censorship is None:
        assert event is not None
        return event
    complement = 1 - _coded(rows[names.censorship], file)
    if event is None:
        return complement
    both = event.notna() & complement.notna()
    different = int((event[both] != complement[both]).sum())
    if different:
        raise BadInput(
            "CONFLICT",
            f"{names.event} and {names.censorship} contradict each other",
            file=file,
            got=f"{different} rows",
            hint="say which one counts: --event-column, or --censorship-column (1 = NO event)",
        )
    return event.where(event.notna(), complement)


def _code(word: str) -> str:
    """A cell in lower case; of cBioPortal's ``1:DECEASED`` the number."""
    return word[0] if word[:2] in ("0:", "1:") else word.lower()


def _coded(cells: pd.Series, file: object) -> pd.Series:
    words = to_words(cells).map(_code, na_action="ignore")
    found = words.map({**dict.fromkeys(_HAPPENED, 1.0), **dict.fromkeys(_CENSORED, 0.0)})
    odd = words[found.isna() & words.notna()]
    if len(odd):
        values = {word.removesuffix(".0") for word in words.dropna()}
        recoded = values <= {"1", "2"}
        hint = "recode 2 = event, 1 = censored (as R's survival has it) to 1 and 0" if recoded else "code it as 0 and 1"
        got = "the codes 1 and 2" if recoded else f"{odd.nunique()} other values in {len(odd)} rows"
        expected = "0 and 1, alive and dead, or 0:LIVING and 1:DECEASED"
        message = "the event is coded in an unknown way"
        raise BadInput("BAD_EVENT", message, file=file, key=cells.name, expected=expected, got=got, hint=hint)
    return found.astype(float)
