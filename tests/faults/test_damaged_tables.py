"""Tables and settings damaged at random are read right or refused: never another exception, never another value."""

from __future__ import annotations

import itertools
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mirror_data import ids
from mirror_data.cohort.columns import OutcomeOptions
from mirror_data.cohort.outcomes import read_outcome_table
from mirror_data.cohort.splits import read_published
from mirror_data.errors import Exit, MirrorError
from mirror_data.rna.tables import ExpressionOptions, read_expression_table
from mirror_data.slides.sources import read_slides_table
from mirror_eval.prediction_tables import read_classes, read_risks
from mirror_model.config import MirrorConfig, option_names, read_config

from tests.faults.corpus.cases import TABLE_SECONDS
from tests.faults.corpus.tables import NASTY, PlainTable, Rows, damaged, is_missing, read_plainly

SHORT, LONG = 50, 2500
Found = TypeVar("Found")


def rows(text: str) -> Rows:
    return [line.split(",") for line in text.split()]


EXPRESSION = rows("gene,P1,P2,P3 TP53,0.5,-1,2 MYC,1e1,0,-3 GAPDH,7,8,9.25 ACTB,4,5,6")
CLINICAL = rows("patient_id,time_days,event,subtype,age P1,10,1,x,50 P2,20.5,0,y,61 P3,30,1,x,NA P4,,,y,40")
FOLDS = rows(",train,val 0,P1,P3 1,P2,P4 2,P5,")
RISKS = rows("fold,patient_id,risk,time,event 0,P1,0.9,10,1 0,P2,-0.5,20,0 1,P3,0.1,30,1 1,P4,2e-1,5.5,1")
CLASSES = rows("fold,patient_id,label,prob_x,prob_y 0,P1,x,0.9,0.1 0,P2,y,0.25,0.75 1,P3,x,1,0 1,P4,y,0.5,0.5")
SLIDES = rows("slide,mpp,patient_id a.svs,0.5,P1 b.svs,,P2 c.svs,0.25,")


def expression(path: Path) -> Callable[[PlainTable], None]:
    found = read_expression_table(path, ExpressionOptions("zscore", orientation="genes-rows")).expression

    def agrees(plain: PlainTable) -> None:
        unnamed = plain.names[0] == "" or "gene" not in plain.names  # R names no column of row names
        genes = [row[0].strip() for row in plain.rows] if unnamed else plain.column("gene")
        for row, patient in enumerate(found.patient_ids):
            cells = plain.column(found.sample_ids[row])
            expected = {gene: np.float32(float(cell)) for gene, cell in zip(genes, cells, strict=True)}
            assert dict(zip(found.gene_ids, found.values[row], strict=True)) == expected, patient

    return agrees


def clinical(path: Path) -> Callable[[PlainTable], None]:
    found = read_outcome_table(path, OutcomeOptions())
    chosen, table = found.columns[0], found.patients.table

    def agrees(plain: PlainTable) -> None:
        owners = [None if is_missing(cell) else ids.patient_id(cell) for cell in plain.column(chosen.patient)]
        assert set(table.index) == {owner for owner in owners if owner is not None}
        assert found.rows == len(owners)
        if chosen.outcome is None or chosen.outcome.event is None:
            return
        told = zip(owners, plain.column(chosen.outcome.time), plain.column(chosen.outcome.event), strict=True)
        for owner, time_cell, event_cell in told:
            if owner is None or is_missing(time_cell) or is_missing(event_cell) or float(time_cell) == 0:
                continue
            assert table.loc[owner, "time_days"] == float(time_cell)
            assert table.loc[owner, "event"] == (event_cell.lower() in ("1", "dead", "true"))

    return agrees


def folds(path: Path) -> Callable[[PlainTable], None]:
    found = read_published(path)

    def agrees(plain: PlainTable) -> None:
        spelt = {name.lower(): name for name in reversed(plain.names)}
        held = found.test if found.validation is None else found.validation
        for part, members in (("train", found.train), ("val", held)):
            cells = plain.column(spelt[part]) if part in spelt else []
            assert members == {ids.patient_id(cell) for cell in cells if not is_missing(cell)}

    return agrees


def risks(path: Path) -> Callable[[PlainTable], None]:
    found = read_risks(path)

    def agrees(plain: PlainTable) -> None:
        columns = [plain.column(name) for name in ("patient_id", "risk", "time")]
        expected = sorted((patient, float(risk), float(time)) for patient, risk, time in zip(*columns, strict=True))
        assert sorted(found[["patient_id", "risk", "time"]].itertuples(index=False, name=None)) == expected

    return agrees


def classes(path: Path) -> Callable[[PlainTable], None]:
    found = read_classes(path)

    def agrees(plain: PlainTable) -> None:
        chances = [f"prob_{name}" for name in found.classes]
        columns = [plain.column("patient_id"), *([float(cell) for cell in plain.column(name)] for name in chances)]
        told = found.table[["patient_id", *chances]].itertuples(index=False, name=None)
        assert sorted(told) == sorted(zip(*columns, strict=True))

    return agrees


def slides(path: Path) -> Callable[[PlainTable], None]:
    found = read_slides_table(path)

    def agrees(plain: PlainTable) -> None:
        assert [row.slide for row in found] == plain.column("slide")
        if "mpp" in plain.names:
            numbers = [None if is_missing(c) else float(c.replace(",", ".")) for c in plain.column("mpp")]
            assert [row.mpp for row in found] == numbers

    return agrees


TABLES = {
    "expression": (EXPRESSION, expression),
    "clinical": (CLINICAL, clinical),
    "folds": (FOLDS, folds),
    "risks": (RISKS, risks),
    "classes": (CLASSES, classes),
    "slides": (SLIDES, slides),
}


def outcome(call: Callable[[], Found]) -> tuple[Found | None, MirrorError | None]:
    """What a call returns, or the error of ours that it raises; any other exception goes through."""
    try:
        return call(), None
    except MirrorError as error:
        return None, error


def explore(kind: str, folder: Path, examples: int) -> None:
    base, read = TABLES[kind]
    number = itertools.count()

    @settings(
        max_examples=examples, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(damaged(base))
    def holds(data: bytes) -> None:
        path = folder / f"{next(number)}.csv"
        path.write_bytes(data)
        began = time.process_time()
        agrees, error = outcome(lambda: read(path))
        path.unlink()
        assert time.process_time() - began < TABLE_SECONDS
        if agrees is not None:
            agrees(read_plainly(data))
        else:
            assert error is not None
            assert error.exit in (Exit.BAD_INPUT, Exit.SOME_FAILED)

    holds()


@pytest.mark.parametrize("kind", TABLES)
def test_damaged_tables(kind: str, tmp_path: Path):
    explore(kind, tmp_path, SHORT)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", TABLES)
def test_many_damaged_tables(kind: str, tmp_path: Path):
    explore(kind, tmp_path, LONG)


@pytest.mark.parametrize("kind", TABLES)
def test_the_sound_tables_are_read(kind: str, tmp_path: Path):
    """So that the others are not refused for a reason of their own."""
    base, read = TABLES[kind]
    text = "".join(",".join(row) + "\n" for row in base)
    (tmp_path / "sound.csv").write_text(text)
    read(tmp_path / "sound.csv")(read_plainly(text.encode()))


NAMES = [*option_names(MirrorConfig()), "model", "data", "epoch", "model.dimm", "", ".", "a b", "model..dim", "²"]
VALUES = (
    *NASTY,
    "768",
    "96",
    "0.5",
    "true",
    "false",
    "[1]",
    "{a = 1}",
    "adamw",
    "bf16",
    "1979-05-27",
    "[" * 500,
    '"x"',
)
RECIPE = """[train]
epochs = 7
precision = "fp32"
[train.model]
dim = 96
pool = "attention"
[variant.wide.model]
dim = 192
"""


@st.composite
def recipes(draw: st.DrawFn) -> str:
    """A recipe with pieces of it taken out, put elsewhere or overwritten."""
    text = RECIPE
    for _ in range(draw(st.integers(0, 4))):
        a, b = sorted((draw(st.integers(0, len(text))), draw(st.integers(0, len(text)))))
        piece = draw(
            st.sampled_from(("", text[a:b], "[", "]", "=", "\n", '"', ".", "[[train]]\n", "5", "\ufeff", "\0", "x"))
        )
        text = text[:a] + piece + text[draw(st.sampled_from((a, b))) :]
    return text


def explore_settings(folder: Path, examples: int) -> None:
    settings_drawn = st.lists(
        st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES) | st.text(max_size=8)), max_size=3
    )

    @settings(
        max_examples=examples, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(recipes(), settings_drawn, st.sampled_from((None, None, "wide", "x")))
    def holds(text: str, given_settings: list[tuple[str, str]], variant: str | None) -> None:
        path = folder / "recipe.toml"
        path.write_bytes(text.encode(errors="replace"))
        pairs = [f"{key}={value}" for key, value in given_settings]
        config, error = outcome(lambda: read_config(path, pairs, variant=variant))
        if config is None:
            assert error is not None
            assert (error.exit, error.code) == (Exit.BAD_INPUT, "BAD_OPTION")
            return
        for key, value in dict(given_settings).items():
            try:
                told = tomllib.loads(f"value = {value.strip()}")
            except tomllib.TOMLDecodeError:
                continue
            got = config
            for part in key.strip().split("."):
                got = getattr(got, part)
            if isinstance(told["value"], (bool, int, float)):
                assert got == told["value"]

    holds()


def test_damaged_settings(tmp_path: Path):
    explore_settings(tmp_path, SHORT)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_many_damaged_settings(tmp_path: Path):
    explore_settings(tmp_path, LONG)
