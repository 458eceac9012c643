"""Look up the pinned versions among the known vulnerabilities with pip-audit. Run by ``make audit-deps``.

Exit status 0: every pinned version was looked up and none has a known vulnerability; 1: some have; 69: the advisories
could not be reached or not for every version, so nothing is promised. An index that is only a mirror of files answers
nothing about vulnerabilities, and pip-audit would take that for good news: so the source is asked first.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import tomllib
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PIP_AUDIT = "pip-audit==2.10.1"
UNAVAILABLE = 69  # as sysexits.h has it
KNOWN_BAD = ("jinja2", "2.4.1")  # has advisories for ever: a source that does not know them is none
SECONDS = 15


def pins(project: Path = ROOT / "pyproject.toml") -> list[str]:
    """``name==version`` of everything the project may install, test tools among it."""
    return tomllib.loads(project.read_text())["tool"]["uv"]["constraint-dependencies"]


def ask_osv() -> bool:
    name, version = KNOWN_BAD
    question = json.dumps({"package": {"name": name, "ecosystem": "PyPI"}, "version": version}).encode()
    with urllib.request.urlopen("https://api.osv.dev/v1/query", question, timeout=SECONDS) as answer:
        return bool(json.load(answer).get("vulns"))


def ask_pypi() -> bool:
    with urllib.request.urlopen(f"https://pypi.org/pypi/{'/'.join(KNOWN_BAD)}/json", timeout=SECONDS) as answer:
        return bool(json.load(answer).get("vulnerabilities"))


SOURCES: dict[str, Callable[[], bool]] = {"osv": ask_osv, "pypi": ask_pypi}


def reachable() -> tuple[str | None, list[str]]:
    """The first source that knows a known vulnerability, and why the others will not do."""
    reasons = []
    for name, ask in SOURCES.items():
        try:
            if ask():
                return name, reasons
            reasons.append(f"{name}: answers, but knows no vulnerability")
        except (OSError, ValueError) as error:
            reasons.append(f"{name}: {error}")
    return None, reasons


def look_up(uv: str, source: str, lines: Sequence[str]) -> list[dict[str, Any]]:
    """What pip-audit says of each pinned version; empty if it says nothing."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(lines) + "\n")
        file.flush()
        words = [
            uv,
            "tool",
            "run",
            PIP_AUDIT,
            "-r",
            file.name,
            "--no-deps",
            "--disable-pip",
            "-s",
            source,
            "-f",
            "json",
        ]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    try:
        return json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        print(done.stderr.strip(), file=sys.stderr)
        return []


def verdict(found: Sequence[dict[str, Any]], lines: Sequence[str]) -> int:
    """Tell what was found; returns the exit status."""
    skipped = [one for one in found if "skip_reason" in one]
    looked_up = [one for one in found if "vulns" in one]
    bad = [one for one in looked_up if one["vulns"]]
    for one in bad:
        for known in one["vulns"]:
            fixed = ", ".join(known.get("fix_versions", ())) or "none yet"
            print(f"{one['name']} {one['version']}: {known['id']}, fixed in: {fixed}")
    print(f"{len(looked_up)} of {len(lines)} pinned versions looked up, {len(bad)} with a known vulnerability")
    if bad:
        return 1
    if len(looked_up) < len(lines):
        names = ", ".join(one["name"] for one in skipped[:10]) or "all"
        print(f"NOT AUDITED: not every version could be looked up ({names})", file=sys.stderr)
        return UNAVAILABLE
    return 0


def main(uv: str) -> int:
    lines = pins()
    source, reasons = reachable()
    if source is None:
        print(f"NOT AUDITED: no source of advisories can be reached, {len(lines)} pins unchecked", file=sys.stderr)
        for reason in reasons:
            print(f"  {reason}", file=sys.stderr)
        return UNAVAILABLE
    return verdict(look_up(uv, source, lines), lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
