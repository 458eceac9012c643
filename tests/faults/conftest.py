"""Fixtures of the tests that break things."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.data.slides.slide_cases import SlideCase, write_case
from tests.faults.commands import tree
from tests.faults.side_by_side import STUB, Side, side_by_side


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
def whole(side: Side, slides: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The tree of a batch that nothing befell."""
    store = tmp_path_factory.mktemp("whole") / "cohort.zarr"
    ended = side.run(["mirror-data", "tile", slides, "--store", store, *STUB])
    assert ended.code == 0, ended.err
    return tree(store)
