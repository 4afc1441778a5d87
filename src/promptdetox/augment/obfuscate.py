"""Disguised spellings, as people use them to get past filters: ``1diot``, ``id*ot``, ``i.d.i.o.t``.

Some words get one or two of five edits: letters replaced by signs or look-alikes, signs or spaces
put between the letters, a letter repeated, letters starred, neighbours swapped. No word is made
toxic: what is neutral is never cut in two (``class``), and is left alone if the tagger finds
something in its disguise.

Source: Hosseini et al. 2017, Deceiving Google's Perspective API, https://arxiv.org/abs/1702.08138
(misspelt and dotted words); Eger et al. 2019, Text Processing Like Humans Do,
https://aclanthology.org/N19-1165 (look-alikes). The tables are ours: those of Unicode (UTS 39) are
for any two scripts, and most of their look-alikes are on no keyboard.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from promptdetox.augment.context import Augmentation, Augmenting, keep_usable, random_for
from promptdetox.augment.words import Word, find_words, replace_words
from promptdetox.types import Span

_SHARE = 0.2
# Short neutral words become others too easily: as, but.
_MIN_LETTERS, _MIN_TOXIC_LETTERS = 4, 3

_LEET = {
    "a": "4@",
    "b": "8",
    "e": "3",
    "g": "9",
    "i": "1!|",
    "l": "1|",
    "o": "0",
    "s": "5$",
    "t": "7+",
    "z": "2",
}
# Cyrillic and Greek letters that look the same, and Latin ones with accents.
_LOOK_ALIKES = {
    "a": "аáàäâ",
    "c": "сç",
    "e": "еéèëê",
    "h": "һ",
    "i": "іíìïî",
    "j": "ј",
    "n": "ñ",
    "o": "оοóòöô",
    "p": "р",
    "s": "ѕš",
    "u": "úùüû",
    "v": "ν",
    "x": "х",
    "y": "уýÿ",
    "A": "АÁÀÄ",
    "B": "В",
    "C": "СÇ",
    "E": "ЕÉÈË",
    "H": "Н",
    "I": "ІÍÌÏ",
    "K": "К",
    "M": "М",
    "N": "Ñ",
    "O": "ОÓÒÖ",
    "P": "Р",
    "S": "ЅŠ",
    "T": "Т",
    "U": "ÚÙÜ",
    "X": "Х",
    "Y": "ҮÝ",
}
_SEPARATORS = " .-_*'"


def obfuscate(texts: Sequence[str], context: Augmenting) -> list[str | None]:
    """Return the texts with a fifth of the words, one at least, disguised.

    Args:
        texts: Texts, or pieces of them.
        context: Its tagger says which words are toxic: they come first.

    Returns:
        One a text; None where there is no word to disguise, or each disguise was refused.
        Shape: (texts,).
    """
    tagger = context.tagger
    tagged = tagger.tag(texts) if tagger else [()] * len(texts)
    plans = [
        _disguise_some(text, spans, random_for("obfuscate", text, context))
        for text, spans in zip(texts, tagged, strict=True)
    ]
    neutral = [new for plan in plans for word, new in plan if not word.is_toxic]
    found = tagger.tag(neutral) if tagger else [()] * len(neutral)
    refused = {new for new, spans in zip(neutral, found, strict=True) if spans}
    changed = [
        replace_words(text, [(w, new) for w, new in plan if w.is_toxic or new not in refused])
        for text, plan in zip(texts, plans, strict=True)
    ]
    return keep_usable(texts, changed, context)


def _disguise_some(
    text: str, spans: Sequence[Span], chance: random.Random
) -> list[tuple[Word, str]]:
    words = list(find_words(text, spans))
    toxic = [w for w in words if w.is_toxic and w.end - w.start >= _MIN_TOXIC_LETTERS]
    others = [w for w in words if not w.is_toxic and w.end - w.start >= _MIN_LETTERS]
    n = max(1, round(_SHARE * len(words)))
    chance.shuffle(toxic)
    chance.shuffle(others)
    chosen = sorted([*toxic, *others][:n], key=lambda word: word.start)
    return [(w, _disguise(text[w.start : w.end], chance, is_toxic=w.is_toxic)) for w in chosen]


def _disguise(word: str, chance: random.Random, *, is_toxic: bool) -> str:
    """Return the word after one or two edits; a cell is what has become of one letter."""
    cells = list(word)
    n = chance.choice((1, 1, 2))
    for edit in chance.sample(_EDITS, len(_EDITS)):
        if n and edit(cells, chance, is_toxic):
            n -= 1
    return "".join(cells)


def _replace(cells: list[str], chance: random.Random, is_toxic: bool) -> bool:
    """Replace a third of the letters that have a sign or a look-alike."""
    table = chance.choice((_LEET, _LOOK_ALIKES))
    sites = [at for at, cell in enumerate(cells) if cell in table or cell.lower() in table]
    for at in chance.sample(sites, (len(sites) + 2) // 3):
        cells[at] = chance.choice(table.get(cells[at]) or table[cells[at].lower()])
    return bool(sites)


def _separate(cells: list[str], chance: random.Random, is_toxic: bool) -> bool:
    """Put a sign or a space between all letters, or once into a word that is toxic anyway."""
    separator = chance.choice(_SEPARATORS)
    is_once = is_toxic and chance.random() < 0.5
    gaps = [chance.randrange(len(cells) - 1)] if is_once else range(len(cells) - 1)
    for at in gaps:
        cells[at] += separator
    return True


def _repeat(cells: list[str], chance: random.Random, is_toxic: bool) -> bool:
    """Repeat one letter, once to three times."""
    at = chance.randrange(len(cells))
    cells[at] = cells[at][0] * chance.randint(1, 3) + cells[at]
    return True


def _star(cells: list[str], chance: random.Random, is_toxic: bool) -> bool:
    """Put a star in the place of one or two inner letters."""
    inner = range(1, len(cells) - 1)
    for at in chance.sample(inner, min(len(inner), chance.randint(1, 2))):
        cells[at] = "*"
    return True


def _swap(cells: list[str], chance: random.Random, is_toxic: bool) -> bool:
    """Swap two inner neighbours, or the last two letters of a word that has no such pair."""
    sites = [at for at in range(1, len(cells) - 2) if cells[at] != cells[at + 1]]
    sites = sites or [at for at in (len(cells) - 2,) if cells[at] != cells[at + 1]]
    if not sites:
        return False
    at = chance.choice(sites)
    cells[at], cells[at + 1] = cells[at + 1], cells[at]
    return True


_EDITS: tuple[Callable[[list[str], random.Random, bool], bool], ...] = (
    _replace,
    _separate,
    _repeat,
    _star,
    _swap,
)

AUGMENTATION = Augmentation("obfuscate", obfuscate, is_local=True)
