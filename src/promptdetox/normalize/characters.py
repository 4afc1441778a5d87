"""Characters that are not seen, or that hide others: they are not read.

Four finders, in the order in which they are to be applied. Applied twice they find nothing more:
what they decide depends only on characters that they leave.

Source: Boucher et al. 2022, Bad Characters: Imperceptible NLP Attacks,
https://arxiv.org/abs/2106.09898 (invisible characters, reorderings, deletions); Unicode UAX 9
(bidi controls), UTS 51 (emoji sequences).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from promptdetox.normalize.offsets import Edit

BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
TAGS = "\U000e0000-\U000e007f"
SELECTORS = "\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef"
# Combining grapheme joiner, Hangul fillers, the Mongolian separator and the mathematical ones too.
ZERO_WIDTH = (
    "\u034f\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200d\u2060-\u2065\u206a-\u206f\u3164\ufeff\uffa0"
)
HIDDEN = f"\u00ad{BIDI}{TAGS}{SELECTORS}{ZERO_WIDTH}"
# Marks that belong to no one script.
MARKS = "\u0300-\u034e\u0350-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
# A letter of a language takes two at most: ế decomposed, Yoruba ẹ̀, Navajo ą́.
_MAX_MARKS = 2
_OVERLAYS = frozenset(
    "\u0334\u0335\u0336\u0337\u0338\u20d2\u20d3\u20d8\u20d9\u20da\u20e5\u20e6\u20ea\u20eb"
)

_LATIN = (
    "A-Za-z\u00aa\u00ba\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u02af\u1e00-\u1eff\u2c60-\u2c7f"
    "\ua722-\ua7ff\uab30-\uab64"
)
_RTL = "\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001eeff"
# Scripts whose ordinary spelling needs joiners, selectors or breaks without width.
_COMPLEX = (
    f"{_RTL}\u0900-\u109f\u1780-\u17b3\u17b6-\u180a\u1810-\u18af\u1900-\u1cff\u2e80-\u3163\u3165-\ua4cf"
    "\ua800-\uab2f\uabc0-\ud7ff\uf900-\ufaff\uff66-\uff9f\U00011000-\U00011fff\U00016fe0-\U0001bfff"
    "\U00020000-\U0003ffff"
)
_EMOJI = (
    "©®\u203c\u2049\u2122\u2139\u2190-\u23ff\u24c2\u25a0-\u2bff\u3030\u303d\u3297\u3299"
    "\U0001f000-\U0001faff"
)

_BACKSPACES = re.compile("\x08+")
_RUN = re.compile(f"[{HIDDEN}{MARKS}]++")
_UNSEEN = re.compile(f"[{HIDDEN}{MARKS}]")
_MARK = re.compile(f"[{MARKS}]")
_LINE_END = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
_IS_LATIN = re.compile(f"[{_LATIN}]").match
_IS_COMPLEX = re.compile(f"[{_COMPLEX}]").match
_IS_EMOJI = re.compile(f"[{_EMOJI}]").match
_IS_BIDI = re.compile(f"[{BIDI}]").match
_HAS_RTL = re.compile(f"[{_RTL}]").search
# After an emoji: a presentation selector, a joiner; the tags of a flag, cancelled.
_SELECTOR = re.compile("[\ufe0e\ufe0f]?\u200d?")
_FLAG = re.compile("[\U000e0030-\U000e007a]{1,8}\U000e007f")
_OVERRIDE = re.compile(
    "\u202e((?:\u2066[^\u202a-\u202e\u2066-\u2069\n]*+\u2069|[^\u202a-\u202e\u2066-\u2069\n])++)"
    "(?:\u202c|(?=\n)|\\Z)"
)
_UNIT = re.compile("(?s)\u2066([^\u2069]*)\u2069|(.)")
_REASONS = [
    ("soft hyphens", re.compile("\u00ad")),
    ("bidi controls", re.compile(f"[{BIDI}]")),
    ("tag characters", re.compile(f"[{TAGS}]")),
    ("variation selectors", re.compile(f"[{SELECTORS}]")),
    ("zero-width characters", re.compile(f"[{ZERO_WIDTH}]")),
    ("stacked marks", re.compile("")),
]


def find_backspaced(text: str) -> Iterator[Edit]:
    """Yield backspaces (U+0008), each with the character before that it deletes.

    Marks and unseen characters go with their base. A backspace deletes no line end.
    """
    kept: list[tuple[int, int]] = []
    at = 0
    for match in _BACKSPACES.finditer(text):
        kept.append((at, match.start()))
        n = match.end() - match.start()
        while n and kept:
            start, end = kept.pop()
            while n and end > start and text[end - 1] not in _LINE_END:
                end -= 1
                n -= _UNSEEN.match(text, end) is None
            if end > start:
                kept.append((start, end))
            if end > start and text[end - 1] in _LINE_END:
                break
        at = match.end()
    if not at:
        return
    done = 0
    for start, end in [*kept, (at, len(text))]:
        if start > done:
            yield Edit(done, start, "", "backspace characters")
        done = max(done, end)
    if done < len(text):
        yield Edit(done, len(text), "", "backspace characters")


def find_reversed(text: str) -> Iterator[Edit]:
    """Yield stretches that a right-to-left override shows in reverse, in a text of no such script.

    Isolates in it stay together, as in the swaps of Boucher et al. One level deep.
    """
    if "\u202e" not in text or _HAS_RTL(text):
        return
    for match in _OVERRIDE.finditer(text):
        units = ["".join(unit) for unit in _UNIT.findall(match[1])]
        yield Edit(match.start(), match.end(), "".join(reversed(units)), "reversed text")


def find_hidden(text: str) -> Iterator[Edit]:
    """Yield characters without width and marks that are stacked or struck through letters.

    Kept are those that ordinary text needs: next to letters of Arabic, Indic and East Asian
    scripts, in emoji and flags, bidi controls in a text that has right-to-left letters, and up to
    two marks on a letter.
    """
    has_rtl: bool | None = None
    for match in _RUN.finditer(text):
        run, start, end = match[0], match.start(), match.end()
        base, following = text[start - 1 : start], text[end : end + 1]
        if has_rtl is None:
            has_rtl = bool(_HAS_RTL(text))
        kept = _keep(run, base, following, has_rtl=has_rtl)
        if len(kept) == len(run):
            continue
        gone = frozenset(range(len(run))) - frozenset(kept)
        first = run[min(gone)]
        reason = next(name for name, kind in _REASONS if kind.match(first))
        yield Edit(start, end, "".join(run[at] for at in kept), reason, kept)


def _keep(run: str, base: str, following: str, *, has_rtl: bool) -> list[int]:
    """Return the positions of the characters that stay."""
    marks = _MARK.findall(run)
    hidden = _MARK.sub("", run)
    is_latin = _IS_LATIN(base) is not None
    is_inside = is_latin and _IS_LATIN(following) is not None
    keeps_hidden = not is_inside and (
        _IS_COMPLEX(base) is not None
        or (not is_latin and _IS_COMPLEX(following) is not None)
        or _is_emoji_run(hidden, base, following, has_cap="\u20e3" in marks)
    )
    keeps_bidi = has_rtl and not is_inside
    kept = []
    for at, char in enumerate(run):
        if _MARK.match(char):
            if len(marks) <= _MAX_MARKS and not (is_latin and char in _OVERLAYS):
                kept.append(at)
        elif keeps_bidi if _IS_BIDI(char) else keeps_hidden:
            kept.append(at)
    return kept


def _is_emoji_run(hidden: str, base: str, following: str, *, has_cap: bool) -> bool:
    if base == "\U0001f3f4" and _FLAG.fullmatch(hidden):
        return True
    if has_cap and base and base in "0123456789#*":
        return hidden == "\ufe0f"
    if not _IS_EMOJI(base) or not _SELECTOR.fullmatch(hidden):
        return False
    return "\u200d" not in hidden or _IS_EMOJI(following) is not None
