"""Refresh the pins: resolve everything anew, write exact versions to pyproject.toml, trim uv.lock.

The repository's lock names versions, never download addresses: uv.lock is committed as header and ``[manifest]``; uv
completes it on first use, to exactly the pinned versions. Run by ``make lock``; see CONTRIBUTING.md.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCK, PROJECT = ROOT / "uv.lock", ROOT / "pyproject.toml"
BLOCK = re.compile(r"(# BEGIN pins[^\n]*\n).*?(# END pins)", re.DOTALL)


def main(uv: str) -> None:
    write_pins([])
    LOCK.unlink(missing_ok=True)
    subprocess.run([uv, "lock"], cwd=ROOT, check=True)
    write_pins(pins(tomllib.loads(LOCK.read_text())))
    subprocess.run([uv, "lock"], cwd=ROOT, check=True)
    LOCK.write_text(trimmed(LOCK.read_text()))
    print("uv.lock and pyproject.toml written: commit both now, before uv completes uv.lock again")


def pins(lock: dict) -> list[str]:
    """``name==version`` of every package from a registry, with its marker where platforms differ."""
    versions = defaultdict(list)
    for package in lock["package"]:
        if "registry" in package["source"]:
            versions[package["name"]].append(package)
    found = []
    for name, packages in sorted(versions.items()):
        for package in packages:
            marker = " or ".join(f"({m})" for m in package.get("resolution-markers", ())) if len(packages) > 1 else ""
            found.append(f"{name}=={package['version']}" + (f" ; {marker}" if marker else ""))
    return found


def write_pins(lines: list[str]) -> None:
    body = "".join(f"    {line!r},\n".replace("'", '"') if '"' not in line else f"    '{line}',\n" for line in lines)
    text = f"constraint-dependencies = [\n{body}]\n" if lines else "constraint-dependencies = []\n"
    PROJECT.write_text(BLOCK.sub(lambda match: match[1] + text + match[2], PROJECT.read_text()))


def trimmed(lock: str) -> str:
    """Everything before the first package: header and manifest."""
    return lock.split("[[package]]", 1)[0].rstrip() + "\n"


if __name__ == "__main__":
    main(sys.argv[1])
