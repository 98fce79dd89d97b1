"""Which columns of the user's own rows hold texts and labels: named by the user, or guessed by their usual names."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from adapter_tune.config.schema import DataConfig
from adapter_tune.data.labels import label_columns
from adapter_tune.data.rows import Row
from adapter_tune.foundation.errors import UsageError, unknown_name

log = logging.getLogger("adapter_tune")

TEXT_NAMES = [
    "text",
    "text1",
    "text_a",
    "sentence",
    "sentence1",
    "sentence_a",
    "premise",
    "claim",
    "question1",
    "question",
    "review",
    "content",
    "body",
    "message",
    "comment",
    "title",
    "utterance",
    "tweet",
    "query",
]
"""Usual names of the text column, the most usual first."""

PAIR_NAMES: dict[str, tuple[str, ...]] = {
    "sentence1": ("sentence2",),
    "sentence_a": ("sentence_b",),
    "premise": ("hypothesis",),
    "claim": ("evidence",),
    "question1": ("question2",),
    "question": ("sentence", "answer", "context", "passage"),
    "text": ("text_pair", "context"),
    "text1": ("text2",),
    "text_a": ("text_b",),
    "query": ("passage", "document"),
    "title": ("body",),
}
"""The usual names of the second text column for a name of the first, the most usual first."""

LABEL_NAMES = ["label", "labels", "class", "category", "target", "intent", "sentiment", "topic", "score", "rating", "y"]
"""Usual names of the label column, the most usual first."""

_LOOKED_AT = 100  # rows that tell whether a column holds text
_OPTIONS = ("text_column", "text_pair_column", "label_column")


def resolve_columns(data: DataConfig, rows: Sequence[Row], source: str) -> DataConfig:
    """The configuration with all its columns; columns that the user did not name are guessed, and logged.

    Args:
        data: the user's configuration.
        rows: the training rows, at least one; the first one has all columns.
        source: the name of the file or data set, for messages.

    Raises:
        UsageError: a column does not exist, cannot be guessed, or is used for two things.
    """
    columns = list(rows[0])
    _check_exist(data, columns, source)
    resolved = usual_columns(data, columns)
    for option in ("text_column", "label_column"):
        if resolved[option] is None:
            what = option.replace("_", " ")
            raise UsageError(
                f"{source}: cannot guess the {what}; set it with {_flag(option)}; the columns are {', '.join(columns)}"
            )
    resolved_data = data.with_custom(**resolved)
    _check_distinct(resolved_data, source)
    guessed = [option for option in _OPTIONS if resolved[option] != getattr(data.custom, option)]
    if guessed:
        named = ", ".join(f"{option.replace('_', ' ')} '{resolved[option]}'" for option in guessed)
        log.info("%s: %s (guessed; change with %s)", source, named, ", ".join(map(_flag, _OPTIONS)))
    if data.custom.text_column is None:
        _log_unused_texts(resolved_data, rows[:_LOOKED_AT], source)
    return resolved_data


def _log_unused_texts(data: DataConfig, rows: Sequence[Row], source: str) -> None:
    used = {column for _, column in _named_columns(data)}
    unused = [f"'{column}'" for column in rows[0] if column not in used and _holds_text(column, rows)]
    if unused:
        fix = "--text-pair-column adds one" if data.custom.text_pair_column is None else "--text-pair-column changes it"
        log.warning("%s: columns that look like text but are not read: %s (%s)", source, ", ".join(unused), fix)


def _holds_text(column: str, rows: Sequence[Row]) -> bool:
    """Whether most values of a column are texts of two or more words."""
    texts = [row.get(column) for row in rows]
    words = [text for text in texts if isinstance(text, str) and len(text.split()) > 1]
    return 2 * len(words) > len(texts)


def _check_exist(data: DataConfig, columns: list[str], source: str) -> None:
    for option, column in _named_columns(data):
        if column in columns or not column:  # an empty name means: guess it
            continue
        if option == "label_column" and set(column.split(",")) <= set(columns):
            raise UsageError(f"--label-column: '{column}' is several columns, which need --problem multi_label")
        raise UsageError(f"{_flag(option)}: {source}: {unknown_name('column', column, columns)}")


def _check_distinct(data: DataConfig, source: str) -> None:
    option_by_column: dict[str, str] = {}
    for option, column in _named_columns(data):
        if column not in option_by_column:
            option_by_column[column] = option
            continue
        first_option = option_by_column[column]
        if option == first_option:
            use = f"used twice in {_flag(option)}"
        else:
            use = f"used for both {_flag(first_option)} and {_flag(option)}"
        raise UsageError(f"{source}: column '{column}' is {use}; choose another column")


def _named_columns(data: DataConfig) -> list[tuple[str, str]]:
    """Pairs of an option and a column that it names; an option without a value is left out."""
    named = [("text_column", data.custom.text_column), ("text_pair_column", data.custom.text_pair_column)]
    if data.custom.label_column is not None:
        named += [("label_column", column) for column in label_columns(data)]
    return [(option, column) for option, column in named if column is not None]


def usual_columns(data: DataConfig, columns: list[str]) -> dict[str, str | None]:
    """The columns by option: the user's own, and columns with usual names for the others; None if there is none."""
    by_lower_case = {column.strip().lower(): column for column in reversed(columns)}
    label = data.custom.label_column or _guess_label(data, by_lower_case)
    used = label_columns(data.with_custom(label_column=label))
    unused = [column for column in columns if column not in used and column != data.custom.text_pair_column]
    text = _guess_text(unused, by_lower_case)
    pair = data.custom.text_pair_column
    if data.custom.text_column is None and pair is None:
        pair = _guess_pair(text, unused, by_lower_case)
    return {"text_column": data.custom.text_column or text, "text_pair_column": pair, "label_column": label}


def _guess_label(data: DataConfig, by_lower_case: dict[str, str]) -> str | None:
    for name in LABEL_NAMES:
        column = by_lower_case.get(name)
        if column is not None and column not in (data.custom.text_column, data.custom.text_pair_column):
            return column
    return None


def _guess_text(unused: list[str], by_lower_case: dict[str, str]) -> str | None:
    """The first text of a usual pair if both are there, or the column with the most usual name, or the only one.

    A single usual name wins over a pair whose first text is less usual, as with text, title and body.
    """
    names = [name for name in TEXT_NAMES if by_lower_case.get(name) in unused]
    if not names:
        return unused[0] if len(unused) == 1 else None
    seconds = {second: first for first in reversed(names) for second in PAIR_NAMES.get(first, ())}
    return by_lower_case[seconds.get(names[0], names[0])]


def _guess_pair(text: str | None, unused: list[str], by_lower_case: dict[str, str]) -> str | None:
    for name in PAIR_NAMES.get((text or "").strip().lower(), ()):
        column = by_lower_case.get(name)
        if column in unused:
            return column
    return None


def _flag(option: str) -> str:
    return f"--{option.replace('_', '-')}"
