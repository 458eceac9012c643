from __future__ import annotations

import math

import pytest
import torch
from mirror_model.diagnostics import effective_rank, modality_gap, recall_at, usage_entropy
from mirror_model.metrics_log import Pace, told


def test_the_gap_is_the_distance_of_the_mean_directions() -> None:
    one = torch.tensor([[3.0, 0.0], [0.0, 2.0]])
    assert modality_gap(one, one * 7) == pytest.approx(0, abs=1e-12)
    assert modality_gap(one, -one) == pytest.approx(math.sqrt(2))
    assert modality_gap(torch.tensor([[1.0, 0.0]]), torch.tensor([[-5.0, 0.0]])) == pytest.approx(2)


def test_entropy_of_use() -> None:
    assert usage_entropy(torch.full((8,), 0.3)) == pytest.approx(1)
    assert usage_entropy(torch.tensor([0.0, 5.0, 0.0])) == pytest.approx(0)
    assert usage_entropy(torch.tensor([1.0, 1.0, 0.0, 0.0])) == pytest.approx(0.5)


def test_rank_counts_directions() -> None:
    assert effective_rank(torch.eye(6)[:, :4]) == pytest.approx(4, rel=1e-5)
    assert effective_rank(torch.outer(torch.arange(1.0, 6), torch.ones(3))) == pytest.approx(1, rel=1e-4)


def test_recall_of_a_known_order() -> None:
    keys = torch.eye(4)
    queries = torch.tensor([[1.0, 0, 0, 0], [0.9, 0.5, 0, 0], [0.9, 0.8, 0.7, 0], [0, 0, 0, 1.0]])
    assert recall_at(queries, keys, (1, 2, 3)) == {1: 0.5, 2: 0.75, 3: 1.0}


def test_the_progress_line() -> None:
    values = {
        "epoch": 3, "loss": 1.23456, "align": 2.5, "style": 0.01234, "gradient_norm": 3.21, "modality_gap": 0.456,
        "rank_slide": 17.6, "rank_rna": 20.2, "prototype_entropy": 0.98,
        **{f"recall{k}_{way}": k / 20 for k in (1, 5, 10) for way in ("slide_rna", "rna_slide")},
    }  # fmt: skip
    assert told(values, Pace(2.0, 150.4, 0.0123)) == (
        "loss 1.235 (align 2.5, style 0.0123), recall@1,5,10 0.05/0.05 0.25/0.25 0.50/0.50, gap 0.46, "
        "prototypes 0.98, rank 18/20, gradient 3.2, 150 patients/s, 1.2% waiting"
    )
    supervised = told({"loss": 0.7, "cross_entropy": 0.7}, Pace(1.0, 10, 0))
    assert supervised == "loss 0.700 (cross entropy 0.7), 10 patients/s, 0.0% waiting"
