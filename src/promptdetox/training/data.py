"""Rows to learn from: of a file, or of a data set on the hub."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from promptdetox.config import TrainConfig
from promptdetox.records import read_records
from promptdetox.records.hub import HUB_PREFIX, read_hub
from promptdetox.types import Record


def read_rows(name: str, config: TrainConfig) -> Iterator[Record]:
    """Yield the rows of ``--data`` or ``--dev``.

    Args:
        name: A file, or ``hf:`` and a data set's name.
        config: Names the column of the text.

    Raises:
        DataError: A row is not what was expected, or the hub does not give the data set.
        FileError: The file is missing.
    """
    if name.startswith(HUB_PREFIX):
        yield from read_hub(name, text_column=config.text_column)
    else:
        yield from read_records(Path(name), text_column=config.text_column)
