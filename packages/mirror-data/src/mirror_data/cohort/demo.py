"""A small cohort a newcomer can look at: slides, expression, outcomes, and a note of what was planted in them."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from mirror_data.errors import BadInput

if TYPE_CHECKING:
    from mirror_data.cohort.demo_slides import Look
    from mirror_data.cohort.demo_tables import Plan

LEAST_PATIENTS, MOST_PATIENTS = 16, 999

README = """\
A demo cohort of {patients} patients, made by `mirror-data demo` with seed {seed}. No real patient is in it.

slides/DEMO-nnn.svs   pyramidal slides in the Aperio manner (0.5 um per pixel; any slide viewer opens them). Their
                      pixels come from one picture of colonic glands that scikit-image ships
                      (skimage.data.immunohistochemistry), taken apart into its stains, woven into new tissue
                      and coloured like haematoxylin and eosin.
expression.tsv.gz     log2(TPM + 0.001), genes x samples. Genes named DEMOGENEnnn are invented; so are all values.
clinical.csv          patient_id, subtype, time_days, event (1 = death, 0 = alive when last seen), age, site
cancer_genes.csv      a short list of known cancer genes, in the column layout of the COSMIC export ("Gene Symbol")
truth.json            what was planted: the answers, and each patient's hidden factors

Planted: the subtype shows in the slides (glands, or files of cells) and in the RNA; how many lymphocytes the stroma
holds shows in the slides alone; the activity of a gene programme shows in the RNA alone; survival depends on all
three. One patient has no slide, one no expression, one no outcome, as in real cohorts.
"""


@dataclass(frozen=True)
class DemoCohort:
    """Where the parts of a written demo cohort are, and how many there are of each."""

    directory: Path
    slides: Path  # a folder
    expression: Path
    clinical: Path
    cancer_genes: Path
    truth: Path
    readme: Path
    patients: int
    slide_count: int
    expression_count: int
    outcome_count: int


def write_demo(
    directory: str | os.PathLike, patients: int = 40, seed: int = 0, *, overwrite: bool = False
) -> DemoCohort:
    """Write a demo cohort; the same arguments (and library versions) give the same bytes.

    Args:
        directory: a folder that does not exist yet or is empty.
        patients: 16 to 999.
        seed: of everything drawn.
        overwrite: replace the demo's files in a folder that holds something.

    Raises:
        BadInput: ``BAD_OPTION``, for a folder in use or a number out of range; ``NOT_INSTALLED`` without the extra
            ``slides``.
    """
    from mirror_data.cohort import demo_tables as tables

    target = Path(directory)
    _check(target, patients, seed, overwrite)
    _require_slide_libraries()
    plan = tables.make_plan(patients, seed)
    clinical, expression = tables.clinical_table(plan), tables.expression_table(plan, seed)
    made = DemoCohort(
        directory=target,
        slides=target / "slides",
        expression=target / "expression.tsv.gz",
        clinical=target / "clinical.csv",
        cancer_genes=target / "cancer_genes.csv",
        truth=target / "truth.json",
        readme=target / "README.txt",
        patients=patients,
        slide_count=patients - 1,
        expression_count=expression.shape[1],
        outcome_count=int(clinical["time_days"].notna().sum()),
    )
    made.slides.mkdir(parents=True, exist_ok=True)
    for old in made.slides.glob("DEMO-*.svs"):
        old.unlink()
    made.expression.write_bytes(tables.gzipped_tsv(expression))
    made.clinical.write_text(clinical.to_csv(lineterminator="\n"), encoding="utf-8")
    made.cancer_genes.write_text("Gene Symbol\n" + "".join(f"{gene}\n" for gene in plan.cancer_genes), encoding="utf-8")
    made.truth.write_text(json.dumps(tables.truth(plan, seed), indent=1) + "\n", encoding="utf-8")
    _write_slides(made.slides, plan, seed)
    made.readme.write_text(README.format(patients=patients, seed=seed), encoding="utf-8")
    return made


def _check(target: Path, patients: int, seed: int, overwrite: bool) -> None:
    if not LEAST_PATIENTS <= patients <= MOST_PATIENTS:
        expected = f"{LEAST_PATIENTS} to {MOST_PATIENTS}"
        raise BadInput(
            "BAD_OPTION", "this many patients make no demo", key="--patients", expected=expected, got=patients
        )
    if seed < 0:
        raise BadInput("BAD_OPTION", "a seed is not negative", key="--seed", got=seed)
    if target.exists() and not target.is_dir():
        raise BadInput("BAD_OPTION", "this is a file, not a folder", file=target, hint="name a new folder")
    if target.is_dir() and any(target.iterdir()) and not overwrite:
        hint = "name a new folder, or give --overwrite to replace the demo's files in it"
        raise BadInput("BAD_OPTION", "the folder is not empty", file=target, hint=hint)


def _require_slide_libraries() -> None:
    missing = [name for name in ("skimage", "tifffile", "imagecodecs", "PIL") if find_spec(name) is None]
    if missing:
        hint = "install mirror-data with its extra: mirror-data[slides]"
        raise BadInput("NOT_INSTALLED", f"the demo's slides need {', '.join(missing)}", hint=hint)


def look_of(plan: Plan, number: int, seed: int) -> Look:
    """How the slide of the patient in row ``number`` looks: what was planted, and the accidents of staining."""
    import numpy as np

    from mirror_data.cohort.demo_slides import Look
    from mirror_data.cohort.demo_tables import SITES

    row = plan.patients.iloc[number]
    rng = np.random.default_rng([seed, 4, number])
    return Look(
        architecture=row["subtype"],
        infiltrate=row["infiltrate"],
        haematoxylin=rng.uniform(0.93, 1.07),
        eosin=rng.uniform(0.92, 1.08),
        redness=0.04 * (SITES.index(row["site"]) - 1),
    )


def _write_slides(folder: Path, plan: Plan, seed: int) -> None:
    from mirror_data.cohort.demo_slides import write_slide_file
    from mirror_data.cohort.demo_tissue import make_sheets
    from mirror_data.progress import progress

    sheets = make_sheets(seed)
    with progress("demo slides", len(plan.patients) - 1, "slides") as shown:
        for number, patient in enumerate(plan.patients.index):
            if patient != plan.without_slide:
                write_slide_file(folder / f"{patient}.svs", sheets, look_of(plan, number, seed), (seed, 5, number))
                shown.advance()
