"""The contact sheet: what stands on the page and in the table, in which order, and what is refused."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import re
import shutil
import tracemalloc
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from mirror_data.cli.app import run
from mirror_data.cli.main import cli
from mirror_data.errors import BadInput, StoreError
from mirror_data.slides.contact_sheet import SheetOptions, make_contact_sheet
from mirror_data.store import Slide, create_store, open_store, write_slide

from tests.data.slides.sheet_store import EVIL, TILING, add_slide, fill


class Page(HTMLParser):
    """Titles of the cards, in order, by section; and every tag."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.cards: dict[str, list[str]] = {}
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.section = ""
        self.in_title = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "section":
            self.section = str(dict(attrs)["id"])
            self.cards[self.section] = []
        self.in_title = tag == "h3"
        if self.in_title:
            self.cards[self.section].append("")

    def handle_endtag(self, tag: str) -> None:
        self.in_title = False

    def handle_data(self, data: str) -> None:
        if self.in_title:
            self.cards[self.section][-1] += data


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    return fill(create_store(tmp_path_factory.mktemp("filled") / "cohort.zarr"))


@pytest.fixture
def store(filled, tmp_path):
    """A copy of the filled store."""
    shutil.copytree(filled.url, tmp_path / "cohort.zarr")
    return open_store(tmp_path / "cohort.zarr")


def damage(slide: Path) -> None:
    """Overwrite the chunk of a slide's mask."""
    next(path for path in (slide / "tissue" / "c").rglob("0") if path.is_file()).write_bytes(b"no mask")


def words(text: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", text).split())


def test_slides_to_look_at_come_first(store, tmp_path):
    sheet = make_contact_sheet(store, SheetOptions(tmp_path / "sheet.html"))
    text = (tmp_path / "sheet.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.cards == {
        "look": ["blank", "smeared", "sparse", "unsharp"],
        "rest": [EVIL, *(f"S{k:02d}" for k in range(1, 10))],
    }
    assert sheet.reasons() == {"empty": 1, "outlier": 2, "border": 1, "dropped": 1}
    assert (sheet.to_look_at, sheet.tiling, sheet.without_mask, sheet.exit) == (4, TILING, {"import clam": 2}, 0)
    assert sheet.size_bytes == len(text.encode())
    shown = words(text)
    assert "4 of 14 slides should be looked at" in shown
    assert "Not shown, because the store has no mask of them: 2 (import clam)." in shown
    assert "Dropped 30 blurred, 1 pen" in shown
    assert "Pixel 0.5 µm, from aperio Size 1,280 × 960 Reader test 1" in shown
    assert "S05 Tissue 50 %, 0.2 mm² Tiles 40 of 70 Dropped none" in shown


def test_the_page_is_whole_and_may_load_nothing(store, tmp_path):
    make_contact_sheet(store, SheetOptions(tmp_path / "sheet.html"))
    text = (tmp_path / "sheet.html").read_text(encoding="utf-8")
    page = Page(text)
    policy = next(str(a["content"]) for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    for tag in ("style", "script"):
        inside = text[text.index(f"<{tag}>") + len(tag) + 2 : text.index(f"</{tag}>")]
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    links = [str(a.get(name)) for _, a in page.tags for name in ("src", "href") if a.get(name)]
    assert all(link.startswith(("data:", "#")) for link in links)
    assert not any("style" in a or any(name.startswith("on") for name in a) for _, a in page.tags)
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert [tag for tag, _ in page.tags].count("image") == 14
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))


def test_table(store, tmp_path):
    make_contact_sheet(store, SheetOptions(tmp_path / "sheet.html", csv=tmp_path / "sheet.csv"))
    rows = list(csv.DictReader((tmp_path / "sheet.csv").open(encoding="utf-8")))
    assert [row["slide_id"] for row in rows[:5]] == ["blank", "smeared", "sparse", "unsharp", EVIL]
    assert [row["reasons"] for row in rows[:5]] == ["empty", "outlier border", "outlier", "dropped", ""]
    smeared = rows[1]
    assert (smeared["tissue_share"], smeared["border_share"], smeared["tiles"]) == ("1", "1", "70")
    assert float(smeared["tissue_mm2"]) == pytest.approx(4800 * 64e-6)
    assert (rows[0]["robust_z"], rows[0]["tiles"], rows[0]["candidates"]) == ("", "0", "70")
    assert (rows[3]["dropped_empty"], rows[3]["dropped_pen"], rows[3]["dropped_blurred"]) == ("0", "1", "30")
    assert (rows[3]["width_px"], rows[3]["height_px"], rows[3]["mpp"], rows[3]["mpp_source"]) == (
        *("1280", "960"),
        *("0.5", "aperio"),
    )


def test_a_table_cell_is_no_formula(tmp_path):
    store = create_store(tmp_path / "c.zarr")
    add_slide(store, "=cmd()", 0.5)
    make_contact_sheet(store, SheetOptions(tmp_path / "sheet.html", csv=tmp_path / "sheet.csv"))
    assert (tmp_path / "sheet.csv").read_text().splitlines()[1].startswith("'=cmd(),")


def test_equal_stores_give_equal_pages(filled, store, tmp_path):
    pages = []
    for number, one in enumerate((filled, store)):
        out = tmp_path / f"{number}.html"
        make_contact_sheet(one, SheetOptions(out))
        pages.append(out.read_bytes())
    assert pages[0] == pages[1]


def test_slides_without_tiles_or_thumbnail(tmp_path):
    store = create_store(tmp_path / "c.zarr")
    mask = np.ones((20, 30), np.uint8)
    mask[0] = mask[-1] = 0
    write_slide(store, Slide("bare", "P", tissue=mask, tissue_mpp=8.0))
    sheet = make_contact_sheet(store, SheetOptions(tmp_path / "sheet.html"))
    assert sheet.tiling is None
    shown = words((tmp_path / "sheet.html").read_text(encoding="utf-8"))
    assert "no tiles 1 slide, none of which stands out" in shown
    assert "Tiles not tiled Pixel unknown Reader unknown" in shown


def test_a_choice_of_tilings(store, tmp_path):
    add_slide(store, "other", 0.5, tiling="512px")
    out = tmp_path / "sheet.html"
    with pytest.raises(BadInput, match="several tilings") as caught:
        make_contact_sheet(store, SheetOptions(out))
    assert (caught.value.code, caught.value.key) == ("BAD_OPTION", "--tiling")
    assert caught.value.got == f"{TILING} (14 slides), 512px (1 slides)"
    with pytest.raises(BadInput, match="no slide has this tiling") as caught:
        make_contact_sheet(store, SheetOptions(out, tiling="1024px"))
    assert (caught.value.got, caught.value.expected) == ("1024px", f"{TILING} (14 slides), 512px (1 slides)")
    sheet = make_contact_sheet(store, SheetOptions(out, tiling="512px"))
    assert {one.facts.slide_id for one in sheet.slides if one.facts.tiles is not None} == {"other"}


def test_a_damaged_slide_costs_itself_alone(store, tmp_path, capsys):
    damage(tmp_path / "cohort.zarr" / "slides" / "S03")
    (tmp_path / "cohort.zarr" / "slides" / "S04" / "zarr.json").write_text("{")
    out = tmp_path / "sheet.html"
    command = ["contact-sheet", "--store", str(tmp_path / "cohort.zarr"), "--out", str(out)]
    assert run(cli, command) == 3
    told = capsys.readouterr()
    assert "S03: CORRUPT_STORE" in told.err
    assert "12 slides on the page" in told.out
    assert "2 slides could not be read" in told.out
    shown = words(out.read_text(encoding="utf-8"))
    assert "2 slides could not be read: S03: CORRUPT_STORE" in shown


def test_when_no_slide_can_be_read(tmp_path):
    store = create_store(tmp_path / "c.zarr")
    add_slide(store, "only", 0.5)
    damage(tmp_path / "c.zarr" / "slides" / "only")
    with pytest.raises(StoreError, match="not one slide could be read"):
        make_contact_sheet(store, SheetOptions(tmp_path / "sheet.html"))
    assert not (tmp_path / "sheet.html").exists()


def test_command(store, tmp_path, capsys):
    out, table = tmp_path / "sheet.html", tmp_path / "sheet.csv"
    command = ["contact-sheet", "--store", store.url, "--out", str(out), "--csv", str(table)]
    assert run(cli, command) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:5] == [
        "14 slides on the page, 4 to look at",
        "  1: no tissue found",
        "  2: unusual share of tissue",
        "  1: tissue along the border",
        "  1: most tiles dropped",
    ]
    assert lines[5:] == ["2 slides without a mask left out", f"{out}: {out.stat().st_size / 1e6:.2g} MB", str(table)]
    assert run(cli, command) == 2
    assert "EXISTS: the file is there" in capsys.readouterr().err
    assert run(cli, [*command, "--overwrite", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["to_look_at"], told["tiling"], told["size_bytes"]) == (4, TILING, out.stat().st_size)
    assert told["slides"][0]["facts"]["slide_id"] == "blank"
    assert told["slides"][0]["concerns"][0]["kind"] == "empty"


@pytest.mark.parametrize(
    ("out", "table", "code"),
    [
        ("there.html", None, "EXISTS"),
        ("new.html", "there.html", "EXISTS"),
        ("folder", None, "BAD_PATH"),
        ("gone/new.html", None, "NOT_FOUND"),
        ("cohort.zarr/new.html", None, "BAD_OPTION"),
        ("new.html", "cohort.zarr/slides/new.csv", "BAD_OPTION"),
        ("new.html", "new.html", "BAD_OPTION"),
    ],
)
def test_places_that_are_refused(store, tmp_path, capsys, out, table, code):
    (tmp_path / "there.html").write_text("mine")
    (tmp_path / "folder").mkdir()
    command = ["contact-sheet", "--store", store.url, "--out", str(tmp_path / out)]
    assert run(cli, command + ([] if table is None else ["--csv", str(tmp_path / table)])) == 2
    assert capsys.readouterr().err.startswith(f"{code}: ")
    assert (tmp_path / "there.html").read_text() == "mine"
    assert not (tmp_path / "new.html").exists()


def test_stores_without_masks(tmp_path, capsys):
    out = str(tmp_path / "sheet.html")
    assert run(cli, ["contact-sheet", "--store", str(tmp_path / "none.zarr"), "--out", out]) == 2
    assert capsys.readouterr().err.startswith("NOT_A_STORE: ")
    store = create_store(tmp_path / "c.zarr")
    assert run(cli, ["contact-sheet", "--store", store.url, "--out", out]) == 2
    assert capsys.readouterr().err.startswith("EMPTY: the store holds no slides")
    write_slide(store, Slide("bag", "bag", reader="import clam"))
    assert run(cli, ["contact-sheet", "--store", store.url, "--out", out]) == 2
    assert capsys.readouterr().err.startswith("EMPTY: no slide of the store has a tissue mask")


def test_memory_does_not_grow_with_the_cohort(tmp_path):
    """Pictures wait on disk: 18 more slides, each of 60 kB on the page, cost less than two of their pictures."""
    noise = np.random.default_rng(0).integers(0, 255, (320, 320, 3), np.uint8)
    mask = np.zeros((320, 320), np.uint8)
    mask[100:200, 100:200] = 1
    slide = Slide("S", "P", (5120, 5120), 0.5, "aperio", "t", {}, mask, 8.0, {}, noise)
    peaks = []
    for count in (2, 20):
        store = create_store(tmp_path / f"{count}.zarr")
        for k in range(count):
            write_slide(store, replace(slide, slide_id=f"S{k:02d}"))
        tracemalloc.start()
        sheet = make_contact_sheet(store, SheetOptions(tmp_path / f"{count}.html"))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert sheet.size_bytes > 20 * 60_000
    assert peaks[1] < peaks[0] + 120_000
