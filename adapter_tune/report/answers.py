"""The answers to a typed text: bars on a terminal, or lines with tabs for other programs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from adapter_tune.tasks.predictions import Answer, Prediction

Answers = Mapping[str, "Answer"]
"""By the name of the task."""

_MOST_LABELS = 10
_WIDTH = 24
_COLOUR = "cyan"


def show_answers(answers: Answers, console: Console | None = None) -> None:
    """Print a bar for the probability of each label, the highest first; what is predicted is in bold.

    Args:
        answers: the answers of one task or of several; names are shown if there are several.
        console: the console to print to; standard output by default.
    """
    console = console or Console(highlight=False, markup=False, emoji=False)
    table = Table.grid(padding=(0, 2))
    for name, answer in answers.items():
        title = name if len(answers) > 1 else ""
        for label, probability in _rows(answer.prediction):
            bar = "" if probability is None else _bar(probability)
            share = "" if probability is None else f"{probability:.4f}"
            style = "bold" if label in _predicted(answer.prediction) else ""
            cells = [Text(label, style, overflow="fold"), bar, share]
            table.add_row(*([Text(title, overflow="fold")] if len(answers) > 1 else []), *cells)
            title = ""
    console.print(table)


def _bar(share: float) -> ProgressBar:
    return ProgressBar(1.0, share, width=_WIDTH, complete_style=_COLOUR, finished_style=_COLOUR)


def answer_lines(answers: Answers) -> list[str]:
    """One line for each task: its name if there are several, what is predicted, and the probability; with tabs."""
    lines = []
    for name, answer in answers.items():
        prediction = answer.prediction
        predicted = _predicted(prediction)
        cells = [name] if len(answers) > 1 else []
        cells.append(", ".join(predicted) or "none")
        if prediction.probabilities:
            cells.append(", ".join(f"{prediction.probabilities[label]:.4f}" for label in predicted))
        lines.append("\t".join(cells))
    return lines


def truncation_notes(answers: Answers) -> list[str]:
    """One line for each maximum length that the text exceeds, with the tasks if there are several."""
    tasks: dict[int, list[str]] = {}
    for name, answer in answers.items():
        if answer.truncated_at is not None:
            tasks.setdefault(answer.truncated_at, []).append(name)
    names = {limit: f" ({', '.join(of_limit)})" if len(answers) > 1 else "" for limit, of_limit in tasks.items()}
    return [f"the text is longer than {limit} tokens and is truncated{names[limit]}" for limit in tasks]


def _predicted(prediction: Prediction) -> list[str]:
    """What is predicted: one label, several, or a number."""
    if isinstance(prediction.answer, list):
        return prediction.answer
    return [prediction.answer if isinstance(prediction.answer, str) else f"{prediction.answer:.4f}"]


def _rows(prediction: Prediction) -> list[tuple[str, float | None]]:
    """The labels with their probabilities, the highest first; a number has none."""
    if not prediction.probabilities:
        return [(label, None) for label in _predicted(prediction)]
    by_probability = sorted(prediction.probabilities.items(), key=lambda item: -item[1])
    rows: list[tuple[str, float | None]] = [] if prediction.answer else [("none of the labels", None)]
    rows += by_probability[:_MOST_LABELS]
    left = len(by_probability) - _MOST_LABELS
    return [*rows, (f"and {left:,} more labels", None)] if left > 0 else rows
