"""Figures that the MIRROR paper prints (its tables I and II), shown beside ours for orientation when asked for.

Mean +- sd over 5 folds on TCGA. Other patients, tiles, genes and splits than the reader's: not a comparison under equal
conditions, and the report says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PaperCohort = Literal["brca", "nsclc"]
PAPER_COHORTS: tuple[PaperCohort, ...] = ("brca", "nsclc")
COHORT_NAMES = {"brca": "TCGA-BRCA, IDC against ILC", "nsclc": "TCGA-NSCLC, LUAD against LUSC"}


@dataclass(frozen=True)
class Published:
    """One row of the paper's tables: each value as mean and sd."""

    method: str
    backbone: str
    accuracy: tuple[float, float]
    macro_f1: tuple[float, float]
    c_index: tuple[float, float]


# By cohort and protocol ("linear": the paper's "All Data", "few-shot": its "10-shot").
PUBLISHED: dict[tuple[str, str], tuple[Published, ...]] = {
    ("nsclc", "linear"): (
        Published("MIRROR", "ResNet-50", (0.992, 0.011), (0.992, 0.011), (0.621, 0.054)),
        Published("MIRROR", "Phikon", (0.994, 0.007), (0.994, 0.007), (0.613, 0.043)),
        Published("TANGLE", "Phikon", (0.982, 0.012), (0.982, 0.012), (0.593, 0.039)),
        Published("PORPOISE", "Phikon", (0.984, 0.007), (0.992, 0.008), (0.602, 0.053)),
    ),
    ("nsclc", "few-shot"): (
        Published("MIRROR", "ResNet-50", (0.930, 0.006), (0.930, 0.006), (0.605, 0.011)),
        Published("MIRROR", "Phikon", (0.939, 0.017), (0.938, 0.017), (0.584, 0.007)),
        Published("TANGLE", "Phikon", (0.925, 0.036), (0.924, 0.039), (0.583, 0.049)),
        Published("PORPOISE", "Phikon", (0.786, 0.155), (0.767, 0.183), (0.577, 0.022)),
    ),
    ("brca", "linear"): (
        Published("MIRROR", "ResNet-50", (0.958, 0.017), (0.902, 0.039), (0.671, 0.096)),
        Published("MIRROR", "Phikon", (0.955, 0.023), (0.902, 0.047), (0.665, 0.082)),
        Published("TANGLE", "Phikon", (0.952, 0.022), (0.887, 0.063), (0.540, 0.055)),
        Published("PORPOISE", "Phikon", (0.934, 0.030), (0.899, 0.009), (0.645, 0.068)),
    ),
    ("brca", "few-shot"): (
        Published("MIRROR", "ResNet-50", (0.910, 0.032), (0.786, 0.092), (0.612, 0.046)),
        Published("MIRROR", "Phikon", (0.923, 0.025), (0.832, 0.051), (0.623, 0.054)),
        Published("TANGLE", "Phikon", (0.921, 0.031), (0.829, 0.068), (0.602, 0.039)),
        Published("PORPOISE", "Phikon", (0.902, 0.030), (0.731, 0.155), (0.608, 0.031)),
    ),
}
