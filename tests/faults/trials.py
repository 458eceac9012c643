"""One command, broken again and again: what it says, what it leaves, and whether running it again mends everything."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mirror_data.store import Finding, check, open_store

from tests.faults.commands import PRIVATE, Ended, differences, tree
from tests.faults.forks import Call, Forks

KILL = "signal=KILL"
ROOT = "zarr.json"


@dataclass
class Trials:
    """A command, the store it begins with, and the store an uninterrupted run ends with."""

    forks: Forks
    words: Sequence[object]
    store: Path
    before: Path | None = None  # copied to be the store of each trial; None: there is none yet
    old: dict[str, str] = field(init=False)
    new: dict[str, str] = field(init=False)
    known: set[Finding] = field(init=False)  # what `check` says of the uninterrupted run's store: what is stale now
    seconds: float = field(init=False)
    states: set[frozenset] = field(init=False, default_factory=set)  # rerun already: a rerun depends on them alone

    def __post_init__(self) -> None:
        self.reset()
        self.old = tree(self.store)
        ended = self.forks.run(self.words)
        assert ended.code == 0, ended.err
        self.new, self.seconds = tree(self.store), ended.seconds
        self.known = set(check(open_store(self.store)).findings)

    def reset(self) -> None:
        shutil.rmtree(self.store, ignore_errors=True)
        if self.before is not None:
            shutil.copytree(self.before, self.store)

    def calls(self) -> list[Call]:
        """Every system call of the command that changes the store."""
        self.reset()
        return self.forks.calls(self.words, self.store)

    def broken(self, call: Call, effect: str) -> list[str]:
        """What is wrong after one call was killed or failed, and after the command was run again."""
        self.reset()
        ended = self.forks.broken(self.words, call, effect)
        wrong = [] if effect == KILL else list(self._told(ended, call))
        return [f"{effect} at {call.text}: {text}" for text in (*wrong, *self._left())]

    def killed(self, seconds: float) -> list[str]:
        """What is wrong after the command was killed at a moment, and after it was run again."""
        self.reset()
        self.forks.run(self.words, kill_after=seconds)
        return [f"killed after {seconds:.3f} s: {text}" for text in self._left()]

    def _told(self, ended: Ended, call: Call) -> Iterator[str]:
        if ended.code == 0 and tree(self.store) == self.new:
            return  # as if a folder that is there could not be made
        if ended.code not in (2, 3) or "Traceback" in ended.err or "INTERNAL" in ended.err:
            yield f"exit {ended.code}: {ended.err}"
        if str(self.store) not in ended.err:
            yield f"the path is not named: {ended.err}"
        if ended.code == 3 and "failures.jsonl" not in call.path:
            rows = [json.loads(row) for row in (self.store / PRIVATE / "failures.jsonl").read_text().splitlines()]
            if not any(row["code"] in ("DISK_FULL", "IO_ERROR", "READ_ONLY") and row["next_step"] for row in rows):
                yield f"failures.jsonl does not tell it: {rows}"

    def _left(self) -> Iterator[str]:
        now = tree(self.store)
        private = [path for path in _private(self.store) if path.parent.name != "locks"]
        state = frozenset({*now.items(), *((str(path), "") for path in private)})
        if state in self.states:
            return
        self.states.add(state)
        if (self.store / ROOT).exists():
            yield from self._unreadable(now)
        elif self.before is not None:
            yield "the store is gone"
        again = self.forks.run(self.words)
        if again.code != 0:
            yield f"again: exit {again.code}: {again.err}"
        if tree(self.store) != self.new:
            yield f"again: the tree differs in {differences(self.new, tree(self.store))}"
        left = [path for path in _private(self.store) if path.parent.name != "locks" or path.stat().st_size]
        if left:
            yield f"again: these stay: {left}"

    def _unreadable(self, now: dict[str, str]) -> Iterator[str]:
        """Whatever is neither as it was nor as it should become, unless `check` says so."""
        found = set(check(open_store(self.store)).findings) - self.known
        for finding in found:
            if finding.code not in ("STRAY", "INCOMPLETE", "STALE", "MISSING"):
                yield f"check: {finding}"
        for path in self.old:
            place = path.rpartition("/")[0]
            said = any(finding.key == place or finding.key.startswith(f"{place}/") for finding in found)
            if now.get(path) not in (self.old[path], self.new.get(path)) and not said:
                yield f"{path} is neither old nor new, and check does not say so"


def _private(store: Path) -> list[Path]:
    return sorted(path for path in (store / PRIVATE).rglob("*") if path.is_file())
