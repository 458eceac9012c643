"""What a store holds, and how its patients join."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from mirror_data.cohort.members import Members
from mirror_data.store import Store, read_expression_patients, read_patients, read_split, run_folds, schema


@dataclass(frozen=True)
class Bags:
    """One tiling, or one encoder's features on it, over all slides."""

    tiling: str
    encoder: str | None
    slides: int
    tiles: int
    width: int | None
    with_coords: int
    tile_px: int | None
    mpp: float | None


@dataclass(frozen=True)
class Rna:
    patients: int
    genes: int
    unit: str


@dataclass(frozen=True)
class Clinical:
    patients: int
    with_outcome: int
    events: int
    subtypes: dict[str, int]
    sites: int
    columns: tuple[str, ...]


@dataclass(frozen=True)
class SplitInfo:
    name: str
    folds: int
    tested: int
    how: str
    stale: bool


@dataclass(frozen=True)
class GenesInfo:
    name: str
    folds: tuple[int, ...]
    kept: tuple[int, ...]
    target: str
    stale: bool


@dataclass(frozen=True)
class RunInfo:
    name: str
    folds: tuple[int, ...]
    method: str
    split: str


@dataclass(frozen=True)
class Info:
    """The overview. ``joins`` counts patients by exactly what there is of them."""

    store: str
    opaque_ids: str | None  # fingerprint of the key that made its ids; None for ids as they are
    slides: int
    bags: tuple[Bags, ...]
    rna: Rna | None
    clinical: Clinical | None
    joins: dict[str, int]
    splits: tuple[SplitInfo, ...]
    genes: tuple[GenesInfo, ...]
    runs: tuple[RunInfo, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def _ids(self) -> list[str]:
        return [] if self.opaque_ids is None else [f"ids: opaque, key {self.opaque_ids}"]

    def lines(self) -> list[str]:
        out = [f"{self.store}", *self._ids(), f"slides: {self.slides}"]
        for bag in self.bags:
            what = f"{bag.encoder}, width {bag.width}" if bag.encoder else "no features"
            size = f"{bag.tile_px or '?'} px at {f'{bag.mpp:g}' if bag.mpp else '?'} um/px"
            out.append(
                f"  {bag.tiling} ({size}) / {what}: {bag.slides} slides, {bag.tiles} tiles"
                + ("" if bag.with_coords == bag.slides else f", {bag.slides - bag.with_coords} without coordinates")
            )
        rna, clinical = self.rna, self.clinical
        out.append(
            f"expression: {rna.patients} patients x {rna.genes} genes, {rna.unit}" if rna else "expression: none"
        )
        if clinical:
            out.append(
                f"clinical: {clinical.patients} patients, {clinical.with_outcome} with an outcome, "
                f"{clinical.events} events, {clinical.sites} sites; columns {', '.join(clinical.columns)}"
            )
            if clinical.subtypes:
                out.append("  subtypes: " + ", ".join(f"{name} {count}" for name, count in clinical.subtypes.items()))
        else:
            out.append("clinical: none")
        out += ["patients by what there is of them:"]
        out += [f"  {count:6d}  {what}" for what, count in self.joins.items()]
        for split in self.splits:
            old = "; STALE: the patients changed since" if split.stale else ""
            out.append(f"split {split.name}: {split.folds} folds, {split.how}, {split.tested} patients tested{old}")
        for one in self.genes:
            old = "; STALE: its inputs changed since" if one.stale else ""
            kept = ", ".join(map(str, one.kept))
            out.append(f"genes {one.name}: by {one.target}, folds {_numbers(one.folds)}, kept {kept}{old}")
        out += [f"run {run.name}: {run.method} on split {run.split}, folds {_numbers(run.folds)}" for run in self.runs]
        return out


def overview(store: Store) -> Info:
    """Count everything; reads the records' documents and the small tables, no features and no expression values."""
    patient_of, bags = _slides(store)
    rna = _rna(store)
    clinical, outcome, labelled = _clinical(store)
    people = Members(
        slides=frozenset(patient_of),
        rna=frozenset(read_expression_patients(store)) if rna else frozenset(),
        clinical=frozenset(read_patients(store).patient_ids) if clinical else frozenset(),
    )
    return Info(
        store=store.url,
        opaque_ids=store.fingerprint,
        slides=sum(patient_of.values()),
        bags=bags,
        rna=rna,
        clinical=clinical,
        joins=_joins(people, outcome, labelled),
        splits=tuple(_split(store, key) for key in store.keys("splits")),
        genes=tuple(info for key in store.files.children("genes") if (info := _genes(store, key))),
        runs=tuple(info for key in store.files.children("runs") if (info := _run(store, key))),
    )


def _joins(people: Members, outcome: frozenset[str], labelled: frozenset[str]) -> dict[str, int]:
    """How many patients have each combination, the fullest first."""
    tests: tuple[tuple[str, Callable[[str], bool]], ...] = (
        ("slides", people.slides.__contains__),
        ("expression", people.rna.__contains__),
        ("outcome", outcome.__contains__),
        ("subtype", labelled.__contains__),
    )
    counts: Counter[tuple[str, ...]] = Counter()
    for patient in people.all():
        has = tuple(name for name, test in tests if test(patient))
        counts[has or ("clinical row only",)] += 1
    ordered = sorted(counts.items(), key=lambda pair: (-len(pair[0]), -pair[1], pair[0]))
    return {" + ".join(has): count for has, count in ordered}


def _slides(store: Store) -> tuple[Counter[str], tuple[Bags, ...]]:
    """Slides by patient, and the bags by tiling and encoder."""
    patient_of: Counter[str] = Counter()
    found: dict[tuple[str, str | None], list[dict[str, Any]]] = defaultdict(list)
    for key in store.keys("slides"):
        patient_of[str(store.document(f"slides/{key}").attributes["patient_id"])] += 1
        for name in store.keys(f"slides/{key}/tilings"):
            path = f"slides/{key}/tilings/{name}"
            document = store.document(path)
            tiling = document.attributes | {"coords": "coords" in document.arrays, "width": None}
            encoders = store.keys(f"{path}/features")
            if not encoders:
                found[tiling["name"], None].append(tiling)
            for encoder in encoders:
                features = store.document(f"{path}/features/{encoder}").attributes
                found[tiling["name"], features["encoder"]].append(tiling | {"width": features["width"]})
    bags = [
        Bags(
            tiling=tiling,
            encoder=encoder,
            slides=len(every),
            tiles=sum(one["rows"] for one in every),
            width=every[0]["width"],
            with_coords=sum(one["coords"] for one in every),
            tile_px=every[0]["tile_px"],
            mpp=every[0]["mpp"],
        )
        for (tiling, encoder), every in sorted(found.items(), key=lambda pair: (pair[0][0], pair[0][1] or ""))
    ]
    return patient_of, tuple(bags)


def _rna(store: Store) -> Rna | None:
    if not store.has(schema.RNA):
        return None
    document = store.document(schema.RNA)
    patients, genes = document.arrays["X"]["shape"]
    return Rna(patients, genes, document.attributes["unit"])


def _clinical(store: Store) -> tuple[Clinical | None, frozenset[str], frozenset[str]]:
    """Counts; the patients with an outcome; those with a subtype."""
    if not store.has(schema.PATIENTS):
        return None, frozenset(), frozenset()
    patients = read_patients(store)
    survival, labels = patients.survival(), patients.subtypes()
    counts = sorted(Counter(labels.values()).items(), key=lambda pair: (-pair[1], pair[0]))
    table = patients.table
    clinical = Clinical(
        patients=len(table),
        with_outcome=len(survival),
        events=int(survival["event"].sum()),
        subtypes=dict(counts),
        sites=int(table["site"].nunique()) if "site" in table else 0,
        columns=tuple(map(str, table.columns)),
    )
    return clinical, frozenset(map(str, survival.index)), frozenset(labels)


def _stale(store: Store, path: str) -> bool:
    parents = store.document(path).parents
    return any(not ("*" in name or store.has(name)) or store.hash(name) != known for name, known in parents.items())


def _split(store: Store, key: str) -> SplitInfo:
    path = f"splits/{key}"
    split = read_split(store, store.document(path).attributes["name"])
    how = str(split.drawn.get("how", "drawn"))
    by = split.drawn.get("stratified_by")
    tested = len({patient for fold in split.folds for patient in fold.test})
    stratified = f", stratified by {by}" if by and by != "none" else ""
    return SplitInfo(split.name, len(split.folds), tested, f"{how}{stratified}", _stale(store, path))


def _genes(store: Store, key: str) -> GenesInfo | None:
    documents = {name: store.document(f"genes/{key}/{name}") for name in store.keys(f"genes/{key}")}
    if not documents:
        return None
    ordered = sorted(documents.items(), key=lambda pair: pair[1].attributes["fold"])
    return GenesInfo(
        name=ordered[0][1].attributes["name"],
        folds=tuple(document.attributes["fold"] for _, document in ordered),
        kept=tuple(document.attributes["rows"] for _, document in ordered),
        target=str(ordered[0][1].attributes["parameters"].get("target", "?")),
        stale=any(_stale(store, f"genes/{key}/{name}") for name in documents),
    )


def _run(store: Store, key: str) -> RunInfo | None:
    documents = [store.document(f"runs/{key}/{name}") for name in store.keys(f"runs/{key}")]
    if not documents:
        return None
    name = documents[0].attributes["name"]
    return RunInfo(
        name, tuple(run_folds(store, name)), documents[0].attributes["method"], documents[0].attributes["split"]
    )


def _numbers(folds: tuple[int, ...]) -> str:
    return ", ".join(map(str, folds))
