"""Write contrast data for `hateful` against `toxic`, from the frames and slots of `contrast.toml`.

    python recipes/make_contrast.py --n 6000 --seed 0 -o contrast.jsonl

    {"id": "contrast-176-002", "text": "My dentist turned out to be a Ghanaian; we spent …",
     "label": 0, "hateful": 0, "phenomenon": "implicit"}

The first number of an id is the frame's, so that a split can hold whole frames out. `spelling` rows
are texts of all the other phenomena, in odd spelling. Counts go to standard error.

Source: own; frames and slots were written by hand for this file, and none is from a data set.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import tomllib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).resolve().with_name("contrast.toml")
LABELS = {"hateful": (1, 1), "toxic": (1, 0), "clean": (0, 0)}
MIN_FRAMES = 400
BALANCED = ("group", "slur", "own_word")  # kinds of nouns that must tell nothing by themselves
SHARE = (0.35, 0.65)  # of hateful rows among those that hold such a noun
MIN_COUNTED = 20  # rows that hold it, before its share is judged
N_WORDS = (4, 40)
N_TRIES = 12

_SLOT = re.compile(r"\{(?:([aA]) )?([A-Za-z_]+)(\d?)(?:@([a-z,]+))?\}")
_CHOICE = re.compile(r"\[([^\[\]]*)\]")
_VOWEL = re.compile(r"(?!eu|uk|uni[^nm]|use|one)[aeiou]|honest|hour|heir", re.I)
_PRONOUNS = {"he": ("he", "she"), "him": ("him", "her"), "his": ("his", "her")}
_LEET = str.maketrans("aeiost", "43105+")


@dataclass(frozen=True)
class Noun:
    """A noun of a kind, by form: `groups`, `group` and `adj`, or `insults` and `insult`."""

    name: str
    kind: str
    axis: str
    sex: str
    forms: dict[str, str] = field(compare=False)


@dataclass(frozen=True)
class Frame:
    """A line written by hand."""

    number: int
    phenomenon: str
    polarity: str
    text: str


@dataclass(frozen=True)
class Grammar:
    """What the source holds."""

    frames: list[Frame]
    slots: dict[str, list[str]]
    nouns: dict[str, list[Noun]]
    kinds: dict[str, str]
    """The kind of noun of a form's name."""
    classes: dict[str, list[str]]
    weights: dict[str, float]
    hateful_shares: dict[str, float]
    surface: dict[str, Any]


def read_lines(block: str) -> list[str]:
    """Return the lines of a block, without comments."""
    return [line for line in block.strip().splitlines() if line and not line.startswith("# ")]


def read_grammar(path: Path) -> Grammar:
    """Return the source's parts."""
    raw = tomllib.loads(path.read_text("utf-8"))
    nouns: dict[str, list[Noun]] = {}
    kinds: dict[str, str] = {}
    for kind, axes in raw["nouns"].items():
        names = [f"{kind}s", kind, "adj"]
        nouns[kind] = []
        for axis, block in axes.items():
            for line in read_lines(block):
                *forms, sex = ([part.strip() for part in line.split("|")] + ["", ""])[:4]
                named = {n: form for n, form in zip(names, forms, strict=True) if form}
                nouns[kind].append(Noun(forms[0], kind, axis, sex, named))
                kinds |= dict.fromkeys(named, kind)
    classes = raw["classes"] | {noun.axis: [noun.axis] for noun in nouns["group"]}
    lines = [
        (phenomenon, polarity, line)
        for phenomenon, parts in raw["frames"].items()
        for polarity in LABELS
        for line in read_lines(parts.get(polarity, ""))
    ]
    frames = [Frame(number, *line) for number, line in enumerate(lines)]
    weights = {name: parts["weight"] for name, parts in raw["frames"].items()}
    usual = raw["surface"]["hateful"]
    shares = {name: parts.get("hateful_share", usual) for name, parts in raw["frames"].items()}
    return Grammar(frames, raw["slots"], nouns, kinds, classes, weights, shares, raw["surface"])


def check_grammar(grammar: Grammar) -> None:
    """Stop at an unknown slot or class of groups, at a frame that stands twice, or is too long."""
    texts = Counter(frame.text.casefold() for frame in grammar.frames)
    assert len(texts) == len(grammar.frames), f"frames that stand twice: {texts.most_common(3)}"
    assert len(texts) >= MIN_FRAMES, f"{len(texts)} frames: expected {MIN_FRAMES} or more"
    for text in texts:
        n_words = len(_CHOICE.sub("word", _SLOT.sub("word", text)).split())
        assert N_WORDS[0] <= n_words <= N_WORDS[1], f"{n_words} words: not in {N_WORDS}, {text!r}"
    known = {*grammar.slots, *grammar.kinds, *_PRONOUNS}
    values = [value for values in grammar.slots.values() for value in values]
    for text in [*(frame.text for frame in grammar.frames), *values]:
        for _, name, _, axes in _SLOT.findall(text):
            assert name.lower() in known, f"no slot {name!r}, in {text!r}"
            for axis in filter(None, axes.split(",")):
                assert axis in grammar.classes, f"no class of groups {axis!r}, in {text!r}"
        rest = _CHOICE.sub("word", _SLOT.sub("word", text))
        assert not re.search(r"[{}\[\]]", rest), f"brackets that do not match: {text!r}"


def with_article(article: str, value: str) -> str:
    """Return the value, after `a` or `an` where an article is asked for."""
    return f"{article}{'n' * bool(_VOWEL.match(value))} {value}" if article else value


class Writer:
    """Fills frames; the noun used least with a polarity comes first, so that all are balanced."""

    def __init__(self, grammar: Grammar, rng: random.Random) -> None:
        self.grammar = grammar
        self.rng = rng
        self.tally: Counter[tuple[Noun, bool]] = Counter()

    def write(self, frame: Frame) -> tuple[str, list[Noun]]:
        """Return a text of the frame, with the nouns in it."""
        text = frame.text
        while _CHOICE.search(text):
            text = _CHOICE.sub(lambda match: self.rng.choice(match[1].split("|")), text, count=1)
        text = self.fill_slots(text)
        chosen = self.choose_nouns(text, is_hateful=frame.polarity == "hateful")
        sex = next((noun.sex for noun in chosen.values() if noun.sex), "") or self.rng.choice("mf")

        def replace(match: re.Match[str]) -> str:
            article, name, digit, _ = match.groups()
            if name.lower() in _PRONOUNS:
                value = _PRONOUNS[name.lower()][sex == "f"]
            else:
                noun = chosen[self.grammar.kinds[name.lower()], digit]
                value = noun.forms[name.lower()]
            value = value[0].upper() + value[1:] if name[0].isupper() else value
            return with_article(article or "", value)

        return _SLOT.sub(replace, text), list(chosen.values())

    def fill_slots(self, text: str) -> str:
        """Return the text with all slots but those of nouns and pronouns filled."""
        memory: dict[tuple[str, str], str] = {}

        def replace(match: re.Match[str]) -> str:
            article, name, digit, _ = match.groups()
            values = self.grammar.slots.get(name.lower())
            if values is None:
                return match[0]
            if (key := (name.lower(), digit)) not in memory:
                taken = {memory[k] for k in memory if k[0] == key[0]}
                memory[key] = self.rng.choice([value for value in values if value not in taken])
            value = memory[key]
            if name[0].isupper():
                first = re.sub(r"\{(?:a )?(.)", lambda m: m[0][:-1] + m[1].upper(), value, count=1)
                value = first if value.startswith("{") else value[0].upper() + value[1:]
            return with_article(article or "", value)

        while (filled := _SLOT.sub(replace, text)) != text:
            text = filled
        return text

    def choose_nouns(self, text: str, *, is_hateful: bool) -> dict[tuple[str, str], Noun]:
        """Return a noun for each kind and digit in the text, with all the forms asked for."""
        wanted: dict[tuple[str, str], set[str]] = defaultdict(set)
        axes: dict[tuple[str, str], list[set[str]]] = defaultdict(list)
        for _, name, digit, restriction in _SLOT.findall(text):
            if name.lower() in _PRONOUNS:
                continue
            key = (self.grammar.kinds[name.lower()], digit)
            wanted[key].add(name.lower())
            if restriction:
                classes = (self.grammar.classes[part] for part in restriction.split(","))
                axes[key].append(set().union(*classes))
        chosen: dict[tuple[str, str], Noun] = {}
        for key, forms in wanted.items():
            pool = [
                noun
                for noun in self.grammar.nouns[key[0]]
                if forms <= noun.forms.keys()
                and all(noun.axis in allowed for allowed in axes[key])
                and noun not in chosen.values()
            ]
            assert pool, f"no noun fits {text!r}"
            self.rng.shuffle(pool)
            chosen[key] = min(pool, key=lambda noun: self.tally[noun, is_hateful])
        return chosen


def put_around(text: str, grammar: Grammar, rng: random.Random) -> str:
    """Return the text, sometimes with a sentence before or after it, or without capitals."""
    surface = grammar.surface
    if rng.random() < surface["share_before"]:
        text = f"{rng.choice(surface['before'])} {text}"
    if rng.random() < surface["share_after"]:
        end = "" if text[-1] in ".!?\"'" else "."
        text = f"{text}{end} {rng.choice(surface['after'])}"
    draw = rng.random()
    if draw < surface["lower_case"]:
        return text.lower().rstrip(".")
    return text.upper() if draw > 1 - surface["capitals"] else text


def change_words(share: float, change: Callable[[str], str]) -> Callable[..., str]:
    """Return a function that changes a share of a text's longer words, one at least."""

    def apply(text: str, rng: random.Random) -> str:
        words = text.split(" ")
        places = [i for i, word in enumerate(words) if len(word) > 3]
        for place in rng.sample(places, min(len(places), max(1, round(share * len(places))))):
            words[place] = change(words[place])
        return " ".join(words)

    return apply


def join_words(text: str, rng: random.Random) -> str:
    """Return the text with some of its spaces gone, or all."""
    share = rng.choice([0.15, 0.3, 0.5, 1.0])
    return re.sub(" ", lambda _: "" if rng.random() < share else " ", text)


def drop_points(text: str, rng: random.Random) -> str:
    """Return the text in one case, without punctuation."""
    return rng.choice([str.lower, str.lower, str.upper])(re.sub(r"[^\w\s*]", "", text))


NOISES: list[Callable[..., str]] = [
    change_words(0.4, lambda word: word.lower().translate(_LEET)),
    change_words(0.2, " ".join),
    change_words(0.2, ".".join),
    change_words(0.3, lambda word: word[0] + word[2] + word[1] + word[3:]),  # two letters swapped
    change_words(0.3, lambda word: re.sub(r"(?<=\w)[aeiou]", "*", word, count=1)),
    change_words(0.25, lambda word: re.sub(r"([aeiouy])(?!.*[aeiouy])", r"\1\1\1\1", word)),
    join_words,
    drop_points,
]


def spell_oddly(text: str, rng: random.Random) -> str:
    """Return the text after one or two kinds of noise."""
    for noise in rng.sample(NOISES, rng.choice([1, 1, 2])):
        text = noise(text, rng)
    return text


def split_by_weight(n: int, weights: dict[Any, float]) -> dict[Any, int]:
    """Return n in whole parts, by largest remainder."""
    exact = {key: n * weight / sum(weights.values()) for key, weight in weights.items()}
    parts = {key: int(value) for key, value in exact.items()}
    for key in sorted(exact, key=lambda k: parts[k] - exact[k])[: n - sum(parts.values())]:
        parts[key] += 1
    return parts


def frames_of(grammar: Grammar, phenomenon: str) -> list[Frame]:
    """Return a phenomenon's frames; for `spelling`, which has none of its own, all."""
    frames = [frame for frame in grammar.frames if frame.phenomenon == phenomenon]
    return frames or grammar.frames


def plan_rows(grammar: Grammar, n: int) -> dict[tuple[str, str], int]:
    """Return how many rows each phenomenon gets with each polarity."""
    plan: dict[tuple[str, str], int] = {}
    for phenomenon, n_rows in split_by_weight(n, grammar.weights).items():
        counts = Counter(frame.polarity for frame in frames_of(grammar, phenomenon))
        shares: dict[str, float] = dict(counts)
        if n_hateful := counts.pop("hateful", 0):
            share = grammar.hateful_shares[phenomenon]
            shares["hateful"] = counts.total() * share / (1 - share) if counts else n_hateful
        for polarity, part in split_by_weight(n_rows, shares).items():
            plan[phenomenon, polarity] = part
    return plan


def deal(frames: list[Frame], rng: random.Random) -> Iterator[Frame]:
    """Yield the frames for ever, each once a round."""
    while True:
        rng.shuffle(frames)
        yield from list(frames)


def build_rows(grammar: Grammar, n: int, seed: int) -> tuple[list[dict[str, Any]], Writer]:
    """Return n rows in random order, no two of one text, and the writer with its tally."""
    rng = random.Random(seed)
    writer = Writer(grammar, rng)
    cells = [cell for cell, count in plan_rows(grammar, n).items() for _ in range(count)]
    rng.shuffle(cells)
    decks = {
        (name, polarity): deal([f for f in frames_of(grammar, name) if f.polarity == polarity], rng)
        for name, polarity in sorted(set(cells))
    }
    seen: set[str] = set()
    rows, uses = [], Counter[int]()
    for cell in cells:
        frame, text = write_new(writer, decks[cell], seen)
        text = spell_oddly(text, rng) if cell[0] == "spelling" else text
        uses[frame.number] += 1
        label, hateful = LABELS[frame.polarity]
        number = f"contrast-{frame.number:03}-{uses[frame.number]:03}"
        row = {"id": number, "text": text, "label": label, "hateful": hateful}
        rows.append({**row, "phenomenon": cell[0]})
    return rows, writer


def write_new(writer: Writer, deck: Iterator[Frame], seen: set[str]) -> tuple[Frame, str]:
    """Return a frame with a text that was not seen; a frame that has no more gives way."""
    for frame in (next(deck) for _ in range(200)):
        for _ in range(N_TRIES):
            plain, nouns = writer.write(frame)
            key = re.sub(r"\W", "", plain.casefold())
            if key in seen:
                continue
            seen.add(key)
            for noun in nouns:
                writer.tally[noun, frame.polarity == "hateful"] += 1
            return frame, put_around(plain, writer.grammar, writer.rng)
    sys.exit(f"no new text like {frame.text!r}: ask for fewer rows with --n, or add frames")


def check_rows(rows: list[dict[str, Any]], writer: Writer) -> None:
    """Stop at a text that stands twice, or a noun that stands mostly on one side."""
    texts = Counter(row["text"].casefold() for row in rows)
    assert len(texts) == len(rows), f"texts that stand twice: {texts.most_common(3)}"
    for noun in (noun for kind in BALANCED for noun in writer.grammar.nouns[kind]):
        total = writer.tally[noun, True] + writer.tally[noun, False]
        if total >= MIN_COUNTED:
            share = writer.tally[noun, True] / total
            found = f"{share:.2f} of {total} rows with {noun.name!r} are hateful"
            assert SHARE[0] <= share <= SHARE[1], f"{found}: expected {SHARE[0]} to {SHARE[1]}"


def make_rows(n: int, seed: int) -> tuple[list[dict[str, Any]], Writer]:
    """Return n checked rows, and what wrote them."""
    grammar = read_grammar(SOURCE)
    check_grammar(grammar)
    rows, writer = build_rows(grammar, n, seed)
    check_rows(rows, writer)
    again, _ = build_rows(grammar, n, seed)
    assert again == rows, "two runs with one seed differ: expected the same rows"
    return rows, writer


def describe(rows: list[dict[str, Any]], writer: Writer) -> str:
    """Return the counts by phenomenon and polarity, and the range over balanced nouns."""
    cells = Counter((row["phenomenon"], (row["label"], row["hateful"])) for row in rows)
    cells.update(("all", (row["label"], row["hateful"])) for row in rows)
    lines = [f"{'':12}" + "".join(f"{name:>9}" for name in LABELS)]
    for name in [*writer.grammar.weights, "all"]:
        lines.append(f"{name:12}" + "".join(f"{cells[name, pair]:9}" for pair in LABELS.values()))
    for kind in BALANCED:
        nouns = writer.grammar.nouns[kind]
        sums = [writer.tally[noun, True] + writer.tally[noun, False] for noun in nouns]
        shares = [
            writer.tally[noun, True] / max(1, sum_) for noun, sum_ in zip(nouns, sums, strict=True)
        ]
        lines.append(
            f"{len(nouns)} nouns of the kind {kind}: {min(sums)} to {max(sums)} rows each, "
            f"hateful {min(shares):.2f} to {max(shares):.2f}"
        )
    return "\n".join([*lines, f"{len(writer.grammar.frames)} frames"])


def main() -> None:
    """Run the recipe."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=6000, help="rows (default: 6000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, help="default: standard output")
    args = parser.parse_args()
    rows, writer = make_rows(args.n, args.seed)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    if args.output:
        args.output.write_text(text, "utf-8")
    else:
        sys.stdout.write(text)
    print(describe(rows, writer), file=sys.stderr)


if __name__ == "__main__":
    main()
