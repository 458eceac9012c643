"""A cohort and an uninterrupted training of it, slides and an uninterrupted batch of them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from mirror_data.cli.app import run
from mirror_model.cli.main import cli

from tests.data.slides.slide_cases import SlideCase, write_case
from tests.faults.commands import differences, tree
from tests.faults.forked import mirror_model
from tests.faults.side_by_side import STUB, Side, side_by_side
from tests.faults.small_training import Left, fill_store, left_by, train_words


@dataclass(frozen=True)
class Whole:
    """The cohort before a training, and what an uninterrupted one leaves."""

    cohort: Path
    trained: Path
    left: Left
    seconds: float  # how long it took

    def fresh(self, folder: Path, name: str = "cohort") -> Path:
        """A copy of the cohort that nothing was trained on."""
        return shutil.copytree(self.cohort, folder / f"{name}.zarr")

    def require_equal(self, store: Path, checkpoints: Path | None = None) -> None:
        """What was left here is to the byte what the uninterrupted training left."""
        found = left_by(store, checkpoints)
        assert differences(found.store, self.left.store) == []
        assert differences(found.checkpoints, self.left.checkpoints) == []
        assert found.log == self.left.log


@pytest.fixture(scope="package")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder = tmp_path_factory.mktemp("whole")
    cohort = fill_store(folder / "fresh.zarr")
    warm, trained = (shutil.copytree(cohort, folder / f"{name}.zarr") for name in ("warm", "trained"))
    assert run(cli, train_words(warm)) == 0  # here, so that children find imported what a training imports on its way
    ended = mirror_model(train_words(trained), folder / "output")
    assert ended.code == 0, ended.err
    return Whole(cohort, trained, left_by(trained), ended.seconds)


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of the smallest encoder."""
    import timm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "test_resnet.safetensors"
    save_file(timm.create_model("test_resnet", num_classes=0).state_dict(), path)
    return path


@pytest.fixture(scope="session")
def side(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Side]:
    """Starts commands; see `side_by_side`."""
    with side_by_side(tmp_path_factory.mktemp("commands")) as started:
        yield started


@pytest.fixture(scope="session")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of five slides, S1 to S5, of four tiles each."""
    folder = tmp_path_factory.mktemp("slides")
    for number in range(1, 6):
        case = SlideCase(size=(128, 128), ratios=(), aperio=False, seed=number)
        write_case(folder / f"S{number}.tif", case)
    return folder


@pytest.fixture(scope="session")
def whole_batch(side: Side, slides: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The tree of a batch that nothing befell."""
    store = tmp_path_factory.mktemp("whole") / "cohort.zarr"
    ended = side.run(["mirror-data", "tile", slides, "--store", store, *STUB])
    assert ended.code == 0, ended.err
    return tree(store)
