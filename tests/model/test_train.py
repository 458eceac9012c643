from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from mirror_data.errors import BadInput, Busy, Interrupted, StoreError
from mirror_data.store import Store, open_store, read_run
from mirror_model.checkpoint import CheckpointFolder, restore_network
from mirror_model.cohort import read_folds
from mirror_model.config import DataConfig, OptimiserConfig, read_config
from mirror_model.device import choose_device, choose_precision
from mirror_model.fold_data import prepare, read_fold
from mirror_model.folds import plan_jobs, train_folds
from mirror_model.jobs import TrainJob, run_folder
from mirror_model.metrics_log import PACE, MetricsLog
from mirror_model.optimiser import learning_rate, make_optimiser
from mirror_model.preparation import fit_preparation, load_expression, principal_axes
from mirror_model.runs import make_identity, train_fold
from mirror_model.train import Training, fit
from mirror_model.trained import load_trained


class Silent:
    def advance(self, steps: int = 1, note: str = "") -> None: ...


def job(store: Store, settings: tuple[str, ...], *more: str, **options: object) -> TrainJob:
    config = read_config(None, [*settings, *more])
    return TrainJob(store.url, "run", "mirror", "main", 0, config, **options)


def training(store: Store, work: TrainJob, folder: Path) -> Training:
    data = read_fold(store, work)
    return prepare(store, make_identity(store, work, data.features), CheckpointFolder(folder), data)


def weights(folder: str | Path) -> str:
    document = CheckpointFolder(Path(folder)).document("model")
    assert document is not None
    return document.weights.sha256


def test_a_fold_is_trained_logged_and_committed(store: Store, small_settings: tuple[str, ...]) -> None:
    outcome = train_fold(job(store, small_settings, "epochs=6", "optimiser.lr=0.01"))
    assert (outcome.status, outcome.patients, outcome.pairs, outcome.missing) == ("trained", 20, 18, 0)
    log = MetricsLog(Path(outcome.folder)).read()
    assert [line["epoch"] for line in log] == list(range(7))
    assert log[-1]["align"] < 0.8 * log[1]["align"]
    terms = {"align", "slide_retention", "rna_retention", "style", "cluster", "loss"}
    assert terms | {f"validation_{t}" for t in terms} <= set(log[-1])
    known = {"gradient_norm", "lr", "logit_scale", "rank_slide", "rank_rna", "modality_gap", "prototype_entropy"}
    assert known | {"seconds", "patients_per_second", "data_wait"} <= set(log[-1])
    assert {f"recall{k}_{way}" for k in (1, 5, 10) for way in ("slide_rna", "rna_slide")} <= set(log[-1])
    weighted = sum(
        w * log[-1][t]
        for t, w in {"align": 0.5, "slide_retention": 0.15, "rna_retention": 0.15, "style": 0.1, "cluster": 0.1}.items()
    )
    assert log[-1]["loss"] == pytest.approx(weighted, rel=1e-4)
    run = read_run(store, "run", 0)
    assert (run.method, run.split, run.checkpoint_sha256) == ("mirror", "main", weights(outcome.folder))
    assert run.config["model"]["dim"] == 24
    assert not set(PACE) & set(run.metrics)
    parents = store.document("runs/run/fold_0").parents
    assert set(parents) == {"slides/*/tilings/grid/features/toy", "rna", "splits/main"}
    assert sorted(p.name for p in Path(outcome.folder).glob("*.json")) == ["best.json", "model.json"]
    assert not list(Path(outcome.folder).glob("optimiser-*"))


def test_a_training_starts_from_components_and_its_checkpoint_needs_none(
    store: Store, small_settings: tuple[str, ...]
) -> None:
    settings = (*small_settings, "epochs=0", "model.rna_skip=true", "model.rna_skip_start=components")
    outcome = train_fold(job(store, settings))
    network = load_trained(store, "run", 0).network
    fold = read_fold(store, job(store, settings))
    fitted = fit_preparation(fold.table, fold.fold.train, fold.gene_ids, DataConfig())
    axes = torch.from_numpy(principal_axes(fitted, fold.table, fold.fold.train))
    weight = network.rna.skip.weight.detach()  # (24, 30)
    assert len(axes) == 18
    assert outcome.status == "trained"
    torch.testing.assert_close(weight @ axes.T @ axes, weight)


@pytest.mark.parametrize("precision", ["fp32", "bf16", pytest.param("fp16", marks=pytest.mark.long)])
def test_stopped_after_every_step_it_ends_bitwise_the_same(
    store: Store, small_settings: tuple[str, ...], tmp_path: Path, precision: str
) -> None:
    work = job(store, small_settings, f"precision={precision}", "choose=best", "epochs=2")
    whole = training(store, work, tmp_path / "whole")
    fit(whole, None, lambda: False, Silent())
    stops = 0
    while True:
        part = training(store, work, tmp_path / "parts")
        steps = iter([False])  # one step, then stop
        try:
            fit(part, part.folder.load("last"), lambda steps=steps: next(steps, True), Silent())
            break
        except Interrupted:
            stops += 1
    assert stops == 5  # two epochs of three steps
    assert weights(tmp_path / "parts") == weights(tmp_path / "whole")
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, part.network.state_dict()[name]), name
    logs = [
        [{k: v for k, v in line.items() if k not in PACE} for line in MetricsLog(tmp_path / n).read()]
        for n in ("parts", "whole")
    ]
    assert logs[0] == logs[1]


def test_the_test_part_changes_nothing(
    small_settings: tuple[str, ...], tmp_path: Path, make_store: Callable[..., Store]
) -> None:
    found = []
    for name in ("one", "two"):
        test = read_folds(open_store(make_store(tmp_path / "probe.zarr").url), "main")[0].test if name == "two" else ()
        store = make_store(tmp_path / f"{name}.zarr", changed=frozenset(test))
        outcome = train_fold(job(store, (*small_settings, "data.standardise_tiles=true"), "model.rna_tokens=gene_group",
                                 "model.rna_heads=4", "model.rna_groups=5", "choose=best"))  # fmt: skip
        found.append((weights(outcome.folder), outcome.metrics))
    assert found[0] == found[1]
    one, two = (load_expression(open_store(tmp_path / f"{name}.zarr")).values for name in ("one", "two"))
    assert not np.array_equal(one, two)


def test_a_trained_fold_is_skipped_and_a_different_one_refused(store: Store, small_settings: tuple[str, ...]) -> None:
    first = train_fold(job(store, small_settings))
    again = train_fold(job(store, small_settings, "runtime.cache_gb=0.5"))
    assert (again.status, again.patients, again.metrics) == ("skipped", 20, first.metrics)
    with pytest.raises(StoreError) as other:
        train_fold(job(store, small_settings, "model.mask_ratio=0.5", "seed=3"))
    assert other.value.code == "MISMATCH"
    assert "config.model.mask_ratio: 0.75 -> 0.5" in str(other.value.got)
    assert "config.seed: 0 -> 3" in str(other.value.got)
    with pytest.raises(StoreError, match="MISMATCH"):
        train_fold(job(store, small_settings, genes="top"))
    replaced = train_fold(job(store, small_settings, "seed=3", overwrite=True))
    assert replaced.status == "trained"
    assert read_run(store, "run", 0).config["seed"] == 3


def test_begun_with_other_settings_is_refused_unless_replaced(store: Store, small_settings: tuple[str, ...]) -> None:
    work = job(store, small_settings)
    begun = training(store, work, run_folder(store.url, "run", 0))
    with pytest.raises(Interrupted):
        fit(begun, None, iter([False, False, True]).__next__, Silent())
    with pytest.raises(StoreError) as other:
        train_fold(job(store, small_settings, "epochs=4"))
    assert "config.epochs: 3 -> 4" in str(other.value.got)
    assert train_fold(work).status == "resumed"
    assert train_fold(job(store, small_settings, "epochs=4", overwrite=True)).status == "trained"


def test_changed_data_is_a_mismatch(
    store: Store, small_settings: tuple[str, ...], tmp_path: Path, make_store: Callable[..., Store]
) -> None:
    train_fold(job(store, small_settings))
    other = make_store(tmp_path / "other.zarr", changed=frozenset({"P00"}))
    folder = run_folder(store.url, "run", 0)
    begun = training(store, job(store, small_settings), tmp_path / "other.runs" / "run" / "fold_0")
    with pytest.raises(Interrupted):
        fit(begun, None, lambda: True, Silent())
    with pytest.raises(StoreError) as changed:
        train_fold(job(other, small_settings))
    assert "parents.rna" in str(changed.value.got)
    assert folder.is_dir()


def test_zero_epochs_keep_the_untrained_network(store: Store, small_settings: tuple[str, ...]) -> None:
    outcome = train_fold(job(store, small_settings, "epochs=0"))
    log = MetricsLog(Path(outcome.folder)).read()
    assert [line["epoch"] for line in log] == [0]
    assert "validation_loss" in log[0]
    assert read_run(store, "run", 0).config["epochs"] == 0
    assert outcome.seconds_per_epoch is None


def test_the_best_epoch_is_that_of_the_smallest_validation_loss(store: Store, small_settings: tuple[str, ...]) -> None:
    outcome = train_fold(job(store, small_settings, "epochs=8", "optimiser.lr=0.05", "choose=best"))
    losses = [line["validation_loss"] for line in MetricsLog(Path(outcome.folder)).read()[1:]]
    assert outcome.metrics["epoch"] == 1 + int(np.argmin(losses))
    assert outcome.metrics["validation_loss"] == min(losses)


@pytest.mark.long
def test_compiled_it_is_the_same_training(store: Store, small_settings: tuple[str, ...], tmp_path: Path) -> None:
    found = []
    for setting in ("false", "true"):
        one = training(
            store, job(store, small_settings, "model.dropout=0", f"runtime.compile={setting}"), tmp_path / setting
        )
        fit(one, None, lambda: False, Silent())
        found.append([line["loss"] for line in MetricsLog(tmp_path / setting).read()[1:]])
    assert found[1] == pytest.approx(found[0], rel=1e-3)
    again = training(store, job(store, small_settings), tmp_path / "again")
    saved = CheckpointFolder(tmp_path / "true").load("model")
    assert saved is not None
    restore_network(again.network, saved.network, tmp_path)


def test_determinism_is_asked_for_and_put_back(store: Store, small_settings: tuple[str, ...]) -> None:
    plain = train_fold(job(store, small_settings, "epochs=1"))
    strict = train_fold(job(store, small_settings, "epochs=1", "runtime.deterministic=true", overwrite=True))
    assert strict.metrics == plain.metrics
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.long
def test_folds_do_not_depend_on_the_number_of_workers(
    store: Store, small_settings: tuple[str, ...], tmp_path: Path
) -> None:
    config = read_config(None, small_settings)
    found = []
    for workers in (1, 2):
        options = {"split": "main", "config": config, "genes": "top", "checkpoints": str(tmp_path / str(workers))}
        jobs = plan_jobs(store.url, f"run{workers}", **options)
        outcomes = train_folds(jobs, workers)
        assert [o.fold for o in outcomes] == [0, 1]
        found.append([weights(o.folder) for o in outcomes])
    assert found[0] == found[1]
    with pytest.raises(StoreError):
        train_folds(plan_jobs(store.url, "run2", split="main", config=config, checkpoints=str(tmp_path / "2")), 1)


def test_a_failing_fold_among_several_keeps_its_code(store: Store, small_settings: tuple[str, ...]) -> None:
    config = read_config(None, [*small_settings, "optimiser.lr=1e30", "optimiser.name=adam"])
    with pytest.raises(BadInput) as diverged:
        train_folds(plan_jobs(store.url, "run", split="main", fold="0", config=config), 1)
    assert diverged.value.code == "DIVERGED"


def test_a_damaged_store_is_named_though_the_folds_are_trained_elsewhere(
    store: Store, small_settings: tuple[str, ...]
) -> None:
    jobs = plan_jobs(store.url, "run", split="main", config=read_config(None, list(small_settings)))
    chunk = next(path for path in (Path(store.url) / "rna" / "X").rglob("*") if path.is_file() and "c" in path.parts)
    chunk.write_bytes(b"damaged")
    with pytest.raises(StoreError) as damaged:
        train_folds(jobs, 2)
    error = damaged.value
    assert (error.code, error.file) == ("CORRUPT_STORE", store.url)
    assert error.key == f"fold 0, {chunk.relative_to(store.url).as_posix()}"


def test_one_process_a_fold(store: Store, small_settings: tuple[str, ...]) -> None:
    with store.claim("train run fold 0"), pytest.raises(Busy):
        train_fold(job(store, small_settings))


def test_what_cannot_be_trained_is_said(store: Store, small_settings: tuple[str, ...]) -> None:
    with pytest.raises(BadInput, match="no such method"):
        plan_jobs(store.url, "run", split="main", method="magic")
    with pytest.raises(BadInput, match="no such fold"):
        plan_jobs(store.url, "run", split="main", fold="7")
    store.delete("rna")
    with pytest.raises(StoreError) as missing:
        train_fold(job(store, small_settings))
    assert (missing.value.code, missing.value.key) == ("MISSING", "rna")
    with pytest.raises(BadInput, match="local folder"):
        run_folder("memory://cohort.zarr", "run", 0)
    assert run_folder("a/cohort.zarr", "my run", 2) == Path("a/cohort.runs/my~20run/fold_2")


def test_learning_rates() -> None:
    constant = OptimiserConfig(lr=1.0, warmup=0.1)
    assert [learning_rate(constant, s, 100) for s in (0, 4, 9, 10, 99)] == pytest.approx([0.1, 0.5, 1, 1, 1])
    cosine = OptimiserConfig(lr=1.0, schedule="cosine")
    assert [learning_rate(cosine, s, 100) for s in (0, 50, 100)] == pytest.approx([1, 0.5, 0])
    cycle = [learning_rate(OptimiserConfig(lr=1.0, schedule="one_cycle"), s, 100) for s in range(100)]
    assert cycle.index(max(cycle)) in (29, 30)
    assert max(cycle) == pytest.approx(1)
    assert cycle[0] < 0.05
    assert cycle[-1] < 0.01
    assert all(math.isfinite(rate) and rate > 0 for rate in cycle)


def test_only_layer_weights_decay() -> None:
    layer = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2))
    optimiser = make_optimiser(layer, OptimiserConfig(name="adamw", weight_decay=0.1))
    decayed, free = optimiser.param_groups
    assert [tuple(p.shape) for p in decayed["params"]] == [(2, 3)]
    assert decayed["weight_decay"] == 0.1
    assert free["weight_decay"] == 0.0
    assert len(free["params"]) == 3


def test_the_log_is_plain_json_lines(store: Store, small_settings: tuple[str, ...]) -> None:
    outcome = train_fold(job(store, small_settings))
    lines = (Path(outcome.folder) / "metrics.jsonl").read_text().splitlines()
    assert all(math.isfinite(value) for line in lines for value in json.loads(line).values())


def test_precision_and_device() -> None:
    cpu = torch.device("cpu")
    assert choose_precision("auto", cpu, 192) == "fp32"
    assert choose_precision("bf16", cpu, 192) == "bf16"
    assert choose_precision("auto", torch.device("cuda"), 192) == "bf16"
    if not torch.cuda.is_available():
        assert choose_device("auto") == cpu
        with pytest.raises(BadInput, match="no GPU"):
            choose_device("cuda")
