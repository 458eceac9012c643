"""The cohort's samples out of a table of Xena's size: memory and time, against pandas on the first rows.

    python benchmarks/expression.py [--genes 198620] [--samples 10535] [--cohort 1053] [--peer-genes 4000]

Writes a gzip of log2(tpm + 0.001) with that many rows and columns (1 to 2 GB for the whole; 64 different rows under as
many ids as asked for), reads the cohort's columns of it in a process of its own, and prints its peak memory. The peer,
pandas.read_csv with ``usecols``, reads the first rows of the same table; ours reads the same for the ratio.
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROWS = 64  # that differ
OURS = """
import json, sys, time
from mirror_data.rna.tables import ExpressionOptions, read_expression_table
wanted = json.loads(sys.argv[2])
started = time.perf_counter()
found = read_expression_table(sys.argv[1], ExpressionOptions(unit="log2tpm+0.001"), wanted=wanted)
seconds = time.perf_counter() - started
line = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps([seconds, time.process_time(), int(line.split()[1]) / 2**20, found.expression.values.shape]))
"""
PEER = """
import json, sys, time
import pandas
wanted = set(json.loads(sys.argv[2]))
started = time.perf_counter()
usecols = lambda name: name == "sample" or name[:12] in wanted
table = pandas.read_csv(sys.argv[1], sep="\\t", index_col=0, usecols=usecols)
seconds = time.perf_counter() - started
line = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(json.dumps([seconds, time.process_time(), int(line.split()[1]) / 2**20, table.shape]))
"""


def barcode(number: int) -> str:
    return f"TCGA-{number // 10000:02d}-{number % 10000:04d}-01"


def write_table(path: Path, genes: int, samples: int) -> None:
    """Each row is two gzip members: its id, and one of `ROWS` tails that were compressed once."""
    rng = np.random.default_rng(0)
    values = rng.gamma(0.6, 20.0, (ROWS, samples)) * (rng.random((ROWS, samples)) < 0.45)
    texts = [f"{value:.4f}" for value in np.log2(np.round(values, 2).ravel() + 0.001)]
    lines = ("\t".join(texts[row * samples : (row + 1) * samples]) for row in range(ROWS))
    tails = [gzip.compress(f"\t{line}\n".encode(), 6) for line in lines]
    header = "\t".join(["sample", *(barcode(i) for i in range(samples))]) + "\n"
    with path.open("wb") as file:
        file.write(gzip.compress(header.encode()))
        for gene in range(genes):
            file.write(gzip.compress(f"ENST{gene:011d}.1".encode(), 0) + tails[gene % ROWS])


def measured(script: str, path: Path, wanted: list[str]) -> tuple[float, float, float, list[int]]:
    """Wall and CPU seconds, peak GB, and the shape of what was read."""
    call = [sys.executable, "-c", script, str(path), json.dumps(wanted)]
    return tuple(json.loads(subprocess.run(call, check=True, capture_output=True, text=True).stdout))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--genes", type=int, default=198_620)
    parser.add_argument("--samples", type=int, default=10_535)
    parser.add_argument("--cohort", type=int, default=1_053)
    parser.add_argument("--peer-genes", type=int, default=4_000)
    given = parser.parse_args()
    chosen = np.random.default_rng(1).choice(given.samples, given.cohort, replace=False)
    wanted = [barcode(int(number))[:12] for number in sorted(chosen)]
    with tempfile.TemporaryDirectory() as folder:
        for name, genes, scripts in (
            ("first rows", given.peer_genes, {"mirror_data": OURS, "pandas.read_csv": PEER}),
            ("whole table", given.genes, {"mirror_data": OURS}),
        ):
            path = Path(folder) / f"{genes}.tsv.gz"
            started = time.perf_counter()
            write_table(path, genes, given.samples)
            size = path.stat().st_size / 2**30
            print(f"{name}: {genes} x {given.samples}, {size:.2f} GB, made in {time.perf_counter() - started:.0f} s")
            results = {label: measured(script, path, wanted) for label, script in scripts.items()}
            for label, (wall, cpu, peak, shape) in results.items():
                ratio = wall / results["mirror_data"][0]
                print(f"  {label:16s} {wall:7.1f} s  {cpu:7.1f} CPU s  {peak:5.2f} GB  {ratio:5.2f} x  {tuple(shape)}")
            path.unlink()


if __name__ == "__main__":
    main()
