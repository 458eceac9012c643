"""The committed lock names versions only; every resolved package is pinned."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def committed(name: str) -> str:
    shown = subprocess.run(["git", "show", f"HEAD:{name}"], cwd=ROOT, capture_output=True, text=True, check=False)
    if shown.returncode:
        pytest.skip("not a git checkout")
    return shown.stdout


def test_committed_lock_is_header_and_manifest_only():
    text = committed("uv.lock")
    lock = tomllib.loads(text)
    assert "package" not in lock
    assert "://" not in text
    assert lock["manifest"]["members"] == ["mirror-data", "mirror-eval", "mirror-model", "mirror-workspace"]


def test_constraints_of_lock_and_project_are_the_same_exact_pins():
    lock = tomllib.loads(committed("uv.lock"))["manifest"]["constraints"]
    project = tomllib.loads(committed("pyproject.toml"))["tool"]["uv"]["constraint-dependencies"]
    assert sorted(f"{c['name']}{c['specifier']}" for c in lock) == sorted(pin.split(" ;")[0] for pin in project)
    assert all("==" in pin for pin in project)


def test_every_package_uv_resolved_here_is_pinned():
    resolved = tomllib.loads((ROOT / "uv.lock").read_text()).get("package")
    if not resolved:
        pytest.skip("uv has not completed uv.lock here")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]["constraint-dependencies"]
    pins = {pin.split(" ;")[0] for pin in project}
    found = {f"{p['name']}=={p['version']}" for p in resolved if "registry" in p["source"]}
    assert found == pins
