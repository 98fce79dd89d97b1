"""Files as users have them: blank lines, byte order marks, broken characters, missing columns."""

import io
import logging
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapter_tune.data.row_files import located_rows, read_rows, write_rows
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
    (
        "a quoted field of a TSV that spans lines",
        "tsv",
        b'text\tlabel\n"x\ny"\ta\n',
        "line 2: 1 fields, but the header has 2; a TSV file has no quoting, so save the rows as .csv or .jsonl",
        RunError,
    ),
    (
        "a TSV with a quoted header",
        "tsv",
        b'"text"\t"label"\n"x"\t"a"\n',
        "rows.tsv: the header is in double quotes, and a TSV file has no quoting; save the rows as .csv or .jsonl",
        RunError,
    ),
    (
        "a TSV with line ends of an old Mac",
        "tsv",
        b"text\tlabel\rx\ta\r",
        "its lines end with \\r alone; save",
        RunError,
    ),
    (
        "columns separated by ;",
        "csv",
        b"text;label\nx, y;a\n",
        "rows.csv: its columns are separated by ';'; save it with commas",
        RunError,
    ),
    (
        "columns of a TSV separated by ,",
        "tsv",
        b"text,label\nx,a\n",
        "its columns are separated by ','; save it with commas as .csv",
        RunError,
    ),
    (
        "a key twice",
        "jsonl",
        b'{"text": "x", "text": "y"}\n',
        "line 1: not JSON ('text' is there twice); write",
        RunError,
    ),
    ("a TSV in another encoding", "tsv", b"text\tlabel\nx\ta\ncaf\xe9\ta\n", "line 3: not UTF-8 (byte 0xe9)", RunError),
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


def test_double_quotes_of_a_tsv_are_characters_and_every_line_is_a_row(tmp_path: Path) -> None:
    texts = ['"open', "x", 'closed"', 'he said "x" twice', '""', '"', "'", "\\t", " x ", "a\u2028b", "a\x0bb", "\x00"]
    path, copy = tmp_path / "rows.tsv", tmp_path / "copy.tsv"
    path.write_text("".join(f"{text}\ta\r\n" for text in ["text", *texts]), encoding="utf-8", newline="")
    assert [row["text"] for row in read_rows(str(path), [])] == texts
    assert write_rows(copy, read_rows(str(path), [])) == len(texts)
    assert copy.read_bytes() == path.read_bytes().replace(b"\r\n", b"\n")


def test_fields_that_a_tsv_quotes_are_named_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "rows.tsv"
    path.write_text('text\tlabel\nx\ta\n"he said ""y"""\tb\n"z"\tb\n')
    with caplog.at_level(logging.WARNING, "adapter_tune"):
        assert [row["text"] for row in read_rows(str(path), [])] == ["x", '"he said ""y"""', '"z"']
        list(read_rows(str(path), []))
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith(
        f"{path}, line 3: column 'text' is in double quotes, which stay in the text: a TSV file has"
    )


_TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), min_size=1, max_size=6)


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
@pytest.mark.parametrize("other", [[], ["id"]], ids=["one column", "two columns"])
@given(texts=_TEXTS)
@settings(max_examples=30)
def test_as_many_rows_are_read_as_were_written(
    tmp_path_factory: pytest.TempPathFactory, ending: str, other: list[str], texts: list[str]
) -> None:
    path = tmp_path_factory.mktemp("rows") / f"rows.{ending}"
    rows = [{"text": text, **dict.fromkeys(other, "1")} for text in texts]
    cannot_be_held = ending == "tsv" and any(set(text) & set("\t\r\n") or not (text or other) for text in texts)
    if cannot_be_held:
        with pytest.raises(RunError, match=r"cannot write row \d.*: a TSV file .*cannot contain a.*; write a \.csv or"):
            write_rows(path, iter(rows))
        assert not path.exists()
        return
    assert write_rows(path, iter(rows)) == len(rows)
    assert list(read_rows(str(path), ["text"])) == rows


def test_line_ends_of_every_kind_in_a_text_are_written_and_read(tmp_path: Path) -> None:
    rows = [{"text": text, "id": "1"} for text in ("\r", "a\rb", "a\nb", "a\r\nb", "a\r\n", "")]
    path = tmp_path / "rows.csv"
    write_rows(path, iter(rows))
    assert list(read_rows(str(path), ["text"])) == rows
    assert path.read_bytes().startswith(b'text,id\n"\r",1\n"a\rb",1\n')


@pytest.mark.parametrize("ending", ["csv", "tsv"])
def test_an_empty_line_is_an_empty_text_where_there_is_one_column(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"rows.{ending}"
    path.write_text("\ntext\n\nx\n\n\ny\n\n")
    located = list(located_rows(str(path), ["text"]))
    assert [row["text"] for _, row in located] == ["", "x", "", "", "y"]
    assert [location for location, _ in located] == [f"line {number}" for number in (3, 4, 5, 6, 7)]
