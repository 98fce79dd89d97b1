"""Questions to a person at a terminal, at most five, each with a guess; where nobody answers, the guess is taken."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar, get_args

import typer

from adapter_tune.config.schema import CustomDataConfig, DataConfig
from adapter_tune.data.custom_rows import describe_source
from adapter_tune.data.rows import LocatedRow
from adapter_tune.data.typed_texts import check_characters, enable_line_editing
from adapter_tune.foundation.errors import AdapterTuneError, UsageError, unknown_name
from adapter_tune.setup.choices import Choice
from adapter_tune.setup.columns import (
    Column,
    Guess,
    check_header,
    describe_columns,
    guess_kind,
    guess_label,
    guess_texts,
)
from adapter_tune.setup.source import Options, subsets, with_subset
from adapter_tune.setup.task_file import check_target, unused_path
from adapter_tune.tasks.glue import CUSTOM

T = TypeVar("T")

MOST_QUESTIONS = 5
_ANSWERED = "your answer"
_KINDS = [kind for kind in get_args(CustomDataConfig.model_fields["problem"].annotation) if kind != "auto"]


class Interview:
    """Asks on the terminal, or takes the guesses.

    Args:
        asks: whether a person answers; otherwise every guess is taken.
    """

    def __init__(self, asks: bool) -> None:
        self._left = MOST_QUESTIONS if asks else 0
        self.has_asked = False
        if asks:
            enable_line_editing()

    @property
    def asks(self) -> bool:
        """Whether there are questions left."""
        return self._left > 0

    def answer(self, question: str, guess: str | None, use: Callable[[str], T]) -> T:
        """What is made of the answer. A wrong answer is reported and given again.

        Args:
            question: in a few words.
            guess: the answer of the Enter key alone; None if there is none.
            use: makes something of an answer.

        Raises:
            typer.Abort: the input ended, or was interrupted.
        """
        self._left -= 1
        self.has_asked = True

        def used(text: str) -> T:
            try:
                check_characters(text)
                return use(text.strip())
            except AdapterTuneError as error:
                raise typer.BadParameter(str(error)) from None

        try:
            answer: T = typer.prompt(question, default=guess, value_proc=used)
        except typer.Abort:
            print()  # the prompt stays on its line
            raise
        return answer

    def choose(self, question: str, guess: Guess, check: Callable[[str], None]) -> Guess:
        """A guess, or what a person says instead; only a guess that is open is asked about."""
        if not guess.is_open or not self.asks:
            return guess

        def use(text: str) -> Guess:
            check(text)
            return guess if text == guess.value else Guess(text, _ANSWERED)

        print(f"\n{guess.value}: {guess.reason}")
        return self.answer(question, guess.value, use)


def chosen_file(file: Path, force: bool, interview: Interview) -> Path:
    """The configuration to write; where it exists, a person may give another path.

    Raises:
        UsageError: it cannot be written, or it exists and nobody is asked.
    """
    if force or not file.exists() or file.is_dir() or not interview.asks:
        check_target(file, force)
        return file

    def use(text: str) -> Path:
        check_target(Path(text), force=False)
        return Path(text)

    return interview.answer(f"{file} exists; write to", str(unused_path(file)), use)


def chosen_subset(options: Options, subset: str | None, interview: Interview) -> Options:
    """The options that name the data, with the subset of a data set on the Hub.

    Raises:
        UsageError: nobody says which subset, there is no such one, or the data have no subsets.
    """
    if subset is not None and "data.source" not in options:
        raise UsageError(f"--subset {subset} is only for a data set on the Hub; remove it")
    if subset is not None:
        return with_subset(options, subset)
    names = subsets(options) if options["task"] == CUSTOM else []
    if not names:
        return options
    if not interview.asks:
        raise UsageError(f"{options['data.source']} has the subsets {', '.join(names)}; give one with --subset")

    def use(text: str) -> Options:
        if text not in names:
            raise UsageError(unknown_name("subset", text, names))
        return with_subset(options, text)

    return interview.answer(f"Subset ({', '.join(names)})", names[0], use)


def column_choices(
    data: DataConfig, rows: list[LocatedRow], given: Mapping[str, str], interview: Interview
) -> list[Choice]:
    """The columns and the kind of problem, as given, guessed or answered.

    Args:
        data: names the data.
        rows: the training rows, at least one.
        given: what the user gave on the command line, by option.
        interview: asks about guesses that are open.

    Raises:
        UsageError: a column cannot be guessed.
        RunError: the first line of the file is no header, or the labels cannot be used.
    """
    source = describe_source(data, "train")
    plain = [row for _, row in rows]
    columns = describe_columns(plain)
    if not given and (data.custom.train_file or "").lower().endswith((".csv", ".tsv")):
        check_header(source, columns, plain)
    _check_given(given, columns, source)
    names = ", ".join(column.name for column in columns)
    data = data.with_custom(**given)
    guesses: dict[str, Guess] = {}
    if "label_column" not in given:
        guess = guess_label(data, columns, source)
        guesses["label_column"] = interview.choose(f"Label column ({names})", guess, _check_columns(columns))
        data = data.with_custom(label_column=guesses["label_column"].value)
    if "text_column" not in given:
        texts = interview.choose(
            f"Text column, or two with a comma for pairs ({names})",
            guess_texts(data, columns, source),
            _check_texts(columns, data.custom.label_column or ""),
        )
        first, second = _split(texts.value, columns)
        guesses["text_column"] = Guess(first, texts.reason)
        if second is not None and "text_pair_column" not in given:
            guesses["text_pair_column"] = Guess(second, texts.reason)
    if "problem" not in given:
        kind = guess_kind(rows, data, source)
        guesses["problem"] = interview.choose(f"Kind of problem ({', '.join(_KINDS)})", kind, _check_kind)
    for option, value in given.items():
        guesses[option] = Guess(value, f"given with --{option.replace('_', '-')}")
    order = ("text_column", "text_pair_column", "label_column", "problem")
    return [
        Choice(f"data.custom.{name}", guesses[name].value, guesses[name].reason) for name in order if name in guesses
    ]


def _check_given(given: Mapping[str, str], columns: Sequence[Column], source: str) -> None:
    """Refuse what the user gave and the data do not have, before anything is asked.

    Raises:
        UsageError: there is no such column, or no such kind of problem.
    """
    for option, value in given.items():
        flag = f"--{option.replace('_', '-')}"
        try:
            (_check_kind if option == "problem" else _check_columns(columns))(value)
        except UsageError as error:
            raise UsageError(f"{flag}: {'' if option == 'problem' else f'{source}: '}{error}") from None


def _split(text: str, columns: Sequence[Column]) -> tuple[str, str | None]:
    """The one or two columns that a text names; a name may contain a comma itself."""
    if any(column.name == text for column in columns):
        return text, None
    first, _, second = text.partition(",")
    return first.strip(), second.strip() or None


def _check_columns(columns: Sequence[Column]) -> Callable[[str], None]:
    names = [column.name for column in columns]

    def check(text: str) -> None:
        for name in [text] if text in names else text.split(","):
            if name.strip() not in names:
                raise UsageError(unknown_name("column", name.strip(), names))

    return check


def _check_texts(columns: Sequence[Column], label: str) -> Callable[[str], None]:
    """What checks an answer: one column, or two that differ, and none of the label."""
    labels = {label, *label.split(",")}
    check_names = _check_columns(columns)

    def check(text: str) -> None:
        check_names(text)
        is_one = any(column.name == text for column in columns)
        chosen = [text] if is_one else [name.strip() for name in text.split(",")]
        if len(chosen) > 2 or len(set(chosen)) < len(chosen) or not labels.isdisjoint(chosen):
            raise UsageError("give one column that is no label, or two different ones with a comma")

    return check


def _check_kind(text: str) -> None:
    if text not in _KINDS:
        raise UsageError(unknown_name("problem", text, _KINDS))
