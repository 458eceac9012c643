"""The command ``mirror-data tile`` as a user meets it: words, JSON and exit statuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mirror_data.cli.app import run
from mirror_data.cli.main import cli
from mirror_data.store import open_store, read_features


@pytest.fixture
def tile(tmp_path, tiny_encoder):
    """``tile("a.svs", "--mpp", "1")`` runs the command on a store below tmp_path and returns its exit status."""

    def command(*arguments: object) -> int:
        encoder = ["--encoder", tiny_encoder.name, "--weights", tiny_encoder.weights]
        return run(cli, ["tile", *map(str, arguments), "--store", str(tmp_path / "c.zarr"), *encoder])

    return command


def test_tiles_and_tells(make_slide, tile, tmp_path, capsys):
    path = make_slide()
    assert tile(path) == 0
    assert "slide: 6 tiles\n1 slides tiled, 0 skipped, 0 failed; 6 tiles in " in capsys.readouterr().out
    assert (
        read_features(open_store(tmp_path / "c.zarr"), "slide", "256px_0.5mpp", "timm:test_resnet").values.shape[0] == 6
    )
    assert tile(path) == 0
    assert "(there already)" in capsys.readouterr().out


def test_json(make_slide, tile, tmp_path, capsys):
    table = tmp_path / "slides.csv"
    table.write_text("slide,mpp\nb,0.25\nzzz,1.0\n")
    slides = [make_slide("a.svs"), make_slide("b.svs", mpp=None), tmp_path / "gone.svs"]
    assert tile(*slides, "--slides-table", table, "--tile-px", 128, "--json") == 3
    told = json.loads(capsys.readouterr().out)
    assert [(slide["slide_id"], slide["mpp_source"]) for slide in told["slides"]] == [
        ("a", "openslide.mpp"),
        ("b", "slides-table"),
    ]
    assert [(failure["id"], failure["code"]) for failure in told["failures"]] == [("gone", "NOT_FOUND")]
    assert (told["done"], told["skipped"], told["exit"], told["tiling"]) == (2, 0, 3, "128px_0.5mpp")
    assert (told["unlisted"], told["unused"]) == (2, 1)
    assert told["tiles"] == sum(slide["tiles"] for slide in told["slides"])


def test_a_failure_says_what_to_do(make_slide, tile, tmp_path, capsys):
    assert tile(make_slide("a.svs", mpp=None)) == 3
    shown = capsys.readouterr()
    assert "a: NO_MPP:" in shown.err
    assert "--mpp-override" in shown.err
    assert "1 failed" in shown.out
    assert json.loads(Path(tmp_path, "c.zarr/.mirror/failures.jsonl").read_text())["code"] == "NO_MPP"
    assert tile(tmp_path / "a.svs", "--mpp-override", 0.5) == 0


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--batch-size", 0),
        ("--mpp", -0.5),
        ("--mpp", "nan"),
        ("--mpp-override", -1),
        ("--min-tissue", 1.5),
        ("--tile-px", 0),
        ("--workers", 0),
        ("--precision", "fp16"),
        ("--encoder", "resnet50"),
        ("--encoder", "hf:owkin/phikon@main"),
    ],
)
def test_bad_options(make_slide, tmp_path, capsys, option, value):
    assert run(cli, ["tile", str(make_slide()), "--store", str(tmp_path / "c.zarr"), option, str(value)]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("BAD_OPTION: ")
    assert option in shown
    assert not (tmp_path / "c.zarr").exists()


def test_usage_errors(tmp_path, capsys):
    assert run(cli, ["tile", "--store", str(tmp_path / "c.zarr")]) == 2
    assert run(cli, ["tile", "a.svs", "--store", "c.zarr", "--no-such-option"]) == 2
    assert run(cli, ["tile", "a.svs", "--store", "c.zarr", "--tile-px", "many"]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_store_inside_the_slides(make_slide, tmp_path, capsys):
    folder = make_slide("in/a.svs").parent
    assert run(cli, ["tile", str(folder), "--store", str(folder / "c.zarr")]) == 2
    assert "BAD_OPTION" in capsys.readouterr().err
    assert not (folder / "c.zarr").exists()


def test_weights_that_cannot_be_used(make_slide, tmp_path, capsys):
    (tmp_path / "w.safetensors").write_bytes(b"PK\x03\x04")
    store = ["--store", str(tmp_path / "c.zarr"), "--encoder", "timm:test_resnet", "--weights"]
    assert run(cli, ["tile", str(make_slide()), *store, str(tmp_path / "w.safetensors")]) == 2
    assert run(cli, ["tile", str(make_slide()), *store, str(tmp_path / "gone.safetensors")]) == 2
    shown = capsys.readouterr().err
    assert "UNSAFE_FORMAT" in shown
    assert "NO_WEIGHTS" in shown


def test_busy(make_slide, tile, tmp_path, capsys):
    path = make_slide()
    assert tile(path) == 0
    with open_store(tmp_path / "c.zarr").claim("tile slide"):
        assert tile(path) == 4
    assert "slide: BUSY:" in capsys.readouterr().err


def test_other_parameters(make_slide, tile, capsys):
    path = make_slide()
    assert tile(path) == 0
    assert tile(path, "--min-tissue", 0.5) == 3
    assert "slide: MISMATCH:" in capsys.readouterr().err
    assert tile(path, "--min-tissue", 0.5, "--overwrite") == 0
    assert tile(path, "--tile-px", 128) == 0
