"""One table of the runs of a store: subtyping, survival and retrieval in the test parts, a line a run and modality.

    python recipes/table.py COHORT.zarr OUT.csv [RUN ...]

Embeddings are probed (`--protocol linear`), supervised methods scored by their own predictions. Values are means over
folds, with the population sd and the 95 % interval that `mirror-eval` prints. Retrieval compares aligned vectors.
"""

from __future__ import annotations

import sys

import pandas as pd
from mirror_data.errors import BadInput, StoreError
from mirror_data.store import Store, open_store, read_run
from mirror_eval.results import Score
from mirror_eval.retrieval import retrieval
from mirror_eval.subtype import evaluate_subtype
from mirror_eval.survival import evaluate_survival

SHOWN = {"accuracy": "accuracy", "macro_f1": "macro F1", "auroc": "AUROC", "c_harrell": "Harrell's C"}
WAYS = {"slide_to_rna": "recall@10 slide to RNA", "rna_to_slide": "recall@10 RNA to slide"}


def scores_of(store: Store, run: str) -> list[Score]:
    """Everything that a run can be scored by."""
    task = read_run(store, run, 0).config.get("task")
    protocol = "stored" if task else "linear"
    found: list[Score] = []
    if task in (None, "subtype"):
        found += evaluate_subtype(store, run, protocol=protocol).scores
    if task in (None, "survival"):
        found += evaluate_survival(store, run, protocol=protocol).scores
    if task is None:
        result = retrieval(store, run)
        found += [result.slide_to_rna, result.rna_to_slide] if result.aligned else []
    return found


def rows_of(store: Store, run: str) -> list[dict[str, object]]:
    rows = []
    for score in scores_of(store, run):
        metric = WAYS.get(score.modality) or SHOWN.get(score.metric)
        if metric is not None:
            modality = "both" if score.modality in WAYS else score.modality
            values = {"mean": score.mean, "sd": score.sd, "low": score.low, "high": score.high}
            rows.append({"run": run, "modality": modality, "metric": metric, **values})
    return rows


def markdown(table: pd.DataFrame) -> str:
    """A line a run and modality, a column a metric: mean ± sd [95 % interval]."""
    table = table.assign(run=table["run"].str.replace("-(?:subtype|survival)$", "", regex=True))
    metrics = list(dict.fromkeys([*SHOWN.values(), *WAYS.values()]))
    lines = ["| run | modality | " + " | ".join(metrics) + " |", "|---" * (len(metrics) + 2) + "|"]
    for (run, modality), rows in table.groupby(["run", "modality"], sort=False):
        found = rows.set_index("metric")
        cells = [_cell(found.loc[metric]) if metric in found.index else "" for metric in metrics]
        lines.append(f"| {run} | {modality} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(row: pd.Series) -> str:
    text = f"{row['mean']:.3f} ± {row['sd']:.3f} [{row['low']:.3f}, {row['high']:.3f}]"
    return text.replace("0.", ".")


def main(url: str, out: str, *runs: str) -> None:
    store = open_store(url)
    rows: list[dict[str, object]] = []
    for run in runs or store.keys("runs"):
        try:
            rows += rows_of(store, run)
        except (BadInput, StoreError) as error:
            print(f"{run}: left out, {error}", file=sys.stderr)
    table = pd.DataFrame(rows)
    table.round(4).to_csv(out, index=False)
    print(markdown(table))


if __name__ == "__main__":
    main(*sys.argv[1:])
