"""An old PyTorch or OpenSlide is refused before it is used, by every command that would use it."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

import openslide
import pytest
from mirror_data.cli.app import run
from mirror_data.cli.main import cli as data_cli
from mirror_data.errors import BadInput
from mirror_data.slides.reader import open_slide
from mirror_data.slides.weights import read_state
from mirror_data.versions import require_openslide, require_torch
from mirror_model.cli.main import cli as model_cli
from mirror_model.device import choose_device


@pytest.fixture
def old_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.9.1+cu130" if name == "torch" else real(name))


@pytest.fixture
def old_openslide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openslide, "__library_version__", "4.0.0")


@pytest.mark.usefixtures("old_torch")
@pytest.mark.parametrize(
    "words",
    [
        ["train", "--store", "absent.zarr", "--run", "r"],
        ["embed", "--store", "absent.zarr", "--run", "r"],
        ["attribute", "--store", "absent.zarr", "--run", "r", "--out", "out.csv"],
    ],
    ids=lambda words: words[0],
)
def test_commands_refuse_an_old_torch(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(model_cli, words) == 2
    shown = capsys.readouterr().err
    assert "OLD_LIBRARY: this torch is too old (torch)" in shown
    assert "expected: 2.10 or newer" in shown
    assert "got: 2.9.1+cu130" in shown
    assert "do: pip install --upgrade 'torch>=2.10'" in shown
    assert run(model_cli, [words[0], "--help"]) == 0


@pytest.mark.usefixtures("old_torch")
def test_the_library_refuses_an_old_torch(tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_bytes(b"never opened")
    for use in (lambda: choose_device("cpu"), lambda: read_state(tmp_path / "weights.pt")):
        with pytest.raises(BadInput, match="OLD_LIBRARY"):
            use()


@pytest.mark.usefixtures("old_openslide")
def test_tile_refuses_an_old_openslide_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "slides").mkdir()
    store = tmp_path / "cohort.zarr"
    assert run(data_cli, ["tile", str(tmp_path / "slides"), "--store", str(store)]) == 2
    shown = capsys.readouterr().err
    assert "OLD_LIBRARY: this OpenSlide is too old (OpenSlide)" in shown
    assert "expected: 4.0.1 or newer" in shown
    assert "got: 4.0.0" in shown
    assert not store.exists()
    with pytest.raises(BadInput, match="OLD_LIBRARY"):
        open_slide(tmp_path / "slides")


def test_what_is_installed_here_will_do() -> None:
    require_torch()
    require_openslide()


@pytest.mark.parametrize(("text", "good"), [("2.10.0", True), ("3.0", True), ("2.10.0a0+git1", True), ("2.9", False),
                                            ("1.13.1", False), ("unknown", False)])  # fmt: skip
def test_versions_are_compared_as_numbers(text: str, good: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: text)
    if good:
        require_torch()
    else:
        with pytest.raises(BadInput, match="OLD_LIBRARY"):
            require_torch()


def test_what_is_absent_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", nowhere)
    monkeypatch.setitem(sys.modules, "openslide", None)
    for require in (require_torch, require_openslide):
        with pytest.raises(BadInput, match="NOT_INSTALLED"):
            require()
