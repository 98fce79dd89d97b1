"""The formats by name. To add one, add a file with a ``Format``, and a line here."""

from __future__ import annotations

from pathlib import Path

from adapter_tune.exchange import adapterhub, merged, onnx_export, peft_folder
from adapter_tune.exchange.formats import Format, Reader
from adapter_tune.foundation.errors import UsageError, unknown_name

FORMATS: dict[str, Format] = {
    each.name: each for each in (adapterhub.FORMAT, peft_folder.FORMAT, merged.FORMAT, onnx_export.FORMAT)
}


def get_format(name: str) -> Format:
    """The format of this name.

    Raises:
        UsageError: there is no such format.
    """
    if name not in FORMATS:
        raise UsageError(unknown_name("format", name, FORMATS))
    return FORMATS[name]


def format_in(folder: Path) -> tuple[Format, Reader]:
    """The format of the adapter in a folder, and what reads it.

    Raises:
        UsageError: there is no such folder, or no adapter of a known format in it.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder; give the folder of an adapter")
    titles = []
    for each in FORMATS.values():
        if each.reader is None:
            continue
        if each.reader.is_in(folder):
            return each, each.reader
        titles.append(each.title)
    known = ", ".join(titles)
    raise UsageError(f"{folder}: contains no adapter of a known format ({known}); give the folder that was saved")
