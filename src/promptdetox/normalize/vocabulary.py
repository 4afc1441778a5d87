"""The words that a caller knows, against which disguises are resolved."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache

# English words with a double letter that people stretch; in others a run becomes one letter.
_DOUBLES = """
all annoy annoying apple ass asses asshole ball balls bee been beer better bitter blood boo boob
boobs book boom boss bottom bull bullshit butt butter buzz call cheese choose class coffee cool
cross daddy deep dinner doofus door dress dumbass dummy fall fatass fee feel feet fell fill floor
food fool foolish foot free full fully funny fussy glass good goodbye goods goofy goose green
gross hall happy heel hell hello hill hooray hurry jackass jazz jeez keep kill killed killer kiss
less little look looks loose looser loss meet mess messy miss mommy moo mood moon need noodle noon
off ooh oops pass pee piss pissed pissy poo pool poop poor pretty puppy pussy queen really room
root school see seem seen sell shoot silly sissy sleep sleepy small smell soon sorry speed spell
staff steel still stood street stuff suppose sweet tall teen tell three till too took tooth toss
tree upper wall weed week weep well whee will woo wood woohoo worry yell yellow yummy zoo zoom
"""
DOUBLES = frozenset(_DOUBLES.split())
VOWELS = frozenset("aeiouy")
_MAX_PATTERN = 32


class Vocabulary:
    """A caller's words, lower case; only those of three letters or more, ASCII letters alone."""

    def __init__(self, words: Collection[str]) -> None:
        lower = {word.lower() for word in words}
        self._words = frozenset(w for w in lower if len(w) > 2 and w.isascii() and w.isalpha())
        self._by_length: dict[int, list[str]] = {}
        for word in sorted(self._words):
            self._by_length.setdefault(len(word), []).append(word)

    def __contains__(self, word: str) -> bool:
        return word.lower() in self._words

    def __bool__(self) -> bool:
        return bool(self._words)

    def match(self, pattern: str) -> list[str]:
        """Return the words with a vowel that fit a pattern, sorted; ``*`` stands for one letter."""
        if len(pattern) > _MAX_PATTERN:
            return []
        known = [(at, char) for at, char in enumerate(pattern.lower()) if char != "*"]
        words = self._by_length.get(len(pattern), [])
        fitting = [word for word in words if all(word[at] == char for at, char in known)]
        return [word for word in fitting if VOWELS & set(word)]  # fvck fits f*ck, and is a disguise


@lru_cache(maxsize=8)
def read_vocabulary(words: frozenset[str]) -> Vocabulary:
    """Return the vocabulary of a set, made once a set."""
    return Vocabulary(words)
