"""What `test_processes` runs in several processes: `python -m tests.model.distributed_work STORE OUT NAME`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
from mirror_data.store import open_store
from mirror_model.checkpoint import CheckpointFolder
from mirror_model.config import read_config
from mirror_model.fold_data import prepare, read_fold
from mirror_model.jobs import TrainJob
from mirror_model.processes import Processes, joined
from mirror_model.runs import make_identity
from mirror_model.train import Loop

from tests.model.conftest import SMALL


def gradients(url: str, folder: Path, processes: Processes, patients: int) -> tuple[torch.Tensor, dict[str, float]]:
    """Loss terms and all gradients of the first patients of the training part."""
    config = read_config(None, [*SMALL, "model.dropout=0"])
    work, store = TrainJob(url, "run", "mirror", "main", 0, config), open_store(url)
    data = read_fold(store, work)
    identity = make_identity(store, work, data.features, processes.count)
    loop = Loop(prepare(store, identity, CheckpointFolder(folder), data, processes))
    values = loop.gradients(loop.parts(np.arange(patients), 0, 0))
    return torch.cat([p.grad.flatten() for p in loop.parameters if p.grad is not None]), values


def agreed(processes: Processes) -> list[float]:
    """All weights of a network that every process starts differently."""
    torch.manual_seed(processes.rank)
    network = torch.nn.BatchNorm1d(2)  # weights, and a count that is whole
    torch.nn.init.normal_(network.weight)
    network.num_batches_tracked.fill_(processes.rank + 5)
    processes.agree(network)
    return [float(v) for value in network.state_dict().values() for v in value.flatten()]


def main(url: str, out: str) -> None:
    torch.set_num_threads(1)
    with joined(read_config(None, SMALL).runtime) as processes:
        mine = torch.full((processes.rank, 3), float(processes.rank))  # the first has none
        gathered = processes.gather(mine)
        found = {
            "gathered": gathered.tolist(),
            "place": processes.place(mine),
            "any": [processes.any(processes.rank == 1), processes.any(False)],
            "leaders": processes.leaders([processes.rank + 0.5]),
            "agreed": agreed(processes),
        }
        for patients in (16, 7):
            gradient, values = gradients(url, Path(out), processes, patients)
            found[f"loss{patients}"] = values
            np.save(f"{out}-{processes.rank}-{patients}.npy", gradient.numpy())
    Path(f"{out}-{processes.rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
