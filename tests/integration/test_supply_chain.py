"""The audit of the pins never takes silence for good news; the SBOM names what the packages need and nothing else."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tomllib
import urllib.error
from pathlib import Path
from typing import Any

import pytest

from tools import audit, sbom

ROOT = Path(__file__).resolve().parents[2]
LINES = ["click==8.5.1", "jinja2==3.1.6"]
KNOWN = {"id": "PYSEC-1", "fix_versions": ["3.1.7"]}


def said_by(answer: str) -> str:
    """A program in uv's place that gives pip-audit's answer."""
    return f"#!{sys.executable}\nprint({answer!r})\n"


def found(*dependencies: dict[str, Any]) -> str:
    return json.dumps({"dependencies": list(dependencies), "fixes": []})


CLICK, JINJA = {"name": "click", "version": "8.5.1", "vulns": []}, {"name": "jinja2", "version": "3.1.6", "vulns": []}


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        (found(CLICK, JINJA), 0, "2 of 2 pinned versions looked up, 0 with a known vulnerability"),
        (found(CLICK, {**JINJA, "vulns": [KNOWN]}), 1, "jinja2 3.1.6: PYSEC-1, fixed in: 3.1.7"),
        (found(CLICK, {"name": "jinja2", "skip_reason": "not found"}), 69, "NOT AUDITED"),
        (found(CLICK), 69, "NOT AUDITED"),
        ("no JSON", 69, "NOT AUDITED"),
    ],
    ids=["none known", "one known", "one skipped", "one left out", "no answer"],
)
def test_what_pip_audit_says(
    answer: str, status: int, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uv = tmp_path / "uv"
    uv.write_text(said_by(answer))
    uv.chmod(0o755)
    assert audit.verdict(audit.look_up(str(uv), "osv", LINES), LINES) == status
    shown = capsys.readouterr()
    assert words in shown.out + shown.err


def test_no_source_is_no_audit(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def nowhere(*_: object, **__: object) -> object:
        raise urllib.error.URLError("no route")

    monkeypatch.setattr(audit.urllib.request, "urlopen", nowhere)
    assert audit.main("uv that is never run") == 69
    shown = capsys.readouterr().err
    assert f"NOT AUDITED: no source of advisories can be reached, {len(audit.pins())} pins unchecked" in shown
    assert "osv: " in shown
    assert "pypi: " in shown


def test_a_mirror_that_knows_no_advisories_is_no_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit.urllib.request, "urlopen", lambda *_, **__: io.BytesIO(b"{}"))
    source, reasons = audit.reachable()
    assert source is None
    assert reasons == [f"{name}: answers, but knows no vulnerability" for name in ("osv", "pypi")]
    monkeypatch.setattr(audit.urllib.request, "urlopen", lambda *_, **__: io.BytesIO(b'{"vulns": [{"id": "X"}]}'))
    assert audit.reachable() == ("osv", [])


def component(name: str, version: str, **more: object) -> dict[str, Any]:
    return {"bom-ref": f"{name}=={version}", "name": name, "version": version, "type": "library", **more}


DOCUMENT = {
    "bomFormat": "CycloneDX",
    "specVersion": "1.6",
    "metadata": {"tools": {}},
    "components": [
        component("mirror-data", "0.1.0", externalReferences=[{"type": "distribution", "url": "file:///somewhere"}]),
        component("Jinja2", "3.1.6"),
        component("MarkupSafe", "3.0.4", licenses=[{"license": {"id": "BSD-3-Clause"}}]),
        component("pytest", "9.2.0"),
    ],
    "dependencies": [
        {"ref": "mirror-data==0.1.0", "dependsOn": ["Jinja2==3.1.6"]},
        {"ref": "Jinja2==3.1.6", "dependsOn": ["MarkupSafe==3.0.4", "pytest==9.2.0"]},  # as of an extra
        {"ref": "pytest==9.2.0", "dependsOn": ["Jinja2==3.1.6"]},
    ],
}
PINS = {"jinja2": "3.1.6", "markupsafe": "3.0.4", "pytest": "9.2.0"}


def test_the_sbom_holds_what_is_needed_with_versions_licences_and_hashes() -> None:
    made = sbom.assemble(DOCUMENT, PINS, {"markupsafe": "ab" * 32}, "0.1.0")
    by_name = {one["name"]: one for one in made["components"]}
    assert set(by_name) == {"mirror-data", "Jinja2", "MarkupSafe"}
    assert by_name["Jinja2"]["purl"] == "pkg:pypi/jinja2@3.1.6"
    assert by_name["Jinja2"]["licenses"][0]["license"]["name"]  # from the metadata of what is installed
    assert by_name["MarkupSafe"]["hashes"] == [{"alg": "SHA-256", "content": "ab" * 32}]
    assert "hashes" not in by_name["Jinja2"]
    assert "file:" not in json.dumps(made)
    assert {one["ref"]: one["dependsOn"] for one in made["dependencies"]} == {
        "mirror": ["mirror-data==0.1.0"],
        "mirror-data==0.1.0": ["Jinja2==3.1.6"],
        "Jinja2==3.1.6": ["MarkupSafe==3.0.4"],
        "MarkupSafe==3.0.4": [],
    }
    assert made["metadata"]["component"]["name"] == "mirror"


def test_another_version_than_the_pinned_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"jinja2 is pinned to 3\.1\.5 and installed as 3\.1\.6"):
        sbom.assemble(DOCUMENT, {**PINS, "jinja2": "3.1.5"}, {}, "0.1.0")


def test_a_hash_is_that_of_the_file_which_fits_this_machine(tmp_path: Path) -> None:
    def file(name: str, digit: str) -> str:
        return f'{{ url = "https://h/a/{name}", hash = "sha256:{digit * 64}" }}'

    lock = tmp_path / "uv.lock"
    wheels = [file("x-1-cp27-cp27m-win32.whl", "1"), file("x-1-py3-none-any.whl", "2")]
    lock.write_text(
        f'[[package]]\nname = "x"\nsdist = {file("x-1.tar.gz", "3")}\nwheels = [{", ".join(wheels)}]\n'
        f'[[package]]\nname = "y"\nsdist = {file("y-1.tar.gz", "4")}\nwheels = [{wheels[0]}]\n'
        '[[package]]\nname = "mirror-data"\n'
    )
    assert sbom.locked_digests(lock) == {"x": "2" * 64, "y": "4" * 64}
    lock.write_text("version = 1\n")
    assert sbom.locked_digests(lock) == {}


def test_the_tools_are_no_dependency_of_anything() -> None:
    names = set(
        sbom.pinned(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]["constraint-dependencies"])
    )
    assert not {"pip-audit", "cyclonedx-bom", "cyclonedx-python-lib"} & names


@pytest.mark.long
def test_the_sbom_of_this_environment(tmp_path: Path) -> None:
    """cyclonedx-py and its schema come through the registry; without it there is nothing to test."""
    uv = ROOT / ".tools" / "bin" / "uv"
    words = [sys.executable, ROOT / "tools" / "sbom.py", uv if uv.exists() else "uv", tmp_path / "sbom.json"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode == 69:
        pytest.skip(done.stderr.strip()[:200])
    assert done.returncode == 0, done.stderr
    made = json.loads((tmp_path / "sbom.json").read_text())
    names = {sbom.plain(one["name"]) for one in made["components"]}
    assert {"mirror-data", "mirror-eval", "mirror-model", "torch", "zarr", "openslide-bin"} <= names
    assert not {"pytest", "scikit-survival"} & names
    assert all(one["version"] and one["purl"].startswith("pkg:pypi/") for one in made["components"])
