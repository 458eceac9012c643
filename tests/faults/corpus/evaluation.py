"""Runs and tables of predictions that cannot be scored, compared, audited or drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.faults.corpus.cases import TABLE_SECONDS, Bench, Case

RISKS = "fold,patient_id,risk,time,event\n0,A,0.9,10,1\n0,B,0.5,20,1\n1,C,0.1,30,0\n1,D,-0.2,5.5,1\n"
OTHERS = "fold,patient_id,risk,time,event\n0,E,0.9,10,1\n0,F,0.5,20,1\n1,G,0.1,30,0\n1,H,-0.2,5.5,1\n"
CLASSES = "fold,patient_id,label,prob_x,prob_y\n0,A,x,0.9,0.1\n0,B,y,0.4,0.6\n1,C,x,0.5,0.5\n1,D,y,0.25,0.75\n"


def _change(text: str, old: str, new: str) -> str:
    assert old in text
    return text.replace(old, new)


def _table(command: str, name: str, text: str | bytes, code: str, *told: str, more: Sequence[str] = ()) -> Case:
    def words(bench: Bench) -> list[object]:
        return ["mirror-eval", command, "--predictions", bench.file("p.csv", text), "--resamples", "5", *more]

    exit_status = 2 if code else 0
    return Case(f"{command} table {name}", words, code, told, exit=exit_status, seconds=TABLE_SECONDS)


def _risks(name: str, old: str, new: str, code: str, *told: str) -> Case:
    return _table("cindex", name, _change(RISKS, old, new), code, *told)


def _classes(name: str, old: str, new: str, code: str, *told: str) -> Case:
    return _table("subtype", name, _change(CLASSES, old, new), code, *told)


TABLES = (
    _risks("without risks", "risk", "hazard", "BAD_COLUMN", "p.csv", "--risk-column"),
    _risks("without events", "event", "outcome", "BAD_COLUMN", "--event-column"),
    _risks("with a negative time", ",20,", ",-20,", "BAD_TIME", "1 rows"),
    _risks("with a missing time", ",20,", ",,", "BAD_TIME", "1 rows"),
    _risks("with events 1 and 2", "30,0", "30,2", "BAD_EVENT", "recode"),
    _risks("with a risk of NaN", "0.5", "nan", "BAD_VALUE", "risk", "1 rows"),
    _risks("with an infinite risk", "0.5", "-inf", "BAD_VALUE", "1 rows"),
    _risks("with a risk in words", "0.5", "high", "BAD_VALUE", "1 rows"),
    _risks("with a patient twice in a fold", "0,B", "0,A", "DUPLICATE", "average its slides"),
    _risks("with a patient of two outcomes", "1,C", "1,A", "CONFLICT", "1 patients"),
    _risks("with an empty fold", "1,C", ",C", "BAD_VALUE", "fold"),
    _risks("with a fold called ²", "1,C", "²,C", ""),
    _risks("with a short row", "0.1,30,0", "0.1,30", "RAGGED_ROW", "line 4"),
    _table("cindex", "with all censored", _change(RISKS, ",1\n", ",0\n"), "NOT_ESTIMABLE", "event"),
    _table("cindex", "of a header", RISKS.splitlines()[0] + "\n", "EMPTY", "p.csv"),
    _table("cindex", "in UTF-16", RISKS.encode("utf-16"), "ENCODING", "UTF-8"),
    _table("cindex", "by a column it lacks", RISKS, "BAD_COLUMN", "--by", more=("--by", "hospital")),
    _classes("without probabilities", "prob_", "p_", "BAD_COLUMN", "prob_<class>"),
    _classes("without labels", "label", "truth", "BAD_COLUMN", "label"),
    _classes("that does not add up", "0.9,0.1", "0.9,0.2", "BAD_VALUE", "add up to 1", "1 rows"),
    _classes("with a negative probability", "0.9,0.1", "1.1,-0.1", "BAD_VALUE", "1 rows"),
    _classes("with a label of no column", "B,y", "B,z", "MISMATCH", "prob_x"),
    _classes("with a patient twice in a fold", "0,B", "0,A", "DUPLICATE"),
    _classes("with a patient of two labels", "1,C,x", "1,A,y", "CONFLICT"),
)


def _compared(name: str, old: str, new: str, code: str, *told: str) -> Case:
    def words(bench: Bench) -> list[object]:
        tables = bench.file("a.csv", RISKS), bench.file("b.csv", _change(RISKS, old, new))
        return ["mirror-eval", "compare", "--predictions", *tables, "--resamples", "5", "--out", bench.folder / "t.csv"]

    return Case(f"compare tables {name}", words, code, told, seconds=TABLE_SECONDS)


def _of(command: str, name: str, code: str, told: Sequence[str], *more: str) -> Case:
    """A command on the trained cohort."""

    def words(bench: Bench) -> list[object]:
        return ["mirror-eval", command, "--store", bench.cohort(), *more]

    return Case(f"{command} {name}", words, code, tuple(told))


def _audited(name: str, text: str | bytes, code: str, *told: str, more: Sequence[str] = ()) -> Case:
    def words(bench: Bench) -> list[object]:
        return ["mirror-eval", "audit", "--folds", bench.file("splits_0.csv", text), *more]

    return Case(f"audit {name}", words, code, told, seconds=TABLE_SECONDS)


def _nowhere(command: str, *more: str) -> Case:
    words: Callable[[Bench], list[object]] = lambda b: ["mirror-eval", command, "--store", b.folder / "no.zarr", *more]  # noqa: E731
    return Case(f"{command} of no store", words, "NOT_A_STORE", ("no.zarr",))


RUNS = (
    *(_nowhere(command, "--run", "r") for command in ("subtype", "cindex", "report")),
    _nowhere("audit"),
    _nowhere("heatmap", "--run", "r", "--all"),
    _of("subtype", "of an unknown run", "MISSING", ["runs/never"], "--run", "never"),
    _of("cindex", "of an unknown run", "MISSING", ["runs/never"], "--run", "never"),
    _of("report", "of an unknown run", "MISSING", ["runs/never"], "--run", "never"),
    _of("heatmap", "of an unknown run", "MISSING", ["never"], "--run", "never", "--all"),
    _of("heatmap", "of an unknown slide", "NOT_FOUND", ["Q1"], "--run", "r", "Q1"),
    _of("heatmap", "of no slide", "BAD_OPTION", ["SLIDE_ID..., or --all"], "--run", "r"),
    _of("audit", "of an unknown split", "MISSING", ["one of: main"], "--split", "absent"),
    _of("audit", "of an unknown run", "MISSING", ["never"], "--run", "never"),
    _of("audit", "into no folder", "NOT_FOUND", ["create it first"], "--out", "no/audit.csv"),
    _of("audit", "into an unknown kind", "BAD_OPTION", [".csv or .json"], "--out", "audit.pdf"),
    _of(
        "subtype", "of predictions that are not there", "MISSING", ["predictions"], "--run", "r", "--protocol", "stored"
    ),
    _of("subtype", "into no folder", "NOT_FOUND", ["create it first"], "--run", "r", "--out", "no/p.csv"),
    _of("cindex", "with an unknown head", "Error", ["--head"], "--run", "r", "--head", "forest"),
    _of("compare", "one run", "BAD_OPTION", ["two"], "r", "--task", "subtype"),
    _of("compare", "with an unknown run", "MISSING", ["never"], "r:slide", "never", "--task", "subtype"),
    _of("compare", "without a task", "BAD_OPTION", ["--task"], "r:slide", "r:rna"),
    _compared("of different patients", RISKS, OTHERS, "NO_OVERLAP", "patients"),
    _compared("of different folds", "\n1,", "\n2,", "MISMATCH"),
    _compared("of different outcomes", "30,0", "30,1", "MISMATCH"),
    _audited("of folds of True and False", ",train,val\n0,True,False\n", "BAD_COLUMN", "ids"),
    _audited("of folds with a NUL", b",train,val\n0,A\0,B\n", "ENCODING", "NUL"),
    _audited("of folds and a store's run", ",train,val\n0,A,B\n", "BAD_OPTION", "--run", more=("--run", "r")),
)
CASES = (*TABLES, *RUNS)
