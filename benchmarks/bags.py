"""Reading a bag of 10,000 x 768 float16 from the store, against torch.load, an h5 file and zarr's own pipeline.

    python benchmarks/bags.py

Prints the median of 30 reads of each in milliseconds, and its ratio to ours. Ours checks every chunk's CRC-32C; torch
and h5 check nothing.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import torch
import zarr
from mirror_data.store import (
    Features,
    Slide,
    Tiling,
    create_store,
    read_features,
    schema,
    write_features,
    write_slide,
    write_tiling,
)

ROWS, WIDTH, REPEATS = 10_000, 768, 30


def median_ms(read: Callable[[], np.ndarray], expected: np.ndarray) -> float:
    assert np.array_equal(read(), expected)
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        read()
        times.append(time.perf_counter() - started)
    return 1000 * statistics.median(times)


def main() -> None:
    values = np.random.default_rng(0).normal(size=(ROWS, WIDTH)).astype(np.float16)
    with tempfile.TemporaryDirectory() as folder:
        store = create_store(Path(folder) / "cohort.zarr")
        write_slide(store, Slide("s", "p"))
        write_tiling(store, Tiling("s", "t", ROWS, None))
        write_features(store, Features("s", "t", "e", values))
        torch.save(torch.from_numpy(values), f"{folder}/bag.pt")
        with h5py.File(f"{folder}/bag.h5", "w") as file:
            file.create_dataset("features", data=values, chunks=(1, WIDTH), maxshape=(None, WIDTH))
        path = f"{store.url}/{schema.features('s', 't', 'e')}/features"
        readers: dict[str, Callable[[], np.ndarray]] = {
            "mirror_data.read_features": lambda: read_features(store, "s", "t", "e").values,
            "zarr.open_array(...)[:]": lambda: zarr.open_array(path, mode="r")[:],
            "torch.load": lambda: torch.load(f"{folder}/bag.pt").numpy(),
            "h5py, chunks of a row": lambda: h5py.File(f"{folder}/bag.h5")["features"][:],
        }
        times = {name: median_ms(read, values) for name, read in readers.items()}
    ours = times["mirror_data.read_features"]
    for name, value in times.items():
        print(f"{name:28s} {value:7.2f} ms  {value / ours:5.2f} x")


if __name__ == "__main__":
    main()
