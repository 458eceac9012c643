from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from mirror_data.errors import BadInput, StoreError
from mirror_model.checkpoint import (
    CheckpointDocument,
    CheckpointFolder,
    Position,
    optimiser_tensors,
    restore_network,
    restore_optimiser,
)
from mirror_model.config import MirrorConfig, OptimiserConfig
from mirror_model.identity import Identity
from mirror_model.optimiser import make_optimiser

IDENTITY = Identity(
    method="mirror",
    split="s",
    fold=0,
    tiling="t",
    encoder="e",
    genes=None,
    config=MirrorConfig(),
    parents={"rna": "a" * 64},
)


def document(epoch: int = 1) -> CheckpointDocument:
    fields = {"tile_width": 3, "positions": 4, "gene_ids": ("G1",), "rna_clip": 10.0}
    return CheckpointDocument.model_construct(identity=IDENTITY, position=Position(epoch=epoch), **fields)


@pytest.fixture
def folder(tmp_path: Path) -> CheckpointFolder:
    made = CheckpointFolder(tmp_path / "fold_0")
    tensors = {"w": torch.arange(6.0).view(2, 3)}
    made.save(("best", "last"), document(), tensors, {"mean": torch.ones(2)}, {"0.step": torch.tensor(3.0)})
    return made


def test_what_is_read_equals_what_was_saved(folder: CheckpointFolder) -> None:
    saved = folder.load("last")
    assert saved is not None
    assert torch.equal(saved.network["w"], torch.arange(6.0).view(2, 3))
    assert torch.equal(saved.preparation["mean"], torch.ones(2))
    assert saved.optimiser == {"0.step": torch.tensor(3.0)}
    assert saved.document.identity == IDENTITY
    best = folder.load("best")
    assert best is not None
    assert best.optimiser is None
    assert folder.load("model") is None


def test_files_that_no_checkpoint_names_are_swept(folder: CheckpointFolder) -> None:
    folder.save(("last",), document(2), {"w": torch.zeros(1)}, {}, {"0.step": torch.tensor(4.0)})
    names = sorted(p.name for p in folder.path.glob("*.safetensors"))
    assert names == [
        "optimiser-000002-00000.safetensors", "weights-000001-00000.safetensors", "weights-000002-00000.safetensors",
    ]  # fmt: skip
    folder.drop("last")
    assert [p.name for p in folder.path.glob("*.safetensors")] == ["weights-000001-00000.safetensors"]
    folder.clear()
    assert not list(folder.path.iterdir())


def test_a_flipped_byte_is_detected_and_named(folder: CheckpointFolder) -> None:
    file = next(folder.path.glob("weights-*"))
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(StoreError) as corrupt:
        folder.load("last")
    assert (corrupt.value.code, corrupt.value.file) == ("CORRUPT_CHECKPOINT", str(file))
    file.unlink()
    with pytest.raises(StoreError, match="CORRUPT_CHECKPOINT"):
        folder.load("last")


def test_a_pickle_is_never_read(folder: CheckpointFolder) -> None:
    file = next(folder.path.glob("weights-*"))
    for protocol in (0, 2, 5):
        file.write_bytes(pickle.dumps({"w": [1.0]}, protocol=protocol))
        with pytest.raises(BadInput) as unsafe:
            folder.load("last")
        assert unsafe.value.code == "UNSAFE_FORMAT"


def test_broken_and_newer_documents(folder: CheckpointFolder) -> None:
    file = folder.path / "last.json"
    values = json.loads(file.read_text())
    file.write_text(json.dumps({**values, "format": 99}))
    with pytest.raises(StoreError, match="NEWER_FORMAT"):
        folder.document("last")
    for text in ("{", "[]", json.dumps({**values, "surprise": 1}), json.dumps({"format": 1})):
        file.write_text(text)
        with pytest.raises(StoreError, match="CORRUPT_CHECKPOINT"):
            folder.document("last")


def test_differences_are_shown_and_hashes_shortened() -> None:
    other = IDENTITY.model_copy(update={"parents": {"rna": "b" * 64}, "fold": 1})
    with pytest.raises(StoreError) as mismatch:
        IDENTITY.require_equal(other, "folder", "hint")
    assert mismatch.value.got == "fold: 1 -> 0; parents.rna: bbbbbbbbbbbb -> aaaaaaaaaaaa"
    same = MirrorConfig(runtime=MirrorConfig().runtime.model_copy(update={"cache_gb": 1.0}))
    IDENTITY.require_equal(IDENTITY.model_copy(update={"config": same}), "folder", "hint")


def test_an_optimiser_goes_on_as_it_was() -> None:
    def steps(layer: torch.nn.Linear, optimiser: torch.optim.Optimizer, count: int) -> None:
        for _ in range(count):
            optimiser.zero_grad()
            layer(torch.ones(1, 3)).square().sum().backward()
            optimiser.step()

    torch.manual_seed(0)
    one, two = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    first = make_optimiser(one, OptimiserConfig(lr=0.1))
    steps(one, first, 3)
    restore_network(two, one.state_dict(), "file")
    second = make_optimiser(two, OptimiserConfig(lr=0.1))
    restore_optimiser(second, {k: v.clone() for k, v in optimiser_tensors(first).items()})
    steps(one, first, 2)
    steps(two, second, 2)
    assert torch.equal(one.weight, two.weight)
    with pytest.raises(StoreError, match="MISMATCH"):
        restore_network(two, {"weight": torch.zeros(9, 9)}, "file")
