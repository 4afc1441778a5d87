"""Upper case, lower case, both at random, or capital initials.

Source: the case operators of Dhole et al. 2021, NL-Augmenter, https://arxiv.org/abs/2112.02721
("random upper case transformation").
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence

from promptdetox.augment.context import Augmentation, Augmenting, keep_usable, random_for

_WORD = re.compile("[^\\W_][\\w'’\u0300-\u036f]*")
_SHARE = 0.3


def change_case(texts: Sequence[str], context: Augmenting) -> list[str | None]:
    """Return the texts in another case: all words, or about a third of them.

    Args:
        texts: Texts, or pieces of them.
        context: The seed decides which case and which words.

    Returns:
        One a text; None where no letter has case. Shape: (texts,).
    """
    changed = [_change(text, random_for("case", text, context)) for text in texts]
    return keep_usable(texts, changed, context)


def _change(text: str, chance: random.Random) -> str:
    changes = chance.sample(_CHANGES, len(_CHANGES))
    for share in (chance.choice((_SHARE, 1.0)), 1.0):
        for change in changes:
            pieces, at = [], 0
            for match in _WORD.finditer(text):
                if chance.random() < share:
                    pieces += [text[at : match.start()], change(match[0], chance)]
                    at = match.end()
            new = "".join([*pieces, text[at:]])
            if new != text:
                return new
    return text


def _mix(word: str, chance: random.Random) -> str:
    return "".join(c.upper() if chance.random() < 0.5 else c.lower() for c in word)


_CHANGES: tuple[Callable[[str, random.Random], str], ...] = (
    lambda word, _: word.upper(),
    lambda word, _: word.lower(),
    lambda word, _: word.capitalize(),
    _mix,
)

AUGMENTATION = Augmentation("case", change_case, is_local=True)
