"""A process that has imported what a command needs, and forks one child a command: half a second where a start costs 3.

Run as ``python -m tests.faults.fork_server``; `tests.faults.forks` talks to it, a line of JSON each way. It starts no
thread of Python, torch or zarr itself, for threads do not survive a fork.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from mirror_data.cli.app import run
from mirror_data.cli.main import cli
from mirror_data.slides import batch, pipeline
from mirror_data.slides.encoders import Encoder, Transform
from mirror_data.workers import Here

ENCODER = "timm:stub"
ATTACH_SECONDS = 30.0


class MeanEncoder(Encoder):
    """Mean and deviation of a tile's channels: 6 features, without torch, which triples the cost of a fork."""

    def __call__(self, tiles: np.ndarray) -> np.ndarray:
        pixels = tiles.astype(np.float32)  # (B, H, H, 3)
        return np.concatenate([pixels.mean((1, 2)), pixels.std((1, 2))], axis=1)


def plant_encoder() -> None:
    """Let ``--encoder timm:stub`` be an encoder that is loaded already."""
    transform = Transform(64, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bilinear")
    stub = MeanEncoder(ENCODER, 6, "0" * 64, transform, "fp32", "cpu", None)
    pipeline.encoder_of = batch.encoder_of = lambda spec, workers: stub
    batch.choose_hands = lambda store_url, workers: Here()  # the traced process is the one that writes


def start_child(words: list[str], out: Path, gate: int, modules: Path | None) -> int:
    """Fork a child that waits for a byte from ``gate`` and then runs the command; returns its process id."""
    child = os.fork()
    if child:
        return child
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(out / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.read(gate, 1)
    code = run(cli, words)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    if modules is not None:
        modules.write_text("\n".join(sys.modules))
    os._exit(code)


def attach(child: int, options: list[str]) -> subprocess.Popen[bytes] | None:
    """strace on the child's main thread, which alone writes to the store; None if it may not."""
    tracer = subprocess.Popen(["strace", *options, "-p", str(child)], stderr=subprocess.DEVNULL)
    status = Path(f"/proc/{child}/status")
    end = time.monotonic() + ATTACH_SECONDS
    while f"TracerPid:\t{tracer.pid}\n" not in status.read_text():
        if tracer.poll() is not None or time.monotonic() > end:
            tracer.kill()
            tracer.wait()
            return None
        time.sleep(0.0005)
    return tracer


def serve(order: dict[str, Any], out: Path) -> dict[str, Any]:
    """Run one command: ``words``, and if wanted ``strace`` (its options), ``kill_after`` (seconds), ``warm``."""
    modules = out / "modules" if order.get("warm") else None
    gc.freeze()  # or each child's collector would copy every page that holds an object
    gate, opener = os.pipe()
    child = start_child(order["words"], out, gate, modules)
    os.close(gate)
    tracer = attach(child, order["strace"]) if order.get("strace") else None
    if order.get("strace") and tracer is None:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(opener)
        return {"refused": True}
    began = time.monotonic()
    os.write(opener, b"g")
    if order.get("kill_after") is not None:
        time.sleep(order["kill_after"])
        os.kill(child, signal.SIGKILL)  # not waited for yet, so the number is still its own
    _, status = os.waitpid(child, 0)
    seconds = time.monotonic() - began
    os.close(opener)
    if tracer is not None:
        tracer.wait()
    if modules is not None:
        for name in modules.read_text().split():
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
    texts = {name: (out / name).read_text() for name in ("out", "err")}
    return {"code": os.waitstatus_to_exitcode(status), "seconds": seconds, "threads": threads(), **texts}


def threads() -> list[str]:
    """Names of this process's threads but the first; polars and its allocator have some that a fork does not need."""
    others = [task for task in os.listdir("/proc/self/task") if int(task) != os.getpid()]
    return sorted(Path(f"/proc/self/task/{task}/comm").read_text().strip() for task in others)


def main() -> None:
    plant_encoder()
    with tempfile.TemporaryDirectory(prefix="mirror-forks-") as folder:
        print(json.dumps({"ready": True}), flush=True)
        for line in sys.stdin:
            print(json.dumps(serve(json.loads(line), Path(folder))), flush=True)


if __name__ == "__main__":
    main()
