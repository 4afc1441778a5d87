"""Undoing disguises: the rules, the way back, and what must stay as it is."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import promptdetox.normalize as module
from disguises import CLEAN_LOOKALIKES, THREATS
from promptdetox.errors import UsageError
from promptdetox.normalize import Normalized, normalize
from promptdetox.normalize.vocabulary import read_vocabulary

WORDS = frozenset({"idiot", "moron", "stupid", "damn", "dumb"})

# Pieces that the rules look at, and that meet at random.
_PIECES = st.sampled_from(
    [
        *"aAbiIoOtTsSzu019534$@!|*+#.,-_'~·` \n\r\t\b",
        *"éßıаеоіѕтАΟο中لम가ﬁⓐⓘ🅱𝐢𝑥ｉＡⅳᵃɪᴅ",
        *"\u200b\u200c\u200d\u200e\u202e\u202c\u2066\u2069\ufeff\u00ad\ufe0f\U000e0061\U000e007f",
        *"\u0301\u0336\u20e3😀👍🏽🏴\ud83d\udc00",
        "idiot",
        "1d10t",
        "i d i o t",
        "id*ot",
        "http://",
        "a.com",
        "@me",
        "`",
        "aaa",
        "ooo",
        "\r\n",
    ]
)
TEXT = st.lists(_PIECES, max_size=30).map("".join) | st.text(st.characters(exclude_categories=[]))


def read(text: str, *, listed: bool = False) -> str:
    """Return the normalised text."""
    return normalize(text, words=WORDS if listed else ()).text


@pytest.mark.parametrize(
    ("text", "plain", "reason"),
    [
        ("you іdiоt", "you idiot", "look-alike letters"),
        ("you mοrοn", "you moron", "look-alike letters"),
        ("sᴛᴜᴘɪᴅ", "stupid", "look-alike letters"),
        ("ｉｄｉｏｔ", "idiot", "compatibility forms"),
        ("𝓼𝓽𝓾𝓹𝓲𝓭", "stupid", "compatibility forms"),
        ("ⓜⓞⓡⓞⓝ", "moron", "compatibility forms"),
        ("🅸🅳🅸🅾🆃", "IDIOT", "compatibility forms"),
        ("ⁱᵈⁱᵒᵗ", "idiot", "compatibility forms"),
        ("ﬁne", "fine", "compatibility forms"),
        ("id\u200biot", "idiot", "zero-width characters"),
        ("id\u2066iot", "idiot", "bidi controls"),
        ("id\U000e0041iot", "idiot", "tag characters"),
        ("id\ufe0fiot", "idiot", "variation selectors"),
        ("id\u00adiot", "idiot", "soft hyphens"),
        ("idxy\b\biot", "idiot", "backspace characters"),
        ("\u202etoidi\u202c", "idiot", "reversed text"),
        ("i\u0300\u0301\u0302d\u0316\u0317\u0323iot", "idiot", "stacked marks"),
        ("i\u0336d\u0336i\u0336o\u0336t\u0336", "idiot", "stacked marks"),
        ("1d10t", "idiot", "leetspeak"),
        ("m0r0n", "moron", "leetspeak"),
        ("STUP1D", "STUP1D", ""),
        ("d@mn", "damn", "leetspeak"),
        ("d4mn", "damn", "leetspeak"),
        ("i d i o t", "idiot", "spaced letters"),
        ("I D I O T", "IDIOT", "spaced letters"),
        ("I a m", "Iam", "spaced letters"),
        ("i.d.i.o.t", "idiot", "punctuated letters"),
        ("i-d-i-o-t!", "idiot!", "punctuated letters"),
        ("i_d_i_o_t", "idiot", "punctuated letters"),
        ("i - d - i - o - t", "idiot", "punctuated letters"),
        ("idiooooot", "idiot", "repeated letters"),
        ("stuuuupid", "stupid", "repeated letters"),
        ("goooood", "good", "repeated letters"),
        ("sooo good", "so good", "repeated letters"),
    ],
)
def test_disguises_without_a_word_list(text: str, plain: str, reason: str) -> None:
    """Each disguise is undone by its rule, and says so."""
    normalized = normalize(text)
    assert normalized.text == plain
    assert {change.reason for change in normalized.changes} == ({reason} if reason else set())


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("id*ot", "idiot"),
        ("ID*OT!", "IDIOT!"),
        ("m*r*n", "moron"),
        ("stup**", "stupid"),
        ("@1d1ot", "@1d1ot"),
        ("STUP1D", "STUPID"),
        ("1diot", "idiot"),
        ("!d!ot", "idiot"),
        ("5tup!d", "stupid"),
        ("d-amn", "damn"),
        ("st-upid", "stupid"),
        ("id_iot", "idiot"),
        ("mo-ron", "mo-ron"),
        ("idiiot", "idiot"),
        ("ídïot", "idiot"),
        ("ѕtuріԁ", "stupid"),
        ("you i d i o t", "you idiot"),
        ("y o u m o r o n", "y o u moron"),
        ("D.A.M.N", "DAMN"),
    ],
)
def test_a_word_list_makes_the_rules_bolder(text: str, plain: str) -> None:
    """What is too little evidence alone is enough if it makes a listed word."""
    assert read(text, listed=True) == plain


def test_a_look_alike_word_needs_the_list() -> None:
    """A word all of another script is changed only into a listed word."""
    words = {"axe"}
    assert read("ахе") == "ахе"
    assert normalize("ахе", words=words).text == "ахе"  # three letters: too short to be sure
    assert normalize("сосоа", words={"cocoa"}).text == "cocoa"
    assert normalize("сосоа", words=words).text == "сосоа"


def test_what_looks_repeated_and_is_right() -> None:
    """Double letters and capitals that carry a meaning stay, listed or not."""
    words = {"shite", "america"}
    for text in ("a Shiite mosque, the Shiites", "AmeriKKKa", "Schifffahrt", "IEEE"):
        assert read(text) == normalize(text, words=words).text == text


def test_the_article_is_no_letter_of_capitals() -> None:
    """An article before spaced capitals is not joined to them."""
    assert read("a S T U P I D rule") == "a STUPID rule"
    assert read("such a P O S") == "such a P O S"


def test_small_signs_stand_for_letters_of_a_listed_word() -> None:
    """A leading at sign is a handle unless it makes a listed word."""
    assert read("@nts") == "@nts"
    assert normalize("you @nts", words={"ants"}).text == "you ants"


def test_masked_words_are_only_noted_unless_one_fits() -> None:
    """A mask that no or several listed words fit stays, and is reported with its guesses."""
    (change,) = normalize("you id*ot").changes
    assert (change.before, change.after, change.reason) == ("id*ot", "id*ot", "masked letters")
    normalized = normalize("d*m* it", words={"damn", "dumb"})
    assert normalized.text == "d*m* it"
    assert normalized.changes[0].reason == "masked letters (damn or dumb)"
    assert normalized.changes[0][:2] == (0, 4)


@pytest.mark.parametrize("text", CLEAN_LOOKALIKES)
@pytest.mark.parametrize("listed", [False, True])
def test_ordinary_text_is_unchanged(text: str, listed: bool) -> None:
    """Innocent text that looks disguised is read as it stands."""
    assert read(text, listed=listed) == text


def test_there_are_many_innocent_texts() -> None:
    """The list is large and holds no text twice."""
    assert len(set(CLEAN_LOOKALIKES)) == len(CLEAN_LOOKALIKES) >= 80


@pytest.mark.parametrize(("name", "disguise"), THREATS, ids=[name for name, _ in THREATS])
def test_threats_are_undone(name: str, disguise: Callable[[str, random.Random], str]) -> None:
    """One edit a word is undone with a word list, and the span leads back to the whole word."""
    chance = random.Random(0)
    for word in sorted(WORDS) * 20:
        hidden = disguise(word, chance)
        text = f"so {hidden}, you know"
        normalized = normalize(text, words=WORDS)
        assert normalized.text.lower() == f"so {word}, you know", (name, hidden)
        start, end = normalized.span(3, 3 + len(word))
        assert text[start:end] == hidden or hidden.startswith("\u202e")


def test_offsets_lead_back() -> None:
    """Parts of the normalised text are found in the original, whatever stands around them."""
    text = "👍🏽\r\ncafé i\u200bd\u200biot \ud800 ﬁx, 1d10t m o r o n."
    normalized = normalize(text)
    assert normalized.text == "👍🏽\r\ncafé idiot \ud800 fix, idiot moron."
    at = normalized.text.index("idiot")
    start, end = normalized.span(at, at + 5)
    assert text[start:end] == "i\u200bd\u200biot"
    at = normalized.text.index("moron")
    start, end = normalized.span(at, at + 5)
    assert text[start:end] == "m o r o n"
    at = normalized.text.index("fi")
    assert [text[slice(*normalized.span(at + i, at + i + 1))] for i in range(3)] == ["ﬁ", "ﬁ", "x"]
    assert [change[2:] for change in normalized.changes] == [
        ("\u200b", "", "zero-width characters"),
        ("\u200b", "", "zero-width characters"),
        ("ﬁx", "fix", "compatibility forms"),
        ("1d10t", "idiot", "leetspeak"),
        ("m o r o n", "moron", "spaced letters"),
    ]


def test_two_disguises_of_a_word_are_one_change() -> None:
    """Changes that overlap are told together."""
    (change,) = normalize("іd10t").changes
    assert change[2:4] == ("іd10t", "idiot")
    assert sorted(change.reason.split("; ")) == ["leetspeak", "look-alike letters"]


def test_a_range_outside_is_an_error() -> None:
    """The range of a span must lie in the text."""
    for start, end in ((-1, 0), (0, 3), (2, 1)):
        with pytest.raises(UsageError, match="expected 0 <= start"):
            normalize("ab").span(start, end)


def check_map(normalized: Normalized) -> None:
    """Check that the stretches of the single characters cover the original in order."""
    at, last = 0, (0, 0)
    for i in range(len(normalized.text)):
        span = normalized.span(i, i + 1)
        if span != last:
            assert span[0] == at < span[1]
            at, last = span[1], span
    assert at == len(normalized.original) or not normalized.text
    n = len(normalized.text)
    assert not n or normalized.span(0, n) == (0, len(normalized.original))


@given(TEXT, st.sampled_from([frozenset(), WORDS]))
@example("ﬁ\u200b", frozenset())
@example("\u200bid\b\bﬁ", frozenset())
@example("\u202e\u202eab\u202c\u202c", frozenset())
@example("i d i o t i.d.i.o.t-a", frozenset())
def test_properties(text: str, words: frozenset[str]) -> None:
    """The map covers the text in order, twice is once, and changes tell the original's words."""
    normalized = normalize(text, words=words)
    assert normalized.original == text
    check_map(normalized)
    assert normalize(normalized.text, words=words).text == normalized.text
    end = 0
    for change in normalized.changes:
        assert end <= change.start < change.end <= len(text)
        assert text[change.start : change.end] == change.before
        end = change.end


@given(TEXT.map(lambda text: text.encode("ascii", "ignore").decode()), st.booleans())
def test_the_fast_path_misses_nothing(text: str, listed: bool) -> None:
    """A text that is returned after one search would not have been changed."""
    words = WORDS if listed else frozenset[str]()
    full = module._undo(text, read_vocabulary(words))
    assert normalize(text, words=words).text == full.text


@given(st.text(st.characters(categories=["Lo"])) | st.text("абвгдежзийклмнопрстуфхцчшщъыьэюя .,"))
def test_other_scripts_are_unchanged(text: str) -> None:
    """Letters without case, and Russian, are read as they stand."""
    if not any("\u1100" <= c <= "\u11ff" or c in "\u3164\uffa0" for c in text):
        assert read(text) == text


PATTERNS = [
    "\u200b",
    "a",
    "\u0301",
    "\b",
    "a\u200b",
    "x\b",
    "i d i o ",
    "sh1t ",
    "id*ot ",
    "a.",
    "іd",
]


@pytest.mark.parametrize("pattern", PATTERNS, ids=ascii)
def test_linear_time(pattern: str) -> None:
    """Ten times the text takes about ten times as long."""

    def seconds(n: int) -> float:
        text = (pattern * (n // len(pattern) + 1))[:n]
        start = time.process_time()
        normalize(text, words=WORDS)
        return time.process_time() - start

    small = min(seconds(100_000) for _ in range(3))
    large = seconds(1_000_000)
    assert large < 30 * max(small, 0.02)
    assert large < (2 if len(pattern) == 1 else 20)


def test_plain_ascii_is_fast() -> None:
    """A plain sentence takes one search: the same text object comes back."""
    text = "You should have seen what they did with the garden; it was lovely, and we went home."
    normalized = normalize(text, words=WORDS)
    assert normalized.text is text
    assert normalized.changes == ()
    start = time.process_time()
    for _ in range(1000):
        normalize(text)
    assert time.process_time() - start < 0.1
