"""``adapter-tune ask``."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from adapter_tune.commands.common import are_several, check_only_for, moved_model, run_or_newest, with_language
from adapter_tune.commands.options import finished_runs, general
from adapter_tune.foundation.errors import RunError, UsageError
from adapter_tune.foundation.startup import prepare_libraries

if TYPE_CHECKING:
    from adapter_tune.tasks.predictions import Answer

    Ask = Callable[[Sequence[str]], dict[str, Answer]]

log = logging.getLogger("adapter_tune")


def ask(
    run: finished_runs.OneOrMoreRuns = None,
    model: finished_runs.MovedModel = None,
    language_adapter: finished_runs.MovedLanguageAdapter = None,
    demo: general.Demo = False,
    runs: finished_runs.RunsFolder = Path("runs"),
) -> None:
    """Type a text and see what a finished run predicts, or several runs on one backbone.

    An empty line or Ctrl-D ends. From a pipe, each line is one text, or two separated by a tab.
    """
    if sys.stdin is None:
        raise UsageError("standard input is closed; run the command in a terminal, or give texts in a pipe")
    folders = run or [run_or_newest(None, runs, demo)]
    prepare_libraries(demo)
    answers, names = _open(folders, model, language_adapter, demo)
    if sys.stdin.isatty() and sys.stdout.isatty():
        _ask_person(answers, names)
    else:
        _answer_lines(answers, len(names))


def _open(runs: Sequence[Path], model: str | None, language_adapter: str | None, demo: bool) -> tuple[Ask, list[str]]:
    """Return the function that answers, and the names of the one or two texts that it takes."""
    if are_several(runs):
        check_only_for("one run", {"--language-adapter": language_adapter})
        from adapter_tune.multitask.open_runs import adapter_folders
        from adapter_tune.multitask.predict import open_predictor
        from adapter_tune.multitask.shared_texts import tasks_of, text_names

        folders = adapter_folders(runs)
        names = text_names(tasks_of(folders))
        return open_predictor(folders, model=moved_model(model, demo)).answers, names
    from adapter_tune.runs.reload import predictor

    loaded = predictor(runs[0], needs_data=False, model=model, moved=with_language({}, language_adapter), demo=demo)
    return loaded.answers, list(loaded.task.text)


def _ask_person(answers: Ask, names: Sequence[str]) -> None:
    """Ask for texts on the terminal and show the answers, until an empty line, Ctrl-D or Ctrl-C."""
    from adapter_tune.data.typed_texts import enable_line_editing, typed_texts
    from adapter_tune.report.answers import show_answers, truncation_notes

    enable_line_editing()
    print(f"Type {' and '.join(names)}. An empty line or Ctrl-D ends.")
    try:
        while texts := typed_texts(names):
            answer = answers(texts)
            for note in truncation_notes(answer):
                print(note)
            show_answers(answer)
    except KeyboardInterrupt:
        print()  # the prompt stays on its line


def _answer_lines(answers: Ask, texts: int) -> None:
    """Answer every line of standard input.

    Raises:
        RunError: lines were skipped, because they are no text.
    """
    from adapter_tune.data.row_formats import standard_input_lines, texts_in_line
    from adapter_tune.data.typed_texts import check_characters
    from adapter_tune.report.answers import answer_lines, truncation_notes

    skipped = 0
    number = 0
    for number, line in enumerate(standard_input_lines(), 1):
        try:
            fields = texts_in_line(line, number, texts)
            for text in fields:
                check_characters(text, f"standard input, line {number}")
        except RunError as error:
            log.warning("%s; the line is skipped", error)
            skipped += 1
            continue
        answer = answers(fields)
        for note in truncation_notes(answer):
            log.info("standard input, line %d: %s", number, note)
        print("\n".join(answer_lines(answer)), flush=True)
    if skipped:
        raise RunError(f"{skipped} of {number} lines were skipped; the messages above say why")
