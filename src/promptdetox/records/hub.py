"""Data sets on the Hugging Face hub -> records; the only reader that may use the network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from promptdetox.errors import DataError
from promptdetox.records.rows import JsonRow
from promptdetox.records.tables import missing_column
from promptdetox.types import Record

HUB_PREFIX = "hf:"


def read_hub(name: str, *, text_column: str = "text") -> Iterator[Record]:
    """Yield the rows of a data set.

    Args:
        name: ``hf:owner/name``, ``hf:owner/name/configuration``, either with ``:split`` behind it
            (default: train); or ``hf:`` and a folder that `datasets` can read.
        text_column: Column of the text.

    Raises:
        DataError: `datasets` is not installed, the hub does not give it, or a column is missing.

    Source: https://huggingface.co/docs/datasets
    """
    try:
        import datasets
    except ImportError as error:
        raise DataError(
            f"{name}: data sets of the hub need the package datasets: run `pip install "
            "'promptdetox[hub]'`, or give a file."
        ) from error
    wanted, _, split = name.removeprefix(HUB_PREFIX).partition(":")
    path, configuration = wanted, None
    if not Path(wanted).is_dir() and wanted.count("/") == 2:
        path, _, configuration = wanted.rpartition("/")
    try:
        # Streaming: a file on the hub is read once, not copied into a cache.
        rows = datasets.load_dataset(path, configuration, split=split or "train", streaming=True)
        for index, values in enumerate(rows):
            if text_column not in values:
                raise missing_column(name, text_column, list(values))
            text = values[text_column]
            yield Record(index, index + 1, None if text is None else str(text), JsonRow("", values))
    except DataError:
        raise
    except Exception as error:  # datasets and the hub raise a dozen kinds
        raise DataError(
            f"cannot get {name} ({type(error).__name__}: {' '.join(str(error).split())[:200]}): "
            "check the name, the split and the network, or download it elsewhere and give the file."
        ) from error
