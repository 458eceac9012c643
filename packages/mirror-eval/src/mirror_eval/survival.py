"""Survival analysis by a run of the cohort store: linear probe, few-shot probe, or the run's own risks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from mirror_data.errors import BadInput, some
from mirror_data.store import Store, read_patients, schema

from mirror_eval.few_shot import DRAWS, Shots
from mirror_eval.results import (
    Cohort,
    Control,
    FoldCounts,
    FoldSurvival,
    Protocol,
    SurvivalResult,
    Watch,
    check_how,
)
from mirror_eval.ridge import Scaler
from mirror_eval.run_data import FoldRow, StoredData, load_predictions, load_run
from mirror_eval.survival_head import TimeBins
from mirror_eval.survival_probe import HEADS, Head, SurvivalProbe, fit_survival_probe
from mirror_eval.survival_scores import OwnSurvival, Tested, auc_curves, score_times, survival_scores
from mirror_eval.survival_tests import row_tests

TASK = "survival"  # of stored predictions


def evaluate_survival(
    store: Store,
    run: str,
    *,
    protocol: Protocol = "linear",
    head: Head = "discrete",
    cohort: Cohort = "paired",
    control: Control = "none",
    shots: int = 10,
    draws: int = DRAWS,
    seed: int = 0,
    resamples: int = 1000,
    watch: Watch = lambda done, total: None,
) -> SurvivalResult:
    """Survival scores of a run over its outer folds, patient by patient.

    ``linear``: frozen embeddings, scaled, and a linear head fitted on the fold's train and validation parts together,
    its strength chosen by 5 inner parts of them. ``few-shot``: the same on ``shots`` patients a time bin, over
    ``draws`` support sets (at least one event each); scaler and bins see all development patients. ``stored``: risks
    that the run wrote itself. The test part is predicted once and never fitted on. Risks are only ever compared
    within a fold.

    Args:
        head: "discrete" (four bins, one slope vector) or "cox".
        cohort: "paired" scores the same patients in every row; "all" everyone who has what a row needs.
        control: "shuffled" or "random" for a null control (see `FoldRow.under`); not for stored predictions.
        seed: deals inner parts, draws support sets and bootstrap samples.
        resamples: bootstrap samples behind each interval.
        watch: hears how many folds of rows are fitted, and of how many.

    Raises:
        StoreError: ``MISSING`` run, embeddings, predictions or patients.
        BadInput: ``NO_OVERLAP``, ``NOT_ESTIMABLE`` (no outcome, no event, no comparable pair), ``BAD_OPTION``.
    """
    check_how(protocol, control)
    if head not in HEADS:
        raise BadInput("BAD_OPTION", "unknown head", key="head", expected=some(HEADS), got=head)
    patients = read_patients(store)
    outcomes = patients.survival()
    if not outcomes["event"].any():
        hint = "give the store times and events with mirror-data outcomes"
        got = f"{len(outcomes)} patients with an outcome"
        raise BadInput("NOT_ESTIMABLE", "no patient has an event", key=schema.PATIENTS, got=got, hint=hint)
    if protocol == "stored":
        stored = load_predictions(store, run, TASK, outcomes.index)
        tested, head_name = list(_stored(stored, outcomes)), "stored"
        counts = stored.counts(_fold_counts(tested))
    else:
        data = load_run(store, run, outcomes.index, cohort)
        few = Shots(shots, draws) if protocol == "few-shot" else None
        rows, head_name, tested = [row.under(control, seed) for row in data.rows], head, []
        for done, row in enumerate(rows, 1):
            tested += _predicted(row, outcomes, head, few, seed)
            watch(done, len(rows))
        counts = data.counts(cohort, _fold_counts(tested))
    scores, once = survival_scores(tested, seed, resamples), [] if protocol == "few-shot" else tested
    curves = tuple(_curve(one) for one in once if one.survival is not None)
    aucs, tests = auc_curves(once), row_tests(once, patients.table)
    return SurvivalResult(run, protocol, head_name, scores, _table(tested), curves, counts, control, aucs, tests)


def _predicted(row: FoldRow, outcomes: pd.DataFrame, head: Head, few: Shots | None, seed: int) -> Iterator[Tested]:
    """Fit on the development patients of one fold and row, predict its test patients."""
    time, event = _outcome(outcomes, row.develop_ids)
    if not event.any():
        raise BadInput("NOT_ESTIMABLE", "no patient to fit on has an event", key=f"fold {row.fold}, {row.modality}")
    scaler, bins = Scaler.fit(row.develop), TimeBins.fit(time, event)
    sets = [np.arange(len(time))] if few is None else few.sets(bins.of(time), (seed, row.fold), needs=event)
    times = score_times(time, event)
    test_time, test_event = _outcome(outcomes, row.test_ids)
    for draw, chosen in enumerate(sets):
        probe = fit_survival_probe(
            row.develop[chosen], time[chosen], event[chosen], seed=seed, head=head, bins=bins, scaler=scaler
        )
        yield Tested(
            modality=row.modality,
            fold=row.fold,
            draw=draw,
            patient_ids=row.test_ids,
            risk=probe.risk(row.test),
            time=test_time,
            event=test_event,
            train_time=time,
            train_event=event,
            cut=float(np.median(probe.risk(row.develop[chosen]))),
            times=times,
            survival=probe.survival(row.test, times),
            own=_own(probe, row.test, test_time, test_event, float(time.max())) if few is None else None,
            fitted=len(chosen),
            fitted_events=int(event[chosen].sum()),
            strength=probe.model.strength if few is None else None,
        )


def _stored(stored: StoredData, outcomes: pd.DataFrame) -> Iterator[Tested]:
    """The run's own risks for the test patients of every fold."""
    parts = zip(stored.folds, stored.develop_ids, stored.develop, stored.test, strict=True)
    for fold, develop_ids, develop, test in parts:
        if "risk" not in test or not np.isfinite(test["risk"]).all():
            raise BadInput("BAD_VALUE", "stored survival predictions need a finite risk", key=f"fold {fold}")
        ids = tuple(test["patient_id"])
        time, event = _outcome(outcomes, ids)
        train_time, train_event = _outcome(outcomes, develop_ids)
        yield Tested(
            modality="stored",
            fold=fold,
            draw=0,
            patient_ids=ids,
            risk=test["risk"].to_numpy(float),
            time=time,
            event=event,
            train_time=train_time,
            train_event=train_event,
            cut=float(np.median(develop["risk"])) if len(develop) else float("nan"),
            times=score_times(train_time, train_event),
            survival=None,
            own=None,
            fitted=len(train_time),
            fitted_events=int(train_event.sum()),
            strength=None,
        )


def _own(probe: SurvivalProbe, features: np.ndarray, time: np.ndarray, event: np.ndarray, last: float) -> OwnSurvival:
    """Predicted survival at each patient's own time, or at training's last time if that came first."""
    end = np.minimum(time, last)
    alone = [probe.survival(features[k : k + 1], end[k : k + 1])[0, 0] for k in range(len(end))]
    return OwnSurvival(np.array(alone), event & (time <= last))


def _outcome(outcomes: pd.DataFrame, patients: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    rows = outcomes.loc[list(patients)]
    return rows["time_days"].to_numpy(float), rows["event"].to_numpy(bool)


def _fold_counts(tested: list[Tested]) -> tuple[FoldCounts, ...]:
    """A row's fold each; of support sets the mean number of events."""
    events: dict[tuple[str, int], list[int]] = {}
    for one in tested:
        events.setdefault((one.modality, one.fold), []).append(one.fitted_events)
    return tuple(
        FoldCounts(
            modality=one.modality,
            fold=one.fold,
            fitted=one.fitted,
            tested=len(one.patient_ids),
            strength=one.strength,
            fitted_events=float(np.mean(events[one.modality, one.fold])),
            tested_events=int(one.event.sum()),
            tau=one.horizon,
        )
        for one in tested
        if one.draw == 0
    )


def _curve(one: Tested) -> FoldSurvival:
    assert one.survival is not None
    outcome = (one.time, one.event, one.train_time, one.train_event)
    return FoldSurvival(one.modality, one.fold, one.patient_ids, one.times, one.survival, *outcome)


def _table(tested: list[Tested]) -> pd.DataFrame:
    parts = []
    for one in tested:
        part = pd.DataFrame({"fold": one.fold, "patient_id": one.patient_ids, "modality": one.modality})
        part["draw"] = one.draw
        part["risk"], part["time_days"], part["event"] = one.risk, one.time, one.event
        known = not np.isnan(one.cut)
        part["group"] = np.where(one.risk > one.cut, "high", "low") if known else None
        parts.append(part)
    return pd.concat(parts, ignore_index=True)
