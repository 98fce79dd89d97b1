"""Check that a tag, the version, the citation and the changelog agree, and print the changelog's section.

python scripts/check_release.py v0.1.0
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def release_notes(root: Path, tag: str) -> str:
    """The section of the changelog for a tag such as ``v0.1.0``.

    Raises:
        ValueError: a file names another version, or the changelog has no section for it.
    """
    version = tag.removeprefix("v")
    sources = {
        "adapter_tune/__init__.py": r'^__version__ = "(.+)"$',
        "CITATION.cff": r"^version: (.+)$",
    }
    for name, pattern in sources.items():
        match = re.search(pattern, (root / name).read_text(encoding="utf-8"), re.MULTILINE)
        if match is None or match[1] != version:
            raise ValueError(f"{name}: the version is {match and match[1]}, the tag is {tag}; set it to {version}")
    changelog = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    section = re.search(rf"^## {re.escape(version)} - \d{{4}}-\d\d-\d\d\n(.*?)(?=^## |\Z)", changelog, re.M | re.S)
    if section is None or not section[1].strip():
        raise ValueError(f"CHANGELOG.md: no section '## {version} - YYYY-MM-DD'; rename Unreleased")
    return section[1].strip() + "\n"


if __name__ == "__main__":
    try:
        print(release_notes(ROOT, sys.argv[1]), end="")
    except (IndexError, ValueError) as error:
        sys.exit(f"error: {error if isinstance(error, ValueError) else 'give the tag, as in v0.1.0'}")
