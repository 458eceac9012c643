"""Units, their guesses, and the way between them."""

from __future__ import annotations

import numpy as np
import pytest
from mirror_data.errors import BadInput
from mirror_data.rna.samples import choose_samples
from mirror_data.rna.standardise import standardise
from mirror_data.rna.units import Unit, convert, guess_unit, parse_unit, stored_unit


@pytest.mark.parametrize(
    ("text", "unit", "name"),
    [
        ("tpm", Unit("tpm"), "tpm"),
        ("log2tpm", Unit("tpm", 1.0), "log2(tpm+1)"),
        ("log2tpm+0.001", Unit("tpm", 0.001), "log2(tpm+0.001)"),
        ("log2(FPKM + 1)", Unit("fpkm", 1.0), "log2(fpkm+1)"),
        ("log2+0.001", Unit("x", 0.001), "log2(x+0.001)"),
        ("zscore", Unit("zscore"), "zscore"),
    ],
)
def test_names_of_units(text, unit, name):
    assert parse_unit(text) == unit
    assert str(unit) == name


def test_unknown_units_are_refused():
    for text in ("TPMs", "log10tpm", "log2tpm+", ""):
        with pytest.raises(BadInput, match="BAD_OPTION"):
            parse_unit(text)


def test_guesses():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(50, 30))
    z[3, 4] = 3e4  # published z-scores hold such
    tpm = rng.gamma(1, 40, size=(50, 30)) * (rng.random((50, 30)) > 0.2)
    assert guess_unit(z) == Unit("zscore")
    assert guess_unit(np.log2(tpm + 0.001)) == Unit("x", 0.001)
    assert guess_unit(np.log2(tpm + 1)) == Unit("x", 1.0)
    assert guess_unit(tpm) == Unit("x")
    assert guess_unit(np.round(tpm)) == Unit("counts")
    with pytest.raises(BadInput, match="UNIT_UNKNOWN"):
        guess_unit(tpm - 100)


def test_conversions_by_hand():
    tpm = np.array([[0, 1, 7, 0.5]])
    values = tpm.astype(np.float32)
    assert convert(values, Unit("tpm"), Unit("tpm", 1.0)) == 0
    np.testing.assert_allclose(values, [[0, 1, 3, np.log2(1.5)]], rtol=1e-6)
    xena = np.round(np.log2(tpm + 0.001), 4).astype(np.float32)
    clipped = convert(xena, Unit("tpm", 0.001), Unit("tpm", 1.0))
    np.testing.assert_allclose(xena, values, atol=3e-4)
    assert xena[0, 0] == 0
    assert clipped == 1  # 2^-9.9658 - 0.001 is a little below 0
    kept = values.copy()
    convert(kept, Unit("tpm", 1.0), Unit("tpm", 1.0))
    assert np.array_equal(kept, values)


def test_what_is_stored():
    assert stored_unit(Unit("tpm"), None) == Unit("tpm", 1.0)
    assert stored_unit(Unit("tpm", 0.001), None) == Unit("tpm", 0.001)
    assert stored_unit(Unit("tpm", 0.001), 1.0) == Unit("tpm", 1.0)
    assert stored_unit(Unit("zscore"), None) == Unit("zscore")
    for unit, offset in ((Unit("zscore"), 1.0), (Unit("tpm"), 0.0), (Unit("tpm"), -1.0)):
        with pytest.raises(BadInput, match="BAD_OPTION"):
            stored_unit(unit, offset)


def test_values_that_the_unit_forbids():
    for unit, stored in ((Unit("tpm"), Unit("tpm", 1.0)), (Unit("tpm", 1.0), Unit("tpm", 1.0))):
        with pytest.raises(BadInput, match="BAD_VALUE"):
            convert(np.array([[1, -2.0]], dtype=np.float32), unit, stored)
    with pytest.raises(BadInput, match="BAD_VALUE"):
        convert(np.array([[1, -12.0]], dtype=np.float32), Unit("tpm", 0.001), Unit("tpm", 1.0))


def test_one_sample_a_patient():
    names = [
        "TCGA-AA-0001-11A-11R",  # normal
        "TCGA-AA-0001-06A-11R",  # metastasis
        "TCGA-AA-0001-01B-11R",
        "TCGA-AA-0001-01A-12R",
        "TCGA-AA-0001-01A-11R",  # this one
        "TCGA-AA-0002-06A-11R",  # the only one
        "TCGA-AA-0003-01A-11R",  # not wanted
        "TCGA-AA-0004",
        "",
    ]
    wanted = {"TCGA-AA-0001", "TCGA-AA-0002", "TCGA-AA-0004"}
    found = choose_samples(names, wanted=wanted)
    assert found.patient_ids == ("TCGA-AA-0001", "TCGA-AA-0002", "TCGA-AA-0004")
    assert found.sample_ids == ("TCGA-AA-0001-01", "TCGA-AA-0002-06", "TCGA-AA-0004")
    assert found.places == (4, 5, 7)
    assert dict(found.dropped) == {
        "another sample of the patient is kept": 3,
        "no id": 1,
        "normal tissue": 1,
        "patient not in the cohort": 1,
    }
    assert dict(found.types) == {"": 1, "01": 1, "06": 1}
    primary = choose_samples(names, wanted=wanted, sample_types=("01",))
    assert primary.patient_ids == ("TCGA-AA-0001", "TCGA-AA-0004")
    assert dict(primary.dropped)["sample type 06"] == 2
    plain = choose_samples(["b", "a"])
    assert (plain.patient_ids, plain.places) == (("a", "b"), (1, 0))


def test_standardising_knows_the_given_patients_only():
    rng = np.random.default_rng(0)
    values = rng.normal(5, 3, size=(40, 7)).astype(np.float32)
    values[:, 2] = 4.25
    values[0, 3] = 3e4
    ready = standardise(values, None)
    assert ready.values.shape == (7, 40)
    assert (ready.constant, ready.clipped) == (1, 0)
    others = [0, 1, 3, 4, 5, 6]
    np.testing.assert_allclose(ready.values[others].mean(axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(ready.values[others].std(axis=1), 1, atol=1e-12)
    assert not ready.values[2].any()
    clipped = standardise(values, 10.0)
    assert clipped.clipped == int((np.abs(values) > 10).sum())
    assert np.abs(clipped.values[3]).max() < 4
