"""Outer folds over patients: drawn here, or published ones imported. A patient stands in one part of a fold, always."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mirror_data import ids
from mirror_data.cohort.strata import deal, deal_groups, default_strata, strata_of
from mirror_data.errors import BadInput, some
from mirror_data.opaque import AS_THEY_ARE, Naming
from mirror_data.store import Fold, Patients, Split, Store, read_patients, schema, write_split
from mirror_data.tables import open_table, read_strings

_FOLD_FILE = re.compile(r"^splits?_(\d+)\.csv$")


@dataclass(frozen=True)
class SplitOptions:
    """How folds are drawn; see the command ``split``."""

    name: str
    folds: int = 5
    validation: float = 0.15  # share of the patients outside the test fold
    stratify: str = "auto"
    group: str = "none"  # or "site"
    seed: int = 0
    naming: Naming = AS_THEY_ARE  # what the store calls the patients of published folds


@dataclass(frozen=True)
class Published:
    """One published fold as its file has it: patient ids."""

    train: frozenset[str]
    validation: frozenset[str] | None  # None: the file has no such part, one is drawn
    test: frozenset[str]


def draw_split(patients: Patients, options: SplitOptions) -> Split:
    """Folds over all patients of the clinical table, each tested once.

    Raises:
        BadInput: ``BAD_OPTION``.
    """
    _check(options)
    strata, by = _strata(patients, options)
    groups = _groups(patients, options)
    if len(strata) < 2 * options.folds:
        got = f"{len(strata)} patients"
        raise BadInput("BAD_OPTION", "there are too few patients for so many folds", key="--folds", got=got)
    share = _dealer(groups, options.seed)
    test_of = share(strata, [1.0] * options.folds, "test")
    folds = []
    for k in range(options.folds):
        rest = {name: stratum for name, stratum in strata.items() if test_of[name] != k}
        train, validation = _hold_out(rest, options.validation, share, f"validation {k}")
        folds.append(Fold(train, validation, tuple(sorted(name for name in strata if test_of[name] == k))))
    drawn = {"how": "drawn", "stratified_by": by, "grouped_by": options.group, "validation": options.validation}
    return Split(options.name, tuple(folds), drawn | {"folds": options.folds}, options.seed)


def default_split(store: Store) -> str:
    """Name of the store's split ``folds``, drawn with the default options if the store has no split at all.

    Raises:
        BadInput: ``BAD_OPTION`` if the store has other splits: which one is meant must be said.
    """
    name = SplitOptions("folds").name
    others = store.keys("splits")
    if not store.has(schema.split(name)):
        if others:
            raise BadInput("BAD_OPTION", "say which split is meant", key="--split", expected=some(others))
        add_split(store, SplitOptions(name))
    return name


def import_split(source: Sequence[str | Path], patients: Patients | None, options: SplitOptions) -> Split:
    """Published folds: one CSV a fold (or a folder of splits_0.csv, splits_1.csv, ...), columns train and val.

    Without a column ``test`` (the MCAT layout), the published val part is the test part and a validation part is
    drawn from train; with it, the three parts stay as they are. Patients that are not in the store are left out.

    Args:
        patients: those of the store; None keeps everybody and draws without strata.

    Raises:
        BadInput: ``PATIENT_LEAK`` with counts by fold, ``NO_OVERLAP``, ``MISSING_COLUMN``, ``NOT_FOUND``, ...
    """
    _check(options)
    files = fold_files(source)
    published = [read_published(path, options.naming) for path in files]
    _refuse_leaks(files, published)
    listed = frozenset().union(*(fold.train | fold.test | (fold.validation or frozenset()) for fold in published))
    strata, by = (dict.fromkeys(listed, ""), "none") if patients is None else _strata(patients, options)
    groups = None if patients is None else _groups(patients, options)
    known = listed & set(strata)
    if not known:
        got = f"{len(listed)} patients in the folds, {len(strata)} in the store, none in both"
        raise BadInput("NO_OVERLAP", "the folds name nobody of the store", file=files[0], got=got)
    share = _dealer(groups, options.seed)
    folds = []
    for k, fold in enumerate(published):
        train = {name: strata[name] for name in sorted(fold.train & known)}
        if fold.validation is None:
            kept, validation = _hold_out(train, options.validation, share, f"validation {k}")
        else:
            kept, validation = tuple(train), tuple(sorted(fold.validation & known))
        folds.append(Fold(kept, validation, tuple(sorted(fold.test & known))))
    drawn = {
        "how": "imported",
        "files": [path.name for path in files],
        "listed": len(listed),
        "not_in_store": len(listed - known),
        "validation": "published" if published[0].validation is not None else options.validation,
        "stratified_by": by,
    }
    return Split(options.name, tuple(folds), drawn, options.seed)


def add_split(
    store: Store, options: SplitOptions, *, source: Sequence[str | Path] = (), overwrite: bool = False
) -> Split:
    """Draw a split over the store's patients, or import one, and commit it.

    Raises:
        BadInput: as `draw_split` and `import_split`. StoreError: ``MISSING`` without patients, ``EXISTS``.
    """
    patients = read_patients(store) if store.has(schema.PATIENTS) or not source else None
    assert patients is not None or source
    options = replace(options, naming=store.naming)
    split = import_split(source, patients, options) if source else draw_split(patients, options)  # type: ignore[arg-type]
    parents = store.parents(schema.PATIENTS) if patients is not None else {}
    write_split(store, split, parents=parents, overwrite=overwrite)
    return split


_Dealer = Callable[[Mapping[str, str], Sequence[float], str], dict[str, int]]  # strata, weights of the parts, purpose


def _dealer(groups: Mapping[str, str] | None, seed: int) -> _Dealer:
    def share(strata: Mapping[str, str], weights: Sequence[float], purpose: str) -> dict[str, int]:
        if groups is None:
            return deal(strata, weights, seed, purpose)
        return deal_groups(strata, groups, weights, seed, purpose)

    return share


def _hold_out(
    strata: Mapping[str, str], share_held: float, share: _Dealer, purpose: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Train and validation ids."""
    if share_held == 0:
        return tuple(sorted(strata)), ()
    part_of = share(strata, [1 - share_held, share_held], purpose)
    train, held = (tuple(sorted(name for name in strata if part_of[name] == part)) for part in (0, 1))
    return train, held


def _check(options: SplitOptions) -> None:
    ids.check_name(options.name, "--name")
    if options.folds < 2:
        raise BadInput("BAD_OPTION", "at least two folds are needed", key="--folds", got=options.folds)
    if not 0 <= options.validation < 0.9:
        raise BadInput(
            "BAD_OPTION", "the validation share must lie in [0, 0.9)", key="--validation", got=options.validation
        )
    if options.group not in ("none", "site"):
        raise BadInput("BAD_OPTION", "unknown grouping", key="--group", expected="none or site", got=options.group)


def _strata(patients: Patients, options: SplitOptions) -> tuple[dict[str, str], str]:
    by = default_strata(patients.table) if options.stratify == "auto" else options.stratify
    return strata_of(patients.table, by), by


def _groups(patients: Patients, options: SplitOptions) -> dict[str, str] | None:
    if options.group == "none":
        return None
    if "site" not in patients.table or patients.table["site"].isna().any():
        hint = "give the clinical table a column site, or use --group none"
        raise BadInput("BAD_OPTION", "not every patient has a site", key="--group", hint=hint)
    return {str(name): str(site) for name, site in patients.table["site"].items()}


def fold_files(source: Sequence[str | Path]) -> list[Path]:
    """The files of published folds, in order: those given, or those of a folder of splits_0.csv, splits_1.csv, ...

    Raises:
        BadInput: ``NOT_FOUND`` if the folder holds none.
    """
    paths = [Path(path) for path in source]
    if len(paths) == 1 and paths[0].is_dir():
        found = [(int(m[1]), path) for path in paths[0].iterdir() if (m := _FOLD_FILE.match(path.name))]
        if not found:
            raise BadInput("NOT_FOUND", "the folder holds no splits_0.csv, splits_1.csv, ...", file=paths[0])
        return [path for _, path in sorted(found)]
    return paths


def read_published(path: Path, naming: Naming = AS_THEY_ARE) -> Published:
    """One published fold as it stands, leaks and all; see `import_split`, which refuses those.

    Raises:
        BadInput: ``MISSING_COLUMN``, ``BAD_COLUMN``, or as `mirror_data.tables.read_strings`.
    """
    names = open_table(path).names
    spelt = {name.strip().lower(): name for name in names}
    columns = {part: spelt[part] for part in ("train", "val", "test") if part in spelt}
    if "train" not in columns or not {"val", "test"} & set(columns):
        expected = "columns train and val, or train, val and test, of patient or slide ids"
        raise BadInput(
            "MISSING_COLUMN", "this is no file of a fold", file=path, expected=expected, got=", ".join(names)[:80]
        )
    cells = read_strings(path, list(columns.values()))
    parts = {part: frozenset(map(ids.patient_id, cells[column].drop_nulls())) for part, column in columns.items()}
    if set().union(*parts.values()) <= {"True", "False", "TRUE", "FALSE", "true", "false"}:
        hint = "use the file beside it whose columns list ids"
        raise BadInput("BAD_COLUMN", "the columns hold True and False, not ids", file=path, hint=hint)
    parts = {part: frozenset(map(naming, names)) for part, names in parts.items()}
    if "test" in parts:
        return Published(parts["train"], parts.get("val"), parts["test"])
    return Published(parts["train"], None, parts["val"])


def _refuse_leaks(files: Sequence[Path], published: Sequence[Published]) -> None:
    """Patients on both sides of a published fold make it unusable."""
    leaks = []
    for fold in published:
        held = fold.validation or frozenset()
        leaks.append(len((fold.train & fold.test) | (fold.train & held) | (held & fold.test)))
    if any(leaks):
        raise BadInput(
            "PATIENT_LEAK",
            "patients stand on both sides of published folds",
            file=files[0].parent,
            got=", ".join(f"fold {k}: {count}" for k, count in enumerate(leaks)),
            hint="these folds cannot be used; draw new ones with `mirror-data split` without --from",
        )
