"""failures.jsonl of a store: what failed in the last batch, one row a failed item, whole or not there at all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from mirror_data.errors import StoreError
from mirror_data.runner import Failure, Result, failure_of
from mirror_data.store.files import NEW, Files
from mirror_data.store.schema import PRIVATE

FAILURES = f"{PRIVATE}/failures.jsonl"


def list_failures(files: Files, failures: Sequence[Failure]) -> list[Result]:
    """Replace the list; without failures there is no file.

    Returns:
        One more failure if the list itself cannot be written: on a full disk that must not hide what it would hold.
    """
    try:
        if failures:
            rows = "".join(json.dumps(asdict(failure), sort_keys=True) + "\n" for failure in failures)
            files.replace(FAILURES, rows.encode())
        else:
            files.delete(FAILURES)
            files.delete(FAILURES + NEW)  # left by a writer that was killed
    except StoreError as error:
        return [Result(FAILURES, None, failure_of(FAILURES, error), error.exit, error)]
    return []
