"""Which columns of the user's own rows hold texts and labels: named by the user, or guessed by their usual names."""

from __future__ import annotations

import logging

from adapter_tune.config.schema import DataConfig
from adapter_tune.data.labels import label_columns
from adapter_tune.foundation.errors import UsageError, unknown_name

log = logging.getLogger("adapter_tune")

TEXT_NAMES = [
    "text",
    "sentence",
    "sentence1",
    "premise",
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

PAIR_NAMES = {
    "sentence1": "sentence2",
    "premise": "hypothesis",
    "question1": "question2",
    "question": "sentence",
    "text": "text_pair",
    "text1": "text2",
    "query": "passage",
}
"""The usual name of the second text column for a name of the first."""

LABEL_NAMES = ["label", "labels", "class", "category", "target", "intent", "sentiment", "topic", "score", "rating", "y"]
"""Usual names of the label column, the most usual first."""

_OPTIONS = ("text_column", "text_pair_column", "label_column")


def resolve_columns(data: DataConfig, columns: list[str], source: str) -> DataConfig:
    """The configuration with all its columns; columns that the user did not name are guessed, and logged.

    Args:
        data: the user's configuration.
        columns: the columns of the training rows.
        source: the name of the file or data set, for messages.

    Raises:
        UsageError: a column does not exist, cannot be guessed, or is used for two things.
    """
    _check_exist(data, columns, source)
    resolved = _guess(data, columns)
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
    return resolved_data


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


def _guess(data: DataConfig, columns: list[str]) -> dict[str, str | None]:
    """The columns by option: the user's own, and columns with usual names for the others; None if there is none."""
    by_lower_case = {column.lower(): column for column in reversed(columns)}
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
    for name in TEXT_NAMES:
        column = by_lower_case.get(name)
        if column in unused:
            return column
    return unused[0] if len(unused) == 1 else None


def _guess_pair(text: str | None, unused: list[str], by_lower_case: dict[str, str]) -> str | None:
    pair_name = PAIR_NAMES.get((text or "").lower())
    column = None if pair_name is None else by_lower_case.get(pair_name)
    return column if column in unused else None


def _flag(option: str) -> str:
    return f"--{option.replace('_', '-')}"
