"""Was a run trained, and are its results kept, by the split it is tested on? What its records say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mirror_data.errors import StoreError
from mirror_data.store import Run, read_genes, read_predictions, read_run, run_folds, schema

from mirror_eval.leakage.checkpoint import Checkpoint, checkpoint_folder, read_checkpoint
from mirror_eval.leakage.cohort import Cohort
from mirror_eval.leakage.parts import FoldParts, SplitParts
from mirror_eval.leakage.records import Finding, Where

_GENES = "select genes on this split (`mirror-data genes`), then train again"
_AGAIN = "train the fold again with --overwrite, and embed it again"


@dataclass(frozen=True)
class TrainedFold:
    """A committed fold of a run beside the parts that its split has today."""

    run: Run
    parents: Mapping[str, str]  # store path -> hash of what it was trained on
    parts: FoldParts | None  # None where the split is gone or has no such fold
    checkpoint: Checkpoint | None  # None where it is not here, or is damaged
    no_checkpoint: str  # why it says nothing about this run; "" where it does

    @property
    def where(self) -> Where:
        """Where a finding on this fold stands."""
        return Where(self.run.split, self.run.name, self.run.fold)

    @property
    def slides_alone(self) -> bool:
        """Whether its record says that it reads slides and no expression."""
        return schema.RNA not in self.parents and any(path.startswith("slides/") for path in self.parents)

    @property
    def selections(self) -> tuple[str, ...]:
        """Paths of the gene selections it was trained with."""
        return tuple(sorted(path for path in self.parents if path.startswith("genes/")))


def trained_folds(
    cohort: Cohort, name: str, splits: Mapping[str, SplitParts], checkpoints: str | None = None, *, deep: bool = False
) -> tuple[TrainedFold, ...]:
    """The committed folds of a run, in order.

    Args:
        splits: of the store, by name.
        checkpoints: their folder, where it is not beside the store.
        deep: read the checkpoints' weights as well, and verify them.
    """
    found = []
    for number in run_folds(cohort.store, name):
        run = read_run(cohort.store, name, number)
        folds = splits[run.split].folds if run.split in splits else ()
        parts = folds[number] if number < len(folds) else None
        parents = cohort.store.document(schema.run(name, number)).parents
        checkpoint, reason = _checkpoint(cohort.store.url, run, checkpoints, deep)
        found.append(TrainedFold(run, parents, parts, checkpoint, reason if parts else "the fold's split is gone"))
    return tuple(found)


def _checkpoint(url: str, run: Run, checkpoints: str | None, deep: bool) -> tuple[Checkpoint | None, str]:
    """A fold's checkpoint, and why it cannot be used if it cannot."""
    folder = checkpoint_folder(url, run.name, run.fold, checkpoints)
    try:
        found = None if folder is None else read_checkpoint(folder, whole=deep)
    except StoreError as error:
        return None, f"{error.code}: {error.message}"
    if found is None:
        return None, "the run's checkpoint is not here"
    if found.weights_sha256 != run.checkpoint_sha256:
        return found, "the checkpoint is not the one that the run was committed with"
    return found, ""


def split_findings(cohort: Cohort, folds: tuple[TrainedFold, ...], proven: frozenset[int]) -> Iterator[Finding]:
    """Is a run tested on the split that it was trained on?

    Args:
        proven: folds whose scaler is that of the training patients: a split that was written again is the same to them.
    """
    several = len({fold.run.split for fold in folds}) > 1
    for fold in folds:
        where, path = fold.where, schema.split(fold.run.split)
        others = sorted(parent for parent in fold.parents if parent.startswith("splits/") and parent != path)
        if several:
            what = "folds of one run were trained on different splits: one fold's training patients test another"
            yield Finding("split", "leak", what, where, "train all folds on one split")
        elif fold.parts is None:
            what = "the split that it was trained on is gone, or has no such fold"
            yield Finding("split", "not checked", what, where, "put the split back, or train again")
        elif others:
            what = "it names one split and was trained on another"
            yield Finding("split", "leak", what, where, _AGAIN)
        elif path not in fold.parents:
            what = "the run does not record which version of its split it was trained on"
            yield Finding("split", "not recorded", what, where, "train it with mirror-model, which records it")
        elif not cohort.replaced({path: fold.parents[path]}):
            yield Finding("split", "ok", "trained and tested on the same split", where)
        elif fold.run.fold in proven:
            what = "the split was written again since training; the training patients are the same, as the scaler shows"
            yield Finding("split", "warning", what, where, _AGAIN)
        else:
            what = "the split was replaced since training: patients tested now may have been trained on"
            yield Finding("split", "leak", what, where, _AGAIN)


def training_findings(cohort: Cohort, fold: TrainedFold) -> Iterator[Finding]:
    """Whom a network saw. Only their number is recorded: more than the training part holds is a leak."""
    count, where = fold.run.metrics.get("patients"), fold.where
    if fold.parts is None or count is None:
        yield Finding("training", "not recorded", "neither ids nor number of the patients trained on", where)
        return
    count, train = int(count), fold.parts.train
    if count > len(train):
        what = "patients trained on, more than the training part holds"
        yield Finding("training", "leak", what, where, _AGAIN, count, len(train))
    elif count in {len(train & who) for who in usable(cohort, fold)}:
        what = "ids are not recorded; how many were trained on agrees with the training part"
        yield Finding("training", "not recorded", what, where, "", count, len(train))
    else:
        what = "patients trained on, a number that the training part does not explain"
        yield Finding("training", "warning", what, where, _AGAIN, count, len(train))


def usable(cohort: Cohort, fold: TrainedFold) -> tuple[frozenset[str], ...]:
    """Whom a method can be trained on, in each way it may ask: a modality, both, or either; and a known outcome."""
    config = fold.run.config
    slides = cohort.with_slides(str(config.get("tiling")), str(config.get("encoder")))
    rna = frozenset(cohort.rna_ids)
    found = (slides, rna, slides & rna, slides | rna)
    labelled = _labelled(cohort, config.get("task"))
    return found if labelled is None else tuple(who & labelled for who in found)


def _labelled(cohort: Cohort, task: object) -> frozenset[str] | None:
    if task is None or cohort.patients is None:
        return None
    known = cohort.patients.subtypes() if task == "subtype" else cohort.patients.survival().index
    return frozenset(map(str, known))


def gene_findings(cohort: Cohort, fold: TrainedFold) -> Iterator[Finding]:
    """Were genes chosen on the training patients of this fold alone?"""
    where = fold.where
    if not fold.selections:
        if fold.slides_alone:
            yield Finding("genes", "ok", "the method reads no genes", where)
        elif "genes" in fold.run.config and fold.run.config["genes"] is None:
            yield Finding("genes", "ok", "no genes were chosen: every gene of the store is read", where)
        else:
            yield Finding("genes", "not recorded", "the run does not say which genes it reads", where)
    for path in fold.selections:
        if cohort.hash_now(path) != fold.parents[path]:
            what = "the selection was replaced since training, or is gone"
            yield Finding("genes", "not checked", what, where, _GENES)
        elif fold.parts is None:
            yield Finding("genes", "not checked", "the fold's split is gone", where)
        else:
            yield judged_selection(cohort, path, fold.parts, where)


def judged_selection(cohort: Cohort, path: str, parts: FoldParts, where: Where) -> Finding:
    """One gene selection of the store against the fold it is made for or used in."""
    document = cohort.store.document(path)
    fitted = frozenset(read_genes(cohort.store, document.attributes["name"], document.attributes["fold"]).fitted_on)
    if not fitted:
        return Finding("genes", "not recorded", "the selection does not say whom it was fitted on", where, _GENES)
    if held := fitted & parts.held_out:
        what = "validation or test patients that genes were chosen on"
        return Finding.of_some("genes", "leak", what, where, _GENES, held, len(fitted))
    if outside := fitted - parts.everyone:
        what = "patients of no part of the fold that genes were chosen on"
        return Finding.of_some("genes", "warning", what, where, _GENES, outside, len(fitted))
    if any(parent.startswith("splits/") and parent != schema.split(where.split) for parent in document.parents):
        what = "genes were chosen for another split, on patients who train here as well"
        return Finding("genes", "warning", what, where, _GENES, of=len(fitted))
    return Finding("genes", "ok", "genes were chosen on training patients alone", where, of=len(fitted))


def prediction_findings(cohort: Cohort, fold: TrainedFold) -> Iterator[Finding]:
    """Do stored predictions call a patient's part what the split calls it?"""
    base = f"{schema.run(fold.run.name, fold.run.fold)}/predictions"
    for key in cohort.store.keys(base):
        task = cohort.store.document(f"{base}/{key}").attributes["task"]
        table = read_predictions(cohort.store, fold.run.name, fold.run.fold, task).table
        rows = list(zip(map(str, table["patient_id"]), map(str, table["part"]), strict=True))
        if fold.parts is None:
            yield Finding("predictions", "not checked", "the fold's split is gone", fold.where)
        else:
            yield from _judged_rows(rows, fold.parts, fold.where)


def _judged_rows(rows: list[tuple[str, str]], parts: FoldParts, where: Where) -> Iterator[Finding]:
    """Rows of patient and part."""
    wrong = {patient for patient, part in rows if patient in parts.everyone and not parts.holds(patient, part)}
    absent = {patient for patient, _ in rows} - parts.everyone
    twice = {patient for patient, count in Counter(patient for patient, _ in rows).items() if count > 1}
    if wrong:
        what = "predictions for patients in another part than the split's"
        yield Finding.of_some("predictions", "leak", what, where, _AGAIN, wrong, len(rows))
    if absent:
        what = "predictions for patients who stand in no part of the fold"
        yield Finding.of_some("predictions", "warning", what, where, _AGAIN, absent, len(rows))
    if twice:
        what, do = "patients predicted more than once in a fold", "predict patients, not slides"
        yield Finding.of_some("predictions", "warning", what, where, do, twice, len(rows))
    if not (wrong or absent or twice):
        what = "every prediction stands in the part that the split says"
        yield Finding("predictions", "ok", what, where, of=len(rows))


def encoder_findings(fold: TrainedFold) -> Iterator[Finding]:
    """Which slides an encoder was itself trained on is beyond any store's knowledge; say so."""
    if encoder := fold.run.config.get("encoder"):
        what = f"which slides {encoder} was itself trained on: test slides among them would leak"
        do = "read the encoder's paper: HIPT and CTransPath, among others, were trained on slides of TCGA"
        yield Finding("encoder", "not recorded", what, fold.where, do)


def stale_findings(cohort: Cohort, fold: TrainedFold) -> Iterator[Finding]:
    """Are a run's inputs, and the inputs of its results, still those in the store?"""
    base = schema.run(fold.run.name, fold.run.fold)
    kinds = ("embeddings", "aligned", "predictions")
    below = [f"{base}/{kind}/{key}" for kind in kinds for key in cohort.store.keys(f"{base}/{kind}")]
    records = [path for path in (base, *fold.selections, *below) if cohort.store.has(path)]
    parents = [cohort.store.document(path).parents for path in records]
    old = sorted({gone for known in parents for gone in cohort.replaced(known)})
    if old:
        do = "`mirror-data check` lists what is out of date; make it again in order: split, genes, train, embed"
        what = f"made from records that were replaced since ({', '.join(old)})"
        yield Finding("stale", "warning", what, fold.where, do)
    elif not all(parents):
        yield Finding("stale", "not recorded", "some records do not say what they were made from", fold.where)
    else:
        yield Finding("stale", "ok", "all that it was made from stands in the store unchanged", fold.where)
