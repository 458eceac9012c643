"""A whole training step, ours against the published architecture: forward, backward, Adam.

    python benchmarks/train.py

2,048 tiles of 768 numbers a slide, 10,234 genes, D = 768, the paper's batch of 16. On a CPU one thread; every mode in a
process of its own, in turn, so that the machine's moods meet all of them. Prints CPU seconds a patient (median of the
repeats), patients a second and peak memory above that of the imports, each beside the published architecture in float32
(nystrom attention). A second table has the small network of the recipes. On a GPU the published architecture runs under
AMP, and the operations a second are told beside those of a large matrix product.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass

import torch


@dataclass(frozen=True)
class Mode:
    """What is timed."""

    name: str
    precision: str
    settings: tuple[str, ...] = ()
    batch: int = 16
    tiles: int = 2048  # of every slide
    width: int = 768  # P
    genes: int = 10_234


PUBLISHED = ("model.attention=nystrom", "data.bag=fixed")
RECIPE = ("model.dim=192", "model.pool=attention", "model.slide_depth=0", "model.mean_skip=true", "model.rna_depth=1")
SMALL = {"batch": 128, "tiles": 64, "width": 192, "genes": 1558}
CPU_MODES = (
    Mode("published, float32", "fp32", PUBLISHED),
    Mode("published, bf16", "bf16", PUBLISHED),
    Mode("ours, float32", "fp32"),
    Mode("ours, bf16", "bf16"),
)
GPU_MODES = (Mode("published, bf16", "bf16", PUBLISHED), Mode("ours, bf16", "bf16"))
SMALL_MODES = (
    Mode("published, float32", "fp32", (*PUBLISHED, "model.dim=192"), **SMALL),
    Mode("ours, float32", "fp32", ("model.dim=192",), **SMALL),
    Mode("the recipe's, float32", "fp32", RECIPE, **SMALL),
)


@dataclass(frozen=True)
class Measured:
    seconds: list[float]  # a patient: of CPU time, on a GPU by the wall clock
    peak_mb: float  # above what the imports take
    flops: float = 0.0  # of a patient


def measure(mode: Mode, repeats: int, device: torch.device) -> Measured:
    """Time steps of one mode, after one that is not counted."""
    from mirror_model.batches import Batch
    from mirror_model.config import read_config
    from mirror_model.device import AUTOCAST
    from mirror_model.gradients import Arithmetic, Part, batch_gradients
    from mirror_model.mirror import Shapes
    from mirror_model.mirror_learner import MirrorLearner
    from mirror_model.optimiser import make_optimiser
    from mirror_model.processes import ALONE

    torch.set_num_threads(1)
    before = _peak_mb(device)
    torch.manual_seed(0)
    config = read_config(None, [*mode.settings, f"precision={mode.precision}"])
    learner = MirrorLearner(config)
    network = learner.build(Shapes(mode.width, mode.genes, mode.tiles)).to(device).train()
    optimiser = make_optimiser(network, config.optimiser)
    everyone = torch.arange(mode.batch)
    tiles, expression = torch.randn(mode.batch, mode.tiles, mode.width), torch.randn(mode.batch, mode.genes)
    ids, counts = tuple(map(str, range(mode.batch))), torch.full((mode.batch,), mode.tiles)
    batch = Batch(ids, everyone, everyone, tiles, counts, expression, everyone, everyone).to(device)
    arithmetic = Arithmetic(device, AUTOCAST[mode.precision])

    def step() -> None:
        learner.before_step(network)
        optimiser.zero_grad(set_to_none=True)
        batch_gradients(learner, network, [Part(batch, lambda: None)], arithmetic, ALONE)
        optimiser.step()

    seconds = [_seconds(step, device) / mode.batch for _ in range(1 + repeats)][1:]
    return Measured(seconds, _peak_mb(device) - before, _flops(step) / mode.batch if device.type == "cuda" else 0.0)


def _seconds(step, device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
        started = time.perf_counter()
        step()
        torch.cuda.synchronize()
        return time.perf_counter() - started
    started = time.process_time()
    step()
    return time.process_time() - started


def _peak_mb(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _flops(step) -> float:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        step()
    return float(counter.get_total_flops())


def matrix_rate(device: torch.device, side: int = 8192) -> float:
    """Operations a second of a large bf16 matrix product."""
    one = torch.randn(side, side, device=device, dtype=torch.bfloat16)
    seconds = [_seconds(lambda: one @ one, device) for _ in range(10)]
    return 2 * side**3 / min(seconds)


def rounds(modes: tuple[Mode, ...], repeats: int, times: int, device: str) -> dict[str, Measured]:
    """Every mode in turn, ``times`` over, each in a process of its own."""
    found: dict[str, list[Measured]] = {mode.name: [] for mode in modes}
    for _ in range(times):
        for mode in modes:
            call = [sys.executable, __file__, "--mode", json.dumps(asdict(mode)), "--repeats", str(repeats)]
            done = subprocess.run([*call, "--device", device], check=True, capture_output=True, text=True)
            found[mode.name].append(Measured(**json.loads(done.stdout)))
    return {
        name: Measured([s for m in all_ for s in m.seconds], max(m.peak_mb for m in all_), all_[0].flops)
        for name, all_ in found.items()
    }


def table(title: str, found: dict[str, Measured], unit: str) -> None:
    print(title)
    first = next(iter(found.values()))
    for name, one in found.items():
        middle = statistics.median(one.seconds)
        ratio = statistics.median(first.seconds) / middle
        spread = f"{min(one.seconds):.4g} to {max(one.seconds):.4g}"
        print(
            f"  {name:22s} {middle:8.4f} {unit} ({spread}), {1 / middle:8.2f} patients/s: {ratio:5.2f} x;"
            f" {one.peak_mb:7.0f} MB: {one.peak_mb / first.peak_mb:.2f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=1, help="steps of a process, after one that is not counted")
    parser.add_argument("--times", type=int, default=3, help="processes of every mode")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--mode", help=argparse.SUPPRESS)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    device = torch.device(options.device)
    if options.mode:
        print(json.dumps(asdict(measure(Mode(**json.loads(options.mode)), options.repeats, device))))
        return
    large = GPU_MODES if device.type == "cuda" else CPU_MODES
    large = tuple(Mode(**{**asdict(mode), "batch": options.batch}) for mode in large)
    unit = "s" if device.type == "cuda" else "CPU s"
    size = f"D = 768, 2,048 tiles of 768, 10,234 genes, batch {options.batch}, {device.type}"
    found = rounds(large, options.repeats, options.times, device.type)
    table(f"{size}: {unit} a patient", found, unit)
    if device.type == "cuda":
        rate, ours = matrix_rate(device), found["ours, bf16"]
        reached = ours.flops / statistics.median(ours.seconds)
        print(f"  ours: {reached / 1e12:.0f} TFLOP/s, {reached / rate:.2f} of what a bf16 matrix product reaches")
        return
    small = rounds(SMALL_MODES, 3 * options.repeats, options.times, device.type)
    table("D = 192, 64 tiles of 192, 1,558 genes, batch 128, cpu: CPU s a patient", small, unit)


if __name__ == "__main__":
    main()
