"""Letters that are repeated for emphasis, or to hide a word: ``idiooooot``, ``sooo``.

Three or more of a letter become one, or two if that makes a listed word or a frequent English one
(``goooood`` is ``good``). Left alone are words of one letter (``www``, ``aaa``), words without a
vowel (``hmmm``), Roman numerals, capitals that stand out (``AmeriKKKa``), short capitals with
three of a letter (``IEEE``), and words of eight letters or more with three of a letter inside, as
German has them (``Schifffahrt``).

With a word list, two of a, i or u become one too if that makes a listed word (``idiiot``).

Known failure: a double letter that is on no list is lost (``leeeze`` is ``leze``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product

from promptdetox.normalize.offsets import Edit
from promptdetox.normalize.vocabulary import DOUBLES, VOWELS, Vocabulary

_STRETCHED = re.compile(r"(?i)(?<![\w@#.])(?=[a-z]*?([a-z])\1\1)[a-z]++(?![\w@])")
_DOUBLED = re.compile(r"(?i)(?<![\w@#.])(?=[a-z]*?(?:([aiu])\1|([a-z])\2\2))[a-z]++(?![\w@])")
_LETTERS = re.compile(r"(?is)([a-z])\1*")
_ROMAN = re.compile("M*(?:C[MD]|D?C{0,4})(?:X[CL]|L?X{0,4})(?:I[XV]|V?I{0,4})")
_GERMAN_TRIPLES = frozenset("eflmnoprst")
# Doubles that are right, and are a listed word without: a religious group.
_RIGHT = frozenset({"shiite", "shiites"})
_MAX_RUNS, _MAX_LOOKUP = 4, 64


def find_repeated(text: str, vocabulary: Vocabulary) -> Iterator[Edit]:
    """Yield words with letters repeated, in their usual spelling."""
    for match in (_DOUBLED if vocabulary else _STRETCHED).finditer(text):
        edit = _fold(match[0], match.start(), vocabulary)
        if edit is not None:
            yield edit


def _fold(word: str, start: int, vocabulary: Vocabulary) -> Edit | None:
    runs = [(m.start(), m.end() - m.start()) for m in _LETTERS.finditer(word)]
    longest = max(n for _, n in runs)
    lengths = None
    if (
        vocabulary
        and len(word) <= 10 * _MAX_LOOKUP
        and word.lower() not in _RIGHT
        and word not in vocabulary
    ):
        lengths = _look_up(word, runs, vocabulary)
    if lengths is None and longest > 2 and not _is_ordinary(word, runs, longest):
        lengths = _look_up(word, runs, DOUBLES) or [1 if n > 2 else n for _, n in runs]
    if lengths is None:
        return None
    origins = [at + i for (at, _), n in zip(runs, lengths, strict=True) for i in range(n)]
    after = "".join(word[at] for at in origins)
    return Edit(start, start + len(word), after, "repeated letters", origins)


def _is_ordinary(word: str, runs: list[tuple[int, int]], longest: int) -> bool:
    if len(runs) == 1 or not VOWELS & set(word.lower()):
        return True
    if word in (word.upper(), word.lower()) and _ROMAN.fullmatch(word.upper()):
        return True
    if not word.isupper() and any(n > 2 and word[at : at + 3].isupper() for at, n in runs):
        return True
    if word.isupper() and longest == 3 and len(word) < 6:
        return True
    if longest > 3 or len(word) < 8 or word.isupper():
        return False
    return runs[-1][1] < 3 and all(n < 3 or word[at] in _GERMAN_TRIPLES for at, n in runs)


def _look_up(
    word: str, runs: list[tuple[int, int]], words: Vocabulary | frozenset[str]
) -> list[int] | None:
    """Return the lengths of the runs that make a known word, None if none do."""
    choices = [
        (1, 2) if n > 2 else (2, 1) if n == 2 and word[at].lower() in "aiu" else (n,)
        for at, n in runs
    ]
    if sum(len(choice) > 1 for choice in choices) > _MAX_RUNS or len(runs) > _MAX_LOOKUP:
        return None
    for lengths in product(*choices):
        spelt = "".join(word[at] * n for (at, _), n in zip(runs, lengths, strict=True))
        if spelt.lower() in words and spelt.lower() != word.lower():
            return list(lengths)
    return None
