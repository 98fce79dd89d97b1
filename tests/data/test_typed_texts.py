"""What is typed at a prompt: texts of any language are taken, and what is no text is typed again."""

from typing import Any

import pytest

from adapter_tune.data.typed_texts import check_characters, typed_texts
from adapter_tune.foundation.errors import RunError

NOT_UTF8 = UnicodeDecodeError("utf-8", b"caf\xe9", 3, 4, "invalid continuation byte")


def keyboard(monkeypatch: pytest.MonkeyPatch, *lines: str | Exception) -> list[str]:
    """Make ``input`` return these lines or raise these errors; the prompts that it gets."""
    waiting = iter(lines)
    prompts: list[str] = []

    def read(prompt: str) -> Any:
        prompts.append(prompt)
        line = next(waiting)
        if isinstance(line, Exception):
            raise line
        return line

    monkeypatch.setattr("builtins.input", read)
    return prompts


def test_each_text_has_a_prompt_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = keyboard(monkeypatch, "ein Bär", "två\tord")
    assert typed_texts(["premise", "hypothesis"]) == ["ein Bär", "två\tord"]
    assert prompts == ["premise> ", "hypothesis> "]


@pytest.mark.parametrize("end", ["", " \t", EOFError()])
@pytest.mark.parametrize("before", [(), ("a",)])
def test_nothing_typed_ends_the_input(
    monkeypatch: pytest.MonkeyPatch, before: tuple[str, ...], end: str | Exception
) -> None:
    keyboard(monkeypatch, *before, end)
    assert typed_texts(["one", "two"]) is None


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (NOT_UTF8, "not UTF-8 (byte 0xe9); set the terminal to UTF-8 and type it again"),
        ("caf\udce9", "the text is not UTF-8 (byte 0xe9); type it again"),
        ("up\x1b[A", "the text contains a control character (0x1b); type it again"),
        ("\x00", "the text contains a control character (0x00); type it again"),
        ("\x9b", "the text contains a control character (0x9b); type it again"),
    ],
    ids=["bytes", "surrogate", "arrow key", "null", "C1"],
)
def test_what_is_no_text_is_typed_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], wrong: str | Exception, message: str
) -> None:
    prompts = keyboard(monkeypatch, "a", wrong, "b")
    assert typed_texts(["one", "two"]) == ["a", "b"]
    assert prompts == ["one> ", "two> ", "two> "]
    assert capsys.readouterr().out.splitlines() == [message]


@pytest.mark.parametrize("text", ["", "two\nlines\r\n", "👩‍👩‍👧 \u200d", "שלום\u200f", "a\u00a0b"])
def test_texts_of_any_language_are_taken(text: str) -> None:
    check_characters(text)
    with pytest.raises(RunError, match=r"line 7 contains a control character \(0x07\)"):
        check_characters(f"{text}\x07", "line 7")
