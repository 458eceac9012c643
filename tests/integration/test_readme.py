"""Every command of the README runs, in order, in a folder that holds what `mirror-data demo` writes."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) for line in block.splitlines() if line]


def run(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    binaries = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}"}
    words = shlex.split(command)
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, env=environment, check=False)


def test_the_readme_has_the_pipeline_in_six_commands():
    first = README.split("```sh\n")[1].split("```")[0].strip().splitlines()
    assert len(first) == 6
    assert [line.split()[1] for line in first] == ["outcomes", "expression", "tile", "genes", "train", "report"]


@pytest.mark.timeout(900)
def test_every_command_of_the_readme_runs(tmp_path: Path):
    assert run(tmp_path, "mirror-data demo . --patients 24").returncode == 0
    for command in COMMANDS:
        done = run(tmp_path, command)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
    page = (tmp_path / "report.html").read_text()
    assert "<table" in page
    assert "Kaplan-Meier" in page


def test_every_file_the_readme_points_to_is_there():
    links = re.findall(r"\]\(([^)#]+)\)", README) + re.findall(r"`(recipes/[\w./]+)", README)
    for link in links:
        assert (ROOT / link).exists(), link


@pytest.mark.parametrize("target", ["demo", "test"])
def test_the_readme_names_targets_that_make_knows(target):
    assert f"make {target}" in README
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
