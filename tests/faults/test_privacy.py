"""Names, dates, serial numbers and label images stay where they are; with ``--opaque-ids`` so do the ids."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from mirror_data.cli import app
from mirror_data.cli.main import cli as data
from mirror_data.cohort.overview import overview
from mirror_data.errors import BadInput
from mirror_data.opaque import read_naming, veiled
from mirror_data.runner import Failure
from mirror_data.slides import batch
from mirror_data.store import create_store, open_store, read_expression, read_patients, read_slide, read_split
from mirror_data.workers import Here

from tests.faults.canaries import SECRET, Cohort, make_cohort, spellings, told_in, write_slide
from tests.faults.commands import tree
from tests.model.conftest import SMALL

KEPT = tuple(f"KEPT{k:02d}" for k in range(12))
HIDDEN = tuple(f"HIDDENid{k:02d}" for k in range(12))
Command = Callable[..., int]


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where everything goes that commands write, crash reports too."""
    place = tmp_path / "out"
    place.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(place))
    return place


@pytest.fixture
def command(out: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run a command in this process; what it says is kept beside what it writes."""
    monkeypatch.setattr(batch, "choose_hands", lambda _url, _count: Here())  # a worker of its own loads all anew

    def call(program, *words: object, status: int | None = 0) -> int:
        code = app.run(program, [str(word) for word in words])
        told = capfd.readouterr()
        with (out / "told.txt").open("a") as log:
            log.write(f"{words[0]}\n{told.out}{told.err}")
        assert code == status if status is not None else code in (0, 2, 3), (words, told)
        return code

    return call


def bring_in(command: Command, cohort: Cohort, store: Path, weights: Path, *extra: object) -> None:
    """What a user runs before training."""
    encoder = ("--encoder", "timm:test_resnet", "--weights", weights, "--precision", "fp32")
    tables = ("--slides-table", cohort.slides_table)
    command(data, "tile", *cohort.slides, "--store", store, *encoder, *tables, *extra)
    command(data, "outcomes", cohort.clinical, "--store", store, "--patients", "all", *extra)
    command(data, "expression", cohort.expression, "--store", store, "--unit", "tpm", *extra)
    command(data, "split", "--store", store, "--from", cohort.folds, "--validation", 0.2, *extra)
    for words in (("info", "--json"), ("check",)):
        command(data, *words, "--store", store)


def go_wrong(command: Command, cohort: Cohort, folder: Path, store: Path, *extra: object) -> None:
    """Bad input on purpose: cells, ids and files that cannot be used, each full of secrets."""
    for name, old, new in (
        ("time", ",100,", f",{SECRET}time,"),
        ("negative", ",100,", ",-100,"),
        ("event", ",0,A,", f",{SECRET}event,A,"),
        ("conflict", "OS_days", "OS_days"),
    ):
        table = folder / f"{name}.csv"
        text = cohort.clinical.read_text().replace(old, new, 1)
        rows = text.splitlines()
        twice = [rows[1].replace(",A,", ",B,")] if name == "conflict" else []
        table.write_text("\n".join([*rows, *twice]) + "\n")
        command(data, "outcomes", table, "--store", store, "--patients", "all", "--overwrite", *extra, status=2)
    for name, old, new in (("cell", "\nGENE1,", f"\nGENE1,{SECRET}cell,"), ("twice", "\nGENE1,", "\nGENE2,")):
        table = folder / f"{name}.csv"
        table.write_text(cohort.expression.read_text().replace(old, new, 1))
        command(data, "expression", table, "--store", store, "--unit", "tpm", "--overwrite", *extra, status=2)
    broken = folder / f"{cohort.slides[0].stem}-broken.svs"
    broken.write_bytes(cohort.slides[0].read_bytes()[:9000])
    copy = folder / "copies" / cohort.slides[0].name
    copy.parent.mkdir()
    shutil.copy(cohort.slides[0], copy)
    gone = folder / f"{cohort.slides[0].stem}-gone.svs"
    command(data, "tile", broken, gone, copy, cohort.slides[0], "--store", store, *extra, status=3)


def test_nothing_but_the_ids_gets_out(tmp_path: Path, out: Path, command: Command, weights: Path) -> None:
    cohort = make_cohort(tmp_path / "in", KEPT, slides=2)
    bring_in(command, cohort, out / "c.zarr", weights)
    go_wrong(command, cohort, tmp_path / "in", out / "c.zarr")
    assert told_in(tmp_path / "in", [SECRET])  # the search finds what there is
    assert told_in(out, [SECRET]) == []
    assert told_in(out, [KEPT[0]])


def test_with_a_key_the_ids_stay_in_as_well(tmp_path: Path, out: Path, command: Command, weights: Path) -> None:
    cohort = make_cohort(tmp_path / "in", HIDDEN, slides=2)
    extra = ("--opaque-ids", make_key(tmp_path / "key"))
    bring_in(command, cohort, out / "c.zarr", weights, *extra)
    go_wrong(command, cohort, tmp_path / "in", out / "c.zarr", *extra)
    assert told_in(out, [SECRET]) == []
    assert [name for name in told_in(out, ["HIDDENid"]) if name != "told.txt"] == []
    told = (out / "told.txt").read_text()
    assert "HIDDENid" not in told, [line for line in told.splitlines() if "HIDDENid" in line]
    naming = read_naming(tmp_path / "key")
    expected = tuple(sorted(map(naming, HIDDEN)))
    store = open_store(out / "c.zarr")
    assert read_patients(store).patient_ids == read_expression(store).patient_ids == expected
    assert {name for fold in read_split(store, "folds").folds for name in fold.part_of()} == set(expected)
    assert store.keys("slides") == sorted(naming(f"{name}-S") for name in HIDDEN[:2])


def make_key(path: Path, data: bytes = bytes(range(40))) -> Path:
    path.write_bytes(data)
    path.chmod(0o600)
    return path


def test_label_and_macro_images_decide_nothing(tmp_path: Path, out: Path, command: Command, weights: Path) -> None:
    """Slides that differ in label and macro alone give the same bytes; none of their pixels is in them then."""
    encoder = ("--encoder", "timm:test_resnet", "--weights", weights, "--precision", "fp32")
    for label in (1, 2):
        (tmp_path / f"in{label}").mkdir()
        slide = write_slide(tmp_path / f"in{label}" / "S.svs", 0, label)
        command(data, "tile", slide, "--store", out / f"{label}.zarr", *encoder)
    one, other = ((tmp_path / f"in{label}" / "S.svs").read_bytes() for label in (1, 2))
    assert (len(one), one != other) == (len(other), True)
    assert tree(out / "1.zarr") == tree(out / "2.zarr")


@pytest.mark.parametrize(
    ("content", "mode", "code"),
    [
        (None, 0, "NOT_FOUND"),
        (b"short" * 5, 0o600, "BAD_KEY"),
        (b"\0" * 64, 0o600, "BAD_KEY"),
        (bytes(range(64)) * 70, 0o600, "BAD_KEY"),
        (bytes(range(64)), 0o640, "BAD_KEY"),
        (bytes(range(64)), 0o604, "BAD_KEY"),
    ],
)
def test_a_key_that_protects_nothing_is_refused(tmp_path: Path, capsys, content, mode, code) -> None:
    key = tmp_path / "key"
    if content is not None:
        key.write_bytes(content)
        key.chmod(mode)
    cohort = make_cohort(tmp_path / "in", HIDDEN, slides=0)
    words = ["outcomes", cohort.clinical, "--store", tmp_path / "c.zarr", "--opaque-ids", key]
    assert app.run(data, [str(word) for word in words]) == 2
    assert capsys.readouterr().err.startswith(f"{code}: ")
    assert not (tmp_path / "c.zarr").exists()


def test_a_store_is_added_to_under_its_own_key_alone(tmp_path: Path, capsys) -> None:
    cohort = make_cohort(tmp_path / "in", HIDDEN, slides=0)
    key, other = make_key(tmp_path / "key"), make_key(tmp_path / "other", bytes(range(1, 41)))
    opaque, plain = tmp_path / "opaque.zarr", tmp_path / "plain.zarr"
    create_store(plain)

    def add(store: Path, *extra: object) -> int:
        words = ["outcomes", cohort.clinical, "--store", store, *extra]
        return app.run(data, [str(word) for word in words])

    assert add(opaque, "--opaque-ids", key) == 0
    before = tree(opaque)
    for store, extra in ((opaque, ()), (opaque, ("--opaque-ids", other)), (plain, ("--opaque-ids", key))):
        assert add(store, *extra, "--overwrite") == 2
        assert "MISMATCH: " in capsys.readouterr().err
    assert tree(opaque) == before
    assert add(opaque, "--opaque-ids", key) == 0  # the same again: equal, so nothing to do
    root = (opaque / "zarr.json").read_bytes()
    assert key.read_bytes() not in root
    (opaque / "zarr.json").write_bytes(root.replace(b'"fingerprint":"', b'"fingerprint":"0', 1))
    assert add(opaque, "--opaque-ids", key) == 2
    assert "CORRUPT_STORE" in capsys.readouterr().err


def test_bags_of_others_get_opaque_names_too(tmp_path: Path, out: Path, command: Command) -> None:
    bags, key = tmp_path / "HIDDENbags.npz", make_key(tmp_path / "key")
    known = {"feats": np.ones((4, 3), np.float16), "offsets": np.array([0, 1, 4])}
    np.savez_compressed(bags, slide_ids=np.array(["HIDDENid00-S", "HIDDENid01-S"]), **known)
    table = tmp_path / "slides.csv"
    table.write_text(f"slide_id,patient_id,notes\nHIDDENid00-S,HIDDENid00,{SECRET}\nHIDDENid01-S,HIDDENid00,x\n")
    words = ("import", "bags", bags, "--store", out / "c.zarr", "--tiling", "t", "--encoder", "e")
    command(data, *words, "--slides-table", table, "--opaque-ids", key)
    naming, store = read_naming(key), open_store(out / "c.zarr")
    assert store.keys("slides") == sorted([naming("HIDDENid00-S"), naming("HIDDENid01-S")])
    assert read_slide(store, naming("HIDDENid01-S")).patient_id == naming("HIDDENid00")
    broken = known | {"feats": np.full((4, 3), np.nan, np.float16)}
    np.savez_compressed(bags, slide_ids=np.array(["HIDDENid02-S", "HIDDENid03-S"]), **broken)
    command(data, *words, "--opaque-ids", key, status=2)
    command(data, *words, status=2)  # without the key
    assert f"ids: opaque, key {naming.fingerprint}" in overview(store).lines()
    assert told_in(out, [SECRET, "HIDDEN"]) == []


def test_a_failure_says_the_opaque_name_for_every_name_of_the_file() -> None:
    path = Path("/ward/HIDDENid00-S.svs")
    said = Failure("HIDDENid00-S", "CORRUPT", f"{path} ({path.name}, HIDDENid00-S) is cut", f"copy {path.name} again")
    told = veiled(said, "abc", path, "HIDDENid00-S")
    assert told == Failure("abc", "CORRUPT", "abc (abc, abc) is cut", "copy abc again")


def test_two_ids_of_one_opaque_form_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    naming = read_naming(make_key(tmp_path / "key"))
    monkeypatch.setattr("mirror_data.opaque._ID_BYTES", 1)  # 256 forms
    with pytest.raises(BadInput, match="COLLISION") as refused:
        list(map(naming, map("HIDDENid{}".format, range(257))))
    assert "HIDDEN" not in str(refused.value)


def test_the_way_back_is_the_key_and_a_list(tmp_path: Path, capsys) -> None:
    key = make_key(tmp_path / "key")
    assert app.run(data, ["opaque-ids", str(key), "P 1", "Ünal"]) == 0
    first, second = read_naming(key)("P 1"), read_naming(key)("U\u0308nal")  # NFC and NFD are one id
    assert capsys.readouterr().out == f"id,opaque_id\nP 1,{first}\nÜnal,{second}\n"
    assert len(first) == 16
    assert set(first) <= set("abcdefghijklmnopqrstuvwxyz234567")
    assert first != second != read_naming(make_key(tmp_path / "other", bytes(range(9, 60))))("U\u0308nal")


def test_the_search_finds_every_spelling(tmp_path: Path) -> None:
    import base64

    from numcodecs import Zstd

    for number, spelt in enumerate(spellings(SECRET)):
        (tmp_path / str(number)).write_bytes(b"before" + spelt + b"after")
    for shift in range(3):
        (tmp_path / f"base64 {shift}").write_bytes(base64.b64encode(b"." * shift + SECRET.encode() + b"tail"))
    (tmp_path / "zstd").write_bytes(bytes(Zstd().encode(SECRET.encode() * 3)))
    assert len(told_in(tmp_path, [SECRET])) == len(list(tmp_path.iterdir()))


def train_and_score(command: Command, store: Path, out: Path, slides: Path, *key: object) -> None:
    """Every command behind the data commands; what they print is kept, however they end."""
    from mirror_eval.cli.main import cli as scores
    from mirror_model.cli.main import cli as model

    at, run = ("--store", store), ("--run", "r")
    command(data, "genes", *at, "--split", "folds", "--folds", 2, "--workers", 1, "--table", out / "genes.csv")
    command(data, "contact-sheet", *at, "--out", out / "sheet.html", "--csv", out / "sheet.csv")
    command(data, "geojson", *at, "--out", out / "geojson")
    settings = [word for setting in (*SMALL, "epochs=1") for word in ("--set", setting)]
    command(model, "train", *at, *run, "--split", "folds", "--workers", 1, *settings)
    command(model, "embed", *at, *run, "--overwrite", "--attention")
    command(model, "attribute", *at, *run, "--steps", 2, "--out", out / "attribution.csv")
    few = ("--resamples", 20)
    command(scores, "subtype", *at, *run, *few, "--out", out / "subtype.csv", status=None)
    command(scores, "cindex", *at, *run, *few, "--out", out / "cindex.csv", status=None)
    command(scores, "compare", *at, "r:slides", "r:RNA", *few, "--out", out / "compared.csv", status=None)
    command(scores, "audit", *at, "--deep", "--show-ids", "--out", out / "audit.json", status=None)
    files = ("--slides", slides, *key)
    command(scores, "heatmap", *at, *run, "--all", "--out", out / "heatmaps")
    command(scores, "heatmap", *at, *run, "--all", "--out", out / "from files", *files)
    command(scores, "report", *at, *run, *few, "--out", out / "report.html", *files)
    if key:
        command(scores, "report", *at, *run, *few, "--out", out / "none.html", *files[:2], status=2)  # without the key
    command(scores, "report", *at, "--run", "none", status=2)
    command(model, "embed", *at, "--run", "none", status=2)


@pytest.mark.long
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("opaque", [False, True])
def test_the_whole_pipeline_lets_nothing_out(
    tmp_path: Path, out: Path, command: Command, weights: Path, opaque: bool
) -> None:
    ids = tuple(f"{'HIDDENid' if opaque else 'KEPT'}{k:02d}" for k in range(24))
    cohort = make_cohort(tmp_path / "in", ids, slides=8)
    extra = ("--opaque-ids", make_key(tmp_path / "key")) if opaque else ()
    bring_in(command, cohort, out / "c.zarr", weights, *extra)
    train_and_score(command, out / "c.zarr", out, cohort.slides[0].parent, *extra)
    assert {"attribution.csv", "report.html", "sheet.html", "genes.csv"} <= {path.name for path in out.iterdir()}
    assert told_in(out, [SECRET, "HIDDENid"]) == []
