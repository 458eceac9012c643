"""Bad clinical tables and folds, and good ones that look bad."""

from __future__ import annotations

from collections.abc import Sequence

from tests.faults.corpus.cases import TABLE_SECONDS, Bench, Case

GOOD = "patient_id,time_days,event,subtype\nA,10,1,x\nB,20,0,y\n"
HEAD = "patient_id,time_days,event\n"


def _case(name: str, text: str, code: str, told: Sequence[str] = (), options: Sequence[str] = ()) -> Case:
    def words(bench: Bench) -> list[object]:
        named = text.replace("\nA,", "\nTCGA-AA-000A,").replace("\nB,", "\nTCGA-AA-000B,")
        return ["mirror-data", "outcomes", bench.file("clinical.csv", named), "--store", bench.store, *options]

    return Case(f"clinical {name}", words, code, tuple(told), exit=2 if code else 0, seconds=TABLE_SECONDS)


def _of_others(bench: Bench) -> list[object]:
    table = bench.file("clinical.csv", GOOD)
    return ["mirror-data", "outcomes", table, "--store", bench.cohort(), "--overwrite"]


OUTCOMES = (
    _case("negative time", f"{HEAD}A,-10,1\nB,20,0\n", "BAD_TIME", ["time_days", "1 rows", "negative"]),
    _case("constant time", f"{HEAD}A,10,1\nB,10,0\n", "BAD_TIME", ["same time"]),
    _case("text for a time", f"{HEAD}A,ten,1\nB,10,0\n", "BAD_TIME", ["not numbers"]),
    _case("a date for a time", f"{HEAD}A,2019-01-05,1\nB,2020-02-01,0\n", "BAD_TIME", ["2 rows"]),
    _case("thousands", f'{HEAD}A,"1,000",1\nB,20,0\n', "BAD_TIME", ["1 rows"]),
    _case("infinite time", f"{HEAD}A,inf,1\nB,10,0\n", "BAD_TIME", ["infinite"]),
    _case(
        "days called months",
        "patient_id,os_months,os_status\nA,4000,1\nB,10,0\n",
        "BAD_TIME",
        ["--time-unit", "1 rows"],
    ),
    _case("decimal comma", "patient_id;time_days;event\nA;10,5;1\nB;20,1;0\n", "BAD_TIME", ["2 rows"]),
    _case("events 1 and 2", f"{HEAD}A,10,1\nB,20,2\n", "BAD_EVENT", ["codes 1 and 2", "recode"]),
    _case("events in unknown words", f"{HEAD}A,10,maybe\nB,20,0\n", "BAD_EVENT", ["alive and dead"]),
    _case("half an event", f"{HEAD}A,10,0.5\nB,20,0\n", "BAD_EVENT", ["1 other values in 1 rows"]),
    _case("all censored", f"{HEAD}A,10,0\nB,20,0\n", "NOT_ESTIMABLE", ["--censorship-column"]),
    _case("no outcome at all", f"{HEAD}A,,0\nB,20,\n", "NOT_ESTIMABLE", ["both a time and an event"]),
    _case("two labels", "patient_id,subtype\nA,x\nA,y\n", "CONFLICT", ["subtype", "1 patients"]),
    _case("two outcomes", f"{HEAD}A,10,1\nA,11,1\nB,20,0\n", "CONFLICT", ["1 patients"]),
    _case("two ages", "patient_id,age\nA,50\nA,51\n", "CONFLICT", ["age"]),
    _case(
        "event against censorship",
        "patient_id,time_days,event,censored\nA,10,1,1\nB,20,0,1\n",
        "CONFLICT",
        ["event and censored", "1 rows"],
    ),
    _case(
        "one column twice",
        GOOD,
        "BAD_OPTION",
        ["--event-column"],
        ["--event-column", "event", "--censorship-column", "event"],
    ),
    _case(
        "time alone",
        "patient_id,time_days,subtype\nA,10,x\n",
        "MISSING_COLUMN",
        ["--event-column"],
        ["--time-column", "time_days"],
    ),
    _case("unit not known", "patient_id,time,event\nA,10,1\nB,20,0\n", "BAD_OPTION", ["--time-unit"]),
    _case("no patients", "name,time_days,event\nA,10,1\n", "MISSING_COLUMN", ["--patient-column"]),
    _case("blank patients", f"{HEAD},10,1\n,20,0\n", "NO_OVERLAP", ["0 patients in the table"]),
    _case("no such column", GOOD, "MISSING_COLUMN", ["--subtype-column"], ["--subtype-column", "gone"]),
    _case("no such endpoint", GOOD, "MISSING_COLUMN", ["PFI", "--time-column"], ["--endpoint", "PFI"]),
    _case("unknown endpoint", GOOD, "BAD_OPTION", ["--endpoint", "OS, DSS"], ["--endpoint", "XYZ"]),
    _case("no such subtype", GOOD, "BAD_OPTION", ["--subtypes", "got: z"], ["--subtypes", "x,z"]),
    _case("reserved covariate", GOOD, "BAD_OPTION", ["--covariates"], ["--covariates", "event=time_days"]),
    _case("AnnData's own covariate", GOOD, "BAD_OPTION", ["--covariates"], ["--covariates", "_index=subtype"]),
    _case("covariate that is a path", GOOD, "BAD_PATH", ["--covariates"], ["--covariates", "../x=subtype"]),
    _case("covariate of 300 letters", GOOD, "BAD_PATH", ["--covariates"], ["--covariates", f"{'x' * 300}=subtype"]),
    _case("ragged", f"{HEAD}A,10\n", "RAGGED_ROW", ["line 2", "3 cells", "2 cells"]),
    _case("separator at every end", "patient_id,age,stage\nA,50,II,\nB,60,I,\n", "RAGGED_ROW", ["line 2", "4 cells"]),
    _case("repeated column", f"{HEAD[:-1]},event\nA,10,1,1\n", "DUPLICATE", ["event"]),
    _case("all in one column", '"patient_id,time_days,event"\n"A,10,1"\n', "MISSING_COLUMN", ["--patient-column"]),
    _case("header only", HEAD, "EMPTY", ["no rows"]),
    _case("Excel's csv", "\ufeffpatient_id;time_days;event\r\nA;10;1\r\nB;20;0\r\n", ""),
    _case("blank columns at the end", f"{HEAD[:-1]},,\nA,10,1,,\nB,20,0,,\n,,,,\n", ""),
    _case("Dead and Alive", f"{HEAD}A,10, DEAD \nB,20,Alive\n", ""),
    _case("negative zero", f"{HEAD}A,-0,1\nB,20,1\nC,30,0\n", ""),
    _case(
        "barcodes of three lengths",
        f"{HEAD}TCGA-AA-0001,10,1\nTCGA-AA-0001-01A,10,1\nTCGA-AA-0001-01A-11R-A084-07,10,1\nTCGA-AA-0002,20,0\n",
        "",
    ),
    _case("ids that are paths", f"{HEAD}../../x,10,1\nB,20,0\n", ""),
    Case(
        "clinical ids that do not join",
        _of_others,
        "NO_OVERLAP",
        ("2 patients in the table", "36 in the cohort", "none in both"),
        seconds=TABLE_SECONDS,
    ),
)


def _folds(name: str, text: str | bytes, code: str, *told: str) -> Case:
    def words(bench: Bench) -> list[object]:
        fold = bench.file("splits_0.csv", text)
        return ["mirror-data", "split", "--store", bench.cohort(), "--name", "published", "--from", fold]

    return Case(f"split {name}", words, code, told, exit=2 if code else 0, seconds=TABLE_SECONDS)


def _drawn(name: str, code: str, told: Sequence[str], *more: str) -> Case:
    def words(bench: Bench) -> list[object]:
        return ["mirror-data", "split", "--store", bench.cohort(), "--name", "new", *more]

    return Case(f"split {name}", words, code, tuple(told), seconds=TABLE_SECONDS)


SPLITS = (
    _folds("one patient on both sides", ",train,val\n0,P00,P01\n1,P01,\n", "PATIENT_LEAK", "fold 0: 1"),
    _folds("one patient, two barcodes", ",train,val\n0,TCGA-AA-0001-01A,TCGA-AA-0001\n", "PATIENT_LEAK", "fold 0: 1"),
    _folds("of other patients", ",train,val\n0,Q1,Q2\n", "NO_OVERLAP", "2 patients in the folds, 36 in the store"),
    _folds("of True and False", ",train,val\n0,True,False\n1,False,True\n", "BAD_COLUMN", "ids"),
    _folds("without parts", ",training,test\n0,P00,P01\n", "MISSING_COLUMN", "train"),
    _folds("with a short row", ",train,val\n0,P00,P01\n1,P02\n", "RAGGED_ROW", "line 3"),
    _folds("in UTF-16", ",train,val\n0,P00,P01\n".encode("utf-16"), "ENCODING", "UTF-8"),
    _folds("with a patient missing", ",train,val\n0,P00,P01\n1,P02,P03\n2,P04,\n", ""),
    _drawn("from nowhere", "NOT_FOUND", ["gone.csv"], "--from", "gone.csv"),
    _drawn("of one fold", "BAD_OPTION", ["--folds"], "--folds", "1"),
    _drawn("of more folds than patients", "BAD_OPTION", ["36 patients"], "--folds", "30"),
    _drawn("with a validation of NaN", "BAD_OPTION", ["--validation"], "--validation", "nan"),
    _drawn("by a column that is not there", "BAD_OPTION", ["--stratify"], "--stratify", "gone"),
    _drawn("by sites that nobody has", "BAD_OPTION", ["--group"], "--group", "site"),
)
CASES = (*OUTCOMES, *SPLITS)
