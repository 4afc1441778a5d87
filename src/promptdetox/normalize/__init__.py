"""Undo the disguises by which people evade toxicity filters, with the way back to the original.

A model reads the normalised text; nobody gets it back. Spans that are found in it are mapped to
exact stretches of the original::

    >>> normalized = normalize("you i d i o t, 1d10t")
    >>> normalized.text, normalized.span(4, 9)
    ('you idiot, idiot', (4, 13))

The passes, each in its module, which has the rules:

- `characters`: backspaces, reversed text, characters without width, stacked marks;
- `look_alikes`: letters of other scripts, compatibility forms;
- `spelling`: letters that stand apart;
- `signs`: leetspeak, masked words;
- `repeats`: repeated letters.

Other scripts, numbers, addresses, handles, tags, code and acronyms stay as they are; the rules are
cautious, and a list of words lets them be bolder. Two rounds are usual; a text that does not come
to rest after `MAX_ROUNDS` keeps its words, and only its characters are cleaned.

No package does this with offsets. confusable-homoglyphs 3.3.1 and confusables 1.2.0 bring older
tables (900 kB and 3 MB) and no way back; disarm 0.17.2 (Rust, beta) folds texts of any script.

Source: UTS 39 version 16.0.0, https://www.unicode.org/reports/tr39/; Hosseini et al. 2017,
Deceiving Google's Perspective API, https://arxiv.org/abs/1702.08138; Boucher et al. 2022, Bad
Characters, https://arxiv.org/abs/2106.09898
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator

from promptdetox.normalize.characters import find_backspaced, find_hidden, find_reversed
from promptdetox.normalize.look_alikes import find_look_alikes
from promptdetox.normalize.offsets import Change, Draft, Edit, Normalized
from promptdetox.normalize.repeats import find_repeated
from promptdetox.normalize.signs import find_leet, find_masked
from promptdetox.normalize.spelling import find_pieces, find_spaced
from promptdetox.normalize.vocabulary import Vocabulary, read_vocabulary

__all__ = ["Change", "Normalized", "normalize"]

MAX_ROUNDS = 6

# What a pass can begin with in ASCII text: a sign or digit before a letter, a letter three times, a
# backspace, single letters in a row; with a word list signs after letters, pieces, doubles too.
_SUSPICIOUS = re.compile(
    r"[0-9$@!|+*][a-z]|([a-z])\1\1|\x08|_[a-z]_|[ .\-*~'][a-z][ .\-*~']{1,5}[a-z](?![a-z0-9])",
    re.IGNORECASE,
)
_SUSPICIOUS_LISTED = re.compile(
    _SUSPICIOUS.pattern + r"|[a-z][0-9$@!|+*\-_.~][0-9a-z$@!|+*]|[a-z][0-9$@|+*]|([aiu])\2",
    re.IGNORECASE,
)
_PROTECTED = re.compile(
    r"`[^`\n]{1,200}`"
    r"|(?<![\w])(?:[a-z][a-z0-9+.-]{1,15}://|www\.|mailto:)\S++"
    r"|(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+"
    r"|(?<![\w.-])(?:[\w-]{1,63}\.){1,8}(?:com|org|net|edu|gov|io|co|uk|de|fr|ru|info|dev|me|ly|tv|py|js"
    r"|html?|txt|csv|json|pdf|png|jpe?g|exe|zip|md)\b(?:/\S*+)?"
    r"|(?<![\w@#])[@#]\w++",
    re.IGNORECASE,
)
_HANDLE = re.compile(r"@\w+")
_Finder = Callable[[str, Vocabulary], Iterator[Edit]]
_NO_WORDS = Vocabulary(())


def normalize(text: str, *, words: Collection[str] = ()) -> Normalized:
    """Return a text as it is meant to be read. Never raises; linear in the length of the text.

    Normalising a normalised text, with the same words, changes nothing. ASCII text without a
    suspicious sign comes back after one search.

    Args:
        text: Any text, lone surrogates too.
        words: Words that disguises may hide, in any case. Those of three ASCII letters or more are
            used; a frozenset is prepared once and kept.

    Returns:
        The normalised text, and where in the original each part of it stands, in code points.

    Source: Hosseini et al. 2017; Boucher et al. 2022; UTS 39 version 16.0.0; see the module.
    """
    if text.isascii() and not (_SUSPICIOUS_LISTED if words else _SUSPICIOUS).search(text):
        return Normalized(text, text)
    vocabulary = read_vocabulary(frozenset(words)) if words else _NO_WORDS
    return _undo(text, vocabulary)


def _undo(text: str, vocabulary: Vocabulary) -> Normalized:
    draft = Draft(text)
    _clean(draft)
    cleaned = draft.copy()
    for _ in range(MAX_ROUNDS):
        before = draft.text
        _rewrite_words(draft, vocabulary)
        _clean(draft)
        if draft.text == before:
            return draft.finish()
    return cleaned.finish()


def _clean(draft: Draft) -> None:
    """Make the edits of single characters; a second time there are none."""
    for find in (find_backspaced, find_reversed, find_hidden):
        draft.apply(find(draft.text))


def _rewrite_words(draft: Draft, vocabulary: Vocabulary) -> None:
    passes: tuple[_Finder, ...] = (
        find_look_alikes,
        find_spaced,
        find_leet,
        find_masked,
        find_pieces,
        find_repeated,
    )
    for find in passes:
        edits = _keep_protected(draft.text, list(find(draft.text, vocabulary)), vocabulary)
        for edit in edits:
            if edit.after == draft.text[edit.start : edit.end]:
                draft.propose(edit.start, edit.end, edit.reason)
        draft.apply(e for e in edits if e.after != draft.text[e.start : e.end])


def _keep_protected(text: str, edits: list[Edit], vocabulary: Vocabulary) -> list[Edit]:
    """Return the edits that touch no address, handle, tag or code.

    What looks like a handle is none if it makes a listed word: ``@ss``.
    """
    if not edits:
        return []
    spans = [m.span() for m in _PROTECTED.finditer(text)]
    kept, at = [], 0
    for edit in edits:
        while at < len(spans) and spans[at][1] <= edit.start:
            at += 1
        is_free = at == len(spans) or spans[at][0] >= edit.end
        is_listed = _HANDLE.match(text, edit.start) is not None and edit.after in vocabulary
        if is_free or is_listed:
            kept.append(edit)
    return kept
