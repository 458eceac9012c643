"""Section: is the run better than its own single modalities and than the runs beside it?"""

from __future__ import annotations

from mirror_eval.compare import Comparison, Difference
from mirror_eval.compared import METRICS
from mirror_eval.figures.forest import forest_panel
from mirror_eval.report.blocks import Absent, Block, Cell, Figure, Section, Table, Text, csv_text, number
from mirror_eval.report.evidence import Evidence, Missing
from mirror_eval.verdicts import verdict

TITLE = "Comparison"
COLUMNS = ("", "difference", "plain t", "corrected t", "Holm", "bootstrap", "Holm, bootstrap", "could resolve")
NOTE = (
    "Differences of the mean over folds, this run minus the other, on the same patients; below, the 95 % interval "
    "when those patients are drawn again for both. Every p is two-sided. The plain t-test takes folds for independent "
    "and claims too much; the corrected one (Nadeau and Bengio 2003) does not; Holm's correction is over this table. "
    "“Could resolve” is the smallest difference that reaches p = .05 with folds that vary like these."
)
LEAD = (
    "Two questions, which need not have one answer. The corrected t-test: would the difference be there again with "
    "other training and test patients? The bootstrap: would it be there with other test patients and these very models?"
)


def comparison(evidence: Evidence) -> Section:
    """A forest plot, a table and a verdict in words for each task."""
    blocks: list[Block] = []
    for task, found in evidence.comparisons.items():
        if isinstance(found, Missing):
            blocks.append(Absent(f"Comparison, {task}", found.reason))
        else:
            blocks += _blocks(found)
    shown = any(not isinstance(found, Missing) for found in evidence.comparisons.values())
    return Section("comparison", TITLE, LEAD if shown else "", tuple(blocks))


def _blocks(found: Comparison) -> list[Block]:
    name = METRICS[found.metric].name
    csv = csv_text(found.table())
    panel = forest_panel(f"forest-{found.metric}", found)
    against = f"{found.reference} minus each other"
    caption = f"Differences in {name}, {against}, with 95 % intervals."
    rows = tuple(_row(difference) for difference in found.differences)
    return [
        Figure(f"differences-{found.metric}", caption, (panel,), csv=csv),
        Table(f"tests-{found.metric}", f"{name}: {against}.", COLUMNS, rows, note=NOTE, csv=csv),
        Text(" ".join(verdict(found))),
    ]


def _row(found: Difference) -> tuple[Cell, ...]:
    interval = f"{number(found.low)} to {number(found.high)}"
    tests = (found.p_naive, found.p_test, found.p_holm, found.p_bootstrap, found.p_bootstrap_holm)
    return (
        Cell(found.second),
        Cell(f"{found.difference:+.3f}".replace("-", "−"), interval, found.difference),
        *(Cell(_p(p), sort=p if p == p else 2.0) for p in tests),
        Cell(number(found.resolvable), sort=found.resolvable if found.resolvable == found.resolvable else 2.0),
    )


def _p(p: float) -> str:
    return "–" if p != p else "< .001" if p < 0.001 else f"{p:.3f}".removeprefix("0")
