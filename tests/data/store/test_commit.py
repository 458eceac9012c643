"""The commit rule: a record exists when its document does, whatever happens to the writer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from mirror_data.errors import Busy, StoreError
from mirror_data.store import (
    Features,
    Slide,
    Tiling,
    check,
    create_store,
    open_store,
    read_features,
    read_slide,
    schema,
    write_features,
    write_slide,
    write_tiling,
)

WRITER = """
import sys
import numpy as np
from mirror_data.store import *
from mirror_data.errors import MirrorError

store = create_store(sys.argv[1])
print("ready", flush=True)
for number in range(int(sys.argv[2])):
    name = f"S{number:02d}"
    random = np.random.default_rng(number)
    steps = (
        (schema.slide(name), lambda: write_slide(store, Slide(name, "P"))),
        (schema.tiling(name, "t"), lambda: write_tiling(store, Tiling(name, "t", 600, None))),
        (schema.features(name, "t", "e"), lambda: write_features(
            store, Features(name, "t", "e", random.normal(size=(600, 256)).astype(np.float16)))),
    )
    for path, write in steps:
        if not store.has(path):
            try:
                write()
            except MirrorError as error:
                print(error.code, flush=True)
"""


def start_writer(store: Path, slides: int) -> subprocess.Popen:
    command = [sys.executable, "-c", textwrap.dedent(WRITER), str(store), str(slides)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def tree(store: Path) -> dict[str, bytes]:
    return {key: open_store(store).files.read(key) for key in open_store(store).files.keys("")}


@pytest.mark.long  # tests/faults/test_kills.py has every call of a slide
def test_killed_writer_loses_nothing_and_a_rerun_gives_equal_bytes(tmp_path: Path):
    whole = start_writer(tmp_path / "whole", 8)
    assert whole.wait() == 0
    expected = tree(tmp_path / "whole")
    killed = 0
    for attempt in range(6):
        writer = start_writer(tmp_path / "killed", 8)
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        time.sleep(0.01 + 0.012 * attempt)
        writer.send_signal(signal.SIGKILL)
        killed += writer.wait() == -signal.SIGKILL
        found = check(open_store(tmp_path / "killed")).findings
        assert {finding.code for finding in found} <= {"STRAY"}  # unfinished keys, never a half record
    assert killed >= 3
    assert start_writer(tmp_path / "killed", 8).wait() == 0
    assert tree(tmp_path / "killed") == expected


def test_a_record_without_its_document_does_not_exist_and_is_swept(tmp_path: Path):
    store = create_store(tmp_path / "s")
    write_slide(store, Slide("A", "P", tissue=np.ones((4, 4), np.uint8)))
    (tmp_path / "s" / "slides" / "A" / "zarr.json").unlink()
    assert store.keys("slides") == []
    with pytest.raises(StoreError, match="INCOMPLETE"):
        read_slide(store, "A")
    assert {finding.code for finding in check(store).findings} == {"STRAY"}  # not damage
    write_slide(store, Slide("A", "P"))  # the stray mask of the dead writer goes
    assert store.files.keys("slides/A") == ["slides/A/zarr.json"]


def test_nothing_is_written_below_a_record_that_was_never_committed(tmp_path: Path):
    store = create_store(tmp_path / "s")
    with pytest.raises(StoreError, match="INCOMPLETE"):
        write_tiling(store, Tiling("A", "t", 0, None), parents={})
    assert not store.has(schema.slide("A"))


def test_a_committed_record_is_replaced_only_when_told(tmp_path: Path):
    store = create_store(tmp_path / "s")
    write_slide(store, Slide("A", "P", mpp=0.5))
    write_tiling(store, Tiling("A", "t", 0, None))
    with pytest.raises(StoreError, match="EXISTS"):
        write_slide(store, Slide("A", "P", mpp=0.25))
    assert read_slide(store, "A").mpp == 0.5
    write_slide(store, Slide("A", "P", mpp=0.25), overwrite=True)
    assert read_slide(store, "A").mpp == 0.25
    assert not store.has(schema.tiling("A", "t"))  # derived from the slide that is gone


@pytest.mark.parametrize("writers", [2, pytest.param(8, marks=pytest.mark.long)])
def test_writers_side_by_side_write_each_slide_once(tmp_path: Path, writers: int):
    assert start_writer(tmp_path / "alone", 4).wait() == 0
    processes = [start_writer(tmp_path / "many", 4) for _ in range(writers)]
    for process in processes:
        process.communicate()
        assert process.returncode == 0
    assert start_writer(tmp_path / "many", 4).wait() == 0
    assert tree(tmp_path / "many") == tree(tmp_path / "alone")
    assert check(open_store(tmp_path / "many")).findings == ()


def test_claimed_work_is_refused_to_others_until_the_holder_is_gone(tmp_path: Path):
    store = create_store(tmp_path / "s")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with store.claim("slide A"):
            os.write(writing, b"x")
            time.sleep(60)
    os.read(reading, 1)
    with pytest.raises(Busy), store.claim("slide A"):
        pass
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with store.claim("slide A"):
        pass


def test_a_writer_stopped_in_its_rename_holds_nobody_up_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = create_store(tmp_path / "s")
    monkeypatch.setattr("mirror_data.store.files.RENAME_SECONDS", 0.05)
    with store.files.claim("slides/zarr.json"), pytest.raises(Busy):  # the lock of that rename
        write_slide(store, Slide("A", "P"))
    write_slide(store, Slide("A", "P"))


def test_a_read_only_store_says_so_and_stays_readable(tmp_path: Path):
    if os.geteuid() == 0:
        pytest.skip("root writes everywhere")
    store = create_store(tmp_path / "s")
    write_slide(store, Slide("A", "P"))
    (tmp_path / "s" / "slides").chmod(0o500)
    with pytest.raises(StoreError, match="READ_ONLY"):
        write_slide(store, Slide("B", "P"))
    assert read_slide(store, "A").patient_id == "P"


def test_every_altered_or_missing_key_is_found_by_check_and_refused_by_readers(tmp_path: Path):
    store = create_store(tmp_path / "s")
    write_slide(store, Slide("A", "P", tissue=np.ones((4, 4), np.uint8)))
    write_tiling(store, Tiling("A", "t", 600, np.zeros((600, 2), np.int32)))
    write_features(store, Features("A", "t", "e", np.ones((600, 4), np.float16)))
    keys = [key for key in store.files.keys("slides/A") if not is_container(store.files.read(key))]
    assert len(keys) == 9
    for key in keys:
        whole = store.files.read(key)
        middle = len(whole) // 2
        for damaged in (whole[:-1], whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :], None):
            if damaged is None:
                store.files.delete(key)
            else:
                store.files.write(key, damaged)
            assert any(finding.key.startswith(key.rsplit("/", 1)[0]) for finding in check(store).findings), key
            with pytest.raises(StoreError):
                read_all(store)
            store.files.write(key, whole)
    assert check(store).findings == ()


def is_container(document: bytes) -> bool:
    from mirror_data.store.commit import CONTAINER

    return document == CONTAINER


def read_all(store) -> None:
    from mirror_data.store import read_tiling

    read_slide(store, "A")
    read_tiling(store, "A", "t")
    read_features(store, "A", "t", "e")


def test_what_is_derived_from_something_replaced_is_stale(full_store, everything):
    from mirror_data.store import Patients, write_patients

    assert check(full_store).findings == ()
    changed = Patients(everything.patients.table.assign(age=1.0))
    write_patients(full_store, changed, overwrite=True)
    findings = check(full_store).findings
    assert [(finding.code, finding.key) for finding in findings] == [("STALE", "splits/five")]
    write_features(
        full_store, Features("S/1 ü", "256px", "timm:resnet50@layer3", np.ones((600, 2), np.float16)), overwrite=True
    )
    assert ("STALE", "runs/r/fold_0") in [(finding.code, finding.key) for finding in check(full_store).findings]
