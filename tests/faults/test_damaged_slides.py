"""Slides with a few bytes changed go through ``mirror-data tile``: each is tiled or fails with a code; none hangs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from mirror_data.store import check, open_store

from tests.faults.commands import tree
from tests.faults.corpus.cases import SLIDE_SECONDS, TINY
from tests.faults.corpus.tiffs import damaged, write_sound

REPOSITORY = Path(__file__).parents[2]
MEGABYTES = 3000  # of private memory, for the command and for each worker; most of it is PyTorch's


def check_damaged(folder: Path, weights: Path, count: int, workers: int, limit: float) -> None:
    """Tile ``count`` damaged slides, and the sound ones they were made of."""
    slides, store, log = folder / "slides", folder / "cohort.zarr", folder / "log.jsonl"
    slides.mkdir()
    sound = write_sound(folder)
    for number, slide in enumerate(sound):
        (slides / f"sound-{number}.tif").write_bytes(slide.data)
    for number in range(count):
        (slides / f"{number:04d}.tif").write_bytes(damaged(sound, number))
    before = tree(folder)
    how = [*TINY, "--weights", str(weights), "--precision", "fp32", "--tile-px", "64", "--workers", str(workers)]
    words = [str(log), str(MEGABYTES), "tile", str(slides), "--store", str(store), *how, "--json"]
    command = [sys.executable, "-m", "tests.faults.timed_tile", *words]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=limit, check=False)
    assert ended.returncode == 3, ended.stderr[-2000:]
    assert "Traceback" not in ended.stdout + ended.stderr
    report = json.loads(ended.stdout)
    failed = {row["id"]: row["code"] for row in report["failures"]}
    listed = (store / ".mirror" / "failures.jsonl").read_text().splitlines()
    assert {row["id"]: row["code"] for row in map(json.loads, listed)} == failed
    tiled = {row["slide_id"] for row in report["slides"]}
    assert not tiled & failed.keys()
    assert tiled | failed.keys() == {path.stem for path in slides.iterdir()}
    assert {f"sound-{number}" for number in range(len(sound))} <= tiled
    assert not [row for row in report["failures"] if row["code"] == "INTERNAL"]
    assert set(open_store(store).keys("slides")) == tiled
    assert check(open_store(store)).findings == ()
    seconds = {row["id"]: row["seconds"] for row in map(json.loads, log.read_text().splitlines())}
    assert max(seconds.values()) < SLIDE_SECONDS
    after = {path: digest for path, digest in tree(folder).items() if not path.startswith("cohort.zarr/")}
    assert after.keys() - before.keys() == {log.name}
    assert all(after[path] == digest for path, digest in before.items())


def test_fifteen_damaged_slides(tmp_path: Path, weights: Path):
    check_damaged(tmp_path, weights, 15, workers=1, limit=280)


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_a_thousand_damaged_slides(tmp_path: Path, weights: Path):
    check_damaged(tmp_path, weights, 1000, workers=2, limit=7000)
