"""One sample a patient: who is wanted, which sample types count, what is left out and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from mirror_data import ids
from mirror_data.cohort.members import NOT_WANTED
from mirror_data.opaque import AS_THEY_ARE, Naming

TUMOUR_TYPES = ("01", "02", "03", "04", "05", "06", "07", "08", "09")  # TCGA; 10 to 14 are normal tissue


@dataclass(frozen=True)
class Choice:
    """Which rows or columns of a table to keep, sorted by patient; counts of the others by reason."""

    places: tuple[int, ...]
    patient_ids: tuple[str, ...]
    sample_ids: tuple[str, ...]
    dropped: tuple[tuple[str, int], ...]
    types: tuple[tuple[str, int], ...]  # kept samples by type, "" where the id does not say


def choose_samples(
    names: Sequence[str],
    *,
    wanted: Collection[str] | None = None,
    sample_types: Sequence[str] = TUMOUR_TYPES,
    naming: Naming = AS_THEY_ARE,
) -> Choice:
    """Keep one sample of every wanted patient: of the earliest type in ``sample_types``, then the first by id.

    Args:
        names: sample names of the table.
        wanted: patient ids, everybody if None.
        sample_types: TCGA sample types in the order of preference. Ids that carry no type count as the first.
        naming: what the store calls patients and samples.
    """
    reasons: Counter[str] = Counter()
    best: dict[str, tuple[int, str, int]] = {}
    for place, name in enumerate(names):
        if not name:
            reasons["no id"] += 1
            continue
        patient, kind = naming(ids.patient_id(name)), ids.sample_type(name)
        if kind is not None and kind not in sample_types:
            reasons["normal tissue" if kind in ("10", "11", "12", "13", "14") else f"sample type {kind}"] += 1
        elif wanted is not None and patient not in wanted:
            reasons[NOT_WANTED] += 1
        else:
            rank = 0 if kind is None else list(sample_types).index(kind)
            if patient in best:
                reasons["another sample of the patient is kept"] += 1
            best[patient] = min(best.get(patient, (rank, name, place)), (rank, name, place))
    kept = sorted(best.items())
    types = Counter(ids.sample_type(name) or "" for _, (_, name, _) in kept)
    return Choice(
        places=tuple(place for _, (_, _, place) in kept),
        patient_ids=tuple(patient for patient, _ in kept),
        sample_ids=tuple(naming(ids.sample_id(name)) for _, (_, name, _) in kept),
        dropped=tuple(sorted(reasons.items())),
        types=tuple(sorted(types.items())),
    )
