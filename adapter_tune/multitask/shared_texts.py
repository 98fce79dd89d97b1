"""What several runs read when they predict the same rows: one text or two, and from which columns."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from adapter_tune.data.input_file import InputColumns
from adapter_tune.data.row_files import located_rows
from adapter_tune.data.rows import Row
from adapter_tune.foundation.errors import UsageError
from adapter_tune.multitask.open_runs import task_names
from adapter_tune.run_files.adapter_files import read_adapter_config
from adapter_tune.runs.run_config import adapter_run_config
from adapter_tune.tasks.glue import Task

log = logging.getLogger("adapter_tune")

_NEUTRAL = ("text", "text_pair")
"""What texts are called where the tasks do not agree on a name."""


def tasks_of(folders: Sequence[Path]) -> dict[str, Task]:
    """The tasks of several runs by name; all read the same number of texts.

    Args:
        folders: the adapter folders.

    Raises:
        UsageError: some tasks read one text and others two, or a folder contains no adapter.
        RunError: an adapter's configuration is damaged.
    """
    tasks = {}
    for name, folder in task_names(folders).items():
        tasks[name] = adapter_run_config(folder, read_adapter_config(folder)).task_spec
    single = [name for name, task in tasks.items() if len(task.text) == 1]
    pairs = [name for name in tasks if name not in single]
    if single and pairs:
        raise UsageError(
            f"the runs read different numbers of texts: one ({', '.join(single)}), two ({', '.join(pairs)}); "
            "give only runs that read the same number"
        )
    return tasks


def text_names(tasks: Mapping[str, Task]) -> list[str]:
    """The names of the texts: those of the tasks if all have the same, or else ``text`` and ``text_pair``."""
    names = {task.text for task in tasks.values()}
    if len(names) == 1:
        return list(*names)
    return list(_NEUTRAL[: len(next(iter(names)))])


def text_row(tasks: Mapping[str, Task], texts: Sequence[str]) -> Row:
    """A text, or a pair, as a row with the names that ``text_names`` returns.

    Raises:
        UsageError: the tasks read another number of texts.
    """
    names = text_names(tasks)
    if len(texts) != len(names):
        needed = "--text and --text-pair" if len(names) == 2 else "--text alone"
        raise UsageError(f"the tasks read {' and '.join(names)}; give {needed}")
    return dict(zip(names, texts, strict=True))


def text_columns(tasks: Mapping[str, Task], source: str, columns: InputColumns) -> list[str]:
    """The columns of a file that the tasks read, or the names of the texts of standard input.

    Where the columns of the tasks differ, those of the one task whose columns the file has are taken.

    Args:
        tasks: the tasks by name, as ``tasks_of`` returns them.
        source: the file, or ``-``.
        columns: the columns that the user named.

    Raises:
        UsageError: the file does not exist, it has the columns of no task or of several, or a second column was named
            and the tasks read one text.
    """
    if source == "-":
        return text_names(tasks)
    chosen = _choose(tasks, source, columns)
    next(located_rows(source, chosen), None)  # refuses a missing column before a model is loaded
    return chosen


def _choose(tasks: Mapping[str, Task], source: str, columns: InputColumns) -> list[str]:
    choices: dict[tuple[str, ...], list[str]] = {}
    for name, task in tasks.items():
        choices.setdefault(tuple(columns.texts(task)), []).append(name)
    if len(choices) == 1:
        return list(*choices)
    _, first_row = next(located_rows(source, ()), ("", {}))
    fitting = [choice for choice in choices if first_row.keys() >= set(choice)]
    if len(fitting) != 1:
        raise UsageError(_choice_message(source, choices, bool(fitting), len(next(iter(choices)))))
    log.info("%s: all tasks read %s", source, " and ".join(fitting[0]))
    return list(fitting[0])


def _choice_message(source: str, choices: Mapping[tuple[str, ...], list[str]], has_several: bool, texts: int) -> str:
    described = "; ".join(f"{', '.join(names)}: {' and '.join(choice)}" for choice, names in choices.items())
    problem = "has several of them" if has_several else "has none of them"
    flags = "--text-column and --text-pair-column" if texts == 2 else "--text-column"
    return f"{source}: the tasks read different columns ({described}), and the file {problem}; say which with {flags}"
