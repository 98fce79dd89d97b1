"""The documents as data: their blocks, and the commands in them. For the tests that check and run them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
DOCUMENTS = {
    str(path.relative_to(ROOT)): path
    for path in (
        *(ROOT / name for name in ("README.md", "README.zh-CN.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")),
        *sorted((ROOT / "docs").rglob("*.md")),
        *sorted((ROOT / "examples").rglob("*.md")),
    )
}
COMMANDS = ("", "sh")
"""Languages of blocks with commands; a block without a language has commands, too."""
LANGUAGES = ("json", "python", "text", "toml", "yaml")
"""The languages of other blocks; an output is ``text``."""
LAUNCHERS = ("torchrun", "accelerate", "srun")


@dataclass(frozen=True)
class Block:
    document: str
    line: int
    language: str
    title: str
    text: str


def blocks(document: str) -> list[Block]:
    result: list[Block] = []
    lines: list[str] = []
    start, info = 0, ""
    for number, line in enumerate(DOCUMENTS[document].read_text().splitlines(), 1):
        if line.lstrip().startswith("```"):
            if not start:
                start, info, lines = number, line.strip().removeprefix("```"), []
            else:
                title = re.search(r'title="(.+?)"', info)
                language = info.split()[0] if info else ""
                result.append(Block(document, start, language, title[1] if title else "", "\n".join(lines) + "\n"))
                start = 0
        else:
            lines.append(line)
    assert not start, f"{document}:{start}: the block has no end"
    return result


def commands(block: Block) -> Iterator[list[str]]:
    """The simple commands of a block, each as its words: comments, loops, pipes and variables are taken apart."""
    variables: dict[str, str] = {}
    unfinished = ""
    for line in block.text.replace("\\\n", " ").splitlines():
        unfinished += re.sub(r"\$\{?(\w+)\}?", lambda match: variables.get(match[1], "0"), line) + "\n"
        tokens = _tokens(unfinished)
        if tokens is None:  # a text over several lines
            continue
        unfinished = ""
        words: list[str] = []
        for token in (*tokens, ";"):
            if token and set(token) <= set("();|&"):
                yield from _simple(words, variables)
                words = []
            else:
                words.append(token)
    assert not unfinished, f"{block.document}:{block.line}: {unfinished}"


def _tokens(line: str) -> list[str] | None:
    """Words and operators of the shell; None if a quote is still open."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    try:
        return list(lexer)
    except ValueError:
        return None


def _simple(words: list[str], variables: dict[str, str]) -> Iterator[list[str]]:
    while words and (words[0] in ("do", "done") or re.match(r"\w+=", words[0])):
        name, equals, value = words[0].partition("=")
        if equals:
            variables[name] = value
        words = words[1:]
    if words[:1] == ["for"]:
        variables[words[1]] = words[3]
    elif words:
        yield words[: words.index(">")] if ">" in words else words


def own_arguments(words: list[str]) -> list[str] | None:
    """The arguments of adapter-tune in a command, also behind a launcher; None for another program."""
    program = words[0].rpartition("/")[2]
    if program == "adapter-tune":
        return words[1:]
    if program in LAUNCHERS:
        return words[words.index("adapter_tune") + 1 :]
    return None


PAIRS = [("A man plays the guitar.", "A man plays music."), ("The potter toiled.", "The potter slept.")] * 6
"""Rows of two texts."""


def write_files(folder: Path, document: str) -> None:
    """The files that documents name, with rows of the kind that they describe, and the YAML files that they show."""
    rows = [f'"The film number {i} is {"good" if i % 2 else "bad"}.",{"yes" if i % 2 else "no"}' for i in range(40)]
    (folder / "messages.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    (folder / "reviews.csv").write_text("\n".join(["body,label", *rows]) + "\n")
    (folder / "pairs.tsv").write_text("".join(f"{i}\t{one}\t{two}\n" for i, (one, two) in enumerate(PAIRS)))
    for name in ("my.yaml", "big.yaml"):
        (folder / name).write_text("task: rte\nmodel: demo\ndata: {source: demo}\n")
    for block in blocks(document):
        if block.title:
            short = "set: {training.max_steps: 1, data.max_train_samples: 64, data.max_eval_samples: 32}\n"
            own = short if "parameters:" in block.text and "set:" not in block.text else ""
            (folder / block.title).write_text(own + block.text)
