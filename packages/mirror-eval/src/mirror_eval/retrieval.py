"""Cross-modal retrieval by a run of the cohort store: how well a slide finds its RNA, and RNA its slide."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from mirror_data.errors import BadInput, StoreError
from mirror_data.store import MODALITIES, Fold, Store, read_embeddings, schema

from mirror_eval.bootstrap import bootstrap_weights, score
from mirror_eval.results import FoldRetrieval, RetrievalResult
from mirror_eval.ridge import Rotation, Scaler, choose_strength, deal, strengths
from mirror_eval.run_data import committed_folds, load_run

PARTS = 5


@dataclass(frozen=True)
class RidgeMap:
    """A linear map from slide features (n, D) to whitened principal components of RNA features, (n, c)."""

    slide: Scaler
    rna: Scaler
    whitener: np.ndarray  # (E, c)
    slopes: np.ndarray  # (D, c)
    strength: float

    def similarity(self, slide: np.ndarray, rna: np.ndarray) -> np.ndarray:
        """Cosine between the mapped slides (n, D) and RNA (m, E): (n, m)."""
        mapped, target = self.slide.apply(slide) @ self.slopes, self.rna.apply(rna) @ self.whitener
        return _unit(mapped) @ _unit(target).T


def retrieval(
    store: Store, run: str, *, k: int = 10, components: int = 50, seed: int = 0, resamples: int = 1000
) -> RetrievalResult:
    """Recall@k among the test patients of each fold, from slide to RNA and back.

    Where every fold of the run holds aligned vectors (`mirror-model embed` writes them for methods that align), those
    are compared by cosine: nothing is fitted here. Elsewhere the embeddings of the two encoders cannot be compared by
    themselves, so a ridge map from the slide embedding to the first whitened principal components of the RNA embedding
    is fitted on the development patients, both scaled there, its strength chosen by 5 inner parts of them.

    Args:
        k: a patient counts as found among the k most similar of the other modality.
        components: of the RNA embedding, at most; fewer where it has fewer.

    Raises:
        StoreError: ``MISSING`` run or an embedding. BadInput: ``BAD_OPTION``, ``NOT_ESTIMABLE``.
    """
    if k < 1 or components < 1:
        raise BadInput("BAD_OPTION", "k and components must be at least 1", got=f"k {k}, components {components}")
    numbers, parts = committed_folds(store, run)
    own = all(store.has(schema.embeddings(run, fold, m, aligned=True)) for fold in numbers for m in MODALITIES)
    if own:
        found = [_aligned(store, run, fold, parts[fold]) for fold in numbers]
    else:
        found = _mapped(store, run, {p for fold in parts for p in fold.part_of()}, k, components, seed)
    forth, back = {}, {}
    for one in found:
        fold, similarity = one.fold, one.similarity
        weight = bootstrap_weights(len(similarity), resamples, (seed, fold))
        forth[fold] = [weight @ hits(similarity, k) / len(similarity)]
        back[fold] = [weight @ hits(similarity.T, k) / len(similarity)]
    metric, chance = f"recall_at_{k}", float(np.mean([min(1.0, k / len(one.patient_ids)) for one in found]))
    return RetrievalResult(
        run, k, score("slide_to_rna", metric, forth), score("rna_to_slide", metric, back), chance, tuple(found)
    )


def _aligned(store: Store, run: str, number: int, fold: Fold) -> FoldRetrieval:
    """The run's own aligned vectors of the test patients that have both.

    Raises:
        BadInput: ``NOT_ESTIMABLE`` if there is none.
    """
    sides = [read_embeddings(store, run, number, modality, aligned=True) for modality in MODALITIES]
    ids = tuple(sorted(set(fold.test).intersection(*(side.patient_ids for side in sides))))
    if not ids:
        message = "no test patient of a fold has both modalities"
        raise BadInput("NOT_ESTIMABLE", message, key=f"runs/{run}", got=f"fold {number}")
    vectors = []
    for side in sides:
        place = {patient: k for k, patient in enumerate(side.patient_ids)}
        vectors.append(_unit(side.values[[place[patient] for patient in ids]].astype(float)))
    slide, rna = vectors
    return FoldRetrieval(number, ids, slide @ rna.T, None)


def _mapped(store: Store, run: str, everyone: set[str], k: int, components: int, seed: int) -> list[FoldRetrieval]:
    """Similarity by a ridge map fitted on each fold's development patients.

    Raises:
        StoreError: ``MISSING`` if the run embeds one modality only.
    """
    rows = {(row.modality, row.fold): row for row in load_run(store, run, everyone).rows}
    folds = sorted({fold for modality, fold in rows if modality == "both"})
    if not folds:
        hint = "retrieval needs both modalities"
        raise StoreError("MISSING", "the run embeds one modality only", key=f"runs/{run}", hint=hint)
    found = []
    for fold in folds:
        slide, rna = rows["slide", fold], rows["rna", fold]
        fitted = fit_ridge_map(slide.develop, rna.develop, k, components, (seed, fold))
        found.append(FoldRetrieval(fold, slide.test_ids, fitted.similarity(slide.test, rna.test), fitted.strength))
    return found


def hits(similarity: np.ndarray, k: int) -> np.ndarray:
    """Whether each row's own column is among its k greatest: float (n,). Others as similar as it come first."""
    own = np.diagonal(similarity)[:, None]
    return ((similarity >= own).sum(axis=1) - 1 < k).astype(float)


def recall_at_k(similarity: np.ndarray, k: int) -> float:
    """Share of rows whose own column (the diagonal) is among the k most similar, higher is better; chance is k / n.

    Args:
        similarity: (n, n), queries in rows.
    """
    return float(hits(similarity, k).mean())


def fit_ridge_map(slide: np.ndarray, rna: np.ndarray, k: int, components: int, seed: tuple[int, ...] | int) -> RidgeMap:
    """Fit on development patients: whitening of the RNA features (n, E), ridge map from the slide features (n, D).

    The strength is the one with the highest recall@k, both ways together, among the held-out patients of each inner
    part.
    """
    slides, genes = Scaler.fit(slide), Scaler.fit(rna)
    principal = Rotation.fit(genes.apply(rna))
    kept = slice(0, components)
    whitener = principal.axes[:, kept] * (np.sqrt(len(rna)) / principal.scale[kept])
    target = genes.apply(rna) @ whitener  # (n, c), unit variance
    rotated = Rotation.fit(slides.apply(slide))
    scores = rotated.apply(slides.apply(slide))  # (n, r)
    candidates = strengths(slide.shape[1])

    def held_out_losses(fitted: np.ndarray, held: np.ndarray) -> np.ndarray:
        maps = [_ridge(scores[fitted], target[fitted], strength) for strength in candidates]
        found = [_unit(scores[held] @ theta) @ _unit(target[held]).T for theta in maps]
        return -np.array([hits(similarity, k).sum() + hits(similarity.T, k).sum() for similarity in found])

    parts = deal(np.zeros(len(slide), dtype=int), min(PARTS, len(slide)), seed)
    strength = choose_strength(held_out_losses, parts, candidates)
    return RidgeMap(slides, genes, whitener, rotated.axes @ _ridge(scores, target, strength), strength)


def _ridge(features: np.ndarray, target: np.ndarray, strength: float) -> np.ndarray:
    """Slopes (r, c) that minimise the summed squared error + strength * |slopes|^2."""
    square = features.T @ features
    return np.linalg.solve(square + strength * np.eye(len(square)), features.T @ target)


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
