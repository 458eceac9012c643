"""Commands side by side, which can be stopped, killed and made to crash inside a slide.

Run as ``python -m tests.faults.side_by_side`` this is a process that has imported what commands need and forks one
child a command; the class `Side` is the test's end of it. The encoder of every child is a stub, for it is not the
matter here.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tests.faults.commands import Ended

ROOT = Path(__file__).resolve().parents[2]
STUB = ("--encoder", "timm:stub", "--precision", "fp32", "--tile-px", "64", "--min-tissue", "0", "--batch-size", "2")
IMPORTED = (  # what `tile` needs
    *("anndata", "click", "imagecodecs._jpeg8", "mirror_data.slides.batch", "openslide", "scipy.ndimage"),
    *("simplejpeg", "skimage.filters", "skimage.morphology", "skimage.transform", "tifffile", "zarr"),
)
SECONDS = 120.0  # that a test waits for something to happen


@dataclass(frozen=True)
class Plan:
    """What befalls a command inside its slides, each after the first batch of tiles."""

    signals: Mapping[str, str] | None = None  # slide id -> the signal that its process gets: "SIGSEGV"
    pause: str | None = None  # slide id: stays there until `Started.go`
    mortal: bool = False  # root's leave to write everywhere is given up


@dataclass(frozen=True)
class Started:
    """A command under way, leader of a group of processes."""

    side: Side
    process: int
    folder: Path  # of its output and marks

    def wait(self) -> Ended:
        """Its end, however long it takes."""
        told = self.side.ask({"wait": self.process})
        out, err = ((self.folder / name).read_text() for name in ("out", "err"))
        return Ended(told["code"], out, err, told["seconds"])

    def wait_until_inside(self) -> None:
        """Until it has reached the slide it pauses in."""
        end = time.monotonic() + SECONDS
        while not (self.folder / "inside").exists():
            assert time.monotonic() < end, (self.folder / "err").read_text()
            time.sleep(0.01)

    def go(self) -> None:
        """Let it leave the slide it pauses in."""
        (self.folder / "go").touch()

    def opened(self) -> list[tuple[str, int]]:
        """Slides it worked on and the process that did, in order."""
        lines = (self.folder / "opened").read_text().splitlines()
        return [(slide, int(process)) for slide, process in (line.split("\t") for line in lines)]


@dataclass
class Side:
    """The test's end; made by `side_by_side`."""

    server: subprocess.Popen[str]
    folder: Path
    count: int = 0

    def start(self, words: Sequence[object], plan: Plan | None = None) -> Started:
        """Start ``mirror-data tile ...`` and its like."""
        self.count += 1
        folder = self.folder / str(self.count)
        folder.mkdir()
        told = self.ask({"words": list(map(str, words)), "folder": str(folder), "plan": vars(plan or Plan())})
        return Started(self, told["process"], folder)

    def run(self, words: Sequence[object], plan: Plan | None = None) -> Ended:
        return self.start(words, plan).wait()

    def ask(self, order: dict[str, Any]) -> dict[str, Any]:
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        self.server.stdin.write(json.dumps(order) + "\n")
        self.server.stdin.flush()
        return json.loads(self.server.stdout.readline())


@contextmanager
def side_by_side(folder: Path) -> Iterator[Side]:
    """Start the process that forks; its files go below ``folder``."""
    command = [sys.executable, "-m", "tests.faults.side_by_side"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment, cwd=ROOT) as server:
        yield Side(server, folder)
        assert server.stdin is not None
        server.stdin.close()


def failures(store: Path) -> dict[str, dict[str, str]]:
    """Rows of a store's failures.jsonl, by id."""
    rows = (json.loads(line) for line in (store / ".mirror/failures.jsonl").read_text().splitlines())
    return {row["id"]: row for row in rows}


def plant(plan: Plan, folder: Path) -> None:
    """Make this process, and those it forks, do what the plan says; the stub encoder stands in for every other."""
    from mirror_data.slides import batch, pipeline
    from mirror_data.slides.encoders import Encoder, Transform

    class Means(Encoder):
        """Mean and deviation of a tile's channels."""

        def __call__(self, tiles: np.ndarray) -> np.ndarray:
            pixels = tiles.astype(np.float32)  # (B, H, H, 3)
            return np.concatenate([pixels.mean((1, 2)), pixels.std((1, 2))], axis=1)

    stub = Means("timm:stub", 6, "0" * 64, Transform(64, (0.5,) * 3, (0.5,) * 3, "bilinear"), "fp32", "cpu", None)
    encode = pipeline.encode_tiles

    def encode_with_mishaps(reader, tiling, encoder, *, report, **options):
        with (folder / "opened").open("a") as file:
            file.write(f"{tiling.slide_id}\t{os.getpid()}\n")

        def reported(count: int) -> None:
            report(count)
            if plan.signals and tiling.slide_id in plan.signals:
                os.kill(os.getpid(), signal.Signals[plan.signals[tiling.slide_id]])
            while plan.pause == tiling.slide_id and not (folder / "go").exists():
                (folder / "inside").touch()
                time.sleep(0.01)

        return encode(reader, tiling, encoder, report=reported, **options)

    pipeline.encoder_of = batch.encoder_of = lambda spec, workers: stub  # type: ignore[assignment]
    pipeline.encode_tiles = encode_with_mishaps  # type: ignore[assignment]


def begin(words: Sequence[str], folder: Path, plan: Plan) -> int:
    """Fork a child that runs the command as a shell would start it; returns its process id."""
    child = os.fork()
    if child:
        return child
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job would ignore it
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    plant(plan, folder)
    program, *rest = words
    main = importlib.import_module(f"{program.replace('-', '_')}.cli.main")
    from mirror_data.cli.app import run

    if plan.mortal:
        give_up_leave()
    code = run(main.cli, rest)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


def give_up_leave() -> None:
    """Let permissions of files hold for this process though it be root's (Linux: capset, CAP_DAC_*)."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3, this process
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; twice 32
    libc = ctypes.CDLL(None, use_errno=True)
    libc.capget(header, sets)
    for place in (0, 1):
        sets[place] &= ~0b110
    if libc.capset(header, sets):
        raise OSError(ctypes.get_errno(), "capset")


def serve() -> None:
    """Orders from standard input, answers to standard output, a line of JSON each."""
    for name in IMPORTED:
        importlib.import_module(name)
    began: dict[int, float] = {}
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            _, status = os.waitpid(order["wait"], 0)
            seconds = time.monotonic() - began[order["wait"]]
            print(json.dumps({"code": os.waitstatus_to_exitcode(status), "seconds": seconds}), flush=True)
        else:
            process = begin(order["words"], Path(order["folder"]), replace(Plan(), **order["plan"]))
            began[process] = time.monotonic()
            print(json.dumps({"process": process}), flush=True)


if __name__ == "__main__":
    serve()
