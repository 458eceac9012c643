"""What happens to bytes on a disk, one key at a time: look what came of it, then put it back."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def cut_to_nothing(data: bytes, _name: str) -> bytes:
    return b""


def cut_in_half(data: bytes, _name: str) -> bytes:
    return data[: len(data) // 2]


def flip_a_bit(data: bytes, name: str) -> bytes:
    """One bit, drawn by the file's name, so that every run flips the same."""
    draw = random.Random(name)
    place = draw.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << draw.randrange(8)]) + data[place + 1 :]


CHANGES: tuple[Callable[[bytes, str], bytes | None], ...] = (
    lambda data, name: None,
    cut_to_nothing,
    cut_in_half,
    flip_a_bit,
)
NAMES = ("deleted", "emptied", "halved", "flipped")


@contextmanager
def damaged(file: Path, change: Callable[[bytes, str], bytes | None]) -> Iterator[None]:
    """While the block runs, a file is what ``change`` makes of it; None deletes it."""
    whole = file.read_bytes()
    broken = change(whole, file.name)
    assert broken != whole
    if broken is None:
        file.unlink()
    else:
        file.write_bytes(broken)
    try:
        yield
    finally:
        file.write_bytes(whole)


@contextmanager
def added(file: Path, data: bytes) -> Iterator[None]:
    """While the block runs, a file stands where there was none."""
    assert not file.exists()
    missing = [folder for folder in file.parents if not folder.exists()]  # the deepest first
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    try:
        yield
    finally:
        file.unlink()
        for folder in missing:
            folder.rmdir()


@contextmanager
def exchanged(one: Path, other: Path) -> Iterator[None]:
    """While the block runs, two files or folders stand in each other's place."""
    _exchange(one, other)
    try:
        yield
    finally:
        _exchange(one, other)


def _exchange(one: Path, other: Path) -> None:
    aside = one.with_name(one.name + ".aside")
    one.rename(aside)
    other.rename(one)
    aside.rename(other)


@contextmanager
def replaced(there: Path, by: Path) -> Iterator[None]:
    """While the block runs, a copy of ``by`` stands at ``there``, or in addition if nothing stood there."""
    aside = there.with_name(there.name + ".aside")
    stood = there.exists()
    if stood:
        there.rename(aside)
    (shutil.copytree if by.is_dir() else shutil.copy)(by, there)
    try:
        yield
    finally:
        shutil.rmtree(there) if there.is_dir() else there.unlink()
        if stood:
            aside.rename(there)
