"""Texts that a person types, one at a time: a wrong one is reported and typed again."""

from __future__ import annotations

import contextlib
import importlib
import unicodedata
from collections.abc import Sequence

from adapter_tune.foundation.errors import RunError

_WHITE_SPACE = "\t\r\n"
"""A text that is pasted may have several lines."""


def enable_line_editing() -> None:
    """Let ``input`` edit lines and recall earlier ones, where Python has readline."""
    with contextlib.suppress(ImportError):
        importlib.import_module("readline").set_completer(lambda *_: None)  # Tab would complete file names


def typed_texts(names: Sequence[str]) -> list[str] | None:
    """The texts that a person types at one prompt for each name; None if an empty line or Ctrl-D ended the input."""
    texts = []
    for name in names:
        text = _typed_text(name)
        if not text.strip():
            return None
        texts.append(text)
    return texts


def _typed_text(name: str) -> str:
    """The text that is typed at a prompt; empty at the end of the input. A wrong text is typed again."""
    while True:
        try:
            text = input(f"{name}> ")
            check_characters(text)
        except EOFError:
            print()  # the prompt stays on its line
            return ""
        except UnicodeDecodeError as error:
            print(f"not UTF-8 (byte 0x{error.object[error.start]:02x}); set the terminal to UTF-8 and type it again")
        except RunError as error:
            print(f"{error}; type it again")
        else:
            return text


def check_characters(text: str, where: str = "the text") -> None:
    """Refuse a text with characters that are no text, such as the code of an arrow key.

    Args:
        text: as it was typed.
        where: what contains it, for the message.

    Raises:
        RunError: it has one.
    """
    for character in text:
        category = unicodedata.category(character)
        if category == "Cs":  # what Python makes of a byte that is not UTF-8
            raise RunError(f"{where} is not UTF-8 (byte 0x{ord(character) & 0xFF:02x})")
        if category == "Cc" and character not in _WHITE_SPACE:
            raise RunError(f"{where} contains a control character (0x{ord(character):02x})")
