from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from mirror_data.failures import FAILURES, list_failures
from mirror_data.runner import Failure
from mirror_data.store.files import open_files

ROWS = [Failure("a", "NO_MPP", "no mpp", "state it"), Failure("b", "CORRUPT", "bad", "copy it")]


def test_a_row_a_failure_and_no_file_when_all_is_well(tmp_path: Path) -> None:
    files = open_files(tmp_path)
    assert list_failures(files, ROWS) == []
    rows = [json.loads(line) for line in (tmp_path / FAILURES).read_text().splitlines()]
    assert rows[0] == {"id": "a", "code": "NO_MPP", "reason": "no mpp", "next_step": "state it"}
    assert len(rows) == 2
    (tmp_path / f"{FAILURES}.new").write_text("half a ro")  # of a writer that was killed
    assert list_failures(files, []) == []
    assert list((tmp_path / FAILURES).parent.iterdir()) == []


def test_a_list_that_cannot_be_written_is_one_more_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    files = open_files(tmp_path)
    list_failures(files, ROWS[:1])
    before = (tmp_path / FAILURES).read_bytes()
    monkeypatch.setattr(os, "fsync", full)
    (unlisted,) = list_failures(files, ROWS)
    assert unlisted.failure is not None
    assert (unlisted.failure.id, unlisted.failure.code) == (FAILURES, "DISK_FULL")
    assert str(tmp_path) in unlisted.failure.reason
    assert (tmp_path / FAILURES).read_bytes() == before
