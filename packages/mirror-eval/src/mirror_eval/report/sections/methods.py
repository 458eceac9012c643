"""Section: a methods paragraph to paste into a paper, built from what the records say and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mirror_eval.report.blocks import Section, Text, count, listed
from mirror_eval.report.evidence import Evidence, Missing
from mirror_eval.report.sections.provenance import versions


def methods(evidence: Evidence, seed: int) -> Section:
    """One paragraph; check it against what was done, as with any text one did not write."""
    parts = (
        _slides(evidence),
        _expression(evidence),
        _training(evidence),
        _subtyping(evidence, seed),
        _survival(evidence),
    )
    parts = (*parts, _controls(evidence), _retrieval(evidence), _software(evidence))
    lead = (
        "Written from the records of this run. What the records do not say is left out, so read it before you use it."
    )
    text = " ".join(part for part in parts if part)
    return Section("methods", "Methods paragraph", lead, (Text(text, copyable=True),))


def _slides(evidence: Evidence) -> str:
    told = []
    for features in evidence.tile_features.values():
        sentence = "Tissue on whole-slide images was cut into tiles"
        if features.tile_px and features.mpp:
            sentence += f" of {features.tile_px} × {features.tile_px} pixels at {features.mpp:g} µm per pixel"
        if features.min_tissue is not None:
            sentence += f", each at least {features.min_tissue:.0%} tissue"
        width = f" ({features.width:,} features)" if features.width else ""
        told.append(f"{sentence}, and every tile encoded with {features.encoder}{width}.")
    return " ".join(told)


def _expression(evidence: Evidence) -> str:
    if isinstance(evidence.expression, Missing):
        return ""
    expression = evidence.expression
    patients = count(len(expression.patient_ids), "patient")
    text = f"Expression of {len(expression.gene_ids):,} genes ({expression.unit}) was available for {patients}."
    if isinstance(evidence.genes, Missing):
        return text
    genes = evidence.genes
    kept = f"{len(genes.kept):,} genes in fold {genes.fold}"
    return (
        f"{text} Genes were selected within each outer fold, on its training patients alone, by recursive feature "
        "elimination with a linear "
        f"support vector machine, and joined with a curated list of cancer genes (together {kept})."
    )


def _training(evidence: Evidence) -> str:
    run, fold = evidence.runs[0], evidence.fold
    settings = _settings(run.config)
    text = (
        f"{run.method.upper()} was trained on the training patients of each of "
        f"{count(len(evidence.folds), 'outer fold')} "
        f"({len(fold.train):,} training, {len(fold.validation):,} validation and {len(fold.test):,} test patients in "
        f"fold {evidence.shown_fold})"
    )
    return f"{text}; {settings}." if settings else f"{text}."


def _settings(config: Mapping[str, Any]) -> str:
    optimiser, model = config.get("optimiser", {}), config.get("model", {})
    known = (
        (config.get("epochs"), "{} epochs"),
        (config.get("batch_size"), "batches of {}"),
        (optimiser.get("name") if isinstance(optimiser, Mapping) else None, "optimiser {}"),
        (optimiser.get("lr") if isinstance(optimiser, Mapping) else None, "learning rate {}"),
        (model.get("dim") if isinstance(model, Mapping) else None, "embedding width {}"),
        (config.get("seed"), "seed {}"),
    )
    return ", ".join(form.format(value) for value, form in known if value is not None)


def _subtyping(evidence: Evidence, seed: int) -> str:
    result = evidence.subtype
    if isinstance(result, Missing):
        return ""
    if result.protocol == "stored":
        classes = listed(result.classes)
        return f"Subtypes ({classes}) were predicted by the trained network and scored on each fold's test patients."
    return (
        f"For subtyping ({listed(result.classes)}), frozen slide and RNA embeddings were standardised and classified "
        "by ridge-penalised logistic regression, "
        "fitted on each fold's training and validation patients with the penalty chosen by inner cross-validation "
        "among them, and scored once on the "
        "test patients. Scores are means ± standard deviations over folds, with 95 % intervals from a bootstrap of the "
        "test patients within folds "
        f"(seed {seed})."
    )


def _survival(evidence: Evidence) -> str:
    result = evidence.survival
    if isinstance(result, Missing):
        return ""
    source = {
        "discrete": "a penalised discrete-time hazard model on the same embeddings",
        "cox": "a ridge-penalised Cox model on the same embeddings",
    }.get(result.head, "the trained network itself")
    return (
        f"Survival was modelled by {source} and scored by the concordance index. Patients were divided into risk "
        "groups at the median risk of the "
        "patients the model was fitted on, and the groups compared by a log-rank test stratified by fold."
    )


def _controls(evidence: Evidence) -> str:
    if isinstance(evidence.controls, Missing):
        return ""
    tried = [deals for one in evidence.controls for deals in (one.subtype, one.survival)]
    deals = max((len(found) for found in tried if not isinstance(found, Missing)), default=0)
    if not deals:
        return ""
    return (
        "As null controls, everything was fitted and scored again with the outcomes of each fold's development "
        f"patients dealt to others, and with random features in place of the embeddings ({count(deals, 'deal')} each)."
    )


def _retrieval(evidence: Evidence) -> str:
    if isinstance(evidence.retrieval, Missing):
        return ""
    found = evidence.retrieval
    how = (
        "by the cosine of the aligned vectors that the model gives"
        if found.aligned
        else "after a linear map between the embeddings fitted on the training patients"
    )
    return (
        f"Alignment of the modalities was measured by recall at {found.k} among the test patients of each fold, {how}."
    )


def _software(evidence: Evidence) -> str:
    names = {
        **dict(versions()),
        **{k: v for k, v in evidence.runs[0].versions.items() if k in ("torch", "mirror-model")},
    }
    shown = [
        f"{name} {names[name]}"
        for name in ("mirror-data", "mirror-model", "mirror-eval", "torch", "scikit-learn")
        if name in names
    ]
    return f"Software: {', '.join(shown)}, Python {names['Python']}." if shown else ""
