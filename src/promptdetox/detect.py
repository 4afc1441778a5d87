"""The first step of every rewrite: which texts are toxic, and where.

::

    text -> normalised -> allowed terms hidden -> tagger -> spans, scores -> decisions

What the tagger reads is never what the user gets back: spans point into the text as it was given.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptdetox import registry
from promptdetox.config import DetectConfig, load_detection
from promptdetox.errors import ConfigError, ModelError, unknown_name
from promptdetox.models.catalog import LEARNT_FILE, shipped_folder, shipped_models
from promptdetox.models.checkpoint import read_json
from promptdetox.normalize import Normalized, normalize
from promptdetox.types import CATEGORIES, Detection, Reading, Span, Tagger
from promptdetox.windows import read_windows

if TYPE_CHECKING:
    from promptdetox.spans.lexicon import LexiconTagger

# Stands in the place of a term that is allowed.
_FILLER = "it"
# Characters on each side of a span that its costs are measured in.
_AROUND = 300


class Detector:
    """Finds what is toxic in texts, says why, and decides.

    >>> detector = Detector.from_pretrained("lexicon-en.v1")
    >>> [(d.toxic, d.spans[0].start, d.spans[0].end) for d in detector.detect(["you 1d10t"])]
    [(True, 4, 9)]

    Args:
        tagger: Reads the normalised text.
        config: The settings.
        allow: Terms that are no insult here.
        deny: Terms that are always toxic here.
        lexicon: Terms that disguises may hide, and whose categories stand in reasons.
    """

    def __init__(
        self,
        tagger: Tagger,
        *,
        config: DetectConfig,
        allow: Sequence[LexiconTagger] = (),
        deny: LexiconTagger | None = None,
        lexicon: LexiconTagger | None = None,
    ) -> None:
        self.config = config
        self._tagger, self._allow, self._deny, self._lexicon = tagger, allow, deny, lexicon
        listed = [list_.words for list_ in (lexicon, deny) if list_ is not None]
        self._is_checked = False
        self._words: frozenset[str] = frozenset().union(*listed)
        self.thresholds: Mapping[str, float] = {**tagger.thresholds, **config.thresholds}
        lists = [list_.digest for list_ in (*allow, deny, lexicon) if list_ is not None]
        parts = [tagger.digest, config.explain, sorted(self.thresholds.items()), lists]
        self.digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]

    @classmethod
    def from_pretrained(cls, detector: str | None = None, **settings: Any) -> Detector:
        """Return a detector.

        Args:
            detector: A registered tagger, a shipped detector, or a folder that ``train`` left;
                default: that of `DetectConfig`.
            settings: Fields of `DetectConfig`.

        Raises:
            ConfigError: An unknown setting or detector.
            ModelError: The weights are missing or damaged.
        """
        return cls.from_config(load_detection(None, {"detector": detector, **settings}))

    @classmethod
    def from_config(cls, config: DetectConfig) -> Detector:
        """Return a detector for resolved settings.

        Raises:
            ConfigError: An unknown detector.
            DataError: A list is broken.
            FileError: A list cannot be read.
            ModelError: The weights are missing or damaged.
        """
        from promptdetox.spans.lexicon import (
            LexiconTagger,
            load_allowed,
            load_default,
            load_lexicon,
        )

        tagger = load_tagger(config.detector_name, lexicon=config.lexicon, threads=config.threads)
        allow = [load_allowed(), *([load_lexicon(Path(config.allow))] if config.allow else [])]
        deny = load_lexicon(Path(config.deny)) if config.deny else None
        lexicon = tagger if isinstance(tagger, LexiconTagger) else load_default()
        return cls(tagger, config=config, allow=allow, deny=deny, lexicon=lexicon)

    def detect(self, texts: Sequence[str]) -> list[Detection]:
        """Return one `Detection` a text, in order; always a list.

        Raises:
            UsageError: A bare string, or something that is no list of strings, was given.
        """
        return list(self.stream(texts))

    def stream(self, texts: Iterable[str]) -> Iterator[Detection]:
        """Yield one `Detection` a text, in order, reading only a window ahead.

        Raises:
            UsageError: Something that is no string was given.
        """
        for window in read_windows(texts):
            yield from self._detect(window)

    def find_toxic(self, texts: Sequence[str]) -> list[bool]:
        """Return for each text whether it is toxic.

        Raises:
            UsageError: A bare string, or something that is no list of strings, was given.
        """
        return [found.toxic for found in self.stream(texts)]

    def find_spans(self, texts: Sequence[str]) -> list[tuple[Span, ...]]:
        """Return the toxic spans of each text.

        Raises:
            UsageError: A bare string, or something that is no list of strings, was given.
        """
        return [found.spans for found in self.stream(texts)]

    def _detect(self, texts: Sequence[str]) -> list[Detection]:
        views = [self._view(text) for text in texts]
        readings = self._tagger.read([view.text for view in views])
        denied = self._deny.read([v.normalized.text for v in views]) if self._deny else None
        found = []
        for index, (view, reading) in enumerate(zip(views, readings, strict=True)):
            if denied is not None and denied[index].spans:
                reading = _with_denied(reading, denied[index])
            found.append(self._decide(view, reading))
        return self._explain(found) if self.config.explain else found

    def _view(self, text: str) -> _View:
        normalized = normalize(text, words=self._words)
        shown = normalized.text
        for allowed in self._allow:
            shown = _replace_spans(shown, allowed.tag([shown])[0], _fill)
        return _View(normalized, shown)

    def _decide(self, view: _View, reading: Reading) -> Detection:
        self._check_categories(reading.scores)
        reached = {
            name
            for name, threshold in self.thresholds.items()
            if reading.scores.get(name, 0.0) >= threshold
        }
        return Detection(
            text=view.normalized.original,
            scores=_in_order(reading.scores),
            spans=tuple(self._place(view, span) for span in reading.spans) if reached else (),
            toxic=bool(reached - {"hateful"}),
            hateful="hateful" in reached,
            digest=self.digest,
        )

    def _check_categories(self, scores: Mapping[str, float]) -> None:
        """Refuse a threshold that can never be reached, as nothing has that score.

        Raises:
            ConfigError: There is one.
        """
        if self._is_checked:
            return
        for name in self.config.thresholds:
            if name not in scores:
                raise ConfigError(
                    f"--threshold {name}: {self.config.detector_name} does not score it; expected "
                    f"one of {', '.join(_in_order(scores)) or 'nothing'}."
                )
        self._is_checked = True

    def _place(self, view: _View, span: Span) -> Span:
        """Return the span in the original, with its reasons."""
        start, end = view.normalized.span(span.start, span.end)
        reasons = [span.reason] if span.reason else []
        read = view.normalized.text[span.start : span.end]
        if self._lexicon is not None and self._lexicon is not self._tagger:
            reasons += [entry.reason for entry in self._lexicon.tag([read])[0]]
        if read != view.normalized.original[start:end]:
            reasons.append(f"reads as {read!r}")
        return Span(start, end, span.score, "; ".join(dict.fromkeys(reasons)))

    def _explain(self, found: Sequence[Detection]) -> list[Detection]:
        """Add to each span what it costs: the scores of its surroundings with and without it.

        Other spans are left out of both, as each of two insults is enough, and neither would cost
        anything beside the other; at most `_AROUND` characters stay on each side.

        Source: occlusion, Zeiler and Fergus 2014, https://arxiv.org/abs/1311.2901; for words, Li et
        al. 2016, https://arxiv.org/abs/1612.08220.
        """
        places = [(index, at) for index, d in enumerate(found) for at in range(len(d.spans))]
        parts = [_around(found[index].text, found[index].spans, at) for index, at in places]
        texts = [
            t for before, word, after in parts for t in (before + word + after, before + after)
        ]
        readings = iter(self._tagger.read([self._view(text).text for text in texts]))
        spans = [list(detection.spans) for detection in found]
        for index, at in places:
            span = spans[index][at]
            why = _costs(next(readings).scores, next(readings).scores)
            spans[index][at] = replace(span, reason="; ".join(filter(None, [span.reason, why])))
        return [replace(d, spans=tuple(s)) for d, s in zip(found, spans, strict=True)]


def _around(text: str, spans: Sequence[Span], at: int) -> tuple[str, str, str]:
    """Return what stands before, in and after a span, without the other spans."""
    span = spans[at]
    begin, end = max(0, span.start - _AROUND), min(len(text), span.end + _AROUND)
    first, last = at, at + 1
    while first > 0 and spans[first - 1].end > begin:
        first -= 1
    while last < len(spans) and spans[last].start < end:
        last += 1
    before = _cut_out(text, begin, span.start, spans[first:at])
    return before, text[span.start : span.end], _cut_out(text, span.end, end, spans[at + 1 : last])


def _cut_out(text: str, start: int, end: int, spans: Sequence[Span]) -> str:
    """Return ``text[start:end]`` without spans that lie in it, or reach into it."""
    pieces, at = [], start
    for span in spans:
        pieces.append(text[at : span.start])
        at = span.end
    return "".join([*pieces, text[at:end]])


@dataclass(frozen=True, slots=True)
class _View:
    """A text as the tagger reads it: `text` has the length of the normalised one."""

    normalized: Normalized
    text: str


def _in_order(scores: Mapping[str, float]) -> dict[str, float]:
    """Return scores with the known categories first, in their order."""
    known = {name: scores[name] for name in CATEGORIES if name in scores}
    return known | {name: score for name, score in scores.items() if name not in known}


def _with_denied(reading: Reading, denied: Reading) -> Reading:
    """Return a reading with the terms of a deny-list, which are toxic whatever they score."""
    spans = [
        replace(span, score=1.0, reason=span.reason.replace("lexicon:", "deny-list:", 1))
        for span in denied.spans
    ]
    kept, at = [], 0
    for span in reading.spans:
        while at < len(spans) and spans[at].end <= span.start:
            at += 1
        if at == len(spans) or spans[at].start >= span.end:
            kept.append(span)
    scores = {**reading.scores, "toxicity": 1.0}
    for name, score in denied.scores.items():
        if score and name != "toxicity":
            scores[name] = 1.0
    return Reading(tuple(sorted([*kept, *spans], key=lambda span: span.start)), scores)


def _costs(before: Mapping[str, float], after: Mapping[str, float]) -> str:
    """Return the scores with and without a span as a phrase, what loses most first."""
    kinds = [name for name in before if name not in ("toxicity", "severe_toxicity", "hateful")]
    lost = {name: before[name] - after.get(name, 0.0) for name in kinds}
    worst = max(lost, key=lambda name: lost[name], default=None)
    phrases = [worst.replace("_", " ")] if worst is not None and lost[worst] > 0.05 else []
    if "toxicity" in before:
        phrases.append(
            f"toxicity {before['toxicity']:.2f} with it, {after.get('toxicity', 0.0):.2f} without"
        )
    return ": ".join(phrases)


def load_tagger(name: str, *, lexicon: str | None = None, threads: int | None = None) -> Tagger:
    """Return a registered tagger, one that was learnt, or one for the user's own word list.

    Args:
        name: Registered name, such as ``lexicon-en.v1``; ``none`` finds nothing; or a folder that
            ``promptdetox train --task tag`` or ``--task detect`` left.
        lexicon: Path of a word list, used instead.
        threads: Workers of a learnt one.

    Raises:
        ConfigError: No such tagger.
        DataError: The word list is broken.
        FileError: The word list cannot be read.
        ModelError: The folder holds no tagger, or what it needs is not installed.
    """
    if lexicon is not None:
        from promptdetox.spans.lexicon import load_lexicon

        custom: Tagger = load_lexicon(Path(lexicon))
        return custom
    registered = registry.names("tagger")
    if name not in registered and is_learnt(name):
        from promptdetox.spans.learnt import load_folder

        learnt: Tagger = load_folder(name, threads=threads)
        return learnt
    if name not in registered and Path(name).is_dir():
        raise ModelError(
            f"{name} holds no detector: expected {LEARNT_FILE}, which `promptdetox train --task "
            "detect` writes."
        )
    if name not in registered:
        raise unknown_name("detector", name, [*shipped_detectors(), *registered])
    tagger: Tagger = registry.resolve("tagger", name)()
    return tagger


def is_learnt(name: str) -> bool:
    """Tell whether a name is that of something learnt: shipped, or a folder."""
    return any((folder / LEARNT_FILE).is_file() for folder in (shipped_folder() / name, Path(name)))


def shipped_detectors() -> list[str]:
    """Return the names of the learnt detectors that come with this package."""
    return [
        name
        for name in shipped_models()
        if "heads" in read_json(shipped_folder() / name / LEARNT_FILE)
    ]


def mask_spans(text: str, spans: Sequence[Span]) -> str:
    """Return the text with each character of the spans but white space replaced by ``*``."""
    return _replace_spans(text, spans, _star)


def _replace_spans(text: str, spans: Sequence[Span], change: Callable[[str], str]) -> str:
    pieces, at = [], 0
    for span in spans:
        pieces += [text[at : span.start], change(text[span.start : span.end])]
        at = span.end
    return "".join([*pieces, text[at:]])


def _star(words: str) -> str:
    return "".join(char if char.isspace() else "*" for char in words)


def _fill(words: str) -> str:
    """Return the filler, as long as the words, so that offsets hold."""
    return _FILLER.ljust(len(words))[: len(words)]
