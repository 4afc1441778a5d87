"""CoNLL files: one word and its tag a line, an empty line between texts.

::

    You    O
    total  B-TOXIC
    idiot  I-TOXIC

Source: Tjong Kim Sang and De Meulder 2003, https://aclanthology.org/W03-0419.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from promptdetox.errors import DataError, FileError

SUFFIXES = (".conll", ".bio", ".iob", ".iob2")
# What a tag without a name marks.
DEFAULT_LABEL = "TOXIC"
# The names of the schemes' letters, as BIO: BIOES and BILOU mark the end and the only word.
_LETTERS = {"B": "B", "I": "I", "E": "I", "L": "I", "M": "I", "S": "B", "U": "B"}


@dataclass(frozen=True, slots=True)
class TaggedWords:
    """One text of the file.

    Attributes:
        line: Its first line, from 1.
        words: As they stand there.
        tags: One a word, BIO: ``O``, ``B-TOXIC``, ``I-TOXIC``.
    """

    line: int
    words: tuple[str, ...]
    tags: tuple[str, ...]


def read_conll(path: Path) -> Iterator[TaggedWords]:
    """Yield the texts of a file; the word is the first column, the tag the last.

    Tags may be BIO, IOB, BIOES, BILOU, bare letters of these, or bare names; ``-DOCSTART-`` lines
    are passed over.

    Raises:
        DataError: A line has no tag, a tag has no name, or the file is not UTF-8.
        FileError: The file cannot be read.
    """
    words: list[str] = []
    tags: list[str] = []
    begun = 1
    for number, line in _read_lines(path):
        cells = line.split()
        if not cells or cells[0] == "-DOCSTART-":
            if words:
                yield TaggedWords(begun, tuple(words), _to_bio(tags))
            words, tags = [], []
            continue
        if len(cells) < 2:
            raise DataError(
                f"{path}, line {number}: {line.strip()!r} has no tag; expected a word and its "
                "tag, with white space between."
            )
        if cells[-1].endswith("-") and cells[-1][0] in _LETTERS:
            raise DataError(
                f"{path}, line {number}: the tag {cells[-1]!r} has no name; expected O, or such "
                "as B-TOXIC."
            )
        begun = begun if words else number
        words.append(cells[0])
        tags.append(cells[-1])
    if words:
        yield TaggedWords(begun, tuple(words), _to_bio(tags))


def _read_lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        with path.open(encoding="utf-8-sig") as file:
            yield from enumerate(file, start=1)
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8: {error}; convert it.") from error


def _to_bio(tags: list[str]) -> tuple[str, ...]:
    found: list[str] = []
    before = ""
    for tag in tags:
        if tag == "O":
            before = ""
            found.append(tag)
            continue
        letter, dash, name = tag.partition("-")
        if letter not in _LETTERS:
            letter, name = "I", tag  # a bare name
        elif not dash:
            name = DEFAULT_LABEL  # a bare letter
        begins = _LETTERS[letter] == "B" or name != before
        found.append(f"{'B' if begins else 'I'}-{name}")
        before = name
    return tuple(found)
