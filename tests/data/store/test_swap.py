from __future__ import annotations

from pathlib import Path

import pytest
from mirror_data.store import swap as swaps
from mirror_data.store.files import LocalFiles
from mirror_data.store.schema import PRIVATE


def folders(place: Path) -> tuple[Path, Path]:
    new, old = place / "new", place / "old"
    for folder in (new, old):
        folder.mkdir()
        (folder / "name").write_text(folder.name)
    return new, old


def replace_and_fail(files: LocalFiles) -> None:
    with files.replacing("a") as staged:
        staged.write("a/key", b"new")
        staged.read("gone")


@pytest.mark.parametrize("at_once", [True, False])
def test_the_new_folder_stands_where_the_old_one_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: bool
) -> None:
    if not at_once:
        monkeypatch.setattr(swaps, "_exchanged", lambda new, old: False)
    new, old = folders(tmp_path)
    swaps.swap(new, old)
    assert (old / "name").read_text() == "new"


def test_the_old_folder_is_put_back_if_the_new_one_cannot_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swaps, "_exchanged", lambda new, old: False)
    _, old = folders(tmp_path)
    with pytest.raises(FileNotFoundError):
        swaps.swap(tmp_path / "gone", old)
    assert (old / "name").read_text() == "old"


def test_a_block_that_fails_leaves_the_old_one_and_nothing_aside(tmp_path: Path) -> None:
    files = LocalFiles(tmp_path)
    files.write("a/key", b"old")
    with pytest.raises(KeyError):
        replace_and_fail(files)
    assert files.read("a/key") == b"old"
    assert files.children(f"{PRIVATE}/staged") == []
    with files.replacing("a") as staged:
        staged.write("a/key", b"new")
    assert files.read("a/key") == b"new"


def test_what_a_killed_writer_put_aside_is_swept_and_a_living_one_keeps_its_own(tmp_path: Path) -> None:
    files, other = LocalFiles(tmp_path), LocalFiles(tmp_path)
    files.write(f"{PRIVATE}/staged/dead/a/key", b"half")
    with files.replacing("b") as staged:
        staged.write("b/key", b"new")
        other.sweep()
        assert len(files.children(f"{PRIVATE}/staged")) == 1
    assert files.read("b/key") == b"new"
