from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from mirror_data.errors import BadInput
from mirror_data.whole import whole_text, write_whole


def test_bytes_and_text_appear_with_the_usual_rights(tmp_path: Path) -> None:
    write_whole(tmp_path / "a.png", b"\x89PNG")
    with whole_text(tmp_path / "b.csv") as file:
        file.write("größe\r\n")
        assert not (tmp_path / "b.csv").exists()
    assert (tmp_path / "a.png").read_bytes() == b"\x89PNG"
    assert (tmp_path / "b.csv").read_bytes() == "größe\r\n".encode()
    assert stat.S_IMODE((tmp_path / "b.csv").stat().st_mode) == 0o644
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.csv"]


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "a.csv"
    place.write_bytes(b"before")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BadInput) as caught, whole_text(place, "table") as file:
        file.write("after")
    assert (caught.value.code, caught.value.file) == ("UNWRITABLE", str(place))
    assert caught.value.message == "the table cannot be written: No space left on device"
    assert place.read_bytes() == b"before"
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


def test_an_error_of_the_writer_passes_and_leaves_nothing(tmp_path: Path) -> None:
    def rows() -> Iterator[str]:
        yield "half of it"
        raise LookupError

    with pytest.raises(LookupError), whole_text(tmp_path / "a.csv") as file:
        file.writelines(rows())
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_unwritable(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as caught:
        write_whole(tmp_path / "none" / "a.png", b"")
    assert caught.value.code == "UNWRITABLE"
