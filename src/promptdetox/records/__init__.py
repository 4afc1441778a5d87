"""Files <-> records, streaming: txt, JSONL, CSV, TSV and Parquet, plain, gzip or zstd.

::

    for record in read_records(Path("comments.csv.gz"), text_column="comment"):
        record.text, record.line, record.row.as_dict()

    with RecordWriter(Path("out.parquet"), columns=("output", "status")) as writer:
        writer.write(record, {"output": "...", "status": "rewritten"})

All other columns keep their order and their types; within one format they are kept as written. An
output file appears whole or not at all; what an interrupted run had finished is kept beside it.
"""

from promptdetox.records.formats import FORMATS, format_of
from promptdetox.records.reading import read_records
from promptdetox.records.writing import RecordWriter

__all__ = ["FORMATS", "RecordWriter", "format_of", "read_records"]
