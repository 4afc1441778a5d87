"""Files <-> records."""

from __future__ import annotations

import contextlib
import csv
import datetime
import decimal
import gzip
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from promptdetox.errors import DataError, FileError, PromptDetoxError, UsageError
from promptdetox.records import FORMATS, RecordWriter, format_of, read_records
from promptdetox.records import writing as writing_module
from promptdetox.types import Record

COMPRESSIONS = ("", ".gz", ".zst")
NEW = {"output": "kind words", "status": "rewritten"}


def _read(data: bytes, file_format: str, **options: Any) -> list[Record]:
    return list(read_records(io.BytesIO(data), format=file_format, **options))


def _texts(data: bytes, file_format: str, **options: Any) -> list[str | None]:
    return [record.text for record in _read(data, file_format, **options)]


def _convert(records: Sequence[Record], file_format: str, **new: Any) -> bytes:
    stream = io.BytesIO()
    values = new or NEW
    with RecordWriter(stream, format=file_format, columns=tuple(values)) as writer:
        for record in records:
            writer.write(record, values)
    return stream.getvalue()


def _zstd(data: bytes) -> bytes:
    packed: bytes = pa.Codec("zstd").compress(data, asbytes=True)
    return packed


def _parquet(table: Any) -> bytes:
    stream = io.BytesIO()
    pq.write_table(table, stream)
    return stream.getvalue()


def _dicts(path: Path) -> list[dict[str, Any]]:
    column = "output" if format_of(path) != "txt" else "text"
    return [record.row.as_dict() for record in read_records(path, text_column=column)]


def _jsonl(n: int) -> list[Record]:
    return _read(b"".join(b'{"text": "text %d"}\n' % at for at in range(n)), "jsonl")


def _fails(call: Callable[[], object], error: type[PromptDetoxError], *parts: str) -> None:
    """Assert one sentence that has all the parts."""
    with pytest.raises(error) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message


class TestFormats:
    """Names of files."""

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("a.txt", "txt"),
            ("a.JSONL", "jsonl"),
            ("a.ndjson.gz", "jsonl"),
            ("a.v2.csv.zst", "csv"),
            ("a.tab", "tsv"),
            ("a.tsv", "tsv"),
            ("a.parquet", "parquet"),
        ],
    )
    def test_suffix(self, name: str, expected: str) -> None:
        """The suffix under the compression's says the format."""
        assert format_of(Path(name)) == expected
        assert expected in FORMATS

    @pytest.mark.parametrize("name", ["a", "a.doc", "a.gz", ".csv"])
    def test_unknown_suffix(self, name: str) -> None:
        """An unknown suffix names the known ones and the flag."""
        _fails(lambda: format_of(Path(name)), UsageError, name, ".jsonl", "--input-format")

    def test_unknown_format(self) -> None:
        """A format that does not exist is refused before anything is opened."""
        _fails(lambda: read_records(io.BytesIO(), format="xml"), UsageError, "xml", "jsonl")
        _fails(lambda: RecordWriter(io.BytesIO(), format="xml"), UsageError, "xml")
        options: Any = {"encoding_errors": "ignore"}
        _fails(lambda: read_records(io.BytesIO(), **options), UsageError, "replace")

    def test_imports_are_lazy(self) -> None:
        """Reading and writing text formats and gzip does not import pyarrow."""
        code = (
            "import sys, io; from promptdetox.records import *\n"
            "w = RecordWriter(io.BytesIO(), format='csv')\n"
            "with w: [w.write(r, dict(output='', status='')) for r in read_records(io.BytesIO())]\n"
            "assert 'pyarrow' not in sys.modules"
        )
        subprocess.run([sys.executable, "-c", code], check=True)


class TestTxt:
    """Lines."""

    def test_lines(self) -> None:
        """Only \\n ends a line; an empty line is a record; the last \\n may be missing."""
        data = "\ufeffa\r\n\n b\u2028c\x0bd\x00\x85\ne".encode()
        assert _texts(data, "txt") == ["a\r", "", " b\u2028c\x0bd\x00\x85", "e"]
        assert _texts(b"", "txt") == []
        assert _texts(b"\xef\xbb\xbf", "txt") == []
        assert [r.line for r in _read(data, "txt")] == [1, 2, 3, 4]

    def test_text_is_the_only_column(self) -> None:
        """Another text column does not exist."""
        _fails(lambda: _read(b"a", "txt", text_column="body"), DataError, "body", "--text-column")

    @pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-16-be", "utf-32-be"])
    def test_other_unicode(self, encoding: str) -> None:
        """UTF-16 and UTF-32 are named, with the remedy."""
        data = ("\ufeff" + "abc\n").encode(encoding) if encoding.endswith("be") else None
        _fails(lambda: _read(data or "abc\n".encode(encoding), "txt"), DataError, "UTF-8", "iconv")

    def test_invalid_utf8_strict(self) -> None:
        """A byte that is not UTF-8 stops with its line and the flag."""
        data = b"fine\nbad \xff\n"
        _fails(lambda: _read(data, "txt"), DataError, "line 2", "--encoding-errors replace", "0xff")

    def test_invalid_utf8_replace(self) -> None:
        """On request such bytes become U+FFFD, with one warning at the end."""
        warnings: list[str] = []
        options: Any = {"encoding_errors": "replace", "on_warning": warnings.append}
        assert _texts(b"a\n\xff\nb\xc3\n", "txt", **options) == ["a", "\ufffd", "b\ufffd"]
        assert len(warnings) == 1
        assert "2 line(s)" in warnings[0]
        assert "line 2" in warnings[0]

    def test_output_only(self) -> None:
        """txt output holds the first new column, a line each."""
        records = _read(b'{"text": "a", "n": 1}\n{"text": null}\n', "jsonl")
        assert _convert(records, "txt") == b"kind words\nkind words\n"
        assert _convert(records, "txt", output=None) == b"\n\n"

    def test_line_break(self) -> None:
        """A line break cannot be written, a \\r can."""
        records = _read(b"a\n", "txt")
        assert _convert(records, "txt", output="a\r") == b"a\r\n"
        _fails(
            lambda: _convert(records, "txt", output="a\nb"), DataError, "line 1", ".csv", ".jsonl"
        )

    def test_other_formats(self) -> None:
        """Text files become tables with text, output and status."""
        records = _read(b"a, b\n", "txt")
        assert _convert(records, "csv") == b'text,output,status\n"a, b",kind words,rewritten\n'
        assert json.loads(_convert(records, "jsonl")) == {"text": "a, b", **NEW}
        table = pq.read_table(io.BytesIO(_convert(records, "parquet")))
        assert table.to_pylist() == [{"text": "a, b", **NEW}]


class TestJsonl:
    """An object a line."""

    def test_raw_is_kept(self) -> None:
        """Numbers, repeated keys, spacing and escapes stay as they were written."""
        raw = r'{"a":1.10, "b" : 1E5,"a":2,"text":"\u00e9\ud800 é","n":NaN,"i":%s}' % ("9" * 5000)
        (record,) = _read(f" {raw}\r\n".encode(), "jsonl")
        assert record.text == "é\ud800 é"
        line = _convert([record], "jsonl").decode()
        assert line == raw[:-1] + ', "output": "kind words", "status": "rewritten"}\n'

    def test_blank_lines(self) -> None:
        """Blank lines are skipped and still count as lines."""
        records = _read(b'\n{"text": "a"}\n \r\n{"text": null}', "jsonl")
        assert [(r.index, r.line, r.text) for r in records] == [(0, 2, "a"), (1, 4, None)]

    @pytest.mark.parametrize(
        ("line", "parts"),
        [
            (b'  {"text": oops}', ["line 2, column 12", "broken JSON"]),
            (b'{"text": "a"', ["line 2, column 13"]),
            (b'["text"]', ["line 2", "expected a JSON object", "list"]),
            (b'{"text": 3}', ["line 2", "string or null", "int"]),
            (b'{"txet": "a", "id": 1}', ["'text'", "'txet', 'id'", "--text-column 'txet'"]),
            (b'{"text": ' + b"[" * 100_000, ["line 2", "nested too deep"]),
        ],
    )
    def test_broken(self, line: bytes, parts: list[str]) -> None:
        """A line that is not an object with a text stops with its place."""
        _fails(lambda: _read(b'{"text": "a"}\n' + line, "jsonl"), DataError, *parts)

    def test_lone_surrogates(self) -> None:
        """Lone surrogates are escaped in JSON and replaced elsewhere."""
        records = _read(rb'{"text": "a\ud800", "t": ["\udc00"], "k": "\u0000"}', "jsonl")
        new = {"output": records[0].text, "status": "é"}
        line = _convert(records, "jsonl", **new)
        assert json.loads(line) == {**records[0].row.as_dict(), **new}
        assert "é" in line.decode()
        for name in ("csv", "tsv"):
            assert _convert(records, name, **new).decode().count("\ufffd") == 3
        assert _convert(records, "txt", **new).decode() == "a\ufffd\n"
        (row,) = pq.read_table(io.BytesIO(_convert(records, "parquet", **new))).to_pylist()
        assert row == {"text": "a\ufffd", "t": ["\ufffd"], "k": "\0", **new, "output": "a\ufffd"}

    def test_column_is_taken(self) -> None:
        """Each record is checked for the names of the new columns."""
        records = _read(b'{"text": "a"}\n{"text": "b", "output": 1}', "jsonl")
        for name in ("jsonl", "parquet"):
            _fails(
                lambda name=name: _convert(records, name),  # type: ignore[misc]
                DataError,
                "line 2",
                "'output'",
                "--output-column",
            )

    def test_cells(self) -> None:
        """In tables nested values are JSON and null is empty."""
        line = b'{"text": "a", "n": null, "o": {"k": [1, null]}, "b": true, "f": 1.5, "i": 7}'
        (row,) = csv.DictReader(io.StringIO(_convert(_read(line, "jsonl"), "csv").decode()))
        expected = {"text": "a", "n": "", "o": '{"k": [1, null]}', "b": "true", "f": "1.5"}
        assert row == {**expected, "i": "7", **NEW}

    def test_ragged_table(self) -> None:
        """A key that is missing is an empty cell; a new key is refused."""
        lines = b'{"text": "a", "n": 1}\n{"text": "b"}\n'
        assert _convert(_read(lines, "jsonl"), "tsv", o="") == b"text\tn\to\na\t1\t\nb\t\t\n"
        records = _read(lines + b'{"text": "c", "m": 1}', "jsonl")
        _fails(lambda: _convert(records, "csv"), DataError, "line 3", "'m'", ".jsonl")

    def test_deep_values_to_a_table(self) -> None:
        """Nesting that the table's writer cannot follow is an error with the line."""
        deep = b"[" * 900 + b"]" * 900
        records = _read(b'{"text": "a", "d": ' + deep + b"}", "jsonl")
        assert deep in _convert(records, "jsonl")
        _fails(lambda: _convert(records, "csv"), DataError, "line 1", "nested", ".jsonl")


class TestCsv:
    """RFC 4180."""

    def test_records(self) -> None:
        """Quotes, line breaks in cells and CRLF are read; `line` is where the record begins."""
        data = b'\xef\xbb\xbfid,text\r\n1,"a ""b"",\r\nc"\r\n2,"d\n"\r\n3,e\x00\r\n\r\n\r\n'
        records = _read(data, "csv")
        assert [r.text for r in records] == ['a "b",\r\nc', "d\n", "e\0"]
        assert [(r.index, r.line) for r in records] == [(0, 2), (1, 4), (2, 6)]
        assert records[0].row.as_dict() == {"id": "1", "text": 'a "b",\r\nc'}

    def test_round_trip(self) -> None:
        """Cells stay as they are, \\r too, and the new columns come last."""
        data = b'id,text\n01,"a\rb"\n,""\n"x ""y""","p\nq"\n'
        out = _convert(_read(data, "csv"), "csv")
        rows = list(csv.reader(io.StringIO(out.decode(), newline="")))
        assert rows[0] == ["id", "text", "output", "status"]
        assert [row[:2] for row in rows[1:]] == [["01", "a\rb"], ["", ""], ['x "y"', "p\nq"]]

    def test_blank_lines(self) -> None:
        """With one column a blank line between rows is an empty text, else a broken row."""
        assert _texts(b"text\na\n\nb\n\n\n", "csv") == ["a", "", "b"]
        _fails(lambda: _read(b"id,text\n1,a\n\n2,b\n", "csv"), DataError, "line 3", "got 0")

    @pytest.mark.parametrize(
        ("data", "parts"),
        [
            (b"id,text\n1,a\n2,b,c\n", ["line 3", "expected 2", "got 3"]),
            (b'id,text\n1,"a\nb"\n2\n', ["line 4", "expected 2", "got 1"]),
            (b'id,text\n1,a\n2,"b\nc\nd\n', ["line 3", "begins here", "RFC 4180"]),
            (b'id,text\n1,"a"b\n', ["line 2", "RFC 4180"]),
            (b"id,comment_text\n", ["'text'", "'id', 'comment_text'", "--text-column"]),
            (b"text,text\n", ["'text'", "2 times"]),
            (b"", ["line 1", "empty", "'text'"]),
        ],
    )
    def test_broken(self, data: bytes, parts: list[str]) -> None:
        """A broken table stops with the line where the record begins."""
        _fails(lambda: _read(data, "csv"), DataError, *parts)

    def test_long_cell(self) -> None:
        """A cell of several megabytes is read and written, with many line breaks too."""
        for text in ("word " * 600_000, "line\n" * 600_000):
            data = _convert(_read(b"a", "txt"), "csv", output=text)
            assert _texts(data, "csv", text_column="output") == [text]

    def test_column_is_taken(self) -> None:
        """A column of the same name stops at the first record."""
        records = _read(b"text,status\na,b\n", "csv")
        _fails(lambda: _convert(records, "csv"), DataError, "'status'", "--output-column")

    def test_no_records(self) -> None:
        """Without records there is a header of the new columns."""
        assert _convert([], "csv") == b"output,status\n"
        assert _convert([], "jsonl") == b""

    def test_parquet_has_strings(self) -> None:
        """Cells of a table become strings in Parquet."""
        table = pq.read_table(io.BytesIO(_convert(_read(b"id,text\n01,a\n", "csv"), "parquet")))
        assert [str(kind) for kind in table.schema.types] == ["string"] * 4
        assert table.to_pylist() == [{"id": "01", "text": "a", **NEW}]


class TestTsv:
    """Lines of cells without quoting."""

    def test_quotes_are_ordinary(self) -> None:
        """Stray quotes lose no rows and come back as they were."""
        data = b'id\ttext\n1\t"open\n2\tclose"\r\n3\t"a""b"\n4\tc\rd\n\n'
        records = _read(data, "tsv")
        assert [r.text for r in records] == ['"open', 'close"', '"a""b"', "c\rd"]
        assert [r.line for r in records] == [2, 3, 4, 5]
        assert _convert(records, "tsv", o="x").splitlines(keepends=False)[1] == b'1\t"open\tx'
        assert _texts(_convert(records, "tsv", o="x"), "tsv") == [r.text for r in records]

    def test_blank_lines(self) -> None:
        """With one column each line is a record; with more, a blank one inside is broken."""
        assert _texts(b"text\na\n\n", "tsv") == ["a", ""]
        _fails(lambda: _read(b"a\ttext\n\n1\tb\n", "tsv"), DataError, "line 2", "expected 2")

    @pytest.mark.parametrize("text", ["a\tb", "a\nb", "a\r"])
    def test_cannot_hold(self, text: str) -> None:
        """Tabs and line breaks are refused with the line and the formats that hold them."""
        records = _read(b"x\n", "txt")
        with pytest.raises(DataError, match=r"line 1 has a tab or line break.*csv or \.jsonl"):
            _convert(records, "tsv", output=text)


TYPES = pa.table(
    {
        "text": pa.array(["a", None, "c"], pa.dictionary(pa.int8(), pa.string())),
        "null": pa.nulls(3),
        "list": pa.array([[1, 2], None, []], pa.list_(pa.int16())),
        "struct": pa.array([{"x": 1.5}, None, {"x": None}], pa.struct([("x", pa.float32())])),
        "day": pa.array([datetime.date(2024, 2, 29)] * 3),
        "time": pa.array([datetime.datetime(2024, 1, 2, 3, 4, 5)] * 3, pa.timestamp("ms", "UTC")),
        "ns": pa.array([1, 1_000_000_001, None], pa.timestamp("ns")),
        "bytes": pa.array([b"\x00\xff", None, b""], pa.binary()),
        "money": pa.array([decimal.Decimal("1.10")] * 3, pa.decimal128(9, 2)),
        "number": pa.array([1.5, float("nan"), float("inf")]),
        "map": pa.array([[("k", 1)], None, []], pa.map_(pa.string(), pa.int64())),
    },
).replace_schema_metadata({"owner": "us"})


@pytest.mark.parametrize("file_format", ["csv", "tsv", "parquet"])
@pytest.mark.parametrize("target", ["csv", "tsv", "parquet"])
def test_a_table_without_rows_keeps_its_columns(file_format: str, target: str) -> None:
    """The header goes through, Parquet's types too, and a taken name is an error here as well."""
    schema = pa.schema([("n", pa.int16()), ("text", pa.string())])
    separator = "," if file_format == "csv" else "\t"
    empty = {"parquet": _parquet(schema.empty_table())}
    data = empty.get(file_format, separator.join(schema.names).encode() + b"\n")
    out = io.BytesIO()
    with RecordWriter(out, format=target) as writer:
        source = io.BytesIO(data)
        assert list(read_records(source, format=file_format, on_header=writer.set_header)) == []
    if target == "parquet":
        found = pq.read_schema(io.BytesIO(out.getvalue()))
        assert found.names == ["n", "text", "output", "status"]
        assert (found.field("n").type == pa.int16()) == (file_format == "parquet")
    else:
        mark = "," if target == "csv" else "\t"
        assert out.getvalue() == mark.join(["n", "text", "output", "status"]).encode() + b"\n"
    with (
        pytest.raises(DataError, match="the input already has a column 'n'"),
        RecordWriter(io.BytesIO(), format=target, columns=("n", "m")) as taken,
    ):
        list(read_records(io.BytesIO(data), format=file_format, on_header=taken.set_header))


class TestParquet:
    """Columns."""

    def test_schema_is_kept(self) -> None:
        """Parquet to Parquet keeps types, metadata and values and adds two string columns."""
        source = _parquet(TYPES)
        before = pq.read_table(io.BytesIO(source))
        after = pq.read_table(io.BytesIO(_convert(_read(source, "parquet"), "parquet")))
        assert after.schema.names == [*before.schema.names, "output", "status"]
        assert after.schema.field("output").type == pa.string()
        kept = after.drop_columns(["output", "status"])
        assert kept.schema.equals(before.schema, check_metadata=True)
        assert [str(kept.column(name)) for name in kept.column_names] == [
            str(before.column(name)) for name in before.column_names
        ]

    def test_to_json(self) -> None:
        """Dates are ISO, bytes base64, decimals strings, NaN and infinity null."""
        lines = _convert(_read(_parquet(TYPES), "parquet"), "jsonl").decode().splitlines()
        first, second, third = map(json.loads, lines)
        assert first["day"] == "2024-02-29"
        assert first["time"].startswith("2024-01-02T03:04:05")
        assert first["ns"] == "1970-01-01T00:00:00.000000001"
        assert (first["bytes"], first["money"], first["list"]) == ("AP8=", "1.10", [1, 2])
        assert (first["struct"], first["null"]) == ({"x": 1.5}, None)
        assert (second["text"], second["number"], third["number"]) == (None, None, None)

    def test_to_csv(self) -> None:
        """Every type has a cell."""
        rows = list(
            csv.DictReader(io.StringIO(_convert(_read(_parquet(TYPES), "parquet"), "csv").decode()))
        )
        assert (rows[0]["list"], rows[1]["list"], rows[1]["text"]) == ("[1, 2]", "", "")
        assert (rows[1]["number"], rows[2]["number"]) == ("nan", "inf")

    @pytest.mark.parametrize(
        "kind",
        [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())],
    )
    def test_text_types(self, kind: Any) -> None:
        """Each string type can be the text."""
        data = _parquet(pa.table({"text": pa.array(["a", None], pa.string()).cast(kind)}))
        assert _texts(data, "parquet") == ["a", None]

    def test_many_batches(self, tmp_path: Path) -> None:
        """Rows that were left out leave no trace, over many batches and row groups."""
        path, out = tmp_path / "in.parquet", tmp_path / "out.parquet"
        kinds = pa.dictionary(pa.int32(), pa.string())
        words = pa.array([f"w{at % 7}" for at in range(150_000)]).cast(kinds)
        pq.write_table(pa.table({"text": words, "n": range(150_000)}), path, row_group_size=50_000)
        with RecordWriter(out) as writer:
            for record in read_records(path):
                if record.index % 3:
                    writer.write(record, {"output": record.text, "status": None})
        table = pq.read_table(out)
        assert table.column("n").to_pylist() == [at for at in range(150_000) if at % 3]
        assert table.column("output").to_pylist() == table.column("text").to_pylist()
        assert pq.ParquetFile(out).num_row_groups == 2

    @pytest.mark.parametrize(
        ("data", "parts"),
        [
            (b"", ["Parquet"]),
            (b"PAR1 this is not a table PAR1", ["Parquet"]),
            (_parquet(pa.table({"text": [1]})), ["expected strings", "int64", "--text-column"]),
            (_parquet(pa.table({"test": ["a"]})), ["'test'", "did you mean"]),
            (
                _parquet(pa.Table.from_arrays([pa.array(["a"])] * 2, names=["text", "text"])),
                ["'text'", "2 times"],
            ),
        ],
    )
    def test_broken(self, data: bytes, parts: list[str]) -> None:
        """A file or column of the wrong kind stops with what was found."""
        _fails(lambda: _read(data, "parquet"), DataError, *parts)

    def test_truncated(self, tmp_path: Path) -> None:
        """Half a Parquet file is an error."""
        path = tmp_path / "a.parquet"
        path.write_bytes(_parquet(TYPES)[:-100])
        _fails(lambda: list(read_records(path)), DataError, str(path))

    def test_column_is_taken(self) -> None:
        """A column of the same name stops at the first record."""
        records = _read(_parquet(pa.table({"text": ["a"], "output": [1]})), "parquet")
        _fails(lambda: _convert(records, "parquet"), DataError, "'output'", "--output-column")

    @pytest.mark.parametrize(
        "odd",
        [
            b'"n": "x"',
            b'"m": 1',
            b'"n": 1, "s": {"x": 1, "y": 2}',
            b'"n": 1.5',
            b'"n": 1' + b"0" * 30,
        ],
    )
    def test_row_does_not_fit(self, tmp_path: Path, odd: bytes) -> None:
        """A row that does not fit names its line, and the rows before it are kept."""
        good = b'{"text": "a", "n": 1, "s": {"x": 1}}\n'
        source, out = tmp_path / "in.jsonl", tmp_path / "out.parquet"
        source.write_bytes(good * 9000 + b'{"text": "b", ' + odd + b"}\n" + good * 5)
        writer = RecordWriter(out)

        def run() -> None:
            with writer:
                for record in read_records(source):
                    writer.write(record, NEW)

        _fails(run, DataError, "line 9001", ".jsonl")
        assert not out.exists()
        assert writer.partial_path == tmp_path / "out.partial.parquet"
        assert len(_dicts(tmp_path / "out.partial.parquet")) == writer.n_written == 9000

    def test_schema_of_late_columns(self) -> None:
        """Columns and types come from all of the first rows."""
        lines = b'{"text": "a"}\n{"text": null, "n": 1}\n{"text": "c", "n": 1.5, "s": {"x": []}}\n'
        table = pq.read_table(io.BytesIO(_convert(_read(lines, "jsonl"), "parquet", o="x")))
        assert table.column("n").to_pylist() == [None, 1.0, 1.5]
        assert table.schema.names == ["text", "n", "s", "o"]

    def test_empty_object(self) -> None:
        """What Parquet itself cannot hold is an error with a remedy."""
        records = _read(b'{"text": "a", "o": {}}', "jsonl")
        _fails(lambda: _convert(records, "parquet"), DataError, ".jsonl")


class TestCompression:
    """gzip and zstd."""

    @pytest.mark.parametrize("suffix", COMPRESSIONS)
    @pytest.mark.parametrize("file_format", FORMATS)
    def test_round_trip(self, tmp_path: Path, file_format: str, suffix: str) -> None:
        """Each format is written and read in each compression, the last row too."""
        path = tmp_path / f"out.{file_format}{suffix}"
        records = _jsonl(3)
        with RecordWriter(path) as writer:
            for record in records:
                writer.write(record, {"output": record.text, "status": "clean"})
        column = "text" if file_format == "txt" else "output"
        again = [record.text for record in read_records(path, text_column=column)]
        assert again == ["text 0", "text 1", "text 2"]
        assert os.listdir(tmp_path) == [path.name]
        assert writer.partial_path is None

    def test_several_members(self) -> None:
        """Concatenated gzip members and zstd frames are one file, in streams too."""
        assert _texts(gzip.compress(b"a\nb") + gzip.compress(b"c\nd\n"), "txt") == ["a", "bc", "d"]
        assert _texts(_zstd(b"a\nb") + _zstd(b"c\nd\n"), "txt") == ["a", "bc", "d"]

    def test_blocks(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Blocks join to one file that other tools read."""
        monkeypatch.setattr(writing_module, "_BLOCK_BYTES", 10)
        path = tmp_path / "out.txt.gz"
        with RecordWriter(path) as writer:
            for record in _jsonl(5):
                writer.write(record, {"output": record.text, "status": ""})
        expected = b"".join(b"text %d\n" % at for at in range(5))
        assert gzip.decompress(path.read_bytes()) == expected

    @pytest.mark.parametrize("pack", [gzip.compress, _zstd])
    def test_truncated(self, pack: Callable[[bytes], bytes]) -> None:
        """A truncated file says how many records were read."""
        data = pack(os.urandom(300_000).hex().encode() + b"\n") + pack(b"x\n" * 10)
        _fails(lambda: _read(data[:-3], "txt"), DataError, "records were read", "standard input")

    def test_name_and_content_differ(self, tmp_path: Path) -> None:
        """A .gz file that is not gzip is refused; gzip without the suffix is read."""
        (tmp_path / "a.txt.gz").write_bytes(b"plain")
        _fails(lambda: list(read_records(tmp_path / "a.txt.gz")), DataError, "gzip", "rename")
        (tmp_path / "a.txt").write_bytes(gzip.compress(b"plain"))
        assert [record.text for record in read_records(tmp_path / "a.txt")] == ["plain"]

    @pytest.mark.parametrize("pack", [lambda data: data, gzip.compress, _zstd])
    def test_streams_stay_open(self, pack: Callable[[bytes], bytes]) -> None:
        """The caller's streams are not closed."""
        source, target = io.BytesIO(pack(_parquet(TYPES))), io.BytesIO()
        with RecordWriter(target, format="parquet") as writer:
            for record in read_records(source, format="parquet"):
                writer.write(record, NEW)
        del writer
        assert not source.closed
        assert not target.closed


class TestFiles:
    """Files that cannot be opened or written."""

    def test_missing(self, tmp_path: Path) -> None:
        """A missing file, a folder and a missing target folder are one sentence each."""
        missing = tmp_path / "no" / "a.csv"
        _fails(lambda: list(read_records(missing)), FileError, str(missing), "no such file")
        _fails(lambda: RecordWriter(missing), FileError, str(missing), "no such file")
        _fails(lambda: RecordWriter(tmp_path, format="csv"), FileError, "folder")
        _fails(lambda: list(read_records(tmp_path, format="txt")), FileError, "directory")
        _fails(lambda: RecordWriter(missing.with_suffix(".parquet")), FileError, "no such file")

    def test_no_permission(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A file that may not be opened says so."""

        def refuse(*args: object, **options: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "open", refuse)
        path = tmp_path / "a.csv"
        _fails(lambda: list(read_records(path)), FileError, str(path), "permission denied")
        _fails(lambda: RecordWriter(path), FileError, str(path), "permission denied")

    @pytest.mark.parametrize("file_format", FORMATS)
    def test_full_device(self, file_format: str) -> None:
        """A full disk behind standard output or a device is one sentence."""

        def run(target: Any) -> None:
            with RecordWriter(target, format=file_format) as writer:
                for record in _jsonl(3):
                    writer.write(record, NEW)

        with Path("/dev/full").open("wb", buffering=0) as stream:
            _fails(lambda: run(stream), FileError, "standard output", "no space left", "free")
        _fails(lambda: run(Path("/dev/full")), FileError, "/dev/full", "no space left")

    def test_device_is_not_replaced(self) -> None:
        """A device as target is written to, not replaced by a file."""
        with RecordWriter(Path("/dev/null"), format="jsonl") as writer:
            writer.write(_jsonl(1)[0], NEW)
        assert Path("/dev/null").is_char_device()

    @pytest.mark.parametrize("suffix", COMPRESSIONS)
    def test_full_disk(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
        """When the disk is full, the blocks before stay a valid file."""
        monkeypatch.setattr(writing_module, "_BLOCK_BYTES", 100)
        real = writing_module._write_all
        n_blocks = 0

        def fill(stream: Any, data: Any) -> None:
            nonlocal n_blocks
            n_blocks += 1
            real(stream, data if n_blocks < 4 else data[:5])
            if n_blocks >= 4:
                raise OSError(28, "No space left on device")

        monkeypatch.setattr(writing_module, "_write_all", fill)
        path = tmp_path / f"out.csv{suffix}"
        writer = RecordWriter(path)

        def run() -> None:
            with writer:
                for record in _jsonl(100):
                    writer.write(record, {"output": record.text, "status": "clean"})

        _fails(run, FileError, str(path), "no space left", "free some space")
        assert writer.partial_path is not None
        assert not path.exists()
        rows = _dicts(writer.partial_path)
        assert len(rows) == writer.n_written > 5
        assert [row["output"] for row in rows] == [f"text {at}" for at in range(len(rows))]

    def test_broken_pipe(self) -> None:
        """A reader that went away is the caller's to handle."""

        def run(writer: RecordWriter, record: Record) -> None:
            with writer:
                for _ in range(100):
                    writer.write(record, NEW)

        read_end, write_end = os.pipe()
        os.close(read_end)
        stream = os.fdopen(write_end, "wb")
        record = _jsonl(1)[0]
        with pytest.raises(BrokenPipeError):
            run(RecordWriter(stream, format="csv"), record)
        with contextlib.suppress(BrokenPipeError):
            stream.close()

    def test_stream_gets_rows_at_once(self) -> None:
        """A pipe's reader has each row when it is written."""
        read_end, write_end = os.pipe()
        with os.fdopen(read_end, "rb") as reader, os.fdopen(write_end, "wb") as stream:
            writer = RecordWriter(stream, format="jsonl", columns=("o",))
            writer.write(_jsonl(1)[0], {"o": 1.5})
            assert os.read(reader.fileno(), 100) == b'{"text": "text 0", "o": 1.5}\n'

    def test_unbuffered_stream(self) -> None:
        """A stream that takes a few bytes at a time gets them all."""

        class Slow(io.RawIOBase):
            taken = b""

            def writable(self) -> bool:
                return True

            def write(self, data: Any) -> int:
                self.taken += bytes(data[:3])
                return len(data[:3])

        slow = Slow()
        stream: Any = slow
        with RecordWriter(stream, format="jsonl", columns=("o",)) as writer:
            writer.write(_jsonl(1)[0], {"o": "x"})
        assert slow.taken == b'{"text": "text 0", "o": "x"}\n'


class TestWhole:
    """Whole or not at all."""

    @pytest.mark.parametrize("suffix", COMPRESSIONS)
    @pytest.mark.parametrize("file_format", FORMATS)
    @pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
    def test_interrupt(
        self, tmp_path: Path, file_format: str, suffix: str, error: type[BaseException]
    ) -> None:
        """An interrupt keeps the finished rows in a valid file and the target as it was."""
        path = tmp_path / f"out.v1.{file_format}{suffix}"
        path.write_bytes(b"before")
        writer = RecordWriter(path)

        def run() -> None:
            with writer:
                for record in _jsonl(10):
                    if record.index == 7:
                        raise error
                    writer.write(record, {"output": record.text, "status": "clean"})

        with pytest.raises(error):
            run()
        assert path.read_bytes() == b"before"
        assert writer.partial_path == tmp_path / f"out.v1.partial.{file_format}{suffix}"
        column = "text" if file_format == "txt" else "output"
        kept = [record.text for record in read_records(writer.partial_path, text_column=column)]
        assert kept == [f"text {at}" for at in range(7)]
        assert writer.n_written == 7

    @pytest.mark.parametrize("file_format", FORMATS)
    def test_interrupt_without_rows(self, tmp_path: Path, file_format: str) -> None:
        """Without a finished row nothing is left."""
        writer = RecordWriter(tmp_path / f"out.{file_format}")
        with pytest.raises(KeyboardInterrupt), writer:
            raise KeyboardInterrupt
        assert writer.partial_path is None
        assert os.listdir(tmp_path) == []

    @pytest.mark.parametrize("name", ["out.csv.gz", "out.parquet"])
    def test_interrupt_after_a_block(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        """An interrupt right after bytes went to the file writes no row twice."""
        target: Any = pq.ParquetWriter if name.endswith("parquet") else writing_module
        method = "write_table" if name.endswith("parquet") else "_write_all"
        monkeypatch.setattr("promptdetox.records.parquet._GROUP_ROWS", 2000)
        monkeypatch.setattr(writing_module, "_BLOCK_BYTES", 2000)
        real = getattr(target, method)
        n_calls = 0

        def interrupt(*args: Any, **options: Any) -> None:
            nonlocal n_calls
            real(*args, **options)
            n_calls += 1
            if n_calls == 2:
                raise KeyboardInterrupt

        monkeypatch.setattr(target, method, interrupt)
        writer = RecordWriter(tmp_path / name)
        records = _read(b"".join(b"t,%d\n" % at for at in range(20_000)), "txt")

        def run() -> None:
            with writer:
                for record in records:
                    writer.write(record, {"output": record.text, "status": "clean"})

        with pytest.raises(KeyboardInterrupt):
            run()
        assert writer.partial_path is not None
        kept = [row["output"] for row in _dicts(writer.partial_path)]
        assert kept == [f"t,{at}" for at in range(writer.n_written)]

    @pytest.mark.parametrize("file_format", ["txt", "jsonl", "csv", "tsv", "parquet"])
    def test_same_path(self, tmp_path: Path, file_format: str) -> None:
        """A file can be read and written under one name, and keeps its mode."""
        path = tmp_path / f"a.{file_format}"
        path.write_bytes(_convert(_read(b"x\ny\n", "txt"), file_format, o="mild"))
        path.chmod(0o640)
        with RecordWriter(path) as writer:
            for record in read_records(path):
                writer.write(record, NEW)
        assert len(list(read_records(path))) == 2
        assert path.stat().st_mode & 0o777 == 0o640

    def test_symlink(self, tmp_path: Path) -> None:
        """A link stays a link; the file it names is the one replaced."""
        (tmp_path / "real.txt").write_text("before")
        (tmp_path / "link.txt").symlink_to("real.txt")
        with RecordWriter(tmp_path / "link.txt") as writer:
            writer.write(_jsonl(1)[0], NEW)
        assert (tmp_path / "link.txt").is_symlink()
        assert (tmp_path / "real.txt").read_text() == "kind words\n"

    def test_rename_fails(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """When the last step fails, the rows are kept beside the target."""

        def refuse(*args: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(os, "replace", refuse)
        writer = RecordWriter(tmp_path / "out.csv")

        def run() -> None:
            with writer:
                writer.write(_jsonl(1)[0], NEW)

        _fails(run, FileError, "out.csv", "permission denied")
        assert writer.partial_path is not None
        assert len(_dicts(writer.partial_path)) == 1

    def test_memory_is_constant(self, tmp_path: Path) -> None:
        """A million lines need no more memory than a few thousand."""
        path = tmp_path / "a.txt"
        with path.open("wb") as file:
            for at in range(1_000_000):
                file.write(b"A mild comment, the number %d of many.\n" % at)
        code = (
            "import sys; from pathlib import Path; from promptdetox.records import *\n"
            # Not getrusage: a process inherits the peak of the one that started it, pytest's.
            "def peak():\n"
            "    status = Path('/proc/self/status').read_text()\n"
            "    return int(status.split('VmHWM:')[1].split()[0])\n"
            "before = peak()\n"
            "with RecordWriter(Path(sys.argv[1] + '.jsonl')) as w:\n"
            "    for r in read_records(Path(sys.argv[1])):\n"
            "        w.write(r, dict(output=r.text, status='clean'))\n"
            "assert w.n_written == 1_000_000\n"
            "print((peak() - before) // 1024)"
        )
        run = subprocess.run(
            [sys.executable, "-c", code, str(path)], check=True, capture_output=True
        )
        assert int(run.stdout) < 40
