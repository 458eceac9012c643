"""Many slides into one store: find them, map the unit over them, keep what failed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mirror_data import store as stores
from mirror_data.errors import BadInput, BadSlide, Exit, MirrorError
from mirror_data.failures import list_failures
from mirror_data.opaque import AS_THEY_ARE, Naming, veiled
from mirror_data.progress import progress
from mirror_data.runner import Failure, Result, run_units
from mirror_data.slides.encoders import EncoderSpec
from mirror_data.slides.options import TileOptions
from mirror_data.slides.pipeline import SlideJob, SlideOutcome, encoder_of, tile_slide
from mirror_data.slides.reader import check_file
from mirror_data.slides.regions import check_place
from mirror_data.slides.sources import Sources, find_slides, read_slides_table
from mirror_data.store.files import open_files
from mirror_data.versions import require_openslide
from mirror_data.workers import Hands, Here, Workers


@dataclass(frozen=True)
class TileReport:
    """What became of a batch."""

    slides: tuple[SlideOutcome, ...]  # in the store, sorted by id
    failures: tuple[Failure, ...]
    exit: Exit
    unlisted: int  # slides that the table does not name
    unused: int  # rows of the table that name no slide
    seconds: float

    @property
    def done(self) -> int:
        return sum(not slide.skipped for slide in self.slides)

    @property
    def skipped(self) -> int:
        return sum(slide.skipped for slide in self.slides)

    @property
    def new_tiles(self) -> int:
        return sum(slide.tiles for slide in self.slides if not slide.skipped)


def tile_slides(
    slides: Sequence[str | Path],
    store_url: str,
    options: TileOptions,
    *,
    slides_table: str | Path | None = None,
    workers: int = 1,
    naming: Naming = AS_THEY_ARE,
) -> TileReport:
    """Tile slides into a store, which is made if there is none.

    A slide that fails costs itself alone: it becomes a row of ``.mirror/failures.jsonl`` in the store. Slides committed
    with equal parameters are skipped, so the same call resumes a batch that was stopped.

    Args:
        slides: files, and folders that stand for all slides below them.
        slides_table: CSV with a column slide and optionally patient_id and mpp.
        workers: processes; results do not depend on it.
        naming: what the store calls slides and patients.

    Raises:
        BadInput: options, table or encoder that cannot be used; nothing was written then.
        StoreError: ``MISMATCH`` if the store names otherwise.
    """
    began, started = time.time(), time.monotonic()
    if workers < 1:
        raise BadInput("BAD_OPTION", "at least one worker is needed", key="--workers", got=workers)
    require_openslide()
    paths = [Path(slide) for slide in slides]
    _check_apart(paths, store_url)
    table = read_slides_table(Path(slides_table)) if slides_table is not None else ()
    sources = find_slides(paths, table, naming)
    if options.regions is not None:
        check_place(options.regions.place, len(sources.slides))
    with choose_hands(store_url, workers) as hands:
        if any(_is_file(source.path) for source in sources.slides):  # loading an encoder takes seconds
            _check_encoder(options, workers, hands)
        store = stores.create_store(store_url, naming)
        results = _run(sources, store_url, options, workers, hands)
    failures = (*sources.failures, *_failures(results, sources))
    failures += tuple(one.failure for one in list_failures(store.files, failures, began) if one.failure is not None)
    outcomes = tuple(result.outcome for result in results if result.outcome is not None)
    seconds = time.monotonic() - started
    return TileReport(outcomes, failures, _exit(results, failures), sources.unlisted, sources.unused, seconds)


def _is_file(path: Path) -> bool:
    """Whether a slide can be read at all; its unit says why if not."""
    try:
        check_file(path)
    except BadSlide:
        return False
    return True


def choose_hands(store_url: str, workers: int) -> Hands:
    """Who works: always other processes, for a decoder may crash on a slide; but what is in memory is in this one."""
    return Workers(workers) if open_files(store_url).shared else Here()


def _check_encoder(options: TileOptions, workers: int, hands: Hands) -> None:
    """Refuse an encoder that cannot be loaded before any slide is touched; in the process that did it stays loaded."""
    name = options.encoder.name
    [found] = run_units(_load, [(options.encoder, workers)], name=lambda job: name, workers=hands)
    if found.failure is not None:
        kind = MirrorError if found.exit == Exit.DEFECT else BadInput
        failure = found.failure
        raise found.error or kind(failure.code, failure.reason, key=f"--encoder {name}", hint=failure.next_step)


def _load(job: tuple[EncoderSpec, int]) -> None:
    encoder_of(*job)


def _check_apart(slides: Sequence[Path], store_url: str) -> None:
    """The store must not lie in a folder of slides, nor a slide in the store."""
    if "://" in store_url and not store_url.startswith("file://"):
        return
    store = Path(store_url.removeprefix("file://")).resolve()
    for slide in slides:
        place = slide.resolve()
        if store == place or place in store.parents or store in place.parents:
            raise BadInput(
                "BAD_OPTION",
                "the store and the slides must lie apart",
                file=slide,
                key="--store",
                got=store_url,
                hint="choose a store outside the folder of slides",
            )


def _run(
    sources: Sources, store_url: str, options: TileOptions, workers: int, hands: Hands
) -> list[Result[SlideOutcome]]:
    jobs = [SlideJob(source, store_url, options, workers) for source in sources.slides]
    started = time.monotonic()
    tiles = 0
    with progress("tile", len(jobs), "slides") as bar:

        def encoded(count: int) -> None:
            nonlocal tiles
            tiles += count
            bar.advance(0, _rate(tiles, started))

        def finished(_result: Result[SlideOutcome]) -> None:
            bar.advance(1, _rate(tiles, started))

        return run_units(
            tile_slide, jobs, name=lambda job: job.source.slide_id, workers=hands, done=finished, told=encoded
        )


def _failures(results: Sequence[Result[SlideOutcome]], sources: Sources) -> Iterator[Failure]:
    """What failed, in words that do not name a file whose slide has an opaque id."""
    for result, source in zip(results, sources.slides, strict=True):
        if result.failure is not None:
            opaque = source.is_opaque
            yield veiled(result.failure, source.slide_id, source.path, source.own_id) if opaque else result.failure


def _rate(tiles: int, started: float) -> str:
    return f"{tiles} tiles, {tiles / max(time.monotonic() - started, 1e-3):.0f} tiles/s"


def _exit(results: Sequence[Result[SlideOutcome]], failures: Sequence[Failure]) -> Exit:
    if not failures:
        return Exit.OK
    busy = sum(result.exit == Exit.BUSY for result in results if result.failure is not None)
    return Exit.BUSY if busy == len(failures) else Exit.SOME_FAILED
