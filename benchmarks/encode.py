"""From tiles on disk to features, against the encoder's own forward rate on the same batches held in memory.

    python benchmarks/encode.py [--tiles 384] [--repeats 9] [--precision bf16] [--batch-size 32] [--encoder NAME]

Both runs do the same arithmetic on the same pixels; the one reads and decodes them meanwhile. Also prints the peak
memory of a process that encodes the tiles of a small and of a large slide: queues are bounded, so it must not grow.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from mirror_data.slides.direct import open_fastest
from mirror_data.slides.encoders import Encoder, load_encoder
from mirror_data.slides.grid import GridParameters, lay_grid
from mirror_data.slides.stream import encode_tiles, read_tiles
from mirror_data.slides.tissue import TissueParameters, find_tissue
from mirror_data.store import Tiling
from slides import make_slide

SIDES = (30_000, 100_000)
PROBE = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from encode import load_encoder, open_fastest, encode_tiles, tiling_of
with open_fastest(Path(sys.argv[2])) as opened:
    tiling = tiling_of(opened.reader, int(sys.argv[3]))
    encode_tiles(opened.reader, tiling, load_encoder(sys.argv[4], precision=sys.argv[5]), batch_size=int(sys.argv[6]))
line = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps(int(line.split()[1]) / 1024))
"""


def tiling_of(reader, tiles: int) -> Tiling:
    """The first ``tiles`` tiles that are at least half tissue, in raster order."""
    tissue = find_tissue(reader, TissueParameters())
    grid = lay_grid(reader, tissue.mask, tissue.mpp, GridParameters(min_tissue=0.5))
    coords = grid.coords[:tiles]
    return Tiling("slide", "t", len(coords), coords, 256, 0.5, grid.tile_px_level0, read_level=grid.read_level)


def forward_seconds(encoder: Encoder, batches: list[np.ndarray]) -> float:
    started = time.perf_counter()
    for batch in batches:
        encoder(batch)
    return time.perf_counter() - started


def whole_seconds(path: Path, tiling: Tiling, encoder: Encoder, batch_size: int) -> float:
    with open_fastest(path) as opened:
        started = time.perf_counter()
        encode_tiles(opened.reader, tiling, encoder, batch_size=batch_size)
        return time.perf_counter() - started


def compare(path: Path, options: argparse.Namespace) -> None:
    encoder = load_encoder(options.encoder, precision=options.precision)
    size = options.batch_size
    with open_fastest(path) as opened:
        tiling = tiling_of(opened.reader, options.tiles // size * size)
        batches = [read_tiles(opened.reader, tiling, np.arange(i, i + size)) for i in range(0, tiling.rows, size)]
    encoder(batches[0])
    forward, whole = [], []
    for _ in range(options.repeats):
        forward.append(forward_seconds(encoder, batches))
        whole.append(whole_seconds(path, tiling, encoder, size))
    rates = tiling.rows / np.array([forward, whole])  # tiles/s
    ratio = sum(forward) / sum(whole)
    print(f"{tiling.rows} tiles of 256 pixels in batches of {size}, {encoder.name}, {encoder.precision}")
    print(f"encoder alone      {np.median(rates[0]):7.1f} tiles/s (median of {options.repeats})")
    print(f"tiles to features  {np.median(rates[1]):7.1f} tiles/s; all repeats together {ratio:.3f} of it (goal 0.95)")
    print("pair by pair       " + ", ".join(f"{b / a:.3f}" for a, b in rates.T))


def compare_memory(paths: dict[int, Path], options: argparse.Namespace) -> None:
    peaks = []
    for path in paths.values():
        settings = (str(options.tiles), options.encoder, options.precision, str(options.batch_size))
        call = [sys.executable, "-c", PROBE, str(Path(__file__).parent), str(path), *settings]
        peaks.append(json.loads(subprocess.run(call, check=True, capture_output=True, text=True).stdout))
    sizes = ", ".join(f"{side}^2 {peak:.0f} MB" for side, peak in zip(paths, peaks, strict=True))
    print(f"peak memory        {sizes}: {peaks[-1] / peaks[0]:.2f} (goal 1.1)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=int, default=384)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--encoder", default="efficientnet-lite0")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        paths = {side: Path(folder) / f"{side}.svs" for side in SIDES}
        for side, path in paths.items():
            make_slide(path, side)
        compare(paths[SIDES[0]], options)
        compare_memory(paths, replace_tiles(options))


def replace_tiles(options: argparse.Namespace) -> argparse.Namespace:
    """A third of the tiles is enough to fill every queue."""
    return argparse.Namespace(**{**vars(options), "tiles": options.tiles // 3})


if __name__ == "__main__":
    main()
