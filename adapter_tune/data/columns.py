"""Which columns of the user's own rows hold texts and labels: named ones, or guessed by their usual names."""

from __future__ import annotations

import logging

from adapter_tune.config.schema import DataConfig
from adapter_tune.data.labels import label_columns
from adapter_tune.foundation.errors import UsageError, unknown_name

log = logging.getLogger("adapter_tune")

TEXT = ("text", "sentence", "sentence1", "premise", "question1", "question", "review", "content", "body", "message",
        "comment", "title", "utterance", "tweet", "query")  # fmt: skip
PAIRS = {"sentence1": "sentence2", "premise": "hypothesis", "question1": "question2", "question": "sentence",
         "text": "text_pair", "text1": "text2", "query": "passage"}  # fmt: skip
LABEL = ("label", "labels", "class", "category", "target", "intent", "sentiment", "topic", "score", "rating", "y")


def with_columns(data: DataConfig, there: list[str], where: str) -> DataConfig:
    """The configuration with its columns, named or guessed; what was guessed is said.

    Args:
        data: as the user gave it.
        there: the columns of the training rows.
        where: the rows are from, for messages.

    Raises:
        UsageError: a column is not there, cannot be guessed, or is taken for two things.
    """
    wanted = {"text_column": data.text_column, "text_pair_column": data.text_pair_column,
              "label_column": data.label_column}  # fmt: skip
    for option, name in wanted.items():
        named = [] if name is None else label_columns(data) if option == "label_column" else [name]
        if strange := next((each for each in named if each not in there), None):
            if option == "label_column" and set(strange.split(",")) <= set(there):
                raise UsageError(f"--label-column: '{strange}' is several columns, which go with --problem multi_label")
            raise UsageError(f"{_flag(option)}: {where}: {unknown_name('column', strange, there)}")
    found = _guessed(data, there)
    for option, name in found.items():
        if name is None and option != "text_pair_column":
            flag = _flag(option)
            raise UsageError(f"{where}: name the column with {flag}; it has {', '.join(there)}")
    _check_apart(data.model_copy(update=found), where)
    guessed = [f"{option.replace('_', ' ')} '{name}'" for option, name in found.items() if name != wanted[option]]
    if guessed:
        log.info("%s: %s (guessed; --text-column, --text-pair-column, --label-column say otherwise)",
                 where, ", ".join(guessed))  # fmt: skip
    return data.model_copy(update=found)


def _guessed(data: DataConfig, there: list[str]) -> dict[str, str | None]:
    """The columns by option: named ones as they are, usual names among the rest for the others."""
    lower = {name.lower(): name for name in reversed(there)}
    texts = (data.text_column, data.text_pair_column)
    label = data.label_column or next((lower[n] for n in LABEL if n in lower and lower[n] not in texts), None)
    taken = [*label_columns(data.model_copy(update={"label_column": label})), data.text_pair_column]
    free = [name for name in there if name not in taken]
    guess = next((lower[n] for n in TEXT if lower.get(n) in free), free[0] if len(free) == 1 else None)
    found = {"text_column": data.text_column or guess, "text_pair_column": data.text_pair_column, "label_column": label}
    pair = PAIRS.get((guess or "").lower())
    if texts == (None, None) and pair in lower and lower[pair] in free:
        found["text_pair_column"] = lower[pair]
    return found


def _check_apart(data: DataConfig, where: str) -> None:
    """No column is taken for two things."""
    used = [(_flag("text_column"), data.text_column), (_flag("text_pair_column"), data.text_pair_column)]
    used += [(_flag("label_column"), name) for name in label_columns(data)]
    seen: dict[str | None, str] = {}
    for flag, name in used:
        if name is not None and name in seen:
            both = f"{seen[name]} and {flag} both" if flag != seen[name] else f"{flag} twice"
            raise UsageError(f"{where}: column '{name}' is taken by {both}; name another one")
        seen[name] = flag


def _flag(option: str) -> str:
    return f"--{option.replace('_', '-')}"
