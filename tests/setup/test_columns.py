"""What columns look like, and what is guessed from that."""

from typing import Any

import pytest

from adapter_tune.config.schema import DataConfig
from adapter_tune.foundation.errors import RunError
from adapter_tune.setup.columns import check_header, describe_columns, guess_kind, guess_label, guess_texts

DATA = DataConfig()


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["a b", "c d", ""], "words"),
        ([True, False], "words"),
        (["1", "2", "NA"], "whole numbers"),
        ([1, 2.0], "whole numbers"),
        (["1.5", "2"], "decimals"),
        ([["a"], []], "list"),
        (["", None, "null"], "empty"),
        (["https://x.org/1", "www.x.org/2"], "address"),
        (["2024-05-01", "2024-05-02T10:00:00"], "date"),
        (["1.5.2024", "31/12/99"], "date"),
        ([{"a": 1}], "other"),
    ],
)
def test_the_kind_of_a_column(values: list[Any], kind: str) -> None:
    (column,) = describe_columns([{"x": value} for value in values])
    assert column.kind == kind


def table(count: Any = 40, **columns: Any) -> list[dict[str, Any]]:
    return [{name: value(number) for name, value in columns.items()} for number in range(count)]


def text(number: int) -> str:
    return f"a text of some words {number}"


def test_a_large_file_is_looked_at_evenly() -> None:
    (column,) = describe_columns(table(9000, x=lambda number: "ab"[number >= 8000]))
    assert column.distinct == 2
    assert 2000 <= column.rows <= 2600


@pytest.mark.parametrize(
    ("columns", "value", "reason", "is_open"),
    [
        ({"label": lambda n: n % 2}, "label", "a usual name", False),
        ({"Label": lambda n: n % 2, "score": lambda n: n}, "Label", "a usual name; so is 'score'", True),
        ({"mood": lambda n: "ab"[n % 2]}, "mood", "its values repeat", False),
        ({"id": lambda n: n, "mood": lambda n: "ab"[n % 2]}, "mood", "its values repeat", False),
        ({"x": lambda n: n % 3, "y": lambda n: n / 3}, "y", "a usual name", False),
        ({"x": lambda n: n % 3, "z": lambda n: n / 3}, "x", "its values repeat; 'z' may be labels, too", True),
        ({"z": lambda n: n / 3}, "z", "has decimals", False),
        ({"a": lambda n: n % 2, "b": lambda n: n // 20}, "a,b", "columns of 0 and 1", True),
        ({"a": lambda n: bool(n % 2), "b": lambda n: n < 9}, "a,b", "columns of 0 and 1", True),
        ({"a": lambda n: n % 2 + 1, "b": lambda n: n // 20}, "a", "its values repeat", True),
    ],
)
def test_the_label(columns: Any, value: str, reason: str, is_open: bool) -> None:
    guess = guess_label(DATA, describe_columns(table(words=text, **columns)), "rows.csv")
    assert (guess.value, guess.is_open) == (value, is_open)
    assert guess.reason.startswith(reason)


@pytest.mark.parametrize(
    ("columns", "value", "is_open"),
    [
        ({"text": text}, "text", False),
        ({"anything": text}, "anything", False),
        ({"text": text, "author": lambda n: f"Name {n}"}, "text", True),
        ({"title": lambda n: f"Title {n}", "body": text}, "title,body", False),
        ({"old": text, "new": text}, "old,new", True),
        ({"name": lambda n: f"Name {n}", "story": text}, "story", True),
        ({"word": lambda n: f"w{n}"}, "word", False),
    ],
)
def test_the_texts(columns: Any, value: str, is_open: bool) -> None:
    data = DATA.with_custom(label_column="label")
    guess = guess_texts(data, describe_columns(table(label=lambda n: "ab"[n % 2], **columns)), "rows.csv")
    assert (guess.value, guess.is_open) == (value, is_open)


@pytest.mark.parametrize(
    ("label", "kind", "is_open"),
    [
        (lambda n: n % 2, "classification", False),
        (lambda n: n % 20, "classification", True),
        (lambda n: n % 21, "regression", True),
        (lambda n: str(n * 10), "regression", True),
        (lambda n: n + 0.5, "regression", False),
        (lambda n: [n], "multi_label", False),
        (lambda n: ["a", "b", "a;b"][n % 3], "multi_label", True),
        (lambda n: "ab"[n % 2], "classification", False),
        (lambda n: "this; or that", "classification", False),
    ],
)
def test_the_kind_of_problem(label: Any, kind: str, is_open: bool) -> None:
    rows = [(f"line {n}", row) for n, row in enumerate(table(42, label=label))]
    guess = guess_kind(rows, DATA.with_custom(label_column="label"), "rows.csv")
    assert (guess.value, guess.is_open) == (kind, is_open)


@pytest.mark.parametrize(
    ("names", "is_refused"),
    [
        (("a text of some words", "a"), True),
        (("a text of some words", "b "), True),
        (("text", "a"), False),  # a column with the name of a class
        (("how good was it, in your own words?", "mood"), False),
    ],
)
def test_a_file_without_a_header(names: tuple[str, str], is_refused: bool) -> None:
    rows = table(**{names[0]: text, names[1]: lambda n: "ab"[n % 2]})
    columns = describe_columns(rows)
    if is_refused:
        with pytest.raises(RunError, match="the first line looks like a row"):
            check_header("rows.csv", columns, rows)
    else:
        check_header("rows.csv", columns, rows)


def test_a_number_as_the_name_of_a_column_of_numbers() -> None:
    rows = table(**{"some words": text, "3.5": lambda n: n / 3})
    with pytest.raises(RunError, match=r"\('3.5'\)"):
        check_header("rows.csv", describe_columns(rows), rows)
