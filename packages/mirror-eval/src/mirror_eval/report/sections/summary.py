"""The top of the page: what was asked, of whom, and what came out, in sentences and a few numbers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from mirror_eval.figures.theme import MODALITY_NAME
from mirror_eval.report.blocks import Tile, count, listed, number, p_value
from mirror_eval.report.evidence import Evidence, Missing
from mirror_eval.report.sections.cohort import membership
from mirror_eval.report.sections.controls import control_sentence
from mirror_eval.report.sections.leakage import leakage_sentence
from mirror_eval.report.sections.survival import risk_groups_test
from mirror_eval.results import Score, SubtypeResult, SurvivalResult


@dataclass(frozen=True)
class Summary:
    """Headline, the sentences under it, and the numbers beside them."""

    headline: str
    sentences: tuple[tuple[str, str], ...]  # what it is about, and the sentence
    tiles: tuple[Tile, ...]


def summary(evidence: Evidence) -> Summary:
    """Sentences say what was measured; whether a difference is real, the intervals must tell."""
    sentences = (
        ("Cohort", _who(evidence)),
        ("Question", _asked(evidence)),
        ("Subtyping", _subtyping(evidence)),
        ("Survival", _survival(evidence)),
        ("Alignment", _alignment(evidence)),
        ("Controls", control_sentence(evidence)),
        ("Leakage", leakage_sentence(evidence.audit)),
    )
    told = tuple((label, sentence) for label, sentence in sentences if sentence)
    return Summary(_headline(evidence), told, _tiles(evidence))


def best_row(result: SubtypeResult | SurvivalResult) -> str:
    """The row that uses most of what there is: both modalities, or the only one."""
    rows = {score.modality for score in result.scores}
    return next(row for row in ("both", "stored", "slide", "rna") if row in rows)


def find(result: SubtypeResult | SurvivalResult | Missing, metric: str, row: str | None = None) -> Score | None:
    """The score of a row (the best row by default), None where there is none or it is not defined."""
    if isinstance(result, Missing):
        return None
    for score in result.scores:
        if (score.modality, score.metric) == (row or best_row(result), metric) and score.mean == score.mean:
            return score
    return None


def _headline(evidence: Evidence) -> str:
    parts = []
    accuracy, c_index = find(evidence.subtype, "accuracy"), find(evidence.survival, "c_harrell")
    if accuracy and isinstance(evidence.subtype, SubtypeResult):
        parts.append(f"tell {listed(evidence.subtype.classes)} apart with accuracy {number(accuracy.mean, 2)}")
    if c_index:
        parts.append(f"rank patients by survival with C-index {number(c_index.mean, 2)}")
    if not parts:
        return f"Run {evidence.run}"
    result = evidence.subtype if accuracy else evidence.survival
    assert not isinstance(result, Missing)
    subject = {"both": "Slides and RNA together", "slide": "Slides", "rna": "RNA profiles"}.get(
        best_row(result), "Predictions"
    )
    return f"{subject} {' and '.join(parts)}"


def _who(evidence: Evidence) -> str:
    has = membership(evidence)
    paired = sum(1 for slide, rna, _, _ in has.values() if slide and rna)
    mix = Counter(evidence.subtype_of.values())
    kinds = f" ({', '.join(f'{mix[name]:,} {name}' for name in sorted(mix))})" if mix else ""
    text = f"{count(len(has), 'patient')}{kinds}, {paired:,} of them with both slide and RNA"
    outcomes = evidence.outcomes
    deaths = int(outcomes["event"].astype(bool).sum())
    return (
        f"{text}; {len(outcomes):,} with an outcome, of whom {deaths:,} had the event." if len(outcomes) else f"{text}."
    )


def _asked(evidence: Evidence) -> str:
    folds = count(len(evidence.folds), "fold")
    return (
        f"What do {evidence.method.upper()}'s embeddings of unseen patients know? In each of {folds}, the patients "
        "that are scored had no part in "
        "training, nor in fitting any scaler, classifier or threshold."
    )


def _others(result: SubtypeResult | SurvivalResult, metric: str) -> str:
    """What each modality reaches by itself."""
    if best_row(result) != "both":
        return ""
    alone = [(row, find(result, metric, row)) for row in ("slide", "rna")]
    told = [f"{MODALITY_NAME[row]} {number(score.mean)}" for row, score in alone if score]
    return f"; {', '.join(told)}" if told else ""


def _with_interval(score: Score) -> str:
    interval = f" [{number(score.low)} to {number(score.high)}]" if score.low == score.low else ""
    return f"{number(score.mean)} ± {number(score.sd)}{interval}"


def _subtyping(evidence: Evidence) -> str:
    result, score = evidence.subtype, find(evidence.subtype, "accuracy")
    if isinstance(result, Missing) or score is None:
        return ""
    area = find(result, "auroc")
    more = f", AUROC {number(area.mean)}" if area else ""
    return (
        f"Accuracy {_with_interval(score)}{more} with {MODALITY_NAME[best_row(result)]}{_others(result, 'accuracy')}."
    )


def _survival(evidence: Evidence) -> str:
    result, score = evidence.survival, find(evidence.survival, "c_harrell")
    if isinstance(result, Missing) or score is None:
        return ""
    test = risk_groups_test(result)
    more = f" The high and low risk groups differ with log-rank {p_value(test.p)}." if test else ""
    row = MODALITY_NAME[best_row(result)]
    return f"C-index {_with_interval(score)} with {row}{_others(result, 'c_harrell')}; 0.5 is chance.{more}"


def _alignment(evidence: Evidence) -> str:
    found = evidence.retrieval
    if isinstance(found, Missing):
        return ""
    return (
        f"From a slide, the patient's own RNA is among the {found.k} nearest in {number(found.slide_to_rna.mean, 2)} "
        "of cases, the other way "
        f"round in {number(found.rna_to_slide.mean, 2)}; chance is {number(found.chance, 2)}."
    )


def _tiles(evidence: Evidence) -> tuple[Tile, ...]:
    tiles = [Tile("patients", f"{len(membership(evidence)):,}", f"{count(len(evidence.folds), 'outer fold')}")]
    for result, metric, label in (
        (evidence.subtype, "accuracy", "subtyping accuracy"),
        (evidence.subtype, "auroc", "AUROC"),
        (evidence.survival, "c_harrell", "C-index"),
    ):
        score = find(result, metric)
        if score:
            tiles.append(Tile(label, number(score.mean, 2), f"± {number(score.sd, 2)} over folds"))
    if (
        not isinstance(evidence.retrieval, Missing)
        and evidence.retrieval.slide_to_rna.mean == evidence.retrieval.slide_to_rna.mean
    ):
        found = evidence.retrieval
        tiles.append(
            Tile(
                f"recall@{found.k}, slide → RNA",
                number(found.slide_to_rna.mean, 2),
                f"chance {number(found.chance, 2)}",
            )
        )
    return tuple(tiles)
