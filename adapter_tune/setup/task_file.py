"""The YAML file that ``init`` writes: each value with its reason in a comment, and paths that work from the file."""

from __future__ import annotations

import io
import os
import shlex
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from adapter_tune import __version__
from adapter_tune.config.relative_paths import FILES, FOLDERS_OR_NAMES
from adapter_tune.config.shipped import SCHEMA_COMMENT, schema_file
from adapter_tune.demo.location import DEMO
from adapter_tune.foundation import atomic_files
from adapter_tune.foundation.errors import UsageError
from adapter_tune.setup.choices import Choice, nested

_WIDTH = 110
_ORDER = ("task", "model", "strategy", "data", "training")
_HEAD = """{about}
Written by adapter-tune {version} init; change what you like. Run it with: {train}
A relative path is read from the current directory or, if nothing is there, from the folder of this file.
All options: adapter-tune config show default"""


def check_target(file: Path, force: bool) -> None:
    """Refuse a file that cannot be written, or that exists.

    Raises:
        UsageError: it is a folder, its folder does not exist, or it exists and ``force`` is not set.
    """
    if file.is_dir():
        raise UsageError(f"{file} is a folder; give the path of a file in it, such as {file / 'task.yaml'}")
    if not file.parent.is_dir():
        raise UsageError(f"{file}: there is no folder {file.parent}; create it, or give another path with --output")
    if file.suffix not in (".yaml", ".yml"):
        raise UsageError(f"{file}: give a path that ends with .yaml")
    if file.exists() and not force:
        raise UsageError(f"{file} exists; give another path with --output, or --force to replace it")


def next_commands(file: Path, splits: Sequence[str]) -> list[str]:
    """The commands that train, evaluate and predict, quoted for a shell.

    Args:
        file: the configuration.
        splits: the names of the splits; the training split first.
    """
    predictions = unused_path(Path("predictions.csv"))
    commands = [
        ["train", str(file)],
        ["eval"],
        ["predict", "--split", splits[1], "--output", str(predictions)],
    ]
    return [shlex.join(["adapter-tune", *words]) for words in commands]


def unused_path(path: Path) -> Path:
    """The path, with a number if it exists already."""
    candidates = (path.with_stem(f"{path.stem}-{number}") for number in count(2))
    return path if not path.exists() else next(each for each in candidates if not each.exists())


def write_task_file(file: Path, about: str, choices: Sequence[Choice]) -> None:
    """Write a configuration with comments, completely or not at all.

    Args:
        file: the YAML file; an existing one is replaced.
        about: what the data are, in one line.
        choices: the values and their reasons.
    """
    atomic_files.write_text(file, task_text(file, about, choices))


def task_text(file: Path, about: str, choices: Sequence[Choice]) -> str:
    """The text of the file; the arguments are those of ``write_task_file``."""
    train = shlex.join(["adapter-tune", "train", str(file)])
    head = _HEAD.format(about=about, version=__version__, train=train)
    lines = [f"{SCHEMA_COMMENT}{schema_file().resolve().as_posix()}"]
    for line in head.splitlines():
        lines += _comment(line, "")
    tree = nested({choice.path: _with_path_of(file, choice) for choice in choices})
    for name in sorted(tree, key=_ORDER.index):
        lines += ["", *_lines(name, tree[name], "")]
    return "\n".join(lines) + "\n"


def _lines(key: str, value: Any, indent: str) -> list[str]:
    """The lines of an option or a section, with the reason above each value."""
    if isinstance(value, Choice):
        comment = _comment(value.reason, indent) if value.reason else []
        return [*comment, f"{indent}{key}: {_scalar(value.value)}"]
    lines = [f"{indent}{key}:"]
    plain = sorted(value, key=lambda name: isinstance(value[name], dict))
    for name in plain:
        lines += _lines(name, value[name], f"{indent}  ")
    return lines


def _comment(text: str, indent: str) -> list[str]:
    """A comment of lines that are not too long; a line end in the text cannot leave it."""
    words = "".join(letter if letter.isprintable() else "?" for letter in " ".join(text.split()))
    start = f"{indent}# "
    return textwrap.wrap(
        words, _WIDTH, initial_indent=start, subsequent_indent=start, break_long_words=False, break_on_hyphens=False
    )


def _scalar(value: Any) -> str:
    """A value as YAML writes it, quoted where it needs that."""
    stream = io.StringIO()
    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = True
    writer.width = 10**6
    writer.dump([value], stream)
    return stream.getvalue().strip().removeprefix("[").removesuffix("]")


def _with_path_of(file: Path, choice: Choice) -> Choice:
    """The choice with a path that leads to the same place from the current directory and from the file's folder."""
    path = Path(str(choice.value))
    is_folder_or_name = choice.path in FOLDERS_OR_NAMES and choice.value != DEMO
    if not path.exists() or path.is_absolute() or not (is_folder_or_name or choice.path in FILES):
        return choice
    start = "./" if is_folder_or_name else ""
    folder = file.parent.resolve()
    if folder == Path.cwd():
        return replace(choice, value=f"{'' if choice.value.startswith('.') else start}{choice.value}")
    beside = Path(os.path.relpath(path.resolve(), folder))
    if beside.parts[0] == ".." or (beside.exists() and not beside.samefile(path)):
        return replace(choice, value=str(path.resolve()))
    return replace(choice, value=f"{start}{beside.as_posix()}")
