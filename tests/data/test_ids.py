from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mirror_data import ids
from mirror_data.errors import BadInput

SLIDE = "TCGA-3C-AALI-01Z-00-DX1.F6E9A5DF-D8FB-45CF-B4BD-C6B76294C291.svs"


def test_parts_of_a_tcga_barcode():
    assert ids.patient_id(SLIDE) == "TCGA-3C-AALI"
    assert ids.sample_id(SLIDE) == "TCGA-3C-AALI-01"
    assert ids.sample_type(SLIDE) == "01"
    assert ids.site(SLIDE) == "3C"
    assert ids.slide_id(SLIDE) == "TCGA-3C-AALI-01Z-00-DX1"


def test_diagnostic_slide_and_rna_meet_on_fifteen_characters_not_sixteen():
    rna = "TCGA-3C-AALI-01A-11R-A41B-07"
    assert SLIDE[:16] != rna[:16]
    assert ids.sample_id(SLIDE) == ids.sample_id(rna)


def test_plain_ids_stand_as_they_are():
    assert ids.patient_id("DEMO-001") == "DEMO-001"
    assert ids.sample_type("DEMO-001") is None
    assert ids.site("DEMO-001") is None
    assert ids.slide_id("a.b.svs") == "a.b"


def test_two_spellings_of_one_name_are_one_slide():
    assert ids.slide_id("u\u0308ber.svs") == ids.slide_id("\u00fcber.svs")


@pytest.mark.parametrize(
    ("identifier", "key"),
    [
        ("A-1_b.c", "A-1_b.c"),
        ("../../x", "~2e.~2f..~2fx"),
        ("..", "~2e."),
        ("zarr.json", "~7aarr.json"),
        ("c", "~63"),
        ("a b", "a~20b"),
        ("timm:resnet50@layer3", "timm~3aresnet50~40layer3"),
    ],
)
def test_keys(identifier, key):
    assert ids.to_key(identifier) == key


@given(st.text(min_size=1, max_size=300).filter(lambda text: "\0" not in text))
def test_keys_stay_inside_the_store(identifier):
    try:
        key = ids.to_key(identifier)
    except (BadInput, UnicodeEncodeError):
        return
    assert 0 < len(key) <= 120
    assert not set(key) & set('/\\:*?"<>| ')
    assert not key.startswith(".")


@given(st.text("ab/.~%é", min_size=1, max_size=6), st.text("ab/.~%é", min_size=1, max_size=6))
def test_different_ids_have_different_keys(one, other):
    assert (ids.to_key(one) == ids.to_key(other)) == (one == other)


@pytest.mark.parametrize("identifier", ["", "a\0b"])
def test_unusable_ids_are_refused(identifier):
    with pytest.raises(BadInput, match="BAD_PATH"):
        ids.to_key(identifier)


def test_long_ids_differ_though_cut():
    assert ids.to_key("x" * 300) != ids.to_key("x" * 301)
    assert len(ids.to_key("x" * 300)) == 120
