"""What a case of bad input is, and the bench it is made on."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

SLIDE_SECONDS, TABLE_SECONDS = 10.0, 2.0  # promised; CPU time, which does not depend on what else the machine does
TINY = ("--encoder", "timm:test_resnet")  # the smallest real encoder there is


@dataclass(frozen=True)
class Bench:
    """A folder of one's own, and what is too dear to be made for each case."""

    folder: Path
    weights: Path  # of `TINY`
    trained: Path  # a folder with toy.zarr and toy.runs: 36 patients, run ``r`` trained on fold 0 of the split ``main``

    @property
    def store(self) -> Path:
        return self.folder / "cohort.zarr"

    def file(self, name: str, data: bytes | str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return path

    def cohort(self) -> Path:
        """A copy of the trained store, and of its checkpoints beside it."""
        shutil.copytree(self.trained / "toy.zarr", self.store)
        shutil.copytree(self.trained / "toy.runs", self.folder / "cohort.runs")
        return self.store

    def tile(self, *more: object) -> list[object]:
        """The command that tiles the folder ``slides``."""
        encoder = [*TINY, "--weights", self.weights, "--precision", "fp32"]
        return ["mirror-data", "tile", self.folder / "slides", "--store", self.store, *encoder, *more]


Words = Callable[[Bench], Sequence[object]]


@dataclass(frozen=True)
class Case:
    """One row of the table: a command on bad input, and how it has to end."""

    id: str
    words: Words  # makes the files; returns the command line
    code: str  # of the error; "" for input that looks bad and is not
    told: tuple[str, ...] = ()  # what else the error says: file, key, count, what to do
    exit: int = 2
    seconds: float = SLIDE_SECONDS
    around: Callable[[Bench], AbstractContextManager[object]] = lambda bench: nullcontext()  # the command runs in it


def parts(folder: Path, pattern: str) -> Iterator[Path]:
    """Files below a folder in a fixed order."""
    yield from sorted(path for path in folder.rglob(pattern) if path.is_file())


def flip(path: Path, at: int = -1) -> None:
    """Flip the bits of one byte."""
    data = bytearray(path.read_bytes())
    data[at] ^= 0xFF
    path.write_bytes(bytes(data))


def cut(path: Path, keep: Callable[[int], int] = lambda size: size // 2) -> None:
    """Keep the beginning of a file."""
    data = path.read_bytes()
    path.write_bytes(data[: keep(len(data))])
