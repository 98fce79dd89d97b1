"""Files of the repository outside of ``docs/`` that documents link to, as pages of the site.

On a forge, a document may link to any file of the repository. The site has only what is in ``docs/``, so each Markdown
file that is linked becomes a page, and each text file a page that shows it. Links are changed accordingly.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = "docs/"
FOLDER = "repository/"
"""The folder of the site with these pages."""

_FENCE = re.compile(r"^ {0,3}(```|~~~)")
_LINK = re.compile(r"(?<=\]\()([^)\s]+)(?=\))")
_FILE_LINK = re.compile(r"\[(?:docs/)?([\w/-]+\.md)\]\(([^)\s]+)\)")
"""A link whose text is the name of the file; on the site it has the title."""
_SHOWN = {".py": "python", ".yaml": "yaml", ".toml": "toml", ".csv": "text", ".sh": "sh"}


def outside_pages(documents: Iterable[str]) -> dict[str, str]:
    """Return the Markdown of every page for a file outside of ``docs/``, by its place in the site.

    Args:
        documents: paths in the repository of the Markdown files in ``docs/``, and of others that are pages.
    """
    pages: dict[str, str] = {}
    waiting = list(documents)
    read = set()
    while waiting:
        path = waiting.pop()
        if path in read:
            continue
        read.add(path)
        text = (ROOT / path).read_text()
        if not path.startswith(DOCS):
            pages[place(path)] = text
        for link in _links(text):
            target = _target(path, link)
            if target is None or target.startswith(DOCS) or not (ROOT / target).is_file():
                continue
            if target.endswith(".md"):
                waiting.append(target)
            elif Path(target).suffix in _SHOWN:
                language = _SHOWN[Path(target).suffix]
                pages[place(target)] = f"# `{target}`\n\n```{language}\n{(ROOT / target).read_text()}```\n"
    return pages


def place(path: str) -> str:
    """Return where a file of the repository is in the site, as the source of a page."""
    if path.startswith(DOCS):
        return path.removeprefix(DOCS)
    return FOLDER + (path if path.endswith(".md") else f"{path}.md")


def source(place_in_site: str) -> str:
    """Return the path in the repository of a page; the opposite of ``place``."""
    if not place_in_site.startswith(FOLDER):
        return DOCS + place_in_site
    path = place_in_site.removeprefix(FOLDER)
    return path if (ROOT / path).is_file() else path.removesuffix(".md")


def with_links_of_the_site(text: str, place_in_site: str) -> str:
    """Return a page's Markdown with its relative links changed to places in the site.

    A link to a file that the site does not have, such as a folder or a notebook, becomes its text. A link to a file
    that does not exist stays, so that the strict build fails. A link whose text is a file's name gets the title.
    """
    own = source(place_in_site)

    def change(match: re.Match[str]) -> str:
        target = _target(own, match[1])
        if target is None or not (ROOT / target).exists():
            return match[1]
        if not _is_in_site(target):
            return ""
        anchor = match[1].partition("#")[2]
        relative = posixpath.relpath(place(target), posixpath.dirname(place_in_site))
        return relative + (f"#{anchor}" if anchor else "")

    def titled(match: re.Match[str]) -> str:
        target = _target(own, match[2])
        return f"[{_title(target)}]({match[2]})" if target and (ROOT / target).is_file() else match[0]

    named = _outside_fences(text, lambda line: _FILE_LINK.sub(titled, line))
    changed = _outside_fences(named, lambda line: _LINK.sub(change, line))
    return re.sub(r"(?<!!)\[([^\]]*)\]\(\)", r"\1", changed)


def _title(path: str) -> str:
    """Return the title of a document, without marks of code."""
    match = re.search(r"^# (.+)$", (ROOT / path).read_text(), re.MULTILINE)
    return match[1].replace("`", "") if match else path


def _is_in_site(target: str) -> bool:
    suffix = Path(target).suffix
    if target.startswith(DOCS):
        return (ROOT / target).is_file()
    return suffix == ".md" or (suffix in _SHOWN and (ROOT / target).is_file())


def _target(own: str, link: str) -> str | None:
    """Return the path in the repository that a relative link leads to, or None for every other link."""
    path = link.partition("#")[0]
    if not path or "://" in path or path.startswith(("/", "mailto:", "<")):
        return None
    return posixpath.normpath(posixpath.join(posixpath.dirname(own), path))


def _links(text: str) -> list[str]:
    links: list[str] = []

    def collect(line: str) -> str:
        links.extend(_LINK.findall(line))
        return line

    _outside_fences(text, collect)
    return links


def _outside_fences(text: str, change: Callable[[str], str]) -> str:
    """Return a text with a function applied to its lines outside of fenced blocks."""
    lines = text.splitlines(keepends=True)
    fence = ""
    for number, line in enumerate(lines):
        mark = _FENCE.match(line)
        if mark and (not fence or mark[1] == fence):
            fence = "" if fence else mark[1]
        elif not fence:
            lines[number] = change(line)
    return "".join(lines)
