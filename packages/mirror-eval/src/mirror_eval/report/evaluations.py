"""Every evaluation that a report shows: of its run, of that run under null controls, and of the runs beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from mirror_data.errors import BadInput, StoreError
from mirror_data.progress import progress
from mirror_data.store import MODALITIES, Split, Store, read_run, read_split, run_folds, schema

from mirror_eval.compare import Comparison, compare
from mirror_eval.compared import Task
from mirror_eval.method_sources import method_of
from mirror_eval.report.evidence import SHOTS, Missing, NullControl, Scored
from mirror_eval.results import CONTROLS, Control, Protocol, SubtypeResult, SurvivalResult
from mirror_eval.retrieval import retrieval
from mirror_eval.run_data import committed_folds
from mirror_eval.subtype import evaluate_subtype
from mirror_eval.survival import evaluate_survival

Found = TypeVar("Found")
DEALS, FEW_DEALS, MANY_PATIENTS = 5, 2, 300  # of each null control: among few patients one may come out far from chance
REPORTED: dict[Task, str] = {"subtype": "auroc", "survival": "c_harrell"}  # by task: the metric that is compared
ROW_NAMES = {"slide": "slides only", "rna": "RNA only"}
UNTRAINED = "untrained"  # a run of this name is always shown: what training adds is what lies above it


@dataclass(frozen=True)
class Evaluations:
    """What was scored for one report."""

    main: Scored
    subtype_few_shot: SubtypeResult | Missing
    survival_few_shot: SurvivalResult | Missing
    controls: tuple[NullControl, ...] | Missing
    others: tuple[Scored, ...]


def runs_beside(store: Store, run: str, compare: Sequence[str]) -> tuple[str, ...]:
    """The runs to show beside ``run``: those asked for, and one named "untrained" where the store has it.

    Raises:
        StoreError: ``MISSING`` if the store has no such run. BadInput: ``BAD_OPTION`` if the run is its own other.
    """
    if run in compare:
        hint = "name another run of the store"
        raise BadInput("BAD_OPTION", "a run cannot be compared with itself", key="--compare", got=run, hint=hint)
    for name in compare:
        committed_folds(store, name)  # refuses what is not there, before the long work
    own = [] if run == UNTRAINED or not run_folds(store, UNTRAINED) else [UNTRAINED]
    return tuple(dict.fromkeys([*compare, *own]))


def evaluate(
    store: Store, run: str, others: Sequence[str], *, controls: bool, seed: int, resamples: int
) -> Evaluations:
    """Score a run in every way that a report shows.

    Args:
        others: runs to score beside it, linear protocol only. controls: whether to score it under null controls too.
    """
    options = {"seed": seed, "resamples": resamples}
    numbers, _ = committed_folds(store, run)
    split = read_split(store, read_run(store, run, numbers[0]).split)
    k = retrieval_k(split, numbers)
    deals = DEALS if sum(len(split.folds[number].test) for number in numbers) < MANY_PATIENTS else FEW_DEALS
    under_control: list[Control] = [control for control in CONTROLS if control != "none"] if controls else []
    with progress("report", 5 + 3 * len(others) + 2 * len(under_control), "evaluations") as told:

        def evaluated(call: Callable[[], Found]) -> Found | Missing:
            result = or_missing(call)
            told.advance()
            return result

        def scored(name: str) -> Scored:
            protocol = protocol_of(store, name)
            return Scored(
                name,
                read_run(store, name, run_folds(store, name)[0]).method,
                evaluated(lambda: evaluate_subtype(store, name, protocol=protocol, **options)),
                evaluated(lambda: evaluate_survival(store, name, protocol=protocol, **options)),
                evaluated(lambda: retrieval(store, name, k=k, **options)),
            )

        def dealt(control: Control) -> list[dict[str, Any]]:
            return [{"control": control, "seed": seed + deal, "resamples": 0} for deal in range(deals)]

        def under(control: Control) -> NullControl:
            return NullControl(
                control,
                evaluated(lambda: tuple(evaluate_subtype(store, run, **one) for one in dealt(control))),
                evaluated(lambda: tuple(evaluate_survival(store, run, **one) for one in dealt(control))),
            )

        few_shot: Protocol = "few-shot"
        return Evaluations(
            scored(run),
            evaluated(lambda: evaluate_subtype(store, run, protocol=few_shot, shots=SHOTS, **options)),
            evaluated(lambda: evaluate_survival(store, run, protocol=few_shot, shots=SHOTS, **options)),
            tuple(map(under, under_control)) or Missing("They were not asked for (--no-controls)."),
            tuple(map(scored, others)),
        )


def compared(found: Evaluations, task: Task, seed: int, resamples: int) -> Comparison | Missing:
    """The run against its own single modalities and against the runs beside it (``resamples``: paired bootstrap)."""

    def call() -> Comparison:
        methods = []
        for one in (found.main, *found.others):
            result = getattr(one, task)
            if isinstance(result, Missing):
                continue
            methods.append(method_of(result, one.run))
            if one is found.main and "both" in {score.modality for score in result.scores}:
                methods += [method_of(result, f"{one.run}, {ROW_NAMES[row]}", row) for row in ROW_NAMES]
        if len(methods) < 2:
            raise BadInput("BAD_OPTION", "nothing stands beside the run: neither a single modality nor another run")
        return compare(methods, REPORTED[task], reference=methods[0].name, seed=seed, resamples=resamples)

    return found_main if isinstance(found_main := getattr(found.main, task), Missing) else or_missing(call)


def protocol_of(store: Store, run: str) -> Protocol:
    """The linear protocol for a run that embeds, its own predictions for one that does not."""
    first = run_folds(store, run)[0]
    return "linear" if any(store.has(schema.embeddings(run, first, m)) for m in MODALITIES) else "stored"


def retrieval_k(split: Split, numbers: Sequence[int]) -> int:
    """10, or a fifth of the smallest test part if that has fewer than 50 patients: recall@10 among 12 says nothing."""
    least = min(len(split.folds[number].test) for number in numbers)
    return 10 if least >= 50 else max(2, least // 5)


def or_missing(call: Callable[[], Found]) -> Found | Missing:
    """What ``call`` returns; a `Missing` where the data do not allow it or the record was never written."""
    try:
        return call()
    except BadInput as error:
        return Missing(sentence(error.message, error.got))
    except StoreError as error:
        if error.code != "MISSING":
            raise
        return Missing(sentence(error.message, None))


def sentence(message: str, got: str | None) -> str:
    text = message[:1].upper() + message[1:] + (f" ({got})" if got else "")
    return text.rstrip(".") + "."
