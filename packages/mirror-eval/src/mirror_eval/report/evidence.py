"""Everything a report stands on, as frozen records; what cannot be had is a `Missing` with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from mirror_data.store import Embeddings, Expression, Fold, GeneSelection, Patients, Run, Split

from mirror_eval.attention import SlideAttention
from mirror_eval.compare import Comparison
from mirror_eval.figures.slides import AttentionMap
from mirror_eval.leakage import Audit
from mirror_eval.results import Control, RetrievalResult, SubtypeResult, SurvivalResult
from mirror_eval.tile_pictures import TilePictures

SHOTS = 10  # patients a class, or a time bin, in the few-shot tables


@dataclass(frozen=True)
class Missing:
    """Something the report cannot show, and why, in a sentence."""

    reason: str


@dataclass(frozen=True)
class Scored:
    """One run of the store, scored by the linear protocol, or by what it predicted itself where it embeds nothing."""

    run: str
    method: str
    subtype: SubtypeResult | Missing
    survival: SurvivalResult | Missing
    retrieval: RetrievalResult | Missing


@dataclass(frozen=True)
class NullControl:
    """The report's run scored under a null control, a result a deal of the dice: nothing it reaches can be more than
    luck, or a leak."""

    control: Control
    subtype: tuple[SubtypeResult, ...] | Missing
    survival: tuple[SurvivalResult, ...] | Missing


@dataclass(frozen=True)
class SlideShown:
    """A slide with attention, ready to draw."""

    attention: SlideAttention
    subtype: str  # "" where unknown
    map: AttentionMap
    pictures: TilePictures | Missing  # of the top tiles


@dataclass(frozen=True)
class TileFeatures:
    """How the tiles that a run was trained on were cut and encoded; None where the store does not say."""

    encoder: str
    width: int | None
    precision: str | None
    weights_sha256: str | None
    transform: Mapping[str, Any] | None
    tile_px: int | None
    mpp: float | None
    overlap: int | None
    min_tissue: float | None


@dataclass(frozen=True)
class Evidence:
    """What one report is made from. Ids of slides and patients are as in the store, untrusted text."""

    store_name: str
    run: str
    folds: tuple[int, ...]
    runs: tuple[Run, ...]  # one a fold
    split: Split
    shown_fold: int  # the fold that pictures of single embeddings, genes and slides come from
    patients: Patients | Missing
    slides: Mapping[str, str]  # slide id -> patient id
    expression: Expression | Missing
    embedded: Mapping[str, frozenset[str]]  # modality -> patients embedded in any fold
    embeddings: Mapping[str, Embeddings]  # of the shown fold
    aligned: Mapping[str, Embeddings]  # its aligned vectors: both modalities, or none
    subtype: SubtypeResult | Missing
    subtype_few_shot: SubtypeResult | Missing
    survival: SurvivalResult | Missing
    survival_few_shot: SurvivalResult | Missing
    retrieval: RetrievalResult | Missing
    controls: tuple[NullControl, ...] | Missing
    others: tuple[Scored, ...]  # runs shown beside this one
    comparisons: Mapping[str, Comparison | Missing]  # by task: the run against its single modalities and the others
    audit: Audit
    genes: GeneSelection | Missing  # of the shown fold
    attention: tuple[SlideShown, ...] | Missing
    sources: Mapping[str, str]  # store path -> hash of what the shown fold was trained on
    hashes: Mapping[str, str]  # store path -> hash of what this report was made from
    tile_features: Mapping[str, TileFeatures]  # by path in the store: what the shown fold was trained on

    @property
    def fold(self) -> Fold:
        """Patients of the shown fold."""
        return self.split.folds[self.shown_fold]

    @property
    def outcomes(self) -> pd.DataFrame:
        """time_days and event of each patient with an outcome, indexed by patient_id; empty where none is known."""
        nobody = pd.DataFrame({"time_days": [], "event": []}, index=pd.Index([], name="patient_id"))
        return nobody if isinstance(self.patients, Missing) else self.patients.survival()

    @property
    def subtype_of(self) -> dict[str, str]:
        """Subtype of each patient that has one."""
        return {} if isinstance(self.patients, Missing) else self.patients.subtypes()

    @property
    def method(self) -> str:
        return self.runs[0].method
