from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from mirror_data.failures import FAILURES, list_failures
from mirror_data.runner import Failure
from mirror_data.store.files import open_files

ROWS = [Failure("a", "NO_MPP", "no mpp", "state it"), Failure("b", "CORRUPT", "bad", "copy it")]


def test_a_row_a_failure_and_no_file_when_all_is_well(tmp_path: Path) -> None:
    files = open_files(tmp_path)
    assert list_failures(files, ROWS, time.time()) == []
    rows = [json.loads(line) for line in (tmp_path / FAILURES).read_text().splitlines()]
    assert datetime.fromisoformat(rows[0].pop("time")).tzinfo == UTC
    assert rows[0] == {"id": "a", "code": "NO_MPP", "reason": "no mpp", "next_step": "state it"}
    assert len(rows) == 2
    (tmp_path / f"{FAILURES}.new").write_text("half a ro")  # of a writer that was killed
    assert list_failures(files, [], time.time()) == []
    assert [path.name for path in (tmp_path / FAILURES).parent.iterdir()] == ["locks"]


def listed(folder: Path) -> list[str]:
    return [json.loads(line)["id"] for line in (folder / FAILURES).read_text().splitlines()]


def test_batches_side_by_side_share_the_list_and_the_next_replaces_it(tmp_path: Path) -> None:
    files, busy = open_files(tmp_path), Failure("c", "BUSY", "another process is writing this item", "let it finish")
    list_failures(files, [Failure("old", "CORRUPT", "bad", "copy it")], time.time())
    first = time.time()
    second = time.time()
    list_failures(files, [ROWS[0], busy], first)
    assert listed(tmp_path) == ["a"]
    with (tmp_path / FAILURES).open("a") as file:
        file.write('no row\n[]\n{}\n{"time": 1}\n')
    list_failures(files, ROWS[1:], second)
    assert listed(tmp_path) == ["a", "b"]
    list_failures(files, [], second)
    assert listed(tmp_path) == ["a", "b"]
    list_failures(files, ROWS[1:], time.time())
    assert listed(tmp_path) == ["b"]


def test_a_list_that_another_process_writes_is_waited_for(tmp_path: Path) -> None:
    files = open_files(tmp_path)
    with files.claim(FAILURES):
        (unlisted,) = list_failures(files, ROWS, time.time())
    assert unlisted.failure is not None
    assert (unlisted.failure.id, unlisted.failure.code) == (FAILURES, "BUSY")


def test_a_list_that_cannot_be_written_is_one_more_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    files = open_files(tmp_path)
    list_failures(files, ROWS[:1], time.time())
    before = (tmp_path / FAILURES).read_bytes()
    monkeypatch.setattr(os, "fsync", full)
    (unlisted,) = list_failures(files, ROWS, time.time())
    assert unlisted.failure is not None
    assert (unlisted.failure.id, unlisted.failure.code) == (FAILURES, "DISK_FULL")
    assert str(tmp_path) in unlisted.failure.reason
    assert (tmp_path / FAILURES).read_bytes() == before
