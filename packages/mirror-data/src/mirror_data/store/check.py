"""Verify a store: every key against its record, every record against what it was derived from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mirror_data.errors import StoreError
from mirror_data.store import commit as rule
from mirror_data.store.base import Store


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: ``CORRUPT_STORE``, ``INCOMPLETE``, ``STALE``, ``MISSING`` or ``STRAY``."""

    code: str
    key: str
    message: str


@dataclass(frozen=True)
class CheckResult:
    """How much was verified, and what was found wrong."""

    records: int
    keys: int
    findings: tuple[Finding, ...]


def check(store: Store, progress: Callable[[int, int], None] = lambda done, total: None) -> CheckResult:
    """Read every byte of the data tree and report whatever does not hold.

    Args:
        progress: called with keys done and keys in all.
    """
    every = store.files.keys("")
    groups = {key.rpartition("/")[0] for key in every if key.rpartition("/")[2] == rule.DOCUMENT}
    documents: dict[str, rule.Document] = {}
    owned: set[str] = set()
    findings: list[Finding] = []
    seen = {rule.DOCUMENT}
    parents = {""}  # groups that have a document
    for path in sorted(groups - {""}, key=lambda path: path.split("/")):  # a record before what it holds
        key = f"{path}/{rule.DOCUMENT}"
        if key in owned:
            continue  # an array or subgroup of a record, verified with it
        raw = store.files.read(key)
        try:
            if raw != rule.CONTAINER:
                documents[path] = rule.parse_document(store.files, path, raw)
                owned |= {f"{path}/{key}" for key in documents[path].keys}
        except StoreError as error:
            if path.rpartition("/")[0] not in parents:
                continue  # an array of a record that was never committed: stray
            findings.append(Finding(error.code, key, error.message))
        parents.add(path)
        seen.add(key)
    for path, document in documents.items():
        for key in document.keys:
            seen.add(f"{path}/{key}")
            progress(len(seen), len(every))
            try:
                rule.read_key(store.files, document, key)
            except StoreError as error:
                findings.append(Finding(error.code, error.key or path, error.message))
        findings += _stale(documents, document)
    findings += [Finding("STRAY", key, "no committed record owns this key") for key in every if key not in seen]
    return CheckResult(len(documents), len(every), tuple(findings))


def _hash_now(documents: dict[str, rule.Document], parent: str) -> str | None:
    """The present hash of a record, or of all records that match a pattern with one ``*``."""
    if "*" not in parent:
        return documents[parent].hash if parent in documents else None
    head, tail = parent.split("*")
    matching = {
        path: document.hash
        for path, document in documents.items()
        if path.startswith(head) and path.endswith(tail) and "/" not in path[len(head) : len(path) - len(tail)]
    }
    return rule.joint_hash(matching)


def _stale(documents: dict[str, rule.Document], document: rule.Document) -> Iterator[Finding]:
    for parent, known in document.parents.items():
        now = _hash_now(documents, parent)
        if now is None:
            yield Finding("MISSING", document.path, f"derived from {parent}, which is gone")
        elif now != known:
            yield Finding(
                "STALE", document.path, f"derived from an earlier {parent}; run the command that writes it again"
            )
