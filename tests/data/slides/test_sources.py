"""Files, folders and the slides table."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from mirror_data.errors import BadInput
from mirror_data.slides.sources import TableRow, find_slides, read_slides_table


@pytest.fixture
def touch(tmp_path):
    def make(*names: str) -> list[Path]:
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(b"x")
        return [tmp_path / name for name in names]

    return make


def test_folders_are_searched_and_sorted(touch, tmp_path):
    touch("b.svs", "a.TIFF", "sub/c.ndpi", "note.txt", ".hidden.svs", ".cache/d.svs", "series/e.dcm")
    found = find_slides([tmp_path])
    assert [slide.slide_id for slide in found.slides] == ["a", "b", "c"]
    assert found.failures == ()


def test_tcga_names(touch):
    found = find_slides(touch("TCGA-3C-AALI-01Z-00-DX1.F6E9A5DF-D8FB.svs"))
    assert found.slides[0].slide_id == "TCGA-3C-AALI-01Z-00-DX1"
    assert found.slides[0].patient_id == "TCGA-3C-AALI"


def test_same_file_twice_counts_once(touch, tmp_path):
    path = touch("a.svs")[0]
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "a.svs").symlink_to(path)
    assert len(find_slides([path, path, tmp_path / "links" / ".." / "a.svs"]).slides) == 1
    assert len(find_slides([path, tmp_path]).slides) == 1


def test_same_id_twice(touch):
    found = find_slides(touch("one/a.svs", "two/a.svs", "b.svs", "c.svs", "c.tiff"))
    assert [slide.slide_id for slide in found.slides] == ["b"]
    assert [(failure.id, failure.code) for failure in found.failures] == [("a", "DUPLICATE_ID"), ("c", "DUPLICATE_ID")]


def test_two_spellings_of_one_name(touch):
    names = [unicodedata.normalize(form, "Zürich.svs") for form in ("NFC", "NFD")]
    assert names[0] != names[1]
    found = find_slides(touch(*names))
    assert [failure.code for failure in found.failures] == ["DUPLICATE_ID"]
    assert found.slides == ()


def test_missing_file_and_folder_without_slides(touch, tmp_path):
    touch("empty/note.txt")
    found = find_slides([tmp_path / "empty", tmp_path / "gone.svs"])
    assert [failure.code for failure in found.failures] == ["NOT_A_SLIDE"]
    assert [slide.slide_id for slide in found.slides] == ["gone"]  # opening it gives NOT_FOUND


def test_table_is_matched_by_name_stem_or_id(touch):
    files = touch("a.svs", "b.svs", "TCGA-3C-AALI-01Z-00-DX1.UUID.svs", "d.svs")
    rows = [
        TableRow("a.svs", "P1", 0.25),
        TableRow("b", None, 0.5),
        TableRow("TCGA-3C-AALI-01Z-00-DX1", "P3", None),
        TableRow("zzz", "P9", 1.0),
    ]
    found = find_slides(files, rows)
    stated = {slide.slide_id: (slide.patient_id, slide.stated_mpp) for slide in found.slides}
    assert stated == {
        "a": ("P1", 0.25),
        "b": ("b", 0.5),
        "TCGA-3C-AALI-01Z-00-DX1": ("P3", None),
        "d": ("d", None),
    }
    assert (found.unlisted, found.unused) == (1, 1)
    with pytest.raises(BadInput) as caught:
        find_slides(files, [*rows, TableRow("a", "P2", None)])
    assert caught.value.code == "DUPLICATE"


def test_read_table(tmp_path):
    path = tmp_path / "slides.csv"
    path.write_text('slide, mpp ,patient_id,age\na.svs,"0,25",P1,60\nb,,,\n', encoding="utf-8-sig")
    assert read_slides_table(path) == (TableRow("a.svs", "P1", 0.25), TableRow("b", None, None))


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"name,mpp\na,0.5\n", "MISSING_COLUMN"),
        (b"slide,mpp\n", "EMPTY"),
        (b"", "EMPTY"),
        (b"slide,mpp\na,0\n", "BAD_VALUE"),
        (b"slide,mpp\na,half\n", "BAD_VALUE"),
        (b"slide,mpp\n,0.5\n", "BAD_VALUE"),
        (b"slide\na\na\n", "DUPLICATE"),
        ("slide\nä\n".encode("utf-16"), "ENCODING"),
        ("slide\nä\n".encode("latin-1"), "ENCODING"),
    ],
)
def test_bad_table(tmp_path, content, code):
    (tmp_path / "slides.csv").write_bytes(content)
    with pytest.raises(BadInput) as caught:
        read_slides_table(tmp_path / "slides.csv")
    assert caught.value.code == code


def test_missing_table(tmp_path):
    with pytest.raises(BadInput) as caught:
        read_slides_table(tmp_path / "slides.csv")
    assert caught.value.code == "NOT_FOUND"
