"""Write sbom.json: what the three packages with their extras need, as CycloneDX 1.6. Run by ``make sbom``.

cyclonedx-py reads the environment that ``make setup`` made: names, versions, licences. Kept is what the three packages
reach, so no tool of the tests; who needs whom is read anew from the metadata, for cyclonedx-py counts what a package's
extras would need as needed. Added is from uv.lock the SHA-256 of the file that fits this machine. No address of this
machine or of an index stays in it, and the result is held against CycloneDX's own schema.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, metadata, requires
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.tags import Tag, sys_tags
from packaging.utils import parse_wheel_filename

ROOT = Path(__file__).resolve().parents[1]
TOOL = "cyclonedx-bom==7.5.0"
PACKAGES = ("mirror-data", "mirror-eval", "mirror-model")
VALIDATE = """import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(sys.stdin.read())
sys.exit(f"not CycloneDX 1.6: {error}" if error else 0)
"""
_LONGEST = 100  # characters of a licence's name; some packages put the whole text there


def plain(name: str) -> str:
    """A package's name as indexes and pins spell it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def needed() -> dict[str, set[str]]:
    """What each package that the three reach, with their own extras, needs itself."""
    waiting = [(name, extra) for name in PACKAGES for extra in ("", *metadata(name).get_all("Provides-Extra", []))]
    seen: set[tuple[str, str]] = set()
    found: dict[str, set[str]] = {}
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        needs = requirements(name, extra)
        found.setdefault(name, set()).update(plain(one.name) for one in needs)
        waiting += [(plain(one.name), more) for one in needs for more in ("", *one.extras)]
    return found


def requirements(name: str, extra: str) -> list[Requirement]:
    """What an installed package needs on this machine under one extra, "" for none."""
    try:
        lines = requires(name) or []
    except PackageNotFoundError:  # a part of the packages' own, or not for this machine
        return []
    every = map(Requirement, lines)
    return [one for one in every if one.marker is None or one.marker.evaluate({"extra": extra})]


def assemble(
    document: Mapping[str, Any], pins: Mapping[str, str], digests: Mapping[str, str], version: str
) -> dict[str, Any]:
    """The SBOM of the three packages.

    Args:
        document: cyclonedx-py's, of the whole environment.
        pins: name to version, as the project has them.
        digests: package to SHA-256 of its file.

    Raises:
        ValueError: the environment holds another version than is pinned.
    """
    needs = needed()
    refs = {plain(c["name"]): c["bom-ref"] for c in document["components"] if plain(c["name"]) in needs}
    components = [_component(c, pins, digests) for c in document["components"] if plain(c["name"]) in refs]
    edges = [
        {"ref": ref, "dependsOn": sorted(refs[n] for n in needs[name] & refs.keys())} for name, ref in refs.items()
    ]
    roots = sorted(c["bom-ref"] for c in components if c["name"] in PACKAGES)
    licence = [{"license": {"id": "Apache-2.0", "acknowledgement": "declared"}}]
    top = {"type": "application", "name": "mirror", "bom-ref": "mirror", "version": version, "licenses": licence}
    return {
        **{key: value for key, value in document.items() if key not in ("components", "dependencies", "metadata")},
        "metadata": {**document["metadata"], "component": top},
        "components": sorted(components, key=lambda one: one["bom-ref"]),
        "dependencies": [{"ref": "mirror", "dependsOn": roots}, *sorted(edges, key=lambda one: one["ref"])],
    }


def _component(component: Mapping[str, Any], pins: Mapping[str, str], digests: Mapping[str, str]) -> dict[str, Any]:
    name, version = plain(component["name"]), component["version"]
    if name not in PACKAGES and pins.get(name) != version:
        raise ValueError(f"{name} is pinned to {pins.get(name)} and installed as {version}: run `make setup`")
    links = [one for one in component.get("externalReferences", []) if not one["url"].startswith("file:")]
    made = {**component, "purl": f"pkg:pypi/{name}@{version}", "externalReferences": links}
    if name in digests:
        made["hashes"] = [{"alg": "SHA-256", "content": digests[name]}]
    licences = component.get("licenses") or stated_licence(name)
    return made | ({"licenses": licences} if licences else {})


def stated_licence(name: str) -> list[dict[str, Any]]:
    """What a package's own metadata say, where cyclonedx-py makes nothing of it; empty if they say nothing."""
    try:
        found = metadata(name)
    except PackageNotFoundError:
        return []
    classifiers = [c.rpartition(" :: ")[2] for c in found.get_all("Classifier", []) if c.startswith("License ::")]
    words = (found.get("License") or "").strip() or ", ".join(classifiers)
    name = words.splitlines()[0][:_LONGEST] if words else ""
    return [{"license": {"name": name, "acknowledgement": "declared"}}] if name else []


def locked_digests(lock: Path) -> dict[str, str]:
    """SHA-256 of each package's wheel for this machine, or of its source if there is none; empty for a short lock."""
    found = {}
    fits = {tag: place for place, tag in enumerate(sys_tags())}  # the best first
    for package in tomllib.loads(lock.read_text()).get("package", []):
        ranked = [(_place(wheel["url"], fits), wheel) for wheel in package.get("wheels", [])]
        fitting = [(place, wheel) for place, wheel in ranked if place is not None]
        chosen = min(fitting, key=lambda one: one[0])[1] if fitting else package.get("sdist", {})
        algorithm, _, digest = chosen.get("hash", "").partition(":")
        if algorithm == "sha256":
            found[package["name"]] = digest
    return found


def _place(url: str, fits: Mapping[Tag, int]) -> int | None:
    """How well a wheel fits this machine, 0 best; None if it does not."""
    tags = parse_wheel_filename(url.rpartition("/")[2])[3]
    return min((fits[tag] for tag in tags if tag in fits), default=None)


def pinned(lines: Sequence[str]) -> dict[str, str]:
    """Name to version of ``name==version ; marker``."""
    return dict(line.partition(" ;")[0].strip().split("==") for line in lines)


def main(uv: str, out: str) -> int:
    if shutil.which(uv) is None:
        print(f"{uv} is not there: run `make setup`", file=sys.stderr)
        return 69
    words = [uv, "tool", "run", "--from", TOOL]
    asked = [*words, "cyclonedx-py", "environment", "--sv", "1.6", "--of", "JSON", "--output-reproducible", "-o", "-"]
    done = subprocess.run([*asked, sys.executable], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        print(f"{TOOL} could not be had or failed:\n{done.stderr.strip()}", file=sys.stderr)
        return 69
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    pins = pinned(project["tool"]["uv"]["constraint-dependencies"])
    try:
        made = assemble(json.loads(done.stdout), pins, locked_digests(ROOT / "uv.lock"), project["project"]["version"])
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    text = json.dumps(made, indent=1, sort_keys=True) + "\n"
    valid = subprocess.run([*words, "python", "-c", VALIDATE], input=text, capture_output=True, text=True, check=False)
    if valid.returncode != 0:
        print(valid.stderr.strip(), file=sys.stderr)
        return 1
    Path(out).write_text(text, encoding="utf-8")
    silent = [c["name"] for c in made["components"] if not c.get("licenses")]
    hashed = sum("hashes" in one for one in made["components"])
    print(f"{out}: {len(made['components'])} components, {hashed} with hashes, valid CycloneDX 1.6")
    print(f"no licence is stated by: {', '.join(silent) or 'none'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
