from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch
from mirror_data.errors import BadInput
from mirror_data.store import Patients
from mirror_model.diagnostics import accuracy, harrell_c, macro_auroc, macro_f1
from mirror_model.tasks import Subtype, Survival, choose_task, fit_task, labelled

IDS = tuple(f"P{k}" for k in range(10))
TRAIN = IDS[:6]
TIME = [10.0, 20, 30, 40, 50, 60, 5, 15, 25, 900]
EVENT = [1.0, 1, 0, 1, 1, 0, 1, 0, 1, 1]


def patients(**changed: object) -> Patients:
    kinds = ["b", "a", "a", "a", "b", "a", None, "c", "b", "a"]
    table = pd.DataFrame({"subtype": kinds, "time_days": TIME, "event": EVENT}, pd.Index(IDS, name="patient_id"))
    return Patients(table.assign(**changed))


def test_classes_are_the_stores_and_base_rates_the_training_patients() -> None:
    task = fit_task("subtype", patients(), TRAIN)
    assert isinstance(task, Subtype)
    assert task.classes == ("a", "b", "c")
    assert [round(math.exp(x) * 7.5, 9) for x in task.base] == [4.5, 2.5, 0.5]  # counts 4, 2, 0 and half a patient each
    assert task.targets(patients(), ("P4", "P0", "P7", "P1")).label.tolist() == [1, 1, 2, 0]
    assert labelled("subtype", patients()) == set(IDS) - {"P6"}


def test_time_bins_are_the_quartiles_of_the_training_patients_events() -> None:
    task = fit_task("survival", patients(), TRAIN)
    assert isinstance(task, Survival)
    inner = np.quantile([10.0, 20, 40, 50], [0.25, 0.5, 0.75])
    assert task.edges_days[:3] == tuple(inner)
    assert task.edges_days[3] == np.nextafter(60.0, np.inf)
    targets = task.targets(patients(), IDS)
    assert targets.label.tolist() == [0, 1, 2, 2, 3, 3, 0, 0, 1, 3]  # beyond the last edge: the last bin
    assert targets.event.tolist() == [bool(e) for e in EVENT]
    assert targets.time_days.tolist() == TIME
    # Bin 0: one death, five beyond; bin 1: one death, four beyond; half a patient added to each count.
    assert [round(math.exp(x), 9) for x in task.base[:2]] == [round(1.5 / 5.5, 9), round(1.5 / 4.5, 9)]


def test_other_patients_outcomes_change_nothing() -> None:
    others = patients(time_days=[*TIME[:6], 1.0, 2, 3, 4], event=[*EVENT[:6], 1.0, 1, 1, 1])
    assert fit_task("survival", patients(), TRAIN) == fit_task("survival", others, TRAIN)


def test_what_cannot_be_learned_is_refused() -> None:
    with pytest.raises(BadInput) as alone:
        fit_task("subtype", patients(), ("P1", "P2"))
    with pytest.raises(BadInput) as censored:
        fit_task("survival", patients(), ("P2", "P5"))
    assert (alone.value.code, censored.value.code) == ("NOT_ESTIMABLE", "NOT_ESTIMABLE")
    assert "two subtypes" in alone.value.message
    assert "no event" in censored.value.message


def test_survival_loss_against_plain_python() -> None:
    task = Survival(edges_days=(20.0, 40.0, 60.0), base=(0.0, 0.0, 0.0))
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(10, 3))
    found = task.loss(torch.from_numpy(logits).float(), task.targets(patients(), IDS)).item()
    total = 0.0
    for row, time, event in zip(logits, TIME, EVENT, strict=True):
        hazard = [1 / (1 + math.exp(-x)) for x in row]
        y = sum(time >= edge for edge in (20, 40))
        alive_before = math.prod(1 - h for h in hazard[:y])
        likelihood = alive_before * hazard[y] if event else alive_before * (1 - hazard[y])
        total -= math.log(likelihood)
    assert found == pytest.approx(total / 10, rel=1e-5)


def test_predictions_are_probabilities_and_risks() -> None:
    logits = torch.tensor([[2.0, 0.0, -1.0], [0.0, 0.0, 0.0]])
    table = Subtype(classes=("a", "b", "c"), base=(0.0, 0.0, 0.0)).predictions(logits)
    assert list(table) == ["prob_a", "prob_b", "prob_c"]
    np.testing.assert_allclose(table.sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_allclose(table.iloc[0], np.exp([2, 0, -1]) / np.exp([2, 0, -1]).sum())
    risk = Survival(edges_days=(1.0, 2.0, 3.0), base=(0.0, 0.0, 0.0)).predictions(logits)["risk"]
    survival = np.cumprod(1 - 1 / (1 + np.exp(-logits.numpy().astype(float))), axis=1)
    np.testing.assert_allclose(risk, -survival.sum(1))
    assert risk[0] > risk[1]  # the higher hazard is the worse


def test_a_task_is_one_line_of_json() -> None:
    for name in ("subtype", "survival"):
        task = fit_task(name, patients(), TRAIN)
        assert type(task).model_validate_json(task.model_dump_json()) == task


def test_scores_against_their_definitions() -> None:
    rng = np.random.default_rng(1)
    label, probability = rng.integers(0, 3, 40), rng.dirichlet(np.ones(3), 40).round(1)
    chosen = probability.argmax(1)
    assert accuracy(label, chosen) == sum(a == b for a, b in zip(label, chosen, strict=True)) / 40
    f1, areas = [], []
    for k in range(3):
        hit = sum(a == k and b == k for a, b in zip(label, chosen, strict=True))
        missed, wrong = sum(label == k) - hit, sum(chosen == k) - hit
        f1.append(2 * hit / (2 * hit + missed + wrong))
        pairs = [(probability[i, k], probability[j, k]) for i in range(40) for j in range(40)
                 if label[i] == k and label[j] != k]  # fmt: skip
        areas.append(sum((a > b) + (a == b) / 2 for a, b in pairs) / len(pairs))
    assert macro_f1(label, chosen, 3) == pytest.approx(np.mean(f1))
    assert macro_f1(label, chosen, 5) == pytest.approx(np.mean(f1))  # classes that occur nowhere do not count
    assert macro_auroc(label, probability) == pytest.approx(np.mean(areas))
    assert math.isnan(macro_auroc(np.zeros(4, int), np.ones((4, 1))))


def test_concordance_of_the_worked_ties() -> None:
    time, event = np.array([2, 2, 3, 4, 4, 5, 6.0]), np.array([1, 0, 1, 1, 1, 0, 1], bool)
    assert harrell_c(time, event, np.array([0.9, 0.9, 0.5, 0.7, 0.2, 0.5, 0.1])) == pytest.approx(0.7857, abs=5e-5)
    time, event = np.array([1, 2, 3, 4.0]), np.array([1, 1, 1, 0], bool)
    assert harrell_c(time, event, np.array([-4, -4 + 5e-9, -3.999, -3.999])) == pytest.approx(0.1667, abs=5e-5)
    assert math.isnan(harrell_c(time, np.zeros(4, bool), time))


def test_a_task_must_go_with_the_method() -> None:
    both = ("subtype", "survival")
    assert choose_task("abmil", both, "survival") == "survival"
    assert choose_task("mirror", (), None) is None
    for known, task in ((both, None), (both, "grade"), ((), "subtype")):
        with pytest.raises(BadInput) as refused:
            choose_task("m", known, task)
        assert (refused.value.code, refused.value.key) == ("BAD_OPTION", "--task")
