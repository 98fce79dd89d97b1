"""Releases, workflows and templates: they name what exists, and version, citation and changelog agree."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from adapter_tune import __version__

ROOT = Path(__file__).parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TEMPLATES = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))


def read(path: Path) -> Any:
    return YAML(typ="safe", pure=True).load(path.read_text())


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_runs_what_exists(workflow: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    steps = [step for job in read(workflow)["jobs"].values() for step in job["steps"]]
    commands = " ".join(step.get("run", "") for step in steps)
    named = set(re.findall(r"make ([a-z-]+)", commands))
    assert named
    assert named <= targets
    for script in re.findall(r"scripts/\S+", commands):
        assert (ROOT / script).is_file()


def test_every_supported_python_is_tested() -> None:
    matrix = read(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]["test"]["strategy"]["matrix"]["python"]
    assert matrix == ["3.10", "3.11", "3.12", "3.13"]
    assert f'requires-python = ">={matrix[0]}"' in (ROOT / "pyproject.toml").read_text()


@pytest.mark.parametrize("template", [path for path in TEMPLATES if path.stem != "config"], ids=lambda path: path.stem)
def test_a_template_has_fields_with_labels(template: Path) -> None:
    form = read(template)
    assert form["name"]
    assert form["description"]
    assert all(field["attributes"]["label"] for field in form["body"])


def test_links_in_the_contributors_guide_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)", (ROOT / "CONTRIBUTING.md").read_text())
    assert len(links) > 5
    assert all((ROOT / link).exists() for link in links)


def test_the_citation_has_the_version() -> None:
    assert str(read(ROOT / "CITATION.cff")["version"]) == __version__


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A copy of the files that a release is checked by, ready to be released."""
    for name in ("scripts/check_release.py", "adapter_tune/__init__.py", "CITATION.cff"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    head = "# Changelog\n\n## Unreleased\n\n"
    older = "## 0.0.1 - 2025-01-01\n\n- Old.\n"
    (tmp_path / "CHANGELOG.md").write_text(f"{head}## {__version__} - 2026-01-31\n\n### Added\n\n- New.\n\n{older}")
    return tmp_path


def check(folder: Path, *words: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "scripts/check_release.py", *words], cwd=folder, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_the_notes_of_a_release_are_its_section_of_the_changelog(release: Path) -> None:
    assert check(release, f"v{__version__}") == (0, "### Added\n\n- New.\n")


def test_a_release_with_another_version_is_refused(release: Path) -> None:
    code, output = check(release, "v9.0.0")
    assert code == 1
    assert f"adapter_tune/__init__.py: the version is {__version__}, the tag is v9.0.0; set it to 9.0.0" in output
    (release / "CITATION.cff").write_text("version: 8.0\n")
    code, output = check(release, f"v{__version__}")
    assert code == 1
    assert "CITATION.cff: the version is 8.0" in output


def test_a_release_without_a_section_is_refused(release: Path) -> None:
    (release / "CHANGELOG.md").write_text("# Changelog\n\n## Unreleased\n\n- New.\n")
    code, output = check(release, f"v{__version__}")
    assert code == 1
    assert f"CHANGELOG.md: no section '## {__version__} - YYYY-MM-DD'; rename Unreleased" in output
    (release / "CHANGELOG.md").write_text(
        f"# Changelog\n\n## {__version__} - 2026-01-31\n\n## 0.0.1 - 2025-01-01\n\n- Old.\n"
    )
    assert check(release, f"v{__version__}")[0] == 1
    assert check(release) == (1, "error: give the tag, as in v0.1.0\n")
