"""Answers to a typed text: every kind of task, on a terminal and as lines."""

import io

import pytest
from rich.console import Console

from adapter_tune.report.answers import answer_lines, show_answers, truncation_notes
from adapter_tune.tasks.predictions import Answer, Prediction

CLASSES = Answer(Prediction("b", {"a": 0.25, "b": 0.75}))
SEVERAL = Answer(Prediction(["y", "x"], {"x": 0.6, "y": 0.9, "z": 0.1}))
NONE = Answer(Prediction([], {"x": 0.4, "y": 0.3}))
NUMBER = Answer(Prediction(2.5, {}))


def shown(answers: dict[str, Answer], width: int = 80) -> list[str]:
    file = io.StringIO()
    show_answers(answers, Console(file=file, width=width, force_terminal=True, no_color=True, highlight=False))
    return file.getvalue().splitlines()


@pytest.mark.parametrize(
    ("answer", "line"),
    [(CLASSES, "b\t0.7500"), (SEVERAL, "y, x\t0.9000, 0.6000"), (NONE, "none\t"), (NUMBER, "2.5000")],
)
def test_a_line_says_what_is_predicted(answer: Answer, line: str) -> None:
    assert answer_lines({"t": answer}) == [line]
    assert answer_lines({"t": answer, "u": NUMBER}) == [f"t\t{line}", "u\t2.5000"]


def test_labels_are_sorted_and_what_is_predicted_is_bold() -> None:
    lines = shown({"one": CLASSES, "two": SEVERAL, "three": NONE, "four": NUMBER})
    words = [line.replace("\x1b[1m", "*").replace("\x1b[0m", "").split() for line in lines]
    assert [(line[0], line[1], line[-1]) for line in words[:1]] == [("one", "*b", "0.7500")]
    assert [line[0] for line in words] == ["one", "a", "two", "*x", "z", "three", "x", "y", "four"]
    assert words[2][1] == "*y"
    assert words[5][1:] == ["none", "of", "the", "labels"]
    assert words[8] == ["four", "*2.5000"]


def test_bars_are_as_long_as_the_probabilities() -> None:
    lines = shown({"t": Answer(Prediction("a", {"a": 1.0, "b": 0.5, "c": 0.0}))})
    assert [line.count("━") for line in lines] == [24, 12, 0]


def test_of_many_labels_the_ten_best_are_shown() -> None:
    probabilities = {f"label-{number}": number / 100 for number in range(14)}
    lines = shown({"t": Answer(Prediction("label-13", probabilities))})
    assert len(lines) == 11
    assert lines[-1].split() == ["and", "4", "more", "labels"]
    assert "label-4" in lines[-2]


def test_truncation_is_said_once_for_each_maximum_length() -> None:
    cut = {"a": Answer(NUMBER.prediction, 8), "b": NUMBER, "c": Answer(NUMBER.prediction, 8)}
    assert truncation_notes(cut) == ["the text is longer than 8 tokens and is truncated (a, c)"]
    assert truncation_notes({"a": cut["a"]}) == ["the text is longer than 8 tokens and is truncated"]
    assert truncation_notes({"b": NUMBER}) == []
    assert len(truncation_notes({**cut, "d": Answer(NUMBER.prediction, 9)})) == 2
