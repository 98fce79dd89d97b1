"""Files as users have them: blank lines, byte order marks, broken characters, missing columns."""

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from adapter_tune.data.row_files import located_rows, read_rows
from adapter_tune.foundation.errors import AdapterTuneError, RunError, UsageError

ROW = {"text": "x", "label": "a"}
GOOD: list[tuple[str, str, bytes]] = [
    ("blank lines", "csv", b"\n\r\ntext,label\n\nx,a\n\n\n"),
    ("blank lines of a TSV", "tsv", b"\ntext\tlabel\n\nx\ta\n"),
    ("a byte order mark", "csv", b"\xef\xbb\xbftext,label\nx,a\n"),
    ("a byte order mark before JSON", "jsonl", b'\xef\xbb\xbf{"text": "x", "label": "a"}\n'),
    ("columns without a name", "csv", b"text,label,,\nx,a,,\n"),
]


@pytest.mark.parametrize(("ending", "content"), [g[1:] for g in GOOD], ids=[g[0] for g in GOOD])
def test_good_files_are_read(tmp_path: Path, ending: str, content: bytes) -> None:
    path = tmp_path / f"rows.{ending}"
    path.write_bytes(content)
    assert [{key: row[key] for key in ROW} for row in read_rows(str(path), ["text"])] == [ROW]


def test_a_character_in_two_halves_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "\\ud83d\\ude00"}\n')
    assert list(read_rows(str(path), ["text"])) == [{"text": "\U0001f600"}]


BAD: list[tuple[str, str, bytes, str, type[AdapterTuneError]]] = [
    (
        "half a character",
        "jsonl",
        b'{"text": "x"}\n{"text": "\\uD800y"}\n',
        r"line 2: \ud800 is an incomplete char",
        RunError,
    ),
    (
        "a second row without the text",
        "jsonl",
        b'{"text": "x"}\n{"a": "x", "b": 1}\n',
        "line 2: column 'text' is missing; the columns are a, b",
        RunError,
    ),
    ("a first row without it", "jsonl", b'{"txt": "x"}\n', "unknown column 'text'; did you mean 'txt'?", UsageError),
    ("a column twice", "csv", b"text,text,label\nx,y,a\n", "two columns are called 'text'; rename or remove", RunError),
    ("the line behind blank ones", "csv", b"\ntext,label\n\nx\n", "line 4: 1 fields, but the header has 2", RunError),
    ("nothing but blank lines", "csv", b"\n\n", "the file is empty", RunError),
]


@pytest.mark.parametrize(("ending", "content", "message", "kind"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_bad_files_are_refused(
    tmp_path: Path, ending: str, content: bytes, message: str, kind: type[AdapterTuneError]
) -> None:
    path = tmp_path / f"rows.{ending}"
    path.write_bytes(content)
    with pytest.raises(AdapterTuneError) as caught:
        list(located_rows(str(path), ["text"]))
    assert message in str(caught.value)
    assert type(caught.value) is kind


def test_a_parquet_file_with_a_column_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_arrays([pa.array(["x"]), pa.array(["y"])], names=["text", "text"]), path)
    with pytest.raises(RunError, match=r"rows\.parquet: two columns are called 'text'"):
        list(read_rows(str(path), ["text"]))


def test_standard_input_is_utf8_with_or_without_a_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(content: bytes) -> list[dict[str, str]]:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content), "ascii", "surrogateescape"))
        return list(read_rows("-", ["text"]))

    assert read(b"\xef\xbb\xbfcaf\xc3\xa9\r\nx\n") == [{"text": "caf\u00e9"}, {"text": "x"}]
    with pytest.raises(RunError, match=r"standard input, line 2: not UTF-8 \(byte 0xe9\); save"):
        read(b"x\ncaf\xe9\n")
