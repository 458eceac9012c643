"""What a supervised method is trained for: the subtype, or survival in discrete time.

A task is fitted on training patients alone and travels in the checkpoint. Shapes: B patients, K classes or time bins.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, get_args

import numpy as np
import pandas as pd
import torch
from mirror_data.errors import BadInput, some
from mirror_data.store import Patients, schema
from pydantic import Field
from torch import Tensor
from torch.nn import functional as nnf

from mirror_model.diagnostics import accuracy, harrell_c, macro_auroc, macro_f1
from mirror_model.losses import survival_nll, survival_risk
from mirror_model.network_config import Section

TaskName = Literal["subtype", "survival"]
TASKS: tuple[TaskName, ...] = get_args(TaskName)
BINS = 4  # of survival times
_FEW = 0.5  # added to each count, so that what was never seen is rare and not impossible


@dataclass(frozen=True)
class Targets:
    """What is to be predicted of patients."""

    label: Tensor  # int64 (B,) class, or time bin
    event: Tensor | None = None  # bool (B,) True = death or progression; survival alone has it
    time_days: Tensor | None = None  # float64 (B,)

    def rows(self, rows: np.ndarray) -> Targets:
        """Of the patients at these places."""
        return self._each(lambda value: value[rows])

    def to(self, device: torch.device) -> Targets:
        return self._each(lambda value: value.to(device))

    def _each(self, change: Callable[[Tensor], Tensor]) -> Targets:
        event, time_days = (None if value is None else change(value) for value in (self.event, self.time_days))
        return Targets(change(self.label), event, time_days)


class Subtype(Section):
    """One of K classes, by cross entropy."""

    name: Literal["subtype"] = "subtype"
    term: ClassVar[str] = "cross_entropy"
    classes: tuple[str, ...]  # sorted
    base: tuple[float, ...]  # logits that say no more than how often each class occurs among the training patients

    @property
    def outputs(self) -> int:
        return len(self.classes)

    @property
    def explained_names(self) -> tuple[str, ...]:
        return self.classes

    def explained_outputs(self, logits: Tensor) -> Tensor:
        """Logits (B, K) above their mean: what is the same for all classes does not tell them apart."""
        return logits - logits.mean(1, keepdim=True)

    def targets(self, patients: Patients, patient_ids: Sequence[str]) -> Targets:
        """Targets of patients that all have a subtype."""
        number, subtypes = {name: k for k, name in enumerate(self.classes)}, patients.subtypes()
        return Targets(torch.tensor([number[subtypes[patient]] for patient in patient_ids], dtype=torch.long))

    def loss(self, logits: Tensor, targets: Targets) -> Tensor:
        """Mean over the patients, of logits (B, K)."""
        return nnf.cross_entropy(logits.float(), targets.label)

    def predictions(self, logits: Tensor) -> pd.DataFrame:
        """A column ``prob_{class}`` for each class; rows sum to 1."""
        return pd.DataFrame(logits.double().softmax(-1).numpy(), columns=[f"prob_{name}" for name in self.classes])

    def metrics(self, logits: Tensor, targets: Targets) -> dict[str, float]:
        """Accuracy, macro F1 and macro AUROC, where they can be told; higher is better."""
        probability, label = logits.double().softmax(-1).numpy(), targets.label.numpy()
        chosen = probability.argmax(1)
        found = {"accuracy": accuracy(label, chosen), "macro_f1": macro_f1(label, chosen, self.outputs)}
        return found | _finite({"auroc": macro_auroc(label, probability)})


class Survival(Section):
    """Hazards in K bins of time, by their likelihood (Zadeh and Schmid 2021, doi 10.1109/TPAMI.2020.2979450)."""

    name: Literal["survival"] = "survival"
    term: ClassVar[str] = "hazard_nll"
    edges_days: tuple[float, ...]  # right edges of the K bins, rising; the last bin also has all later times
    base: tuple[float, ...]  # logits of the training patients' hazards, the same for everybody

    @property
    def outputs(self) -> int:
        return len(self.edges_days)

    @property
    def explained_names(self) -> tuple[str, ...]:
        return ("risk",)

    def explained_outputs(self, logits: Tensor) -> Tensor:
        """Risk (B, 1) of logits (B, K), higher = worse."""
        return survival_risk(logits).unsqueeze(1)

    def targets(self, patients: Patients, patient_ids: Sequence[str]) -> Targets:
        """Targets of patients that all have an outcome. Bin k is [edge k - 1, edge k)."""
        rows = patients.survival().loc[list(patient_ids)]
        time = rows["time_days"].to_numpy(float)
        bins = np.minimum(np.searchsorted(self.edges_days, time, side="right"), self.outputs - 1)
        event = torch.from_numpy(rows["event"].to_numpy(bool, copy=True))
        return Targets(torch.from_numpy(bins.astype(np.int64)), event, torch.from_numpy(time.copy()))

    def loss(self, logits: Tensor, targets: Targets) -> Tensor:
        """Mean over the patients, of hazard logits (B, K)."""
        assert targets.event is not None
        return survival_nll(logits.float(), targets.label, targets.event).mean()

    def predictions(self, logits: Tensor) -> pd.DataFrame:
        """A column ``risk``, higher = worse."""
        return pd.DataFrame({"risk": survival_risk(logits.double()).numpy()})

    def metrics(self, logits: Tensor, targets: Targets) -> dict[str, float]:
        """Harrell's C, where a pair can be compared; higher is better."""
        assert targets.event is not None
        assert targets.time_days is not None
        risk = survival_risk(logits.double()).numpy()
        return _finite({"c_index": harrell_c(targets.time_days.numpy(), targets.event.numpy(), risk)})


Task = Annotated[Subtype | Survival, Field(discriminator="name")]


def labelled(name: TaskName, patients: Patients) -> set[str]:
    """The patients whose subtype or outcome is known."""
    return set(patients.subtypes()) if name == "subtype" else set(map(str, patients.survival().index))


def fit_task(name: TaskName, patients: Patients, train_ids: Sequence[str]) -> Subtype | Survival:
    """A task, its time bins cut at the quartiles of the training patients' uncensored times.

    Args:
        train_ids: the patients trained on, all with a subtype or an outcome. The classes are those of the whole store:
            that a subtype exists is no result.

    Raises:
        BadInput: ``NOT_ESTIMABLE`` with fewer than two classes or no event among the training patients.
    """
    fitted = _fit_subtype(patients, train_ids) if name == "subtype" else _fit_survival(patients, train_ids)
    if fitted is None:
        message = "the training patients have " + ("fewer than two subtypes" if name == "subtype" else "no event")
        hint, got = "see `mirror-data outcomes`", f"{len(train_ids)} patients"
        raise BadInput("NOT_ESTIMABLE", message, key=schema.PATIENTS, got=got, hint=hint)
    return fitted


def _fit_subtype(patients: Patients, train_ids: Sequence[str]) -> Subtype | None:
    subtypes = patients.subtypes()
    own = [subtypes[patient] for patient in train_ids]
    classes = tuple(sorted(set(subtypes.values())))
    share = [(own.count(name) + _FEW) / (len(own) + _FEW * len(classes)) for name in classes]
    return Subtype(classes=classes, base=tuple(map(math.log, share))) if len(set(own)) > 1 else None


def _fit_survival(patients: Patients, train_ids: Sequence[str]) -> Survival | None:
    rows = patients.survival().loc[list(train_ids)]
    time, event = rows["time_days"].to_numpy(float), rows["event"].to_numpy(bool)
    if not event.any():
        return None
    inner = np.quantile(time[event], np.arange(1, BINS) / BINS)
    edges = np.unique([*inner, np.nextafter(time.max(), np.inf)])
    bins = np.minimum(np.searchsorted(edges, time, side="right"), len(edges) - 1)
    base = []
    for k in range(len(edges)):
        died, lived = np.sum(event & (bins == k)) + _FEW, np.sum(bins > k) + np.sum(~event & (bins == k)) + _FEW
        base.append(math.log(died / lived))
    return Survival(edges_days=tuple(map(float, edges)), base=tuple(base))


def choose_task(method: str, known: tuple[TaskName, ...], task: str | None) -> TaskName | None:
    """The task of that name; refuses one that a method cannot be trained for, and the lack of one that it needs.

    Args:
        known: what the method can be trained for; none if it takes no labels.

    Raises:
        BadInput: ``BAD_OPTION``.
    """
    if not known and task is not None:
        message = f"{method} is trained without labels; evaluate its embeddings with `mirror-eval`"
        raise BadInput("BAD_OPTION", message, key="--task", expected="no --task", got=task)
    found = next((name for name in known if name == task), None)
    if known and found is None:
        message = f"{method} is trained for a task" if task is None else "no such task"
        raise BadInput("BAD_OPTION", message, key="--task", expected=f"one of {some(known)}", got=task)
    return found


def _finite(values: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in values.items() if np.isfinite(value)}
