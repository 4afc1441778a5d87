"""Records survive their files."""

from __future__ import annotations

import io
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from promptdetox.records import RecordWriter, read_records
from promptdetox.types import Record

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
LINE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"))
CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r\t"))
ANY_TEXT = st.text(st.characters(exclude_categories=[]))  # lone surrogates too
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
NEW = ("text", "output", "status")


def _read(data: bytes, file_format: str, column: str = "text") -> list[Record]:
    return list(read_records(io.BytesIO(data), format=file_format, text_column=column))


def _write(records: list[Record], outputs: list[str], file_format: str) -> bytes:
    stream = io.BytesIO()
    with RecordWriter(stream, format=file_format) as writer:
        for record, output in zip(records, outputs, strict=True):
            writer.write(record, {"output": output, "status": "clean"})
    return stream.getvalue()


def _from_json(texts: list[str]) -> list[Record]:
    return _read(b"".join(json.dumps({"text": t}).encode() + b"\n" for t in texts), "jsonl")


def _check_round_trip(texts: list[str], file_format: str) -> None:
    data = _write(_from_json(texts), texts, file_format)
    for column in ("text", "output"):
        assert [record.text for record in _read(data, file_format, column)] == texts


@given(st.lists(LINE))
def test_txt(texts: list[str]) -> None:
    """Any text without \\n survives txt; a leading U+FEFF is a byte order mark."""
    texts = ["first", *texts]
    data = _write(_from_json(texts), texts, "txt")
    assert [record.text for record in _read(data, "txt")] == texts


@given(st.lists(TEXT, min_size=1))
def test_csv(texts: list[str]) -> None:
    """Any text survives CSV, NUL and every line break included."""
    _check_round_trip(texts, "csv")


@given(st.lists(CELL, min_size=1))
def test_tsv(texts: list[str]) -> None:
    """Any text without tab and line break survives TSV."""
    _check_round_trip(texts, "tsv")


@given(st.lists(TEXT, min_size=1))
def test_parquet(texts: list[str]) -> None:
    """Any text survives Parquet."""
    _check_round_trip(texts, "parquet")


@given(st.lists(TEXT, min_size=1))
def test_jsonl(texts: list[str]) -> None:
    """Any text survives JSONL."""
    _check_round_trip(texts, "jsonl")


@given(ANY_TEXT.filter(lambda text: json.loads(json.dumps(text)) == text))
def test_lone_surrogates(text: str) -> None:
    """Lone surrogates survive JSONL; elsewhere each becomes U+FFFD."""
    assert [r.text for r in _read(_write(_from_json([text]), [text], "jsonl"), "jsonl")] == [text]
    expected = "".join("\ufffd" if 0xD800 <= ord(char) < 0xE000 else char for char in text)
    for file_format in ("csv", "parquet"):
        data = _write(_from_json([text]), [text], file_format)
        assert [record.text for record in _read(data, file_format)] == [expected]


@given(st.dictionaries(TEXT.filter(lambda key: key not in NEW), JSON), TEXT, st.booleans())
def test_json_is_kept(row: dict[str, Any], text: str, is_ascii: bool) -> None:
    """JSONL to JSONL keeps the object's own characters and adds two members."""
    line = json.dumps({**row, "text": text}, ensure_ascii=is_ascii).encode()
    out = _write(_read(line, "jsonl"), [text], "jsonl")
    assert out.startswith(line[:-1] + b', "output": ')
    assert json.loads(out) == {**row, "text": text, "output": text, "status": "clean"}


@given(st.dictionaries(CELL, CELL, max_size=4), st.sampled_from(["csv", "tsv"]))
def test_cells_are_kept(row: dict[str, str], file_format: str) -> None:
    """Tables keep the names, the order and the characters of all columns."""
    row = {"text": "a", **{name: cell for name, cell in row.items() if name not in NEW}}
    data = _write(_read(json.dumps(row).encode(), "jsonl"), ["b"], file_format)
    (record,) = _read(data, file_format)
    expected = [*row.items(), ("output", "b"), ("status", "clean")]
    assert list(record.row.as_dict().items()) == expected
