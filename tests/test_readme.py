"""The Chinese README says the same as the English one, as far as its structure shows."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.documents import DOCUMENTS, blocks

ENGLISH = "README.md"
CHINESE = "README.zh-CN.md"


def headings(name: str) -> list[int]:
    """The level of every heading."""
    return [len(line.split()[0]) for line in prose(name).splitlines() if re.match("#+ ", line)]


def prose(name: str) -> str:
    """The text without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", DOCUMENTS[name].read_text(), flags=re.M | re.S)


def code(name: str) -> list[tuple[str, list[str]]]:
    """The language of every block, and its lines without comments."""
    return [(b.language, [line.partition("#")[0].rstrip() for line in b.text.splitlines()]) for b in blocks(name)]


def comments(name: str) -> list[list[bool]]:
    """Of every block: which lines have a comment."""
    return [["#" in line for line in block.text.splitlines()] for block in blocks(name)]


def links(name: str) -> list[str]:
    """The targets of links and pictures; those to the other language aside."""
    return [link for link in re.findall(r"\]\(([^)]+)\)", prose(name)) if link not in (ENGLISH, CHINESE)]


def tables(name: str) -> list[list[str]]:
    """The numbers in every row of the tables."""
    return [re.findall(r"\d[\d.,]*", line) for line in prose(name).splitlines() if line.startswith("|")]


def names(name: str) -> list[str]:
    """Numbers and code in the prose, in any order, since the two languages order a sentence differently."""
    return sorted(re.findall(r"`[^`]+`|\d+(?:[.,]\d+)*", re.sub(r"\]\([^)]+\)", "", prose(name))))


def items(name: str) -> int:
    """The number of items in lists."""
    return len(re.findall(r"^- ", prose(name), re.M))


@pytest.mark.parametrize("part", [headings, code, comments, links, tables, names, items])
def test_both_languages_have_the_same(part: Callable[[str], object]) -> None:
    assert part(CHINESE) == part(ENGLISH)


def test_each_links_to_the_other() -> None:
    assert f"]({CHINESE})" in prose(ENGLISH)
    assert f"]({ENGLISH})" in prose(CHINESE)
