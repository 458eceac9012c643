"""A cohort so small that each command takes a tenth of a second: slides of four tiles, 24 patients, 40 genes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mirror_data.cohort import demo_tables

from tests.data.slides.slide_cases import SlideCase, write_case
from tests.faults.fork_server import ENCODER

PATIENTS = 24
NOISE_GENES = 15


@dataclass(frozen=True)
class TinyCohort:
    """Files below one folder, and the commands that bring them into the store there."""

    folder: Path

    @property
    def store(self) -> Path:
        return self.folder / "cohort.zarr"

    @property
    def slides(self) -> list[Path]:
        return sorted(self.folder.glob("*.tif"))

    def tile(self, *more: object, slides: int = 1) -> list[object]:
        options = ["--encoder", ENCODER, "--precision", "fp32", "--tile-px", 64, "--batch-size", 4]
        return self._words("tile", *self.slides[:slides], *options, "--min-tissue", 0, *more)

    def outcomes(self, *more: object) -> list[object]:
        return self._words("outcomes", self.folder / "clinical.csv", "--patients", "all", *more)

    def expression(self, *more: object) -> list[object]:
        return self._words("expression", self.folder / "expression.tsv", "--patients", "all", *more)

    def split(self, *more: object) -> list[object]:
        return self._words("split", "--folds", 2, *more)

    def genes(self, *more: object) -> list[object]:
        return self._words("genes", "--split", "folds", "--step", 0.4, "--folds", 2, "--workers", 1, *more)

    def bags(self, *more: object) -> list[object]:
        return self._words("import", "bags", self.folder / "bags.npz", "--tiling", "16px", "--encoder", "other", *more)

    def check(self) -> list[object]:
        return self._words("check")

    def _words(self, command: str, *rest: object) -> list[object]:
        return ["mirror-data", command, *rest, "--store", self.store]


def make_cohort(folder: Path, slides: int = 3) -> TinyCohort:
    """Write the files of a cohort."""
    import numpy as np

    for number in range(slides):
        write_case(
            folder / f"DEMO-{number + 1:03d}.tif", SlideCase(size=(128, 128), ratios=(), aperio=False, seed=number)
        )
    plan = demo_tables.make_plan(PATIENTS, 0)
    table = demo_tables.expression_table(plan, 0)
    kept = [*plan.subtype_genes[:25], *plan.noise_genes[:NOISE_GENES]]
    table.loc[sorted(kept)].to_csv(folder / "expression.tsv", sep="\t")
    demo_tables.clinical_table(plan).to_csv(folder / "clinical.csv")
    rng = np.random.default_rng(0)
    ids = np.array([f"DEMO-{number:03d}" for number in range(1, 4)])
    features = rng.normal(size=(12, 4)).astype(np.float32)
    np.savez(folder / "bags.npz", feats=features, offsets=np.array([0, 3, 7, 12]), slide_ids=ids)
    return TinyCohort(folder)
