"""A file of a training's folder lost, cut or altered: refused by name when it is resumed, embedded or audited."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mirror_data.errors import Exit, Interrupted, MirrorError, StoreError
from mirror_data.sealed import seal, unseal
from mirror_data.store import Store, read_run
from mirror_eval.leakage.checkpoint import read_checkpoint
from mirror_model import runs
from mirror_model.baselines.config import config_of
from mirror_model.config import read_config
from mirror_model.embed import embed_fold
from mirror_model.folds import plan_jobs
from mirror_model.jobs import TrainJob, run_folder

from tests.faults.damage import CHANGES, NAMES, damaged
from tests.model.conftest import fill_store

CODES = {"CORRUPT_CHECKPOINT", "UNSAFE_FORMAT", "NEWER_FORMAT"}
SETTINGS = ("epochs=3", "batch_size=8", "data.tiles=12", "optimiser.lr=0.01", "precision=fp32")


@contextmanager
def after(steps: int) -> Iterator[Callable[[], bool]]:
    """A signal to stop that comes before that many steps are done."""
    left = iter(range(steps))
    yield lambda: next(left, None) is None


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return fill_store(tmp_path_factory.mktemp("checkpoints") / "toy.zarr")


def job_of(store: Store, run: str, overwrite: bool = False) -> TrainJob:
    config = read_config(None, SETTINGS, kind=config_of("linear"))
    names = {"method": "linear", "task": "subtype", "split": "main", "fold": "0", "overwrite": overwrite}
    return plan_jobs(store.url, run, config=config, **names)[0]


def begun(store: Store, run: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A training that was told to stop in its second epoch; its folder."""
    with monkeypatch.context() as patch:
        patch.setattr(runs, "stop_signals", lambda: after(4))
        with pytest.raises(Interrupted):
            runs.train_fold(job_of(store, run))
    folder = run_folder(store.url, run, 0)
    names = {file.name.split("-")[0] for file in folder.iterdir()}
    assert names == {"last.json", "best.json", "weights", "optimiser", "metrics.jsonl"}
    return folder


def refused(work: Callable[[], object], file: Path) -> None:
    with pytest.raises(MirrorError) as caught:
        work()
    error = caught.value
    assert error.code in CODES, error
    assert (error.exit, error.file) == (Exit.BAD_INPUT, str(file))


def test_a_damaged_file_of_a_begun_training_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = begun(store, "begun", monkeypatch)
    for file in sorted(folder.iterdir()):
        for change, name in zip(CHANGES, NAMES, strict=True):
            if (file.name, name) == ("last.json", "deleted"):
                continue  # then nothing was begun: see below
            with damaged(file, change):
                refused(lambda: runs.train_fold(job_of(store, "begun")), file)
    assert runs.train_fold(job_of(store, "begun")).status == "resumed"


def test_without_its_last_checkpoint_a_training_begins_anew(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = runs.train_fold(job_of(store, "whole"))
    folder = begun(store, "lost", monkeypatch)
    (folder / "last.json").unlink()
    outcome = runs.train_fold(job_of(store, "lost"))
    assert (outcome.status, outcome.metrics) == ("trained", whole.metrics)
    assert (folder / "metrics.jsonl").read_text().count('"epoch": 0,') == 1
    assert read_run(store, "lost", 0).checkpoint_sha256 == read_run(store, "whole", 0).checkpoint_sha256


def test_what_is_damaged_may_be_replaced_when_told(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, pattern in enumerate(("last.json", "weights-*", "best.json")):
        folder = begun(store, f"replaced{number}", monkeypatch)
        file = next(folder.glob(pattern))
        file.write_bytes(file.read_bytes()[:-40])
        refused(lambda n=number: runs.train_fold(job_of(store, f"replaced{n}")), file)
        assert runs.train_fold(job_of(store, f"replaced{number}", overwrite=True)).status == "trained"


def test_a_damaged_checkpoint_is_neither_used_nor_audited(store: Store) -> None:
    runs.train_fold(job_of(store, "done"))
    folder = run_folder(store.url, "done", 0)
    weights = folder / unseal((folder / "model.json").read_bytes())["weights"]["name"]
    for file in (folder / "model.json", weights):
        for change, name in zip(CHANGES, NAMES, strict=True):
            with damaged(file, change):
                if (file.name, name) == ("model.json", "deleted"):
                    with pytest.raises(StoreError, match="MISSING"):
                        embed_fold(store.url, "done", 0)
                    assert read_checkpoint(folder) is None
                    continue
                refused(lambda: embed_fold(store.url, "done", 0), file)
                if file.name == "model.json":
                    refused(lambda: read_checkpoint(folder), file)
    assert embed_fold(store.url, "done", 0).predicted > 0
    assert read_checkpoint(folder, whole=True) is not None


@pytest.mark.long
def test_every_bit_of_a_checkpoints_document_matters(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    from mirror_model.checkpoint import CheckpointFolder

    file = begun(store, "bits", monkeypatch) / "last.json"
    whole = file.read_bytes()
    folder = CheckpointFolder(file.parent)
    for bit in range(0, 8 * len(whole), 3):
        place = bit // 8
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << bit % 8]) + whole[place + 1 :])
        refused(lambda: folder.document("last"), file)


def test_a_document_without_a_digest_is_read_as_the_first_version_wrote_it(store: Store) -> None:
    runs.train_fold(job_of(store, "old"))
    file = run_folder(store.url, "old", 0) / "model.json"
    values = unseal(file.read_bytes())
    import json

    values.pop("log")
    file.write_text(json.dumps({**values, "format": 1}))
    assert embed_fold(store.url, "old", 0).predicted > 0
    file.write_bytes(seal({**values, "format": 1}))  # the first version knew no such key
    refused(lambda: embed_fold(store.url, "old", 0), file)
