"""failures.jsonl of a store: what failed in the last batch and in those beside it, one row a failed item.

It is whole or not there at all. What another process is working on has not failed, and is not listed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime

from mirror_data.errors import Busy, StoreError
from mirror_data.runner import Failure, Result, failure_of
from mirror_data.store.files import NEW, Files
from mirror_data.store.schema import PRIVATE

FAILURES = f"{PRIVATE}/failures.jsonl"


def list_failures(files: Files, failures: Sequence[Failure], began: float) -> list[Result]:
    """Replace the list, but for rows that other batches added since this one began; without rows there is no file.

    Args:
        began: seconds since 1970 (`time.time`).

    Returns:
        One more failure if the list itself cannot be written: on a full disk that must not hide what it would hold.
    """
    listed = [one for one in failures if one.code != "BUSY"]
    if not (listed or files.exists(FAILURES) or files.exists(FAILURES + NEW)):
        return []
    try:
        with files.claim(FAILURES):
            rows = [row for row in _rows(files) if row["time"] >= _moment(began)]
            rows += [{"time": _moment(time.time())} | asdict(one) for one in listed]
            if rows:
                files.replace(FAILURES, "".join(json.dumps(row, sort_keys=True) + "\n" for row in rows).encode())
            else:
                files.delete(FAILURES)
                files.delete(FAILURES + NEW)  # left by a writer that was killed
    except (StoreError, Busy) as error:
        return [Result(FAILURES, None, failure_of(FAILURES, error), error.exit, error)]
    return []


def _rows(files: Files) -> list[dict[str, str]]:
    """The list as it is; lines that are no rows of ours are passed over."""
    try:
        lines = files.read(FAILURES).splitlines()
    except KeyError:
        return []
    rows = []
    for line in lines:
        with suppress(ValueError):
            row = json.loads(line)
            if isinstance(row, dict) and isinstance(row.get("time"), str):
                rows.append(row)
    return rows


def _moment(seconds: float) -> str:
    """UTC, to the microsecond; as text they sort in time."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")
