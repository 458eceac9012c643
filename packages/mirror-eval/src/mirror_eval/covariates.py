"""Age and stage of patients as numbers, for hazard ratios that hold them constant. Nothing missing is filled."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

_STAGE = re.compile(r"(?:stage\s*)?(iv|iii|ii|i)(?:[abc]\d?)?", re.IGNORECASE)
_NUMBER = {"i": 1.0, "ii": 2.0, "iii": 3.0, "iv": 4.0}


@dataclass(frozen=True)
class Covariates:
    """Covariates of n patients, and why others are not among them."""

    names: tuple[str, ...]
    values: np.ndarray  # float64 (n, len(names)), NaN where not known
    absent: tuple[str, ...]  # a sentence each

    @property
    def known(self) -> np.ndarray:
        """(n,) bool: patients of whom every covariate is known."""
        return np.asarray(np.isfinite(self.values).all(axis=1))


def age_and_stage(patients: pd.DataFrame, patient_ids: Sequence[str]) -> Covariates:
    """Age (years) and stage (I to IV as 1 to 4) of these patients, as far as the store has them.

    Args:
        patients: indexed by patient_id; the columns age and stage are read, both may be missing.
        patient_ids: whose, in this order.
    """
    names, columns, absent = [], [], []
    for name, read in (("age", _years), ("stage", stage_number)):
        if name not in patients:
            absent.append(f"not adjusted for {name}: the store holds none")
            continue
        values = read(patients[name].reindex(list(patient_ids)))
        if len(np.unique(values[~np.isnan(values)])) < 2:
            absent.append(f"not adjusted for {name}: the store holds no two values of it that can be read")
            continue
        names.append(name)
        columns.append(values)
    values = np.stack(columns, axis=1) if columns else np.empty((len(patient_ids), 0))
    return Covariates(tuple(names), values, tuple(absent))


def stage_number(stages: pd.Series) -> np.ndarray:
    """Stage I to IV as 1.0 to 4.0, whatever its letter (IIIB is 3); NaN for anything else (0, IS, X, I/II, missing)."""

    def number(stage: object) -> float:
        if isinstance(stage, str):
            found = _STAGE.fullmatch(stage.strip())
            return _NUMBER[found[1].lower()] if found else float("nan")
        return float(stage) if stage in (1, 2, 3, 4) else float("nan")  # type: ignore[arg-type]

    return np.array([number(stage) for stage in stages], dtype=float)


def _years(ages: pd.Series) -> np.ndarray:
    years = pd.to_numeric(ages, errors="coerce").to_numpy(float)
    return np.where(np.isfinite(years), years, np.nan)  # "inf" is a number to pandas
