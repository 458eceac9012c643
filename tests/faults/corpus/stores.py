"""Stores and checkpoints that are incomplete, damaged, foreign, or of the future."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from mirror_data.cli.app import run
from mirror_data.cli.main import cli
from mirror_data.store import Features, open_store, read_tiling, write_features

from tests.data.slides.conftest import write_slide
from tests.faults.corpus.cases import Bench, Case, cut, flip, parts

SPLIT = ("split", "--name", "new")
TRAIN = ("train", "--run", "new", "--split", "main", "--fold", "0", "--set", "epochs=0", "--no-embed")
EMBED = ("embed", "--run", "r", "--overwrite")


def _after(program: str, command: Sequence[str], damage: Callable[[Path], object]) -> Callable[[Bench], list[object]]:
    """A command on the trained cohort, whose store has come to harm."""

    def words(bench: Bench) -> list[object]:
        damage(bench.cohort())
        return [program, command[0], "--store", bench.store, *command[1:]]

    return words


def _store(name: str, damage: Callable[[Path], object], code: str, *told: str) -> Case:
    """A store that a command which reads the patients refuses."""
    return Case(f"store {name}", _after("mirror-data", SPLIT, damage), code, told)


def _checked(name: str, damage: Callable[[Path], object], code: str, *told: str) -> Case:
    """A store in which ``check`` finds the damage."""
    return Case(f"store {name} (check)", _after("mirror-data", ("check",), damage), code, told, exit=3)


def _trained(name: str, damage: Callable[[Path], object], code: str, *told: str) -> Case:
    return Case(f"checkpoint {name}", _after("mirror-model", EMBED, damage), code, told)


def _chunk(store: Path, below: str) -> Path:
    return next(path for path in parts(store / below, "*") if path.name != "zarr.json")


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def _features(store: Path) -> Path:
    return _chunk(store, "slides/P00-0/tilings/grid/features")


def _wider(url: Path) -> None:
    """One slide's features become twice as wide as the others'."""
    store = open_store(url)
    rows = read_tiling(store, "P00-0", "grid").rows
    write_features(store, Features("P00-0", "grid", "toy", np.ones((rows, 24), np.float16)), overwrite=True)


def _checkpoint(store: Path, name: str = "model.json") -> Path:
    return next(parts(store.with_name("cohort.runs") / "r", name))


def _future_checkpoint(store: Path) -> None:
    path = _checkpoint(store)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))


def _pickled(path: Path) -> Path:
    path.write_bytes(pickle.dumps({"weight": [1.0]}))
    return path


STORES = (
    _store("without its patients' commit", lambda s: (s / "patients/zarr.json").unlink(), "INCOMPLETE", "patients"),
    _store(
        "without a chunk", lambda s: _chunk(s, "patients").unlink(), "CORRUPT_STORE", "patients/table", "restore it"
    ),
    _store("with a flipped chunk", lambda s: flip(_chunk(s, "patients")), "CORRUPT_STORE", "patients/table"),
    _store("with cut metadata", lambda s: cut(s / "patients/zarr.json"), "CORRUPT_STORE", "patients/zarr.json"),
    _store("with empty metadata", lambda s: cut(s / "patients/zarr.json", lambda _: 0), "CORRUPT_STORE", "patients"),
    _store(
        "with an edited value",
        lambda s: _edit(s / "patients/zarr.json", '"kind":"patients"', '"kind":"slide"'),
        "CORRUPT_STORE",
    ),
    _store("without its own document", lambda s: (s / "zarr.json").unlink(), "NOT_A_STORE", "there is no cohort store"),
    _store("with its own document cut", lambda s: cut(s / "zarr.json"), "CORRUPT_STORE", "zarr.json"),
    _store(
        "of the future", lambda s: _edit(s / "zarr.json", '"format":1', '"format":2'), "NEWER_FORMAT", "install a newer"
    ),
    _store(
        "with a record of the future",
        lambda s: _edit(s / "patients/zarr.json", '"format":1', '"format":2'),
        "NEWER_FORMAT",
        "patients/zarr.json",
        "format 2",
    ),
    _store("without patients", lambda s: shutil.rmtree(s / "patients"), "MISSING", "patients"),
    _checked("with a flipped chunk", lambda s: flip(_chunk(s, "patients")), "CORRUPT_STORE", "patients/table"),
    _checked("with a flipped bag", lambda s: flip(_features(s), 40), "CORRUPT_STORE", "slides/P00-0"),
    _checked(
        "with a stray file", lambda s: (s / "slides" / "P00-0" / "notes.txt").write_text("x"), "STRAY", "notes.txt"
    ),
    Case(
        "store with a flipped bag",
        _after("mirror-model", EMBED, lambda s: flip(_features(s), 40)),
        "CORRUPT_STORE",
        ("slides/P00-0",),
    ),
    Case("store with features of two widths", _after("mirror-model", TRAIN, _wider), "MISMATCH", ("[12, 24]",)),
    Case("store that is a file", lambda b: ["mirror-data", "info", "--store", b.file("s.zarr", "x")], "NOT_A_STORE"),
    Case("store that is a plain folder", lambda b: ["mirror-data", "info", "--store", b.folder], "NOT_A_STORE"),
    Case(
        "store that is nowhere", lambda b: ["mirror-data", "check", "--store", b.folder / "no"], "NOT_A_STORE", ("no",)
    ),
    Case(
        "store of an unknown kind",
        lambda b: ["mirror-data", "info", "--store", "s4://bucket/c.zarr"],
        "BAD_OPTION",
        ("--store", "s4://bucket"),
    ),
)

CHECKPOINTS = (
    _trained("gone", lambda s: shutil.rmtree(s.with_name("cohort.runs")), "MISSING", "model.json", "--checkpoints"),
    _trained("without its weights", lambda s: _checkpoint(s, "weights*").unlink(), "CORRUPT_CHECKPOINT", "weights-"),
    _trained("with flipped weights", lambda s: flip(_checkpoint(s, "weights*")), "CORRUPT_CHECKPOINT", "weights-"),
    _trained("cut", lambda s: cut(_checkpoint(s, "weights*")), "CORRUPT_CHECKPOINT", "--overwrite"),
    _trained("that is a pickle", lambda s: _pickled(_checkpoint(s, "weights*")), "UNSAFE_FORMAT", "weights-"),
    _trained("with cut JSON", lambda s: cut(_checkpoint(s)), "CORRUPT_CHECKPOINT", "model.json"),
    _trained(
        "with JSON of another kind", lambda s: _checkpoint(s).write_text("[1]"), "CORRUPT_CHECKPOINT", "model.json"
    ),
    _trained("of the future", _future_checkpoint, "NEWER_FORMAT", "model.json", "install a newer"),
)


def _tiled(bench: Bench, *more: object, mpp: str | None = "0.5") -> list[object]:
    """A store with one slide in it, and the command that would add to it."""
    (bench.folder / "slides").mkdir()
    write_slide(bench.folder / "slides" / "a.svs", mpp=mpp)
    words = bench.tile(*more)
    assert run(cli, [str(word) for word in words[1:]]) == 0
    return words


def _other_weights(bench: Bench) -> list[object]:
    from safetensors.torch import load_file, save_file

    words = _tiled(bench)
    state = load_file(bench.weights)
    other = bench.folder / "other.safetensors"
    save_file({name: value + 1 if value.is_floating_point() else value for name, value in state.items()}, other)
    return [other if word == bench.weights else word for word in words]


def _weights(name: str, make: Callable[[Path], object], code: str, *told: str) -> Case:
    def words(bench: Bench) -> list[object]:
        (bench.folder / "slides").mkdir()
        write_slide(bench.folder / "slides" / "a.svs")
        path = bench.folder / "given.safetensors"
        make(path)
        return replace(bench, weights=path).tile()

    return Case(f"weights {name}", words, code, ("given.safetensors", *told))


def _half_weights(path: Path) -> None:
    header = b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}'
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(3))


ENCODERS = (
    Case("slide tiled with other weights", _other_weights, "MISMATCH", ("a: MISMATCH",), exit=3),
    Case(
        "slide tiled at another mpp",
        lambda b: [*_tiled(b, "--mpp-override", "0.5", mpp=None)[:-1], "0.25"],
        "MISMATCH",
        ("a: MISMATCH",),
        exit=3,
    ),
    _weights("that are a pickle", _pickled, "UNSAFE_FORMAT", "pickle"),
    _weights("that are cut", _half_weights, "BAD_WEIGHTS", "damaged"),
    _weights("of nothing", lambda path: path.write_bytes(b""), "BAD_WEIGHTS"),
    _weights("absent", lambda path: None, "NO_WEIGHTS", "--weights"),
)
CASES = (*STORES, *CHECKPOINTS, *ENCODERS)
