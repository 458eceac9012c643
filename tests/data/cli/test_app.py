from __future__ import annotations

import errno
import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import pytest
from mirror_data.cli.app import run, tell
from mirror_data.cli.main import cli
from mirror_data.errors import BadInput, Busy, Exit, Interrupted, StoreError, some


@click.group()
def group() -> None:
    """A group of commands that end in every way."""


ENDS = {
    "fine": (None, Exit.OK),
    "bad-input": (
        BadInput("BAD_X", "x is wrong", file="f.csv", key="x", expected=1, got=2, hint="mend x"),
        Exit.BAD_INPUT,
    ),
    "store": (StoreError("CORRUPT_STORE", "damaged"), Exit.BAD_INPUT),
    "busy": (Busy("BUSY", "being written"), Exit.BUSY),
    "interrupted": (Interrupted("INTERRUPTED", "stopped"), Exit.INTERRUPTED),
    "control-c": (KeyboardInterrupt(), Exit.INTERRUPTED),
    "defect": (ZeroDivisionError("oops"), Exit.DEFECT),
}


def _command(name: str, error: BaseException | None) -> click.Command:
    def body() -> None:
        if error is not None:
            raise error

    return click.Command(name, callback=body)


for _name, (_error, _) in ENDS.items():
    group.add_command(_command(_name, _error))


@pytest.mark.parametrize("name", ENDS)
def test_every_end_has_its_exit_status_and_no_traceback(name, capsys):
    assert run(group, [name]) == ENDS[name][1]
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_a_failing_disk_is_no_defect_of_ours(number, capsys):
    def body() -> None:
        raise OSError(number, os.strerror(number), "/data/table.csv")

    assert run(click.Command("write", callback=body), []) == Exit.BAD_INPUT
    shown = capsys.readouterr().err
    assert shown.startswith(f"UNWRITABLE: the work cannot be written: {os.strerror(number)} (/data/table.csv)")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        type("OutOfMemoryError", (RuntimeError,), {})(),
    ],
)
def test_memory_that_ran_out_is_no_defect_of_ours(error, capsys):
    def body() -> None:
        raise error

    assert run(click.Command("train", callback=body), []) == Exit.BAD_INPUT
    do = "free some, or do less at a time: fewer --workers, a smaller batch"
    assert capsys.readouterr().err == f"OUT_OF_MEMORY: not enough memory\n  do: {do}\n"


def test_a_defect_is_told_even_where_its_details_cannot_be_kept(monkeypatch, capsys):
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", full)
    assert run(group, ["defect"]) == Exit.DEFECT
    assert "ZeroDivisionError; details could not be kept: No space left on device" in capsys.readouterr().err


def test_an_error_names_file_key_expected_got_and_what_to_do(capsys):
    run(group, ["bad-input"])
    assert capsys.readouterr().err == "BAD_X: x is wrong (f.csv, x)\n  expected: 1\n  got: 2\n  do: mend x\n"


def test_a_defect_keeps_its_traceback_in_a_file(capsys):
    run(group, ["defect"])
    path = Path(capsys.readouterr().err.strip().rsplit(" ", 1)[1])
    assert "ZeroDivisionError: oops" in path.read_text()
    path.unlink()


@pytest.mark.parametrize("arguments", [["nonsense"], ["fine", "--nonsense"]])
def test_bad_command_lines_are_bad_input(arguments):
    assert run(group, arguments) == Exit.BAD_INPUT


def test_errors_cross_process_boundaries_whole():
    error = BadInput("BAD_X", "x is wrong", file="f", key="k", expected=1, got=2, hint="h")
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    assert type(again) is BadInput


def test_some_names_few_of_many():
    assert some(["a", "b"]) == "a, b"
    assert some(list(range(9)), 2) == "0, 1 and 7 more"


def test_tell_as_json_and_as_text(capsys):
    tell({"b": 1, "a": 2}, True, ["text"])
    assert json.loads(capsys.readouterr().out) == {"a": 2, "b": 1}
    tell({}, False, ["one", "two"])
    assert capsys.readouterr().out == "one\ntwo\n"


def test_sigterm_ends_with_75():
    code = "import time, click\nfrom mirror_data.cli.app import run\n"
    code += "@click.command()\ndef wait():\n    print('up', flush=True)\n    time.sleep(30)\n"
    code += "raise SystemExit(run(wait, []))"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(0.1)
    os.kill(process.pid, signal.SIGTERM)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == Exit.INTERRUPTED
    assert "Traceback" not in errors


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    from mirror_data.store import Slide, create_store, write_slide

    write_slide(create_store(tmp_path / "c.zarr"), Slide("A", "P"))
    return tmp_path / "c.zarr"


def test_check_of_a_sound_and_of_a_damaged_store(cohort: Path, capsys):
    assert run(cli, ["check", "--store", str(cohort), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"records": 1, "keys": 3, "findings": []}
    (cohort / "slides" / "A" / "zarr.json").write_bytes(b"{}")
    assert run(cli, ["check", "--store", str(cohort)]) == Exit.SOME_FAILED
    assert "CORRUPT_STORE  slides/A/zarr.json" in capsys.readouterr().out


def test_check_of_what_is_no_store(tmp_path: Path, capsys):
    assert run(cli, ["check", "--store", str(tmp_path)]) == Exit.BAD_INPUT
    assert capsys.readouterr().err.startswith("NOT_A_STORE")
