"""What a store holds: frozen records that validate themselves when made.

Shapes: N tiles, P tile features, n samples or patients, g genes, D embedding width. Arrays are NumPy; ids are tuples of
strings. A record that exists is valid, so nobody checks again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd

from mirror_data.errors import BadInput, some

Modality = Literal["slide", "rna"]
MODALITIES: tuple[Modality, ...] = ("slide", "rna")
PARTS = ("train", "validation", "test")


def _require(condition: bool, record: object, message: str, code: str = "BAD_RECORD") -> None:
    if not condition:
        raise BadInput(code, message, key=type(record).__name__)


def _unique(record: object, what: str, ids: tuple[str, ...]) -> None:
    if len(set(ids)) != len(ids):
        seen: set[str] = set()
        count = sum(1 for i in ids if i in seen or seen.add(i))
        raise BadInput("DUPLICATE", f"{what} is repeated {count} times", key=type(record).__name__)


def _finite(record: object, what: str, values: np.ndarray) -> None:
    _require(bool(np.isfinite(values).all()), record, f"{what} holds NaN or infinite values", "BAD_VALUE")


@dataclass(frozen=True)
class Slide:
    """A slide and its tissue. An imported bag of features may know neither size nor tissue."""

    slide_id: str
    patient_id: str
    size: tuple[int, int] | None = None  # width, height in level-0 pixels
    mpp: float | None = None  # micrometres per level-0 pixel
    mpp_source: str | None = None  # "openslide.mpp", "aperio", "tiff", "slides-table", "override"
    reader: str | None = None  # "openslide 4.0.1", "import clam", ...
    source: Mapping[str, Any] = field(default_factory=dict)  # identity of the file: size_bytes, quickhash, name
    tissue: np.ndarray | None = None  # uint8 (h, w), 1 = tissue
    tissue_mpp: float | None = None  # micrometres per pixel of the mask
    tissue_parameters: Mapping[str, Any] = field(default_factory=dict)
    thumbnail: np.ndarray | None = None  # uint8 (h, w, 3), same grid as the mask; never the label or macro image

    def __post_init__(self) -> None:
        _require(bool(self.slide_id and self.patient_id), self, "slide_id and patient_id must not be empty")
        _require(self.mpp is None or 0 < self.mpp < 100, self, "mpp must lie between 0 and 100", "NO_MPP")
        if self.tissue is not None:
            _require(self.tissue.dtype == np.uint8 and self.tissue.ndim == 2, self, "tissue must be uint8 (h, w)")
        if self.thumbnail is not None:
            _require(
                self.thumbnail.dtype == np.uint8 and self.thumbnail.shape[2:] == (3,), self, "thumbnail is not RGB"
            )


@dataclass(frozen=True)
class Tiling:
    """One grid of tiles on a slide, in raster order (by y, then x)."""

    slide_id: str
    name: str
    rows: int  # N
    coords: np.ndarray | None  # int32 (N, 2): x, y of the top left in level-0 pixels; None for imported bags
    tile_px: int | None = None  # width of a tile as the encoder sees it
    mpp: float | None = None  # micrometres per pixel of such a tile
    tile_px_level0: float | None = None  # width of a tile in level-0 pixels
    overlap: int = 0  # pixels at mpp
    min_tissue: float | None = None  # least share of tissue in a tile
    read_level: int | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)  # whatever else decided the grid, and its counts

    def __post_init__(self) -> None:
        if self.coords is not None:
            _require(
                self.coords.dtype == np.int32 and self.coords.shape == (self.rows, 2),
                self,
                "coords must be int32 (N, 2)",
            )


@dataclass(frozen=True)
class Features:
    """One encoder's features of the tiles of one tiling: float16 (N, P), rows as the tiling's."""

    slide_id: str
    tiling: str
    encoder: str
    values: np.ndarray
    weights_sha256: str | None = None
    transform: Mapping[str, Any] = field(default_factory=dict)
    precision: str | None = None  # "bf16", "fp32": what the encoder computed in

    def __post_init__(self) -> None:
        _require(self.values.dtype == np.float16 and self.values.ndim == 2, self, "features must be float16 (N, P)")

    def require_finite(self) -> None:
        """Refuse NaN and infinite values. Asked when writing; what is read has its checksum (8 ms a bag saved)."""
        _finite(self, "features", self.values)


@dataclass(frozen=True)
class Expression:
    """Expression of one sample a patient: float32 (n, g), rows sorted by patient, columns by gene id."""

    patient_ids: tuple[str, ...]
    sample_ids: tuple[str, ...]
    gene_ids: tuple[str, ...]
    symbols: tuple[str, ...]  # "" where unknown
    values: np.ndarray
    unit: str  # "log2(tpm+0.001)", "zscore", ...: what the values are after `transform`
    transform: Mapping[str, Any] = field(default_factory=dict)  # what was done to the table, and its counts

    def __post_init__(self) -> None:
        shape = (len(self.patient_ids), len(self.gene_ids))
        _require(
            self.values.shape == shape and self.values.dtype == np.float32, self, f"values must be float32 {shape}"
        )
        _require(
            len(self.sample_ids) == shape[0] and len(self.symbols) == shape[1], self, "ids do not match the values"
        )
        _unique(self, "a patient", self.patient_ids)
        _unique(self, "a gene", self.gene_ids)
        _finite(self, "expression", self.values)


@dataclass(frozen=True)
class Patients:
    """Outcomes and covariates, indexed by patient_id, sorted.

    Columns that the toolkit reads (others are covariates): ``subtype`` (str, missing allowed), ``time_days`` (float
    above 0, missing allowed), ``event`` (float 1 = death or progression, 0 = censored; missing exactly where time_days
    is), ``site`` (str), ``age`` (years), ``stage`` (str).
    """

    table: pd.DataFrame
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        table = self.table
        _require(table.index.name == "patient_id", self, "the index must be patient_id")
        _unique(self, "a patient", tuple(map(str, table.index)))
        _require(table.index.is_monotonic_increasing, self, "patients must be sorted")
        _require(
            {"time_days", "event"} <= set(table) or not {"time_days", "event"} & set(table), self, "time without event"
        )
        if "time_days" in table:
            time, event = table["time_days"], table["event"]
            _require(bool((time.isna() == event.isna()).all()), self, "time_days and event must be missing together")
            _require(bool((time.dropna() > 0).all()), self, "time_days must be positive", "BAD_TIME")
            _require(bool(event.dropna().isin([0, 1]).all()), self, "event must be 0 or 1", "BAD_EVENT")

    @property
    def patient_ids(self) -> tuple[str, ...]:
        return tuple(map(str, self.table.index))

    def subtypes(self) -> dict[str, str]:
        """Subtype of every patient that has one."""
        if "subtype" not in self.table:
            return {}
        return {str(i): str(v) for i, v in self.table["subtype"].dropna().items()}

    def survival(self) -> pd.DataFrame:
        """time_days and event (bool) of every patient with an outcome, indexed by patient_id."""
        if "time_days" not in self.table:
            return pd.DataFrame({"time_days": [], "event": []}, index=pd.Index([], name="patient_id"))
        kept = self.table.dropna(subset=["time_days"])
        return pd.DataFrame({"time_days": kept["time_days"].astype(float), "event": kept["event"].astype(bool)})


@dataclass(frozen=True)
class Fold:
    """Patient ids of the three parts of one fold, disjoint, each sorted."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]

    def __post_init__(self) -> None:
        for part in PARTS:
            ids = getattr(self, part)
            _require(list(ids) == sorted(set(ids)), self, f"{part} must be sorted and without repeats")
        shared = sorted(
            (set(self.train) & set(self.test))
            | (set(self.train) & set(self.validation))
            | (set(self.validation) & set(self.test))
        )
        _require(not shared, self, f"{len(shared)} patients stand in two parts of one fold", "PATIENT_LEAK")

    def part_of(self) -> dict[str, str]:
        """The part of each patient of the fold."""
        return {patient: part for part in PARTS for patient in getattr(self, part)}


@dataclass(frozen=True)
class Split:
    """Outer folds over patients, and how they were drawn."""

    name: str
    folds: tuple[Fold, ...]
    drawn: Mapping[str, Any] = field(default_factory=dict)  # "stratified", "import mcat", grouped by, ...
    seed: int | None = None

    def __post_init__(self) -> None:
        _require(len(self.folds) > 0, self, "a split needs a fold")


@dataclass(frozen=True)
class GeneSelection:
    """Genes kept in one fold, fitted on that fold's training patients alone."""

    name: str
    fold: int
    kept: tuple[str, ...]  # gene ids, sorted: selected by the model or named by the cancer list
    gene_ids: tuple[str, ...]  # every gene that was ranked
    ranking: np.ndarray  # int32 (g,): 1 = kept by elimination, higher = dropped earlier
    cancer: np.ndarray  # uint8 (g,): 1 = in the curated cancer-gene list
    stability: np.ndarray | None  # float32 (g,): share of resamples that kept the gene
    curve: pd.DataFrame  # columns genes, score, sd: cross-validated score by number of genes
    fitted_on: tuple[str, ...]  # patient ids
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _require(set(self.kept) <= set(self.gene_ids), self, "a kept gene was never ranked")
        _require(self.ranking.shape == self.cancer.shape == (len(self.gene_ids),), self, "ranking does not fit genes")


@dataclass(frozen=True)
class Run:
    """One trained fold: what it was trained on and with, and how training went."""

    name: str
    fold: int
    method: str
    split: str
    config: Mapping[str, Any]
    checkpoint_sha256: str
    metrics: Mapping[str, Any] = field(default_factory=dict)  # last values of the training log
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Embeddings:
    """One modality's embedding of every patient that has it: float32 (n, D), sorted by patient.

    ``aligned``: after the alignment head, where the two modalities can be compared with each other by cosine.
    """

    run: str
    fold: int
    modality: Modality
    patient_ids: tuple[str, ...]
    values: np.ndarray
    aligned: bool = False

    def __post_init__(self) -> None:
        _require(self.modality in MODALITIES, self, f"modality must be one of {some(MODALITIES)}")
        _require(
            self.values.dtype == np.float32 and self.values.shape[:1] == (len(self.patient_ids),), self, "bad shape"
        )
        _unique(self, "a patient", self.patient_ids)
        _finite(self, "embeddings", self.values)


@dataclass(frozen=True)
class Predictions:
    """A supervised method's own predictions, a row a patient: patient_id, part, then risk or columns prob_{class}."""

    run: str
    fold: int
    task: str
    table: pd.DataFrame

    def __post_init__(self) -> None:
        _require({"patient_id", "part"} <= set(self.table), self, "predictions need patient_id and part")
        _require(
            "risk" in self.table or any(str(c).startswith("prob_") for c in self.table),
            self,
            "no risk and no prob_ column",
        )


@dataclass(frozen=True)
class Attention:
    """Weight of each tile of a slide in the slide embedding: float32 (N,), sums to 1, rows as the tiling's."""

    run: str
    fold: int
    slide_id: str
    tiling: str
    weights: np.ndarray

    def __post_init__(self) -> None:
        _require(self.weights.dtype == np.float32 and self.weights.ndim == 1, self, "weights must be float32 (N,)")
        _finite(self, "attention", self.weights)
