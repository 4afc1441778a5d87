"""Signs and digits in the place of letters: leetspeak (``sh1t``) and masks (``id*ot``).

A token of ASCII letters, digits and signs is read as leetspeak without a word list if

- it has at least as many letters as digits and signs, or has the form of ``1d10t`` (a digit, a
  letter, one or two digits, a letter; 0, 1, 3, 4 and 5 only);
- it is no pattern of `_ORDINARY` (units, ordinals, names such as ``mp3`` or ``sha1``, hexadecimal
  numbers, numeronyms such as ``i18n``) and no chemical formula;
- it is not all capitals with digits (``H1N1``, ``C3PO``);
- digits stand inside: 0, 1, 3 and 4, two at most in a row, between two consonants, 5 and 7 next to
  a vowel; the first character may be a digit only if another stands inside;
- signs stand inside: ``$`` between letters, ``!`` and ``@`` between two consonants with two letters
  before them at most; ``$`` may begin the token only if another stands inside (not ``$path``).

With a word list, any sign or digit may stand for its letters if that makes a listed word. Known
failures of the first rules: ``n1mbus`` and other names that look so; ``1diot`` needs the list.

A star stands for one letter. Masked words are restored only if exactly one listed word fits;
otherwise the place is noted and the text stays.

Source: Hosseini et al. 2017, Deceiving Google's Perspective API, https://arxiv.org/abs/1702.08138
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from math import prod

from promptdetox.normalize.offsets import Edit
from promptdetox.normalize.vocabulary import Vocabulary

# What stands for what; the first letter is taken where there is no word list.
LEET = {
    "0": "o",
    "1": "il",
    "3": "e",
    "4": "a",
    "5": "s",
    "6": "gb",
    "7": "t",
    "8": "b",
    "9": "g",
    "2": "z",
    "@": "ao",
    "$": "s",
    "!": "i",
    "|": "il",
    "+": "t",
    "€": "e",
    "£": "l",
}
_SIGNS = "".join(LEET)
_TOKEN = re.compile(
    f"(?<![\\w@$#&/\\\\=+%~€£|.!])[A-Za-z]*+[{re.escape(_SIGNS)}][A-Za-z{re.escape(_SIGNS)}]*+"
    "(?![\\w/\\\\=&%~#^]|[.:][^\\W_])"
)
_MASK = re.compile(
    "(?<![\\w*\\\\/])(?:[A-Za-z]++\\*[A-Za-z*]*+|\\*[A-Za-z]{2,}+(?!\\*))(?![\\w/\\\\=])"
)
_MAX_TOKEN, _MAX_READINGS = 32, 64
_INNER_VOWELS, _INNER_CONSONANTS = frozenset("0134"), frozenset("57")
_VOWELS = frozenset("aeiou")
_ORDINARY = re.compile(
    r"""(?ix)
    \d+(?:st|nd|rd|th|s|am|pm|[kmgt]i?b(?:ps|it)?s?|[kmg]|k?hz|[mg]hz|[kcmn]?m|km/?h|kg|mg|ml|cl|l|lbs?|oz
        |ft|in|mph|kph|fps|dpi|px|em|rem|pt|w|kw|kwh|v|ma|mah|a|h|hrs?|mins?|secs?|ms|d|wks?|y|yo|yrs?|x|p|b|bn
        |c|f|g|mm|mb|gb|tb|d|th|xl|usd|eur|gbp)?
    | [a-z]\d+[a-z]                                             # h2o, b2b, i18n
    | [a-z]+\d+                                                 # covid19, mp3, b12
    | (?=[a-f]*\d)[0-9a-f]+ | 0x[0-9a-f]+                       # hexadecimal
    | .*(?:mp[34]|md5|sha\d|log4|es\d|ipv\d|utf|web3|gpt|r2d2|c3po|h1n1|p53|win3).*
    | (?:d3|s3|x1|f1).*
    """
)
_ALTERNATING = re.compile("(?i)[01345][a-z][01345]{1,2}[a-z]")
_ELEMENT = (
    "(?:[BCFHIKNOPSUVWY]|A[glmrstu]|B[aeir]|C[adelorsu]|Fe|Ga|Ge|H[efgo]|I[nr]|Kr|L[aiu]|M[gno]"
    "|N[abdei]|Os|P[bdrt]|R[abeu]|S[bceimnr]|T[aehil]|Xe|Z[nr])"
)
_FORMULA = re.compile(f"(?:{_ELEMENT}\\d*)+")


def find_leet(text: str, vocabulary: Vocabulary) -> Iterator[Edit]:
    """Yield tokens that are written with digits and signs for letters."""
    for match in _TOKEN.finditer(text):
        token, start = match[0], match.start()
        if len(token) > _MAX_TOKEN or not any(char.isalpha() for char in token):
            continue
        after = _read_listed(token, vocabulary) if vocabulary else None
        if after is None:
            token = token.rstrip("!|+")
            after = _read_plain(token)
        if after is not None and after != token[: len(after)]:
            yield Edit(start, start + len(after), after, "leetspeak")


def _read_listed(token: str, vocabulary: Vocabulary) -> str | None:
    """Return the listed word that a token can be read as, without signs at its end."""
    for core in dict.fromkeys((token, token.rstrip("!|+"), token.rstrip("!|+$"))):
        choices = [LEET.get(char, char) for char in core]
        n_digits = sum(char.isdigit() for char in core)
        n_letters = sum(char.isalpha() for char in core)
        if n_letters == len(core) or n_digits > 2 * n_letters or _is_quantity(core):
            continue
        if prod(map(len, choices)) > _MAX_READINGS:
            continue
        for letters in product(*choices):
            if "".join(letters) in vocabulary:
                return _in_case("".join(letters), core)
    return None


def _is_quantity(token: str) -> bool:
    """Say whether all letters follow all digits, two at most: 5kg, 455a; one letter before: A55."""
    return re.fullmatch(r"\d+[A-Za-z]{1,2}|[A-Z]\d+|\$[\d.]+[A-Za-z]{0,2}", token) is not None


def _read_plain(token: str) -> str | None:
    """Return what a token says by the rules above without a word list, None if it says itself."""
    signs = [at for at, char in enumerate(token) if not char.isalpha()]
    n_letters = len(token) - len(signs)
    if (
        not signs
        or n_letters < 2
        or not set(token) & (_INNER_VOWELS | _INNER_CONSONANTS | set("$!@"))
    ):
        return None
    if _ORDINARY.fullmatch(token) or _FORMULA.fullmatch(token):
        return None
    if n_letters < len(signs) and not _ALTERNATING.fullmatch(token):
        return None
    digits = [at for at in signs if token[at].isdigit()]
    letters = [char for char in token if char.isalpha()]
    if digits and len(letters) > 1 and all(char.isupper() for char in letters):
        return None
    first = signs[0]
    inner = signs[1:] if first == 0 and token[0] in "01345$" else signs
    if not inner or not all(_is_letter_at(token, at) for at in inner):
        return None
    return _in_case("".join(LEET.get(char, char)[0] for char in token), token)


def _is_letter_at(token: str, at: int) -> bool:
    """Say whether a sign inside a token stands where a letter would."""
    before, after = _neighbours(token, at)
    if not before or not after:
        return False
    char = token[at]
    are_consonants = before not in _VOWELS and after not in _VOWELS
    if char in _INNER_VOWELS:
        return are_consonants
    if char in _INNER_CONSONANTS:
        return not are_consonants
    if char in "!@":
        return are_consonants and at <= 2
    return char == "$"


def _neighbours(token: str, at: int) -> tuple[str, str]:
    """Return the letters around a run of one or two of the same kind of signs; empty for none."""
    start, end = at, at + 1
    is_kind = _INNER_VOWELS if token[at] in _INNER_VOWELS else _INNER_CONSONANTS | {"$"}
    if start and token[start - 1] in is_kind:
        start -= 1
    elif end < len(token) and token[end] in is_kind:
        end += 1
    before = token[start - 1].lower() if start else ""
    after = token[end].lower() if end < len(token) else ""
    before, after = (LEET.get(char, char)[:1] for char in (before, after))
    return before if before.isalpha() else "", after if after.isalpha() else ""


def _in_case(after: str, before: str) -> str:
    """Write the new letters as the old ones are: large if all of two or more are."""
    old = [char for char in before if char.isalpha()]
    is_large = len(old) > 1 and all(char.isupper() for char in old)
    return "".join(
        b if b.isalpha() else a.upper() if is_large else a.lower()
        for a, b in zip(after, before, strict=True)
    )


def find_masked(text: str, vocabulary: Vocabulary) -> Iterator[Edit]:
    """Yield masked words: the listed one if one only fits, else the word as it stands."""
    for match in _MASK.finditer(text):
        token = match[0]
        n_stars = token.count("*")
        n_letters = len(token) - n_stars
        if not 3 <= len(token) <= _MAX_TOKEN or 2 * n_letters < len(token) - 1:
            continue
        if token.endswith("*") and (n_stars == 1 or n_letters < 1):
            continue  # a footnote
        words = vocabulary.match(token)
        if len(words) == 1:
            yield Edit(match.start(), match.end(), _in_case(words[0], token), "masked letters")
        elif words or (len(token) > 3 and "*" in token[1:-1] and n_letters > 1):
            guesses = f" ({' or '.join(words[:5])})" if words else ""
            yield Edit(match.start(), match.end(), token, f"masked letters{guesses}")
