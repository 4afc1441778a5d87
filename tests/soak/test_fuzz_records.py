"""Any bytes as a file: records, or one sentence with the file and the line."""

from __future__ import annotations

import gzip
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptdetox.records import FORMATS, read_records

from .damage import damaged, survive
from .scale import fuzz

CODEC = pa.Codec("zstd")
PACKS: dict[str, Callable[[bytes], bytes]] = {
    "": lambda data: data,
    ".gz": gzip.compress,
    ".zst": lambda data: bytes(CODEC.compress(data, asbytes=True)),
}
INSERTS = st.one_of(
    st.sampled_from([b'"', b",", b"\t", b"\n", b"\r", b"\r\n", b"\x00", b"\xff"]),
    st.sampled_from([b"\xef\xbb\xbf", b"\xff\xfe", b"{", b"[" * 2000, b"9" * 5000]),
    st.sampled_from([b"\\ud800", b"1e999", b"NaN", b"text", b"PAR1"]),
)
ROWS: list[dict[str, Any]] = [
    {"id": 1, "text": "you idiot", "more": [1.5, None, {"x": "é"}]},
    {"id": 2, "text": 'a "quoted", line\nbreak', "more": []},
    {"id": 3, "text": None, "more": [2.5, None, {"x": "\N{DOG}"}]},
]


def _parquet() -> bytes:
    stream = io.BytesIO()
    columns = {
        "text": pa.array([row["text"] for row in ROWS] * 20),
        "words": pa.array(["a", "b", None] * 20, pa.dictionary(pa.int8(), pa.string())),
        "lists": pa.array([[1], None, []] * 20, pa.list_(pa.int16())),
        "times": pa.array([0, 1, None] * 20, pa.timestamp("ns")),
    }
    pq.write_table(pa.table(columns), stream, row_group_size=16)
    return stream.getvalue()


SAMPLES = {
    "txt": "you idiot\n\n naïve 漢字\r\nlast".encode(),
    "jsonl": "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS).encode(),
    "csv": 'id,text,more\n1,you idiot,\n2,"a ""b"",\nc",é\n3,,x\n'.encode(),
    "tsv": 'id\ttext\tmore\n1\tyou idiot\t\n2\t"a\té\n3\t\tx\n'.encode(),
    "parquet": _parquet(),
}
assert set(SAMPLES) == set(FORMATS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all examples share."""
    return tmp_path_factory.mktemp("fuzz")


def _read(path: Path) -> None:
    line = 0
    for index, record in enumerate(read_records(path)):
        assert record.index == index
        assert record.line > line
        line = record.line
        assert record.text is None or isinstance(record.text, str)
        assert record.row.as_dict()["text"] == record.text


@pytest.mark.parametrize("ending", PACKS)
@pytest.mark.parametrize("name", FORMATS)
@given(data=st.data())
@fuzz(150)
def test_any_bytes_as_a_file(name: str, ending: str, folder: Path, data: st.DataObject) -> None:
    """Whatever the bytes, there are records, or one sentence with the file and the line."""
    inside = data.draw(st.one_of(st.binary(), damaged(SAMPLES[name], inserts=INSERTS)))
    content = PACKS[ending](inside)
    if ending and data.draw(st.booleans()):
        content = data.draw(damaged(content, inserts=INSERTS))
    path = folder / f"in.{name}{ending}"
    path.write_bytes(content)
    error = survive(lambda: _read(path), str(path))
    if error is not None and name != "parquet" and not ending:
        assert re.search(r", line \d+|records were read", str(error))
