"""Words before -> after: what a rewrite changed, and why."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher

from promptdetox.types import Span, WordEdit

# A mask is a word of its own: "**," is not one word.
_WORD = re.compile(r"\w+(?:['’]\w+)*|\*+|[^\w\s*]+")


def diff_words(
    before: str, after: str, *, offset: int = 0, spans: Sequence[Span] = ()
) -> list[WordEdit]:
    """Return the word edits that turn one short text into another.

    Args:
        before: A part of the input.
        after: The part of the output that replaces it.
        offset: Where the part begins in the input; added to every position.
        spans: Toxic spans of the part; those that an edit touches give its reason.
    """
    old, new = list(_WORD.finditer(before)), list(_WORD.finditer(after))
    matcher = SequenceMatcher(None, [m[0] for m in old], [m[0] for m in new], autojunk=False)
    edits = []
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        if tag == "equal":
            continue
        at = old[i1].start() if i1 < len(old) else len(before)
        start, end = (old[i1].start(), old[i2 - 1].end()) if i2 > i1 else (at, at)
        reasons = [s.reason for s in spans if s.start < end and start < s.end]
        edits.append(
            WordEdit(
                start=offset + start,
                end=offset + end,
                before=before[start:end],
                after=after[new[j1].start() : new[j2 - 1].end()] if j2 > j1 else "",
                reason="; ".join(dict.fromkeys(reasons)),
            )
        )
    return edits
