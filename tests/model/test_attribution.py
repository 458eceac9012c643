from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from mirror_data.cli.app import run as run_command
from mirror_data.errors import BadInput
from mirror_data.store import Store
from mirror_model.attribution import GeneAttribution, attribute_genes, integrated_gradients, write_table
from mirror_model.baselines.config import config_of
from mirror_model.cli.main import cli
from mirror_model.config import read_config
from mirror_model.jobs import TrainJob
from mirror_model.preparation import load_expression
from mirror_model.runs import train_fold
from mirror_model.trained import load_trained


def trained(store: Store, method: str, task: str | None, *settings: str) -> str:
    config = read_config(None, settings, kind=config_of(method))
    train_fold(TrainJob(store.url, method, method, "main", 0, config, task))
    return method


def test_a_linear_function_gives_weight_times_input() -> None:
    weight = torch.tensor([[1.0, -2.0], [0.5, 3.0], [0.0, 1.0]])
    x, start = torch.tensor([[1.0, 2, 3], [4, 5, 6]]), torch.tensor([1.0, 1, 1])
    found = integrated_gradients(lambda rows: rows @ weight, x, start, steps=1)
    assert found.shape == (2, 2, 3)
    torch.testing.assert_close(found, (x - start)[:, None, :] * weight.T[None])


def test_parts_add_up_to_the_change_and_a_product_is_shared() -> None:
    x = torch.tensor([[2.0, 3.0, 5.0]], dtype=torch.float64)

    def product(rows: torch.Tensor) -> torch.Tensor:
        return rows.prod(1, keepdim=True) + rows[:, :1].sin()

    found = integrated_gradients(product, x, torch.zeros(3, dtype=torch.float64), steps=16)
    assert found.sum().item() == pytest.approx(30 + np.sin(2), rel=1e-8)
    assert found[0, 0].tolist() == pytest.approx([10 + np.sin(2), 10, 10])


def test_a_linear_classifier_is_explained_exactly(store: Store) -> None:
    run = trained(store, "linear", "subtype", "epochs=3", "batch_size=8", "optimiser.lr=0.01")
    found = attribute_genes(store.url, run, 0, steps=2)
    assert found.outputs == ("left", "right")
    assert found.patient_ids == ("P28", "P29", "P32", "P33", "P34", "P35")
    assert found.gap < 1e-4
    model, table = load_trained(store, run, 0), load_expression(store)
    weight = model.network.head.weight.detach().numpy()[:, 12:]  # genes stand behind the 12 tile features
    weight = weight - weight.mean(0)
    values = model.preparation.expression(table)[[table.patient_ids.index(p) for p in found.patient_ids]]
    np.testing.assert_allclose(found.values, values[:, None, :] * weight[None], atol=1e-5)
    genes = found.genes()
    assert list(genes) == ["gene_id", "symbol", "output", "mean", "mean_abs", "patients"]
    left = genes[genes["output"] == "left"].set_index("gene_id")
    assert left["mean_abs"].is_monotonic_decreasing
    np.testing.assert_allclose(left.loc[list(found.gene_ids), "mean"], found.values[:, 0].mean(0), atol=1e-6)


@pytest.mark.parametrize("method", ["mirror", "tangle", "porpoise"])
def test_parts_of_every_network_add_up(store: Store, small_settings: tuple[str, ...], method: str) -> None:
    settings = {
        "mirror": (*small_settings, "epochs=1"),
        "tangle": ("epochs=1", "model.dim=16", "model.attention_dim=8", "batch_size=8", "data.tiles=12"),
        "porpoise": ("epochs=1", "model.slide_dim=16", "model.attention_dim=8", "model.dim=16", "batch_size=8"),
    }[method]
    run = trained(store, method, "survival" if method == "porpoise" else None, *settings)
    found = attribute_genes(store.url, run, 0, part="validation", steps=64)
    assert found.outputs == (("risk",) if method == "porpoise" else ("similarity",))
    assert found.values.shape == (8, 1, 30)
    assert found.gap < 0.02
    assert np.abs(found.values).max() > 0


def test_a_gene_set_is_the_sum_of_its_genes(tmp_path: Path) -> None:
    values = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    found = GeneAttribution(("P0", "P1"), ("E1", "E2", "E3"), ("A", "B", "C"), ("x", "y"), values, 0.0)
    file = tmp_path / "sets.gmt"
    file.write_text("ONE\t-\tA\tC\tnone\nTWO\t-\tB\nEMPTY\t-\tnone\n")
    sets = found.sets(file).set_index(["output", "gene_set"])
    assert sets.loc[("x", "ONE"), "mean"] == np.mean([0 + 2, 6 + 8])
    assert sets.loc[("y", "TWO"), "mean_abs"] == np.mean([4, 10])
    assert sets["genes"].to_dict()[("x", "ONE")] == 2
    assert len(sets) == 4
    with pytest.raises(BadInput, match="NOT_FOUND"):
        found.sets(tmp_path / "absent.gmt")


def test_tables_are_safe_for_spreadsheets(tmp_path: Path) -> None:
    write_table(pd.DataFrame({"symbol": ["=A1", "TP53"], "mean": [-1.0, 2.0]}), tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text() == "symbol,mean\n'=A1,-1.0\nTP53,2.0\n"
    with pytest.raises(BadInput, match="UNWRITABLE"):
        write_table(pd.DataFrame({"mean": [1.0]}), tmp_path / "absent" / "t.csv")


def test_the_command(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = trained(store, "linear", "survival", "epochs=2", "batch_size=8")
    out = tmp_path / "genes.csv"
    words = ["attribute", "--store", store.url, "--run", run, "--out", str(out)]
    assert run_command(cli, words) == 0
    shown = capsys.readouterr().out
    assert "6 patients, 30 rows an output" in shown
    assert "  risk: G" in shown
    assert len(pd.read_csv(out)) == 30
    assert run_command(cli, [*words, "--part", "validation", "--steps", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["patients"] == 8
    slides = trained(store, "abmil", "subtype", "epochs=1", "model.dim=16", "model.attention_dim=8", "batch_size=8")
    for more, word in ((["--part", "all"], "--part"), (["--run", slides], "reads no expression")):
        assert run_command(cli, [*words, *more]) == 2
        shown = capsys.readouterr().err
        assert "BAD_OPTION" in shown
        assert word in shown
