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


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cohort")
    assert run(folder, "mirror-data demo . --patients 24").returncode == 0
    return folder


@pytest.mark.long
@pytest.mark.timeout(900)
def test_every_command_of_the_readme_runs(cohort: Path):
    for command in COMMANDS:
        done = run(cohort, command)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
    page = (cohort / "report.html").read_text()
    assert "<table" in page
    assert "Kaplan-Meier" in page


@pytest.mark.long
@pytest.mark.timeout(900)
def test_the_tour_runs_call_by_call(cohort: Path):
    code = "".join(re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "tour.md").read_text(), re.DOTALL))
    guarded = "if __name__ == '__main__':\n" + "".join(f"    {line}\n" for line in code.splitlines())
    (cohort / "tour.py").write_text(guarded)
    done = run(cohort, "python tour.py")
    assert done.returncode == 0, done.stderr
    assert "0.5 openslide.mpp" in done.stdout
    assert (cohort / "tour.html").stat().st_size > 100_000


def test_every_file_the_readme_points_to_is_there():
    links = re.findall(r"\]\(([^)#]+)\)", README) + re.findall(r"`(recipes/[\w./]+)", README)
    for link in links:
        assert (ROOT / link).exists(), link


@pytest.mark.parametrize("target", ["demo", "test"])
def test_the_readme_names_targets_that_make_knows(target):
    assert f"make {target}" in README
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
