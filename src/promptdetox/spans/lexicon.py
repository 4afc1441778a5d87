"""Tag words that stand in a list: the simplest tagger, and a baseline that is hard to beat."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path

from promptdetox.errors import DataError, FileError, UsageError
from promptdetox.types import CATEGORIES, Reading, Span

# A word may hold the signs that mask letters (f*ck, a$$, sh!t); underscores separate. Possessive,
# as keeping the way back costs four times the time on a word of a megabyte.
_TOKEN = re.compile(r"(?:[^\W_]|[*@$!'’])++")
_EDGES = "*@!'’"
# Category of a term -> what it says of a text. Severity is nothing that a word shows.
_SCORED_AS = {
    "slur": ("identity_attack", "hateful"),
    "sexual": ("sexually_explicit", "profanity"),
    **{name: (name,) for name in CATEGORIES if name not in ("toxicity", "severe_toxicity")},
}
_ANY = 1e-6
# What names columns in a first line.
_HEADERS = (
    "term",
    "word",
    "words",
    "phrase",
    "text",
    "match",
    "score",
    "category",
    "note",
    "source",
)
_CATEGORIES = tuple(name for name in CATEGORIES if name != "severe_toxicity")


class LexiconTagger:
    """Finds the terms of a list as whole words, whatever their case; the longest term wins.

    Linear in the length of the text. Matching words is not understanding: quoted, reclaimed and
    literal uses are found too.

    Source: the word-list baseline of Logacheva et al. 2022, ParaDetox,
    https://aclanthology.org/2022.acl-long.469

    Args:
        terms: Term -> (score in 0..1, category); a term is one or more words.
    """

    def __init__(self, terms: Mapping[str, tuple[float, str]]) -> None:
        self._by_first: dict[str, list[tuple[tuple[str, ...], Span]]] = {}
        self._category_of: dict[str, str] = {}
        signs: list[tuple[str, Span]] = []  # emoji, U.S., C++
        for term, (score, category) in terms.items():
            reason = f"lexicon: {term}" + (f" ({category})" if category else "")
            self._category_of[reason] = category
            found = Span(0, 1, score, reason)
            if _is_words(term):
                words = tuple(_key(word) for word in _words_of(term))
                self._by_first.setdefault(words[0], []).append((words, found))
            else:
                signs.append((term, found))
        signs.sort(key=lambda entry: -len(entry[0]))
        # The number of the group that matched says which term it was.
        groups = "|".join(f"({_literal(term)})" for term, _ in signs)
        self._signs = re.compile(groups, re.IGNORECASE) if signs else None
        self._sign_spans = [found for _, found in signs]
        for entries in self._by_first.values():
            entries.sort(key=lambda entry: -len(entry[0]))
        self._n = len(terms)
        self._words = frozenset(term for term in terms if " " not in term)
        content = json.dumps(sorted((term, *rest) for term, rest in terms.items()))
        self._digest = hashlib.sha256(content.encode()).hexdigest()

    def __len__(self) -> int:
        return self._n

    @property
    def digest(self) -> str:
        """sha256 of the terms, hex."""
        return self._digest

    @property
    def words(self) -> frozenset[str]:
        """The terms of one word."""
        return self._words

    @property
    def thresholds(self) -> Mapping[str, float]:
        """A word of the list is enough."""
        return {"toxicity": _ANY, "hateful": _ANY}

    def tag(self, texts: Sequence[str]) -> list[tuple[Span, ...]]:
        """Return the spans of each text, sorted, not overlapping."""
        if self._signs is None:
            return [tuple(self._find(text)) for text in texts]
        return [tuple(self._add_signs(text, self._find(text))) for text in texts]

    def read(self, texts: Sequence[str]) -> list[Reading]:
        """Return the spans of each text, and scores by the categories of their terms."""
        return [Reading(spans, self._score(spans)) for spans in self.tag(texts)]

    def _score(self, spans: Sequence[Span]) -> dict[str, float]:
        scores = dict.fromkeys(_CATEGORIES, 0.0)
        for span in spans:
            for category in ("toxicity", *_SCORED_AS.get(self._category_of[span.reason], ())):
                scores[category] = max(scores[category], span.score)
        return scores

    def _add_signs(self, text: str, spans: Iterator[Span]) -> list[Span]:
        assert self._signs is not None
        found = list(spans)
        for match in self._signs.finditer(text):
            term = self._sign_spans[(match.lastindex or 1) - 1]
            found.append(Span(match.start(), match.end(), term.score, term.reason))
        return _without_overlaps(found)

    def _find(self, text: str) -> Iterator[Span]:
        free_from = 0
        for match in _TOKEN.finditer(text):
            if match.start() < free_from:
                continue
            if match[0].isalpha() and match[0].lower() not in self._by_first:
                continue  # most words, and they have one reading only
            for start, end, key in _readings(match):
                entry = self._match(text, end, key)
                if entry is not None:
                    free_from, found = entry
                    yield Span(start, free_from, found.score, found.reason)
                    break

    def _match(self, text: str, end: int, key: str) -> tuple[int, Span] | None:
        """Return where the longest term that begins with this word ends, and the term."""
        for words, found in self._by_first.get(key, ()):
            at = end
            for word in words[1:]:
                match = _TOKEN.search(text, at, at + len(word) + 16)
                # Only white space may stand between the words of a phrase.
                if match is None or not text[at : match.start()].isspace():
                    break
                following = next((e for _, e, k in _readings(match) if k == word), None)
                if following is None:
                    break
                at = following
            else:
                return at, found
        return None


def _readings(match: re.Match[str]) -> Iterator[tuple[int, int, str]]:
    """Yield (start, end, key): the word as it stands, without signs around it, without 's."""
    token, start = match[0], match.start()
    yield start, match.end(), _key(token)
    core = token.strip(_EDGES)
    if core and core != token:
        start += token.index(core)
        yield start, start + len(core), _key(core)
    if len(core) > 2 and core[-2] in "'’" and core[-1] in "sS":
        yield start, start + len(core) - 2, _key(core[:-2])


def _is_words(term: str) -> bool:
    """Tell whether a term is made of words with white space between, and nothing else."""
    return bool(_words_of(term)) and "".join(_words_of(term)) == "".join(term.split())


def _literal(term: str) -> str:
    """Return the pattern of a term with signs in it: no letter may go on where it has one."""
    begin = r"(?<!\w)" if term[0].isalnum() else ""
    end = r"(?!\w)" if term[-1].isalnum() else ""
    return f"{begin}{re.escape(term)}{end}"


def _without_overlaps(spans: Sequence[Span]) -> list[Span]:
    """Return the spans in order; of two that overlap the first, or the longer, stays."""
    kept: list[Span] = []
    for span in sorted(spans, key=lambda span: (span.start, -span.end)):
        if not kept or span.start >= kept[-1].end:
            kept.append(span)
    return kept


def _key(word: str) -> str:
    return word.lower().replace("’", "'")


def _words_of(term: str) -> list[str]:
    return [match[0] for match in _TOKEN.finditer(term)]


@cache
def load_default() -> LexiconTagger:
    """Return the tagger with the shipped lexicon, ``lexicon-en.v1``."""
    path = resources.files("promptdetox").joinpath("weights/lexicon-en.v1.tsv")
    return LexiconTagger(_parse_table(path.read_text("utf-8"), "\t", "lexicon-en.v1.tsv"))


@cache
def load_allowed() -> LexiconTagger:
    """Return the terms that are no insult though they hold one: ``allow-en.v1``, by us."""
    path = resources.files("promptdetox").joinpath("weights/allow-en.v1.tsv")
    return LexiconTagger(_parse_table(path.read_text("utf-8"), "\t", "allow-en.v1.tsv"))


def load_lexicon(path: Path) -> LexiconTagger:
    """Return a tagger for a user's own list.

    Args:
        path: ``.txt`` with one term a line; ``.tsv`` or ``.csv`` with the columns term, score and
            category, the last two optional; ``.json`` with a list of terms, or of objects with
            ``term`` (or ``match``, alternatives separated by ``|``). ``#`` begins a comment line.

    Raises:
        DataError: A line is broken, or the list is empty.
        FileError: The file cannot be read.
        UsageError: Unknown file ending.
    """
    try:
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise FileError(f"cannot read the word list {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"the word list {path} is not UTF-8: {error}; convert it.") from error
    suffix = path.suffix.lower()
    if suffix == ".txt":
        lines = [line.strip() for line in text.splitlines()]
        terms = {line: (1.0, "") for line in lines if line and not line.startswith("#")}
    elif suffix in (".tsv", ".csv"):
        terms = _parse_table(text, "\t" if suffix == ".tsv" else ",", str(path))
    elif suffix == ".json":
        terms = _parse_json(text, str(path))
    else:
        raise UsageError(f"the word list {path}: expected .txt, .tsv, .csv or .json.")
    if not terms:
        raise DataError(f"the word list {path} is empty: expected at least one term.")
    return LexiconTagger(terms)


def _parse_table(text: str, separator: str, name: str) -> dict[str, tuple[float, str]]:
    terms: dict[str, tuple[float, str]] = {}
    for number, cells in enumerate(_table_rows(text, separator, name), start=1):
        if not cells or cells[0].startswith("#") or not cells[0].strip():
            continue
        if not terms and all(cell.strip().lower() in _HEADERS for cell in cells):
            continue
        try:
            score = float(cells[1]) if len(cells) > 1 and cells[1].strip() else 1.0
        except ValueError as error:
            raise DataError(
                f"{name}, line {number}: the score {cells[1]!r} is no number; expected 0 to 1."
            ) from error
        if not 0 <= score <= 1:
            raise DataError(f"{name}, line {number}: the score is {score}; expected 0 to 1.")
        terms[cells[0].strip()] = (score, cells[2].strip() if len(cells) > 2 else "")
    return terms


def _table_rows(text: str, separator: str, name: str) -> Iterator[list[str]]:
    rows = csv.reader(text.splitlines(), delimiter=separator, strict=True)
    try:
        yield from rows
    except csv.Error as error:
        raise DataError(
            f"{name}, line {rows.line_num}: the row is broken ({error}); look for a quote that is "
            "not closed."
        ) from error


def _parse_json(text: str, name: str) -> dict[str, tuple[float, str]]:
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"the word list {name} is no JSON: {error}.") from error
    terms: dict[str, tuple[float, str]] = {}
    for number, row in enumerate(rows if isinstance(rows, list) else [None], start=1):
        value = row.get("term", row.get("match")) if isinstance(row, dict) else row
        if not isinstance(value, str):
            raise DataError(
                f"the word list {name}, entry {number}: expected a list of strings or of objects "
                "with 'term'."
            )
        terms |= {term: (1.0, "") for part in value.split("|") if (term := part.strip())}
    return terms
