"""Marks dropped, repeated, moved or added, and spaces doubled or dropped after a mark.

Words stay as they are and none are joined, apostrophes aside (``dont``).

Source: random insertion of marks, Karimi et al. 2021, AEDA,
https://aclanthology.org/2021.findings-emnlp.234
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from promptdetox.augment.context import Augmentation, Augmenting, keep_usable, random_for

_SHARE = 0.1
# Beyond ASCII: Arabic comma, semicolon and question mark; the Chinese full stop and comma.
_TOKEN = re.compile(r"(?P<word>\w+)|(?P<space>[ \t]+)|(?P<mark>[.,;:!?…،؛؟。，]+|['’])|(?s:.)")
_ADDED = (",", ".", "!", "?", "...", "!!", " ,", " .")


def change_punctuation(texts: Sequence[str], context: Augmenting) -> list[str | None]:
    """Return the texts with about every tenth mark, gap and word end, one at least, changed.

    Args:
        texts: Texts, or pieces of them.
        context: The seed decides where and how.

    Returns:
        One a text; None where there is neither a word nor a mark. Shape: (texts,).
    """
    changed = [_change(text, random_for("punctuation", text, context)) for text in texts]
    return keep_usable(texts, changed, context)


def _change(text: str, chance: random.Random) -> str:
    matches = list(_TOKEN.finditer(text))
    tokens = [match[0] for match in matches]
    # What lies beyond the end is treated like a space.
    kinds = [*(match.lastgroup or "other" for match in matches), "space", "space"]
    sites = [at for at in range(len(tokens)) if _is_site(kinds, tokens, at)]
    out = list(tokens)
    n = min(len(sites), max(1, round(_SHARE * len(sites))))
    for at in sorted(chance.sample(sites, n)):
        if kinds[at] == "word":
            out[at] += chance.choice(_ADDED)
        elif kinds[at] == "space":
            _change_space(tokens, kinds, out, at, chance)
        elif tokens[at] in "'’":
            out[at] = ""
        else:
            _change_mark(tokens, kinds, out, at, chance)
    return "".join(out)


def _is_site(kinds: Sequence[str], tokens: Sequence[str], at: int) -> bool:
    """Return True if something may be changed here: not in ``3.5`` or ``example.org``."""
    if kinds[at] == "mark" and tokens[at] in "'’":
        return at > 0 and kinds[at - 1] == kinds[at + 1] == "word"
    return kinds[at] == "space" or (kinds[at] in ("word", "mark") and kinds[at + 1] == "space")


def _change_space(
    tokens: Sequence[str], kinds: Sequence[str], out: list[str], at: int, chance: random.Random
) -> None:
    # Only after a mark that is still there: words are never joined.
    can_drop = at > 0 and kinds[at - 1] == "mark" and out[at - 1].startswith(tokens[at - 1])
    out[at] = "" if can_drop and chance.random() < 0.5 else tokens[at] * 2


def _change_mark(
    tokens: Sequence[str], kinds: Sequence[str], out: list[str], at: int, chance: random.Random
) -> None:
    change = chance.choice(("drop", "repeat", "part", "move"))
    if change == "repeat":
        out[at] += tokens[at][-1] * chance.randint(1, 3)
    elif change == "part":
        out[at] = " " + out[at]
    else:
        out[at] = ""
        if change == "move" and kinds[at + 2] == "word":
            out[at + 2] += tokens[at]


AUGMENTATION = Augmentation("punctuation", change_punctuation, is_local=True)
