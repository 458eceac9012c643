"""Verify a store: every key against its record, every record against what it was derived from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mirror_data.errors import StoreError
from mirror_data.store import commit as rule
from mirror_data.store import schema
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
    for path in sorted(groups - {""}, key=lambda path: path.split("/")):  # a record before what it holds
        own = f"{path}/{rule.DOCUMENT}"
        if own in owned:
            continue  # an array or subgroup of a record, verified with it
        unfinished = [place for place in _above(path) if place not in groups]
        if any(map(schema.is_record, unfinished)):
            continue  # a stray: what it lies in was never committed
        try:
            raw = store.files.read(own)
            if not schema.is_container(path):
                documents[path] = rule.parse_document(store.files, path, raw)
                owned |= {f"{path}/{key}" for key in documents[path].keys}
            elif raw != rule.CONTAINER:
                raise rule.corrupt(store.files, path, "the group's document was altered")
        except StoreError as error:
            if unfinished:
                continue  # a stray: an array of a record that was never committed
            findings.append(Finding(error.code, own, error.message))
        seen.add(own)
    for path, document in documents.items():
        for key in document.keys:
            seen.add(f"{path}/{key}")
            progress(len(seen), len(every))
            try:
                rule.read_key(store.files, document, key)
            except StoreError as error:
                findings.append(Finding(error.code, error.key or path, error.message))
        findings += _stale(documents, document)
    findings += _unled(documents, groups)
    findings += [Finding("STRAY", key, "no committed record owns this key") for key in every if key not in seen]
    return CheckResult(len(documents), len(every), tuple(findings))


def _above(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:depth]) for depth in range(1, len(parts))]


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


def _unled(documents: dict[str, rule.Document], groups: set[str]) -> Iterator[Finding]:
    """Groups above records without a document: our readers need none, other readers of zarr do not get past them."""
    needed = {path.rsplit("/", depth)[0] for path in documents for depth in range(1, path.count("/") + 1)}
    for path in sorted(path for path in needed - groups if schema.is_container(path)):
        message = "the group's document is missing; the next record written below brings it back"
        yield Finding("CORRUPT_STORE", f"{path}/{rule.DOCUMENT}", message)


def _stale(documents: dict[str, rule.Document], document: rule.Document) -> Iterator[Finding]:
    for parent, known in document.parents.items():
        now = _hash_now(documents, parent)
        if now is None:
            yield Finding("MISSING", document.path, f"derived from {parent}, which is gone")
        elif now != known:
            yield Finding(
                "STALE", document.path, f"derived from an earlier {parent}; run the command that writes it again"
            )
