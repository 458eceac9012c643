"""Tables of the demo cohort: what is planted in whom, and the expression and clinical tables that follow from it.

Three hidden factors are drawn a patient, balanced and independent of each other by design:

``subtype``     glandular or cords: the tissue's architecture and the level of 40 genes (shared by both modalities)
``infiltrate``  share of the stroma that lymphocytes fill, 0 to 1 (in the slide alone)
``programme``   activity of 30 genes of the cell cycle, mean 0, sd about 1 (in the RNA alone)

Survival depends on all three; higher log hazard means earlier death.
"""

from __future__ import annotations

import gzip
import io
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mirror_data.cohort.demo_tissue import ARCHITECTURES

SUBTYPE_GENES = (
    *("CDH1", "CTNNB1", "CDKN2A", "ESR1", "ERBB2", "GATA3", "FOXA1", "KRT8", "KRT18", "KRT19", "KRT7", "MUC1", "EPCAM"),
    *("CLDN3", "CLDN4", "CDX2", "KLF5", "SOX9", "AR", "TBX3", "RUNX1", "MAP3K1", "PTEN", "VIM", "ZEB1", "SNAI2"),
)
PROGRAMME_GENES = (
    *(
        "MYC",
        "CCND1",
        "CCNE1",
        "CDK4",
        "CDK6",
        "RB1",
        "MDM2",
        "AURKA",
        "BRCA1",
        "BRCA2",
        "CHEK2",
        "POLE",
        "MSH2",
        "MSH6",
    ),
    *("FANCA", "FANCD2", "RAD51B", "BUB1B", "EZH2", "TOP2A", "MKI67", "CCNB1", "PLK1", "BIRC5", "CDC20", "FOXM1"),
    *("MCM2", "PCNA", "TYMS", "RRM2"),
)
OTHER_CANCER_GENES = (
    *("TP53", "PIK3CA", "KRAS", "NRAS", "HRAS", "BRAF", "EGFR", "MET", "ALK", "RET", "ROS1", "KIT", "PDGFRA", "FGFR1"),
    *("FGFR2", "FGFR3", "APC", "SMAD4", "STK11", "KEAP1", "NFE2L2", "NF1", "NF2", "ARID1A", "KMT2C", "KMT2D", "ATM"),
    *("VHL", "IDH1", "IDH2", "TERT", "NOTCH1", "FBXW7", "JAK2", "AKT1", "MTOR", "TSC1", "TSC2", "WT1", "BAP1"),
)
NOT_CANCER_LISTED = frozenset(
    {"KRT8", "KRT18", "KRT19", "KRT7", "CLDN3", "CLDN4", "VIM", "ZEB1", "SNAI2", "SOX9", "KLF5"}
)
GENES = 500
SUBTYPE_GENE_COUNT = 40
SUBTYPE_SHIFT = (0.35, 1.1)  # log2 units either side of the gene's mean: from the weakest gene to the strongest
PROGRAMME_SHIFT = 1.3  # log2 units for one unit of the programme
GENE_NOISE_SD = 0.8
LOG_HAZARD = {"cords": 1.6, "infiltrate": -1.6, "programme": 1.6}  # for factors scaled to -1 .. 1
SHAPE = 1.6  # of the Weibull distribution of the time to death
MEDIAN_DAYS = 1100.0
SITES = ("north", "east", "south")
FLOOR_TPM = 0.001


@dataclass(frozen=True)
class Plan:
    """What is true of every patient, one row each, and which genes carry it."""

    patients: pd.DataFrame  # index patient_id; subtype, infiltrate, programme, log_hazard, time_days, event, age, site
    subtype_genes: tuple[str, ...]  # up in one subtype and down in the other
    programme_genes: tuple[str, ...]  # all up together
    noise_genes: tuple[str, ...]
    without_slide: str  # the one patient that lacks each
    without_rna: str
    without_outcome: str

    @property
    def gene_symbols(self) -> tuple[str, ...]:
        return tuple(sorted((*self.subtype_genes, *self.programme_genes, *OTHER_CANCER_GENES, *self.noise_genes)))

    @property
    def cancer_genes(self) -> tuple[str, ...]:
        named = {*SUBTYPE_GENES, *PROGRAMME_GENES, *OTHER_CANCER_GENES} - NOT_CANCER_LISTED
        return tuple(sorted(named))


def make_plan(patients: int, seed: int) -> Plan:
    """Draw the factors of every patient."""
    rng = np.random.default_rng([seed, 2])
    ids = [f"DEMO-{number:03d}" for number in range(1, patients + 1)]
    cell = rng.permutation(patients) % 8  # a 2 x 2 x 2 design, so that no factor stands in for another
    cords, infiltrated, active = (cell & 1).astype(bool), (cell & 2).astype(bool), (cell & 4).astype(bool)
    infiltrate = np.where(infiltrated, rng.uniform(0.55, 0.85, patients), rng.uniform(0.02, 0.15, patients))
    programme = np.where(active, 1.0, -1.0) + rng.normal(0, 0.25, patients)
    log_hazard = (
        LOG_HAZARD["cords"] * np.where(cords, 1, -1)
        + LOG_HAZARD["infiltrate"] * (infiltrate - 0.4) / 0.4
        + LOG_HAZARD["programme"] * programme
    )
    death = MEDIAN_DAYS * (rng.exponential(size=patients) / np.log(2) * np.exp(-log_hazard)) ** (1 / SHAPE)
    followed = rng.uniform(400, 5500, patients)
    table = pd.DataFrame(
        {
            "subtype": np.where(cords, ARCHITECTURES[1], ARCHITECTURES[0]),
            "infiltrate": infiltrate.round(4),
            "programme": programme.round(4),
            "log_hazard": log_hazard.round(4),
            "time_days": np.ceil(np.minimum(death, followed)).astype(int),
            "event": (death <= followed).astype(int),
            "age": rng.integers(38, 84, patients),
            "site": rng.choice(SITES, patients),
        },
        index=pd.Index(ids, name="patient_id"),
    )
    lacking = rng.choice(ids, 3, replace=False)
    unnamed = [f"DEMOGENE{number:03d}" for number in range(1, GENES + 1)]
    extra = SUBTYPE_GENE_COUNT - len(SUBTYPE_GENES)
    named = SUBTYPE_GENE_COUNT + len(PROGRAMME_GENES) + len(OTHER_CANCER_GENES)
    subtype_genes = (*SUBTYPE_GENES, *unnamed[:extra])
    noise_genes = tuple(unnamed[extra : extra + GENES - named])
    return Plan(table, subtype_genes, PROGRAMME_GENES, noise_genes, *map(str, lacking))


def expression_table(plan: Plan, seed: int) -> pd.DataFrame:
    """log2(TPM + 0.001), genes x samples, in the layout of UCSC Xena (first column ``sample``)."""
    rng = np.random.default_rng([seed, 3])
    patients = plan.patients.drop(index=plan.without_rna)
    symbols = plan.gene_symbols
    mean = rng.normal(3.5, 2.0, len(symbols))
    values = mean[:, None] + rng.normal(0, GENE_NOISE_SD, (len(symbols), len(patients)))  # (genes, patients)
    count = len(plan.subtype_genes)
    shifts = rng.permutation(np.linspace(*SUBTYPE_SHIFT, count) * np.resize([-1.0, 1.0], count))
    shift = dict(zip(plan.subtype_genes, shifts, strict=True))
    cords = np.where(patients["subtype"] == ARCHITECTURES[1], 1.0, -1.0)
    programme = patients["programme"].to_numpy()
    for row, symbol in enumerate(symbols):
        if symbol in shift:
            values[row] += shift[symbol] * cords
        elif symbol in plan.programme_genes:
            values[row] += PROGRAMME_SHIFT * programme
    silent = rng.random(values.shape) < np.where(np.isin(symbols, plan.noise_genes), 0.05, 0.0)[:, None]
    tpm = np.where(silent, 0.0, 2.0**values)
    table = pd.DataFrame(np.log2(tpm + FLOOR_TPM).round(4), index=list(symbols), columns=list(patients.index))
    table.index.name = "sample"
    return table


def clinical_table(plan: Plan) -> pd.DataFrame:
    """patient_id, subtype, time_days, event (1 = death), age, site; one patient's outcome is not known."""
    table = plan.patients[["subtype", "time_days", "event", "age", "site"]].copy()
    table[["time_days", "event"]] = table[["time_days", "event"]].astype("Int64")
    table.loc[plan.without_outcome, ["time_days", "event"]] = pd.NA
    return table


def gzipped_tsv(table: pd.DataFrame) -> bytes:
    """The table as gzip'd TSV whose bytes depend on the table alone."""
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0, filename="", compresslevel=6) as file:
        file.write(table.to_csv(sep="\t", lineterminator="\n").encode())
    return packed.getvalue()


def truth(plan: Plan, seed: int) -> dict:
    """What was planted, for truth.json."""
    kept = ["subtype", "infiltrate", "programme", "log_hazard"]
    return {
        "seed": seed,
        "shared_by_both": {
            "factor": "subtype",
            "in_slides": "architecture: glands with a lumen, or wavy files of cells",
            "in_rna": {
                "genes": sorted(plan.subtype_genes),
                "log2_difference_of_subtypes": [2 * shift for shift in SUBTYPE_SHIFT],
            },
        },
        "private_to_slides": {"factor": "infiltrate", "meaning": "share of the stroma that lymphocytes fill, 0 to 1"},
        "private_to_rna": {
            "factor": "programme",
            "genes": sorted(plan.programme_genes),
            "log2_shift_for_one_unit": PROGRAMME_SHIFT,
        },
        "log_hazard": {
            "cords_against_glandular": 2 * LOG_HAZARD["cords"],
            "infiltrate_0.8_against_0": 2 * LOG_HAZARD["infiltrate"],
            "programme_plus_1_against_minus_1": 2 * LOG_HAZARD["programme"],
        },
        "missing": {
            "no_slide": [plan.without_slide],
            "no_rna": [plan.without_rna],
            "no_outcome": [plan.without_outcome],
        },
        "patients": {str(patient): row.to_dict() for patient, row in plan.patients[kept].iterrows()},
    }
