"""Section: what exactly this report was made from and with."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pandas as pd

from mirror_eval.report.blocks import Block, Cell, Facts, Section, Table, csv_text
from mirror_eval.report.evidence import Evidence, Missing

PACKAGES = ("mirror-eval", "mirror-data", "numpy", "scipy", "pandas", "scikit-learn", "matplotlib", "umap-learn")


def provenance(evidence: Evidence, seed: int) -> Section:
    """Versions, hashes, parameters, split, encoder and gene fitting, folded away."""
    run = evidence.runs[0]
    lead = "Enough to repeat it: every record is named by the hash of its content and knows what it was made from."
    rows = tuple(
        (Cell(f"fold {one.fold}", sort=one.fold), Cell(one.method), Cell(one.split), Cell(one.checkpoint_sha256[:16]))
        for one in evidence.runs
    )
    columns = ("", "method", "split", "checkpoint SHA-256")
    frame = pd.DataFrame([(one.fold, one.method, one.split, one.checkpoint_sha256) for one in evidence.runs])
    csv = csv_text(frame.set_axis(["fold", "method", "split", "checkpoint_sha256"], axis=1))
    blocks: list[Block] = [Table("checkpoints", f"Folds of the run “{evidence.run}”.", columns, rows, csv=csv)]
    blocks.append(Facts("Training configuration", flat(run.config)))
    blocks.append(Facts("Last training metrics of the shown fold", flat(run.metrics)))
    drawn = {"name": evidence.split.name, "seed": evidence.split.seed, **evidence.split.drawn}
    blocks.append(Facts("How the split was drawn", flat(drawn)))
    for path, features in evidence.tile_features.items():
        blocks.append(Facts(f"Tile features {path}", flat(asdict(features))))
    if not isinstance(evidence.genes, Missing):
        blocks.append(Facts("How the genes were selected", flat(evidence.genes.parameters)))
    if not isinstance(evidence.expression, Missing):
        unit = {
            "unit": evidence.expression.unit,
            "samples": len(evidence.expression.patient_ids),
            "genes": len(evidence.expression.gene_ids),
        }
        blocks.append(Facts("Expression", flat(unit)))
    blocks.append(Facts("What the run was trained on (path and hash)", tuple(sorted(evidence.sources.items()))))
    blocks.append(Facts("What this report was made from (path and hash)", tuple(sorted(evidence.hashes.items()))))
    blocks.append(
        Facts(
            "Versions",
            (
                *(("training: " + k, v) for k, v in sorted(run.versions.items())),
                *versions(),
                ("seed of the report", str(seed)),
            ),
        )
    )
    return Section(
        "provenance",
        "Provenance",
        lead,
        tuple(block for block in blocks if not isinstance(block, Facts) or block.items),
    )


def versions() -> tuple[tuple[str, str], ...]:
    """Names and versions of what made the report."""
    found = [("Python", platform.python_version())]
    for name in PACKAGES:
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            continue
    return tuple(found)


def flat(values: Mapping[str, Any], above: str = "") -> tuple[tuple[str, str], ...]:
    """Nested names and values as dotted names and text, sorted."""
    found: list[tuple[str, str]] = []
    for key in sorted(values, key=str):
        value = values[key]
        if isinstance(value, Mapping):
            found += flat(value, f"{above}{key}.")
        elif isinstance(value, float):
            found.append((f"{above}{key}", f"{value:.6g}"))
        elif isinstance(value, (list, tuple)):
            found.append((f"{above}{key}", ", ".join(map(str, value)) or "none"))
        else:
            found.append((f"{above}{key}", "not set" if value is None else str(value)))
    return tuple(found)
