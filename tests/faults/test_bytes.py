"""One key of a store lost, cut, altered, added or exchanged: its reader refuses it by name, and check names it."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from mirror_data import store as stores
from mirror_data.cli import app
from mirror_data.cli.main import cli
from mirror_data.errors import Exit, MirrorError
from mirror_data.store import Store, check, create_store, open_store, schema
from mirror_data.store.commit import CONTAINER, DOCUMENT

from tests.data.store.conftest import everything as everything  # a fixture
from tests.data.store.conftest import fill
from tests.faults.damage import CHANGES, NAMES, added, damaged, exchanged, replaced

CODES = {"CORRUPT_STORE", "INCOMPLETE", "MISSING", "NEWER_FORMAT"}
Readers = dict[str, Callable[[], object]]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, everything) -> Store:
    """Every kind of record, and a second one of those that can be taken for another."""
    made = create_store(tmp_path_factory.mktemp("bytes") / "cohort.zarr")
    fill(made, everything)
    stores.write_slide(made, replace(everything.slide, slide_id="S2", patient_id="P2", source={"size_bytes": 9}))
    stores.write_tiling(made, replace(everything.tiling, slide_id="S2"))
    stores.write_tiling(made, replace(everything.tiling, name="other", parameters={"border": 1}))
    values = everything.features.values[::-1].copy()
    stores.write_features(made, replace(everything.features, slide_id="S2", values=values))
    stores.write_features(made, replace(everything.features, encoder="plain", values=-values))
    stores.write_split(made, replace(everything.split, name="six", seed=8))
    stores.write_genes(made, replace(everything.genes, fold=1), parents={})
    stores.write_run(made, replace(everything.run, fold=1), parents={})
    embeddings = everything.embeddings
    for k, modality, aligned in ((0, "slide", False), (0, "rna", True), (1, "rna", False)):
        own = replace(embeddings, fold=k, modality=modality, aligned=aligned, values=embeddings.values * (k + 2))
        stores.write_embeddings(made, own, parents=made.parents(schema.run("r", k)))
    stores.write_predictions(made, replace(everything.predictions, fold=1), parents={})
    weights = np.linspace(0, 2 / 600, 600).astype(np.float32)
    stores.write_attention(made, replace(everything.attention, slide_id="S2", weights=weights), parents={})
    runs = made.parents(schema.all_features("256px", "timm:resnet50@layer3"))
    stores.write_run(made, everything.run, parents=runs, overwrite=True)  # of both slides now
    fill_below(made, everything)
    return made


def fill_below(made: Store, everything) -> None:
    """What stands below fold 0, which went when the fold was written again."""
    parents = made.parents(schema.run("r", 0))
    stores.write_predictions(made, everything.predictions, parents=parents)
    for one in (everything.embeddings, replace(everything.embeddings, modality="slide")):
        stores.write_embeddings(made, one, parents=parents)
        stores.write_embeddings(made, replace(one, aligned=True), parents=parents)
    for slide_id in (everything.slide.slide_id, "S2"):
        stores.write_attention(made, replace(everything.attention, slide_id=slide_id), parents=parents)
    assert check(made).findings == ()


@pytest.fixture(scope="module")
def readers(store: Store) -> Readers:
    """Of every record's path, the reader that the commands use."""
    first, encoder = "S/1 ü", "timm:resnet50@layer3"
    found: Readers = {
        schema.RNA: lambda: stores.read_expression(store),
        schema.PATIENTS: lambda: stores.read_patients(store),
        schema.tiling(first, "other"): lambda: stores.read_tiling(store, first, "other"),
        schema.features(first, "256px", "plain"): lambda: stores.read_features(store, first, "256px", "plain"),
    }
    for s in (first, "S2"):
        found[schema.slide(s)] = lambda s=s: stores.read_slide(store, s)
        found[schema.tiling(s, "256px")] = lambda s=s: stores.read_tiling(store, s, "256px")
        found[schema.features(s, "256px", encoder)] = lambda s=s: stores.read_features(store, s, "256px", encoder)
        found[schema.attention("r", 0, s)] = lambda s=s: stores.read_attention(store, "r", 0, s)
    for name in ("five", "six"):
        found[schema.split(name)] = lambda name=name: stores.read_split(store, name)
    for k in (0, 1):
        found[schema.genes("rfe", k)] = lambda k=k: stores.read_genes(store, "rfe", k)
        found[schema.run("r", k)] = lambda k=k: stores.read_run(store, "r", k)
        found[schema.predictions("r", k, "survival")] = lambda k=k: stores.read_predictions(store, "r", k, "survival")
    for k, m, a in ((0, "slide", False), (0, "slide", True), (0, "rna", False), (0, "rna", True), (1, "rna", False)):
        found[schema.embeddings("r", k, m, a)] = lambda k=k, m=m, a=a: stores.read_embeddings(
            store, "r", k, m, aligned=a
        )
    assert set(found) == {path for path in groups(store) if not schema.is_container(path)}
    return found


def groups(store: Store) -> list[str]:
    """Paths of all records and containers."""
    places = [key.rpartition("/")[0] for key in store.files.keys("") if key.endswith(f"/{DOCUMENT}")]
    return [
        path
        for path in places
        if schema.is_container(path) or store.files.read(f"{path}/{DOCUMENT}").count(b'"mirror"')
    ]


def owner(readers: Readers, key: str) -> str:
    """The record that a key belongs to: the deepest above it."""
    return max((path for path in readers if key.startswith(f"{path}/")), key=len)


def refused(read: Callable[[], object], store: Store) -> MirrorError:
    with pytest.raises(MirrorError) as caught:
        read()
    error = caught.value
    assert error.code in CODES
    assert error.exit == Exit.BAD_INPUT
    assert (error.file, error.__cause__) == (store.url, None)
    return error


def named(store: Store, key: str) -> bool:
    return any(finding.key == key for finding in check(store).findings)


def lost_or_altered(store: Store, readers: Readers, key: str, number: int) -> None:
    """One key under one damage."""
    file = Path(store.url) / key
    with damaged(file, CHANGES[number]):
        found = check(store).findings if key != DOCUMENT else ()
        if key == DOCUMENT:
            with pytest.raises(MirrorError, match=r"NOT_A_STORE|CORRUPT_STORE|NEWER_FORMAT"):
                open_store(store.url)
            return
        path = key.removesuffix(f"/{DOCUMENT}")
        if schema.is_container(path):  # holds nothing, and nothing of ours reads it
            assert named(store, key)
            return
        path = owner(readers, key)
        error = refused(readers[path], store)
        gone = key == f"{path}/{DOCUMENT}" and NAMES[number] == "deleted"
        assert error.key == (path if gone else key)
        below = [
            finding for finding in found if finding.key == key or (gone and path in (finding.key, *words(finding)))
        ]
        assert below or (gone and any(finding.key.startswith(f"{path}/") for finding in found)), (key, found)


def words(finding: stores.Finding) -> list[str]:
    return finding.message.replace(",", "").split(" ")


def sample(keys: list[str], count: int) -> list[str]:
    return sorted(random.Random(7).sample(keys, count))


def test_a_sample_of_keys_under_every_damage(store: Store, readers: Readers) -> None:
    shard = f"{schema.features('S2', '256px', 'timm:resnet50@layer3')}/features/c/0/0"
    for key in [DOCUMENT, f"slides/{DOCUMENT}", shard, *sample(store.files.keys(""), 10)]:
        for number in range(len(CHANGES)):
            lost_or_altered(store, readers, key, number)
    assert check(store).findings == ()


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_every_key_under_every_damage(store: Store, readers: Readers) -> None:
    keys = store.files.keys("")
    for key in keys:
        for number in range(len(CHANGES)):
            lost_or_altered(store, readers, key, number)
    assert check(store).findings == ()
    print(f"{len(keys)} keys, {len(keys) * len(CHANGES)} damages, each refused or named")


@pytest.mark.long
def test_every_byte_of_a_document_and_of_a_bag_matters(store: Store, readers: Readers) -> None:
    for path in (schema.run("r", 1), schema.features("S2", "256px", "timm:resnet50@layer3")):
        for key in [f"{path}/{name}" for name in (DOCUMENT, *store.document(path).keys)]:
            file = Path(store.url) / key
            size = file.stat().st_size
            for place in range(0, size, max(1, size // 500)):
                bit = place % 8
                with damaged(file, lambda d, _, p=place, b=bit: d[:p] + bytes([d[p] ^ 1 << b]) + d[p + 1 :]):
                    assert refused(readers[path], store).key == key


def test_what_is_added_is_never_read_and_named_by_check(store: Store, readers: Readers) -> None:
    names = {f"foreign/{DOCUMENT}": CONTAINER, "foreign/c/0": b"", "alien": b"x"}
    places = ["", *groups(store)]
    with ExitStack() as stack:
        for path, (name, data) in itertools.product(places, names.items()):
            stack.enter_context(added(Path(store.url) / path / name, data))
        for read in readers.values():
            read()
        found = {finding.key for finding in check(store).findings}
        expected = {f"{path}/{name}".strip("/") for path in places for name in names}
        empty = {
            key for key in expected if key.endswith(DOCUMENT) and schema.is_container(key.removesuffix(f"/{DOCUMENT}"))
        }
        assert found == expected - empty  # an empty group where a group may stand: what a dead writer leaves
        assert empty == {f"genes/foreign/{DOCUMENT}", f"runs/foreign/{DOCUMENT}"}
    assert check(store).findings == ()


def twins(store: Store, readers: Readers) -> list[tuple[str, str]]:
    """Pairs of records of one kind."""
    kinds: dict[str, list[str]] = {}
    for path in readers:
        kinds.setdefault(store.document(path).kind, []).append(path)
    return [pair for paths in kinds.values() for pair in itertools.pairwise(paths)]


def test_records_in_each_others_place_are_told_apart(store: Store, readers: Readers) -> None:
    root = Path(store.url)
    for one, other in twins(store, readers):
        with exchanged(root / one, root / other):
            for path in (one, other):
                assert refused(readers[path], store).key == f"{path}/{DOCUMENT}"
                assert named(store, f"{path}/{DOCUMENT}")
    assert check(store).findings == ()


def test_keys_of_twins_in_each_others_place_are_told_apart(store: Store, readers: Readers) -> None:
    """The bags of two slides are as large and each whole: only which chunks they are tells them apart."""
    root = Path(store.url)
    exchanges = 0
    for one, other in twins(store, readers):
        both = {key.removeprefix(one) for key in store.files.keys(one)} & {
            key.removeprefix(other) for key in store.files.keys(other)
        }
        for rest in sorted(rest for rest in both if owner(readers, one + rest) == one):
            if (root / (one + rest)).read_bytes() == (root / (other + rest)).read_bytes():
                continue
            with exchanged(root / (one + rest), root / (other + rest)):
                for path in (one, other):
                    assert refused(readers[path], store).key == path + rest
                    assert named(store, path + rest)
            exchanges += 1
    assert exchanges > 15


def test_a_record_copied_under_another_id_is_refused(store: Store, readers: Readers) -> None:
    root = Path(store.url)
    copies = {
        schema.slide("S2"): schema.slide("S3"),
        schema.split("five"): schema.split("seven"),
        schema.genes("rfe", 1): schema.genes("rfe", 2),
        schema.run("r", 1): schema.run("r", 2),
        schema.attention("r", 0, "S2"): schema.attention("r", 0, "S3"),
    }
    for path, other in copies.items():
        with replaced(root / other, root / path):
            with pytest.raises(MirrorError, match="belongs elsewhere") as caught:
                store.document(other)
            assert (caught.value.code, caught.value.key) == ("CORRUPT_STORE", f"{other}/{DOCUMENT}")
            assert named(store, f"{other}/{DOCUMENT}")
    assert check(store).findings == ()


def test_commands_refuse_by_name_and_check_ends_with_three(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    key = f"{schema.PATIENTS}/table/patient_id/c/0"
    with damaged(Path(store.url) / key, CHANGES[3]):
        for words, status in ((["check"], Exit.SOME_FAILED), (["split", "--name", "n"], Exit.BAD_INPUT)):
            assert app.run(cli, [*words, "--store", store.url]) == status
            told = "".join(capsys.readouterr())
            assert "CORRUPT_STORE" in told
            assert key in told
            assert "Traceback" not in told


def test_bags_of_the_first_version_are_still_read(store: Store, everything, tmp_path: Path) -> None:
    """They do not say which chunks they are; a lost or altered byte is refused all the same."""
    from mirror_data.store import commit as rule

    old = create_store(tmp_path / "old.zarr")
    fill(old, everything)
    path = schema.features("S/1 ü", "256px", "timm:resnet50@layer3")
    document = old.document(path)
    tree = {key: old.files.read(f"{path}/{key}") for key in document.keys}
    arrays = {name: {k: v for k, v in one.items() if k != "checksums"} for name, one in document.arrays.items()}
    rule.commit(
        old.files, path, "features", tree, arrays=arrays, attributes=document.attributes,
        parents=document.parents, overwrite=True,
    )  # fmt: skip
    read = stores.read_features(old, "S/1 ü", "256px", "timm:resnet50@layer3")
    assert np.array_equal(read.values, everything.features.values)
    with damaged(tmp_path / "old.zarr" / path / "features/c/0/0", CHANGES[3]):
        assert refused(lambda: stores.read_features(old, "S/1 ü", "256px", "timm:resnet50@layer3"), old)
