"""Baselines through the one loop: they learn, resume, keep to their part of the fold, and leave predictions behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from mirror_data.cli.app import run as run_command
from mirror_data.errors import BadInput, Interrupted, StoreError
from mirror_data.store import (
    Store,
    check,
    open_store,
    read_attention,
    read_embeddings,
    read_patients,
    read_predictions,
    read_run,
    schema,
)
from mirror_model.checkpoint import CheckpointFolder
from mirror_model.cli.main import cli
from mirror_model.cohort import read_folds
from mirror_model.diagnostics import accuracy, harrell_c, macro_auroc
from mirror_model.embed import embed_fold
from mirror_model.fold_data import prepare, read_fold
from mirror_model.jobs import TrainJob
from mirror_model.metrics_log import MetricsLog
from mirror_model.runs import make_identity, train_fold
from mirror_model.tasks import Subtype, Survival
from mirror_model.train import Training, fit
from mirror_model.trained import load_trained

from .conftest import SETTINGS, Ran, settings_of

LEARN_IN_A_SECOND = ("linear", "abmil", "porpoise")  # from 17 patients; TransMIL's turn is in test_networks
Runs = Callable[[str, str | None], Ran]


class Silent:
    def advance(self, steps: int = 1, note: str = "") -> None: ...


def job(store: Store, method: str, task: str | None, *more: str, **options: object) -> TrainJob:
    return TrainJob(store.url, f"{method}-{task}", method, "main", 0, settings_of(method, *more), task, **options)


def training(store: Store, work: TrainJob, folder: Path) -> Training:
    data = read_fold(store, work)
    return prepare(store, make_identity(store, work, data.features), CheckpointFolder(folder), data)


@pytest.mark.parametrize("method", LEARN_IN_A_SECOND)
def test_a_planted_subtype_is_found_in_held_out_patients(ran: Runs, method: str) -> None:
    one = ran(method, "subtype")
    table = read_predictions(one.store, one.run, 0, "subtype").table
    np.testing.assert_allclose(table[["prob_left", "prob_right"]].sum(axis=1), 1, atol=1e-6)
    held = table[table["part"] != "train"].set_index("patient_id")
    subtype = read_patients(one.store).table["subtype"].reindex(held.index).dropna()
    probability = held.loc[subtype.index, ["prob_left", "prob_right"]].to_numpy()
    label = (subtype == "right").to_numpy(dtype=int)
    assert len(label) >= 13
    assert macro_auroc(label, probability) > 0.85
    assert accuracy(label, probability.argmax(1)) > 0.65


@pytest.mark.parametrize("method", LEARN_IN_A_SECOND)
def test_a_planted_hazard_is_found_in_held_out_patients(ran: Runs, method: str) -> None:
    one = ran(method, "survival")
    table = read_predictions(one.store, one.run, 0, "survival").table
    held = table[table["part"] != "train"].set_index("patient_id")
    known = read_patients(one.store).survival().reindex(held.index).dropna()
    risk = held.loc[known.index, "risk"].to_numpy()
    assert harrell_c(known["time_days"].to_numpy(float), known["event"].to_numpy(bool), risk) > 0.6


@pytest.mark.parametrize(("method", "needs"), [("linear", {"slide", "rna"}), ("abmil", {"slide"})])
def test_who_is_left_out_is_counted(ran: Runs, method: str, needs: set[str]) -> None:
    subtype, survival = ran(method, "subtype"), ran(method, "survival")
    lacking = {"P03"} | ({"P05"} if "rna" in needs else set())
    assert subtype.trained.missing == survival.trained.missing == len(lacking)
    assert (subtype.trained.unlabelled, survival.trained.unlabelled) == (1, 1)  # P04; P06
    assert subtype.trained.patients == survival.trained.patients == 19 - len(lacking)
    fold = read_folds(subtype.store, "main")[0]
    table = read_predictions(subtype.store, subtype.run, 0, "subtype").table
    lacking |= {"P30"} | ({"P31"} if "rna" in needs else set())
    assert list(table["patient_id"]) == sorted(set(fold.part_of()) - lacking)  # also those without a label
    assert [fold.part_of()[patient] for patient in table["patient_id"]] == list(table["part"])
    assert subtype.applied.predicted == len(table)
    assert check(subtype.store).findings == ()


def test_what_was_fitted_is_of_the_training_patients_and_in_the_checkpoint(ran: Runs) -> None:
    one = ran("porpoise", "survival")
    known = read_patients(one.store).survival()
    trained = set(read_folds(one.store, "main")[0].train) - {"P03", "P05", "P06"}
    events = known.loc[sorted(trained)].query("event")["time_days"]
    task = load_trained(one.store, one.run, 0).learner.task
    assert isinstance(task, Survival)
    assert task.edges_days[:3] == tuple(np.quantile(events, [0.25, 0.5, 0.75]))
    document = CheckpointFolder(Path(one.trained.folder)).document("model")
    assert document is not None
    assert document.task == task
    classes = load_trained(one.store, ran("abmil", "subtype").run, 0).learner.task
    assert isinstance(classes, Subtype)
    assert classes.classes == ("left", "right")


def test_records_name_what_they_were_made_of(ran: Runs) -> None:
    slides, both = ran("abmil", "subtype"), ran("linear", "subtype")
    features, split = "slides/*/tilings/grid/features/toy", "splits/main"
    assert set(slides.store.document(f"runs/{slides.run}/fold_0").parents) == {features, split, "patients"}
    assert set(both.store.document(f"runs/{both.run}/fold_0").parents) == {features, split, "patients", "rna"}
    run = read_run(slides.store, slides.run, 0)
    assert (run.method, run.config["task"], run.metrics["unlabelled"]) == ("abmil", "subtype", 1)
    assert {"validation_auroc", "validation_accuracy", "validation_macro_f1"} <= set(run.metrics)
    predictions = slides.store.document(schema.predictions(slides.run, 0, "subtype"))
    assert set(predictions.parents) == {features, f"runs/{slides.run}/fold_0"}


def test_tiles_are_weighed_where_a_method_weighs_them(ran: Runs) -> None:
    assert ran("linear", "subtype").applied.attention == 0
    assert ran("abmil", "subtype").applied.attention == 36  # every slide
    assert ran("porpoise", "survival").applied.attention == 34  # not of the two without expression
    one = ran("abmil", "subtype")
    weights = read_attention(one.store, one.run, 0, "P07-1").weights
    assert weights.sum() == pytest.approx(1, abs=1e-5)
    assert weights.std() > 0


def test_tangle_leaves_embeddings_of_everyone_and_predicts_nothing(ran: Runs) -> None:
    one = ran("tangle", None)
    assert (one.trained.patients, one.trained.missing, one.trained.unlabelled) == (18, 2, 0)
    assert (one.applied.slide, one.applied.rna, one.applied.attention) == (34, 34, 36)
    assert read_embeddings(one.store, one.run, 0, "rna").values.shape == (34, 16)
    log = MetricsLog(Path(one.trained.folder)).read()
    assert log[-1]["align"] < 0.8 * log[1]["align"]
    assert log[-1]["recall1_slide_rna"] > 1 / 6


def test_what_is_predicted_is_skipped_until_it_is_stale(store: Store) -> None:
    train_fold(job(store, "abmil", "subtype", "epochs=1"))
    assert embed_fold(store.url, "abmil-subtype", 0).status == "predicted"
    first = store.document("runs/abmil-subtype/fold_0/predictions/subtype").hash
    assert embed_fold(store.url, "abmil-subtype", 0).status == "skipped"
    assert embed_fold(store.url, "abmil-subtype", 0, overwrite=True).status == "predicted"
    assert store.document("runs/abmil-subtype/fold_0/predictions/subtype").hash == first
    store.delete("slides/P00-0")
    again = embed_fold(store.url, "abmil-subtype", 0)
    assert (again.status, again.predicted) == ("predicted", 33)


@pytest.mark.parametrize(
    ("method", "task", "more"),
    [
        ("linear", "survival", ("optimiser.ema=0.9", "patience=2")),
        ("abmil", "subtype", ("runtime.micro_batch=3",)),
        ("transmil", "survival", ("data.tiles=9",)),
        ("porpoise", "subtype", ("optimiser.clip=1", "optimiser.schedule=cosine")),
        ("tangle", None, ("optimiser.lookahead=2",)),
    ],
)
def test_stopped_after_every_step_it_ends_bitwise_the_same(
    store: Store, tmp_path: Path, method: str, task: str | None, more: tuple[str, ...]
) -> None:
    work = job(store, method, task, "epochs=2", "batch_size=8", *more)
    whole = training(store, work, tmp_path / "whole")
    fit(whole, None, lambda: False, Silent())
    stops = 0
    while True:
        part = training(store, work, tmp_path / "parts")
        steps = iter([False])
        try:
            fit(part, part.folder.load("last"), lambda steps=steps: next(steps, True), Silent())
            break
        except Interrupted:
            stops += 1
    assert stops == 5  # two epochs of three steps
    names = ("model", "best") if whole.config.choose == "best" else ("model",)
    for name in names:
        kept = [CheckpointFolder(tmp_path / folder).document(name) for folder in ("whole", "parts")]
        assert kept[0] is not None
        assert kept[0].weights == kept[1].weights
        assert kept[0].position == kept[1].position


def test_the_test_part_changes_nothing(tmp_path: Path, make_store: Callable[..., Store]) -> None:
    plain = make_store(tmp_path / "one.zarr")
    test = read_folds(open_store(plain.url), "main")[0].test
    changed = make_store(tmp_path / "two.zarr", changed=frozenset(test))
    assert not read_patients(plain).table.equals(read_patients(changed).table)
    for method, task in (("linear", "survival"), ("abmil", "survival"), ("porpoise", "subtype"), ("tangle", None)):
        one, two = (train_fold(job(store, method, task, "epochs=2")) for store in (plain, changed))
        assert one.metrics == two.metrics
        found = [CheckpointFolder(Path(o.folder)).document("model") for o in (one, two)]
        assert found[0] is not None
        assert found[0].weights.sha256 == found[1].weights.sha256


def test_training_ends_when_the_validation_loss_no_longer_falls(store: Store) -> None:
    outcome = train_fold(job(store, "abmil", "survival", "epochs=40", "optimiser.lr=0.03", "patience=3"))
    losses = [line["validation_loss"] for line in MetricsLog(Path(outcome.folder)).read()[1:]]
    best = 1 + int(np.argmin(losses))
    assert outcome.epochs == len(losses) == best + 3 < 40
    assert outcome.metrics["epoch"] == best
    again = train_fold(job(store, "abmil", "survival", "epochs=40", "optimiser.lr=0.03", "patience=3"))
    assert (again.status, again.epochs) == ("skipped", best + 3)


def test_the_average_is_what_is_kept(store: Store, tmp_path: Path) -> None:
    one = training(store, job(store, "linear", "subtype", "epochs=3", "optimiser.ema=0.9", "choose=last"), tmp_path)
    document = fit(one, None, lambda: False, Silent())
    saved = CheckpointFolder(tmp_path).load("model")
    assert saved is not None
    assert document.position.epoch == 3
    assert not torch.equal(saved.network["head.weight"], one.network.state_dict()["head.weight"])
    assert saved.optimiser is None


def arguments(store: Store, method: str, *more: str) -> list[str]:
    sets = [part for setting in SETTINGS.get(method, ()) for part in ("--set", setting)]
    return ["train", "--store", store.url, "--run", "r", "--split", "main", "--fold", "0", "--method", method, *sets,
            "--set", "epochs=1", *more]  # fmt: skip


def test_the_command_trains_and_predicts(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(cli, arguments(store, "linear", "--task", "survival", "--genes", "top")) == 0
    shown = capsys.readouterr().out
    assert "fold 0: trained, 17 patients (17 with both)" in shown
    assert ", C 0." in shown
    assert "left out: 2 training patients of the split lack slides or expression" in shown
    assert "left out: the outcome of 1 training patients is not known" in shown
    assert "fold 0: predicted, 32 patients predicted" in shown
    assert run_command(cli, ["embed", "--store", store.url, "--run", "r", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["folds"][0]["status"] == "skipped"


def test_wrong_methods_tasks_and_settings_exit_with_2(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    for method, more, words in (
        ("magic", (), ("BAD_OPTION", "--method", "porpoise")),
        ("abmil", (), ("BAD_OPTION", "--task", "subtype, survival")),
        ("abmil", ("--task", "grade"), ("BAD_OPTION", "--task", "grade")),
        ("mirror", ("--task", "subtype"), ("BAD_OPTION", "--task", "without labels")),
        ("tangle", ("--task", "survival"), ("BAD_OPTION", "--task")),
        ("transmil", ("--task", "subtype", "--genes", "top"), ("BAD_OPTION", "--genes", "slides only")),
        ("linear", ("--task", "subtype", "--set", "model.dim=8"), ("BAD_OPTION", "model.dim", "unknown option")),
    ):
        assert run_command(cli, arguments(store, method, *more)) == 2, (method, more)
        shown = capsys.readouterr().err
        assert all(word in shown for word in words), shown
        assert "Traceback" not in shown


def test_every_setting_of_a_method_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--options", "--method", "abmil"], ["--method", "abmil", "--options"]):
        assert run_command(cli, ["train", *words]) == 0
        shown = capsys.readouterr().out
        assert "model.attention_dim = 128    # width of the gated attention" in shown
        assert "model.style_dim" not in shown


def test_outcomes_and_a_validation_part_are_needed(store: Store) -> None:
    with pytest.raises(BadInput, match="choose = last"):
        settings_of("linear", "epochs=0")
    store.delete("patients")
    with pytest.raises(StoreError) as missing:
        train_fold(job(store, "linear", "subtype"))
    assert (missing.value.code, missing.value.key) == ("MISSING", "patients")
    assert train_fold(job(store, "tangle", None, "epochs=0")).status == "trained"


def test_slides_alone_need_no_expression(store: Store) -> None:
    store.delete("rna")
    assert train_fold(job(store, "abmil", "subtype", "epochs=1")).patients == 18
    assert embed_fold(store.url, "abmil-subtype", 0, attention=True).predicted == 34
    with pytest.raises(StoreError) as missing:
        train_fold(job(store, "linear", "subtype"))
    assert (missing.value.code, missing.value.key) == ("MISSING", "rna")
