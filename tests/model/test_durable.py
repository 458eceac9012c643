"""Files of a checkpoint folder are whole, or as they were; what failed is named."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from mirror_data.errors import Busy, StoreError
from mirror_model.durable import append_line, claimed, remove, write_file
from mirror_model.metrics_log import MetricsLog

FAILURES = [
    (errno.ENOSPC, "DISK_FULL"),
    (errno.EFBIG, "DISK_FULL"),
    (errno.EROFS, "READ_ONLY"),
    (errno.EACCES, "READ_ONLY"),
    (errno.EIO, "IO_ERROR"),
]


@pytest.mark.parametrize(("number", "code"), FAILURES)
def test_what_could_not_be_written_is_as_it_was(
    number: int, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "last.json"
    write_file(file, b"before")
    append_line(file, "!")
    assert file.read_bytes() == b"before!\n"

    def fails(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fails)
    for write in (lambda: write_file(file, b"after"), lambda: append_line(file, "after")):
        with pytest.raises(StoreError) as told:
            write()
        assert (told.value.code, told.value.file) == (code, str(file))
        assert os.strerror(number) in told.value.message
        assert [path.name for path in tmp_path.iterdir()] == ["last.json"]
        assert file.read_bytes() == b"before!\n"


def test_what_cannot_be_removed_is_named(tmp_path: Path) -> None:
    remove(tmp_path / "absent")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError) as told:
        remove(tmp_path / "folder")
    assert told.value.file == str(tmp_path / "folder")


def test_a_folder_is_held_by_one(tmp_path: Path) -> None:
    folder = tmp_path / "r" / "fold_0"
    with claimed(folder):
        assert list(folder.iterdir()) == []
        with pytest.raises(Busy) as busy, claimed(folder):
            pass
        assert busy.value.file == str(folder)
    with claimed(folder):
        pass


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError) as told, claimed(tmp_path / "file" / "fold_0"):
        pass
    assert told.value.file == str(tmp_path / "file" / "fold_0")


def test_a_line_that_a_kill_left_unfinished_is_none(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path)
    assert log.read() == []
    for epoch in range(4):
        log.append({"epoch": epoch, "loss": 0.5})
    whole = log.file.read_bytes()
    log.file.write_bytes(whole[:-9])
    assert [line["epoch"] for line in log.read()] == [0, 1, 2]
    log.cut(1, None)
    assert [line["epoch"] for line in log.read()] == [0, 1]
    assert whole.startswith(log.file.read_bytes())
    log.file.write_bytes(b"?\n" + whole)
    with pytest.raises(StoreError) as told:
        log.read()
    assert (told.value.code, told.value.file) == ("CORRUPT_CHECKPOINT", str(log.file))
