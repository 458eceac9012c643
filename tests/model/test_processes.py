"""Two processes with gloo, started as torchrun starts them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from mirror_data.errors import BadInput, StoreError
from mirror_data.store import Store, read_embeddings, read_run
from mirror_model.checkpoint import CheckpointFolder
from mirror_model.config import read_config
from mirror_model.jobs import TrainJob
from mirror_model.metrics_log import MetricsLog
from mirror_model.processes import ALONE, joined
from mirror_model.runs import train_fold

from tests.model.distributed_work import agreed, gradients

ROOT = Path(__file__).resolve().parents[2]


def start(arguments: list[str], count: int = 2) -> list[subprocess.Popen[str]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {**os.environ, "WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    shared |= {"OMP_NUM_THREADS": "1", "TORCH_CPP_LOG_LEVEL": "ERROR"}
    return [
        subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=ROOT,
            env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]


def finish(processes: list[subprocess.Popen[str]], timeout: float = 120) -> list[tuple[int, str, str]]:
    found = []
    for process in processes:
        out, err = process.communicate(timeout=timeout)
        found.append((process.returncode, out, err))
    return found


def train(store: Store, small_settings: tuple[str, ...], *more: str) -> list[str]:
    sets = [word for setting in (*small_settings, *more) for word in ("--set", setting)]
    return ["mirror_model", "train", "--store", store.url, "--run", "shared", "--split", "main", "--fold", "0", *sets]


def test_two_processes_make_the_batch_of_one(store: Store, tmp_path: Path) -> None:
    for code, _, err in finish(start(["tests.model.distributed_work", store.url, str(tmp_path / "two")])):
        assert code == 0, err
    first, second = (json.loads((tmp_path / f"two-{rank}.json").read_text()) for rank in range(2))
    assert first["gathered"] == second["gathered"] == [[1.0, 1.0, 1.0]]
    assert (first["place"], second["place"]) == (0, 0)
    assert first["any"] == second["any"] == [True, False]
    assert first["leaders"] == second["leaders"] == [0.5]
    assert first["agreed"] == second["agreed"] == agreed(ALONE)
    for patients in (16, 7):  # 7: shares of 4 and 3, one without slides, one without RNA
        expected, values = gradients(store.url, tmp_path / "one", ALONE, patients)
        one, two = (np.load(tmp_path / f"two-{rank}-{patients}.npy") for rank in range(2))
        assert np.array_equal(one, two)
        np.testing.assert_allclose(one, expected.numpy(), rtol=1e-5, atol=1e-5 * float(expected.abs().max()))
        assert first[f"loss{patients}"] == second[f"loss{patients}"] == pytest.approx(values, rel=1e-5)


def test_the_command_under_a_launcher(store: Store, small_settings: tuple[str, ...]) -> None:
    settings = (*small_settings, "model.dropout=0")
    one, two = finish(start(train(store, settings, "runtime.track=tensorboard")))
    assert (one[0], two[0]) == (0, 0), one[2] + two[2]
    assert "fold 0: trained, 20 patients" in one[1]
    assert two[1] == ""
    run = read_run(store, "shared", 0)
    assert run.config["processes"] == 2
    assert len(read_embeddings(store, "shared", 0, "slide").patient_ids) == 34
    alone = train_fold(TrainJob(store.url, "alone", "mirror", "main", 0, read_config(None, settings)))
    log = MetricsLog(Path(alone.folder)).read()
    shared = MetricsLog(Path(alone.folder.replace("alone", "shared"))).read()
    assert [line["epoch"] for line in shared] == [0, 1, 2, 3]
    for ours, theirs in zip(shared, log, strict=True):
        assert ours["validation_loss"] == pytest.approx(theirs["validation_loss"], rel=1e-4)
    with pytest.raises(StoreError) as other:
        train_fold(TrainJob(store.url, "shared", "mirror", "main", 0, read_config(None, settings)))
    assert "processes: 2 -> 1" in str(other.value.got)


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM])
def test_a_process_that_dies_hangs_or_is_asked_to_stop(
    store: Store, small_settings: tuple[str, ...], number: signal.Signals
) -> None:
    """All of them end within 60 seconds, and the training goes on from where it was."""
    words = train(store, small_settings, "epochs=4000")
    processes = start(words)
    log = Path(store.url.replace(".zarr", ".runs")) / "shared" / "fold_0" / "metrics.jsonl"
    deadline = time.monotonic() + 60
    while (not log.exists() or len(log.read_text().splitlines()) < 5) and time.monotonic() < deadline:
        time.sleep(0.05)
    processes[1].send_signal(number)
    started = time.monotonic()
    code, _, err = finish(processes[:1])[0]
    assert time.monotonic() - started < 60
    assert code == 75
    assert "Traceback" not in err
    assert ("INTERRUPTED" if number == signal.SIGTERM else "PROCESS_LOST") in err
    if number == signal.SIGSTOP:
        processes[1].kill()
    assert finish(processes[1:])[0][0] != 0
    saved = CheckpointFolder(log.parent).load("last")
    assert saved is not None
    assert saved.document.position.epoch >= 4


@pytest.mark.long
def test_what_cannot_be_shared_is_said(store: Store, small_settings: tuple[str, ...]) -> None:
    for code, _, err in finish(start(train(store, small_settings, "batch_size=1"))):
        assert code == 2, err
        assert "a batch has fewer patients than there are processes" in err
        assert "Traceback" not in err


def test_a_launchers_variables_are_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(BadInput, match="launcher") as refused, joined(read_config().runtime):
        pass
    assert refused.value.key == "RANK"
    monkeypatch.delenv("WORLD_SIZE")
    with joined(read_config().runtime) as processes:
        assert processes is ALONE
