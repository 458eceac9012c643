"""Every slide of a store on one page: thumbnail, mask and tiles, those whose mask looks wrong first.

Slides are read one by one; of each only its numbers stay in memory, its picture goes to a temporary file until the
order of the page is known. The page holds everything it shows and is forbidden, by its own policy, to load anything.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import IO

from mirror_data.errors import BadInput, Exit, StoreError, some
from mirror_data.progress import progress
from mirror_data.runner import Failure, Result, run_units
from mirror_data.slides.mask_picture import Picture, draw
from mirror_data.slides.mask_review import CONCERNS, Reviewed, SlideFacts, dropped_words, percent, review, slide_facts
from mirror_data.spreadsheet import unformula
from mirror_data.store import Store, read_slide, read_tiling, schema
from mirror_data.whole import whole_text

_PARTS = "contact_sheet"  # files beside this module: .html.j2, .css, .js


@dataclass(frozen=True)
class SheetOptions:
    """What goes on the page, and where it goes."""

    out: Path
    tiling: str | None = None  # may be left out where the slides have one between them
    csv: Path | None = None
    overwrite: bool = False


@dataclass(frozen=True)
class Sheet:
    """A page that was written."""

    out: Path
    size_bytes: int
    csv: Path | None
    tiling: str | None
    slides: tuple[Reviewed, ...]  # in the order of the page
    without_mask: dict[str, int]  # slides the store has no mask of, by who brought them
    failures: tuple[Failure, ...]  # slides that could not be read
    exit: int

    @property
    def to_look_at(self) -> int:
        return sum(bool(one.concerns) for one in self.slides)

    def reasons(self) -> dict[str, int]:
        """Slides by the kind of what may be wrong with them; one slide may count more than once."""
        counts = Counter(concern.kind for one in self.slides for concern in one.concerns)
        return {kind: counts[kind] for kind in CONCERNS if counts[kind]}


def make_contact_sheet(store: Store, options: SheetOptions) -> Sheet:
    """Write the page, and the table if asked for; a slide that cannot be read costs itself alone.

    Raises:
        BadInput: ``EMPTY`` if the store has no slide with a mask; ``BAD_OPTION`` if there is a choice of tilings, no
            such tiling, or a file would lie in the store; ``EXISTS``, ``NOT_FOUND``, ``BAD_PATH``, ``UNWRITABLE`` for
            the files. Nothing was written then.
        StoreError: if not one slide could be read.
    """
    _check_place(store, options)
    found = _survey(store, options.tiling)
    with tempfile.TemporaryFile("w+", encoding="utf-8") as file:
        pictures = _Pictures(file)

        def look(slide_id: str) -> SlideFacts:
            return _look(store, slide_id, found.tiling, pictures)

        with progress("contact sheet", len(found.slide_ids), "slides") as bar:
            results: list[Result[SlideFacts]] = run_units(
                look, found.slide_ids, name=lambda slide_id: slide_id, done=lambda result: bar.advance()
            )
        if not any(result.outcome for result in results):
            raise _nothing_read(store, results)
        slides = review([result.outcome for result in results if result.outcome is not None])
        failures = tuple(result.failure for result in results if result.failure is not None)
        status = Exit.SOME_FAILED if failures else Exit.OK
        sheet = Sheet(
            options.out, 0, options.csv, found.tiling, tuple(slides), found.without_mask, failures, int(status)
        )
        with whole_text(options.out) as out:
            out.writelines(_page(sheet, _name(store), pictures))
        if options.csv is not None:
            with whole_text(options.csv) as out:
                _table(sheet.slides, out)
    return replace(sheet, size_bytes=options.out.stat().st_size)


@dataclass(frozen=True)
class _Survey:
    """What the store's documents say, before any mask is read."""

    slide_ids: tuple[str, ...]  # sorted, of slides with a mask
    tiling: str | None
    without_mask: dict[str, int]


def _survey(store: Store, wanted: str | None) -> _Survey:
    slide_ids: list[str] = []
    tilings: Counter[str] = Counter()
    without: Counter[str] = Counter()
    for key in store.keys("slides"):
        try:
            document = store.document(f"slides/{key}")
            names = [store.document(path).attributes["name"] for path in _tilings(store, key)]
        except StoreError:  # told when the slide is read
            slide_ids.append(key)
            continue
        if "tissue" not in document.arrays:
            without[str(document.attributes.get("reader") or "unknown")] += 1
            continue
        slide_ids.append(str(document.attributes["slide_id"]))
        tilings.update(map(str, names))
    if not slide_ids:
        message = "no slide of the store has a tissue mask" if without else "the store holds no slides"
        hint = "masks are made by `mirror-data tile`; imported bags have none"
        raise BadInput("EMPTY", message, file=store.url, hint=hint)
    if len(tilings) > 1 if wanted is None else wanted not in tilings:
        message = "the slides have several tilings" if wanted is None else "no slide has this tiling"
        names = [f"{name} ({count} slides)" for name, count in sorted(tilings.items())]
        hint = "give one of them with --tiling" if names else "leave --tiling out: no slide is tiled"
        got = wanted if wanted is not None else some(names)
        expected = None if wanted is None else some(names) or None
        raise BadInput("BAD_OPTION", message, file=store.url, key="--tiling", expected=expected, got=got, hint=hint)
    chosen = wanted if wanted is not None else next(iter(tilings), None)
    return _Survey(tuple(sorted(slide_ids)), chosen, dict(sorted(without.items())))


def _tilings(store: Store, slide_key: str) -> list[str]:
    container = f"slides/{slide_key}/tilings"
    return [f"{container}/{name}" for name in store.keys(container)]


def _look(store: Store, slide_id: str, tiling_name: str | None, pictures: _Pictures) -> SlideFacts:
    """Read one slide, put its picture aside, and tell its numbers."""
    slide = read_slide(store, slide_id)
    if slide.tissue is None or slide.tissue_mpp is None or not slide.tissue.size:
        raise BadInput("CORRUPT_STORE", "the slide's mask is empty or has no pixel size", hint="tile the slide again")
    has_tiling = tiling_name is not None and store.has(schema.tiling(slide_id, tiling_name))
    tiling = read_tiling(store, slide_id, tiling_name) if has_tiling and tiling_name is not None else None
    mask_px_level0 = slide.tissue_mpp / slide.mpp if slide.mpp else None
    pictures.put(slide_id, draw(slide.tissue, slide.thumbnail, mask_px_level0, tiling))
    return slide_facts(slide, slide.tissue, slide.tissue_mpp, tiling)


def _nothing_read(store: Store, results: Sequence[Result[SlideFacts]]) -> StoreError:
    first = results[0].failure
    got = None if first is None else f"{first.code}: {first.reason}"
    hint = "run `mirror-data check`"
    return StoreError("CORRUPT_STORE", "not one slide could be read", file=store.url, got=got, hint=hint)


class _Pictures:
    """Pictures in a temporary file, one a line, found by slide."""

    def __init__(self, file: IO[str]) -> None:
        self.file = file
        self.places: dict[str, int] = {}

    def put(self, slide_id: str, picture: Picture) -> None:
        self.places[slide_id] = self.file.tell()
        self.file.write(json.dumps(asdict(picture)) + "\n")

    def get(self, slide_id: str) -> Picture:
        self.file.seek(self.places[slide_id])
        return Picture(**json.loads(self.file.readline()))


def _page(sheet: Sheet, store_name: str, pictures: _Pictures) -> Iterator[str]:
    """The page in pieces, each card's picture fetched when its turn comes."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    style, script = _part(".css"), _part(".js")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"percent": percent, "dropped": dropped_words}
    template = environment.from_string(_part(".html.j2"))
    first = [one for one in sheet.slides if one.concerns]
    rest = [one for one in sheet.slides if not one.concerns]
    yield from template.generate(
        sheet=sheet,
        store_name=store_name,
        sections=(("look", "Look at these", first), ("rest", "The rest", rest)),
        concerns=CONCERNS,
        picture_of=pictures.get,
        style=Markup(style),
        script=Markup(script),
        policy=_policy(style, script),
    )


def _part(ending: str) -> str:
    return (files("mirror_data.slides") / f"{_PARTS}{ending}").read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """Content-Security-Policy: nothing but this style sheet, this script, and pictures within the page."""
    digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script))
    styles, scripts = (f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; style-src {styles}; script-src {scripts}; img-src data:; base-uri 'none'; "
        "form-action 'none'"
    )


def _table(slides: Sequence[Reviewed], file: IO[str]) -> None:
    """The numbers as CSV, in the order of the page. Text that a spreadsheet would run gets an apostrophe before it."""
    columns = [name for name in SlideFacts.__dataclass_fields__ if name not in ("size", "dropped")]
    head = [*columns, "width_px", "height_px", "dropped_empty", "dropped_pen", "dropped_blurred", "robust_z", "reasons"]
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(head)
    for one in slides:
        facts = one.facts
        values = [getattr(facts, name) for name in columns]
        dropped = (
            ("",) * 3 if facts.dropped is None else (facts.dropped.empty, facts.dropped.pen, facts.dropped.blurred)
        )
        reasons = " ".join(concern.kind for concern in one.concerns)
        writer.writerow(_cell(value) for value in (*values, *(facts.size or ("", "")), *dropped, one.z, reasons))


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else str(unformula(value))


def _name(store: Store) -> str:
    return store.url.rstrip("/").rsplit("/", 1)[-1]


def _check_place(store: Store, options: SheetOptions) -> None:
    """Refuse, before the work, files that could not be written at its end."""
    chosen = [("--out", options.out)] + ([] if options.csv is None else [("--csv", options.csv)])
    if options.csv is not None and options.csv.resolve() == options.out.resolve():
        raise BadInput("BAD_OPTION", "page and table cannot be one file", file=options.csv, key="--csv")
    for option, path in chosen:
        if "://" not in store.url and Path(store.url).resolve() in path.resolve().parents:
            raise BadInput("BAD_OPTION", "the file must lie outside the store", file=path, key=option)
        if path.is_dir():
            raise BadInput("BAD_PATH", "this is a folder", file=path, key=option, hint="name a file")
        if not path.absolute().parent.is_dir():
            message = "the folder to write to does not exist"
            raise BadInput("NOT_FOUND", message, file=path.parent, key=option, hint="create it first")
        if path.exists() and not options.overwrite:
            hint = f"use --overwrite to replace it, or another {option}"
            raise BadInput("EXISTS", "the file is there", file=path, key=option, hint=hint)
