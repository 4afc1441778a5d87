"""The walk: detect -> split -> prompt -> candidates -> choose -> Rewrite."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from promptdetox import registry
from promptdetox.config import RewriteConfig, load_config
from promptdetox.detect import Detector, mask_spans
from promptdetox.edits import diff_words
from promptdetox.prompts.builder import PromptBuilder
from promptdetox.prompts.demonstrations import NearestDemonstrations, read_pairs
from promptdetox.prompts.template import Template, load_template
from promptdetox.segment import Part, split_text
from promptdetox.tasks import load_task
from promptdetox.types import (
    Candidate,
    Decoding,
    Detection,
    Generator,
    Prompt,
    Rewrite,
    Scorer,
    Segment,
    Span,
    Status,
)
from promptdetox.windows import read_windows

_SCORERS = ("lexicon_neutral", "copy_rate", "length_ratio")


@dataclass(frozen=True, slots=True)
class _Job:
    """One part of one text that the model has to rewrite."""

    index: int
    part: Part
    text: str
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of one part."""

    output: str
    status: Status
    log_prob: float | None = None
    reason: str = ""


class Detoxifier:
    """Rewrites toxic text; clean text passes through byte for byte.

    >>> detoxifier = Detoxifier.from_pretrained(engine="fake")
    >>> [rewrite.output for rewrite in detoxifier.detox(["shut up, you idiot", "good morning"])]
    ['be quiet, you person', 'good morning']

    Args:
        generator: Engine that continues prompts.
        detector: Finds what is toxic; None rewrites everything.
        template: Prompt template.
        config: The settings, for the digest and for decoding.
        demonstrations: Chooses demonstrations a text; None for the template's own.
    """

    def __init__(
        self,
        generator: Generator,
        detector: Detector | None,
        *,
        template: Template,
        config: RewriteConfig,
        demonstrations: NearestDemonstrations | None = None,
    ) -> None:
        self.config = config
        self.template = template
        self._generator = generator
        self._detector = detector
        self._demonstrations = demonstrations
        # The answer to a text that fills the model would fill it too.
        self._max_room = min(config.max_new_tokens, generator.max_length // 3)
        self._builder = PromptBuilder.for_generator(template, generator, room=self._max_room)
        self._scorers: list[Scorer] | None = None
        parts = [
            config.digest,
            generator.digest,
            template.digest,
            detector.digest if detector else "",
        ]
        self.digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]

    @property
    def thresholds(self) -> Mapping[str, float]:
        """Category -> score from which a text is rewritten; empty without a detector."""
        return self._detector.thresholds if self._detector else {}

    @classmethod
    def from_pretrained(cls, model: str | None = None, **settings: Any) -> Detoxifier:
        """Return a detoxifier for a model.

        Args:
            model: A shipped or packaged model, a folder, a GGUF file or a hub id; default
                ``detox-smollm2.v1``.
            settings: Fields of `RewriteConfig`.

        Raises:
            ConfigError: An unknown setting, template, detector or model.
            ModelError: The weights are missing or damaged.
        """
        return cls.from_config(load_config(None, {"model": model, **settings}))

    @classmethod
    def from_config(cls, config: RewriteConfig) -> Detoxifier:
        """Return a detoxifier for resolved settings.

        Raises:
            ConfigError: An unknown template, detector or model.
            ModelError: The weights are missing or damaged.
        """
        # Names are checked first: a misspelt one must not cost the seconds a model takes to load.
        engine = registry.resolve("generator", config.engine)
        is_everything = config.detector == "none" and config.lexicon is None
        detector = None if is_everything else Detector.from_config(config)
        template = load_template(config.template) if config.template else None
        generator: Generator = engine.load(
            config.model,
            compute_type=config.compute_type,
            adapter=Path(config.adapter) if config.adapter else None,
            threads=config.threads,
        )
        if template is None:
            task = load_task("rewrite")
            is_chat = generator.chat_template is not None
            by_kind = task.chat_template if is_chat else task.plain_template
            template = load_template(generator.template or by_kind)
        return cls(
            generator,
            detector,
            template=template,
            config=config,
            demonstrations=_load_demonstrations(config),
        )

    def detox(self, texts: Sequence[str]) -> list[Rewrite]:
        """Return one `Rewrite` a text, in order; always a list.

        Raises:
            UsageError: A bare string, or something that is no list of strings, was given.
        """
        return list(self.stream(texts))

    def stream(self, texts: Iterable[str]) -> Iterator[Rewrite]:
        """Yield one `Rewrite` a text, in order, reading only a window ahead.

        Raises:
            UsageError: Something that is no string was given.
        """
        for window in read_windows(texts):
            yield from self._rewrite_window(window)

    def build_prompts(self, text: str) -> list[Prompt]:
        """Return the exact prompts that a text would be rewritten with; none if it is clean."""
        (found,) = self._find([text])
        return self._build_prompts(self._plan(0, text, found))

    def _rewrite_window(self, texts: Sequence[str]) -> Iterator[Rewrite]:
        detections = self._find(texts)
        plans = [
            self._plan(index, text, found)
            for index, (text, found) in enumerate(zip(texts, detections, strict=True))
        ]
        outcomes = self._rewrite_parts([job for plan in plans for job in plan])
        for text, found, plan in zip(texts, detections, plans, strict=True):
            yield self._assemble(text, found.spans, plan, list(islice(outcomes, len(plan))))

    def _find(self, texts: Sequence[str]) -> list[Detection]:
        """Return what is toxic; without a detector everything is, and no span is known."""
        if self._detector is None:
            return [Detection(text, toxic=True) for text in texts]
        return self._detector.detect(texts)

    def _plan(self, index: int, text: str, found: Detection) -> list[_Job]:
        """Return the parts of a text that need a rewrite: those with a span, or all."""
        if found.is_clean:
            return []
        spans = found.spans
        jobs = []
        n_before = 0
        for part in split_text(text, fits=self._builder.fits):
            while n_before < len(spans) and spans[n_before].end <= part.start:
                n_before += 1
            n_until = n_before
            while n_until < len(spans) and spans[n_until].start < part.end:
                n_until += 1
            if n_until > n_before or not spans:
                piece = text[part.start : part.end]
                inside = _within(spans[n_before:n_until], part)
                jobs.append(_Job(index=index, part=part, text=piece, spans=inside))
        return jobs

    def _build_prompts(self, jobs: Sequence[_Job]) -> list[Prompt]:
        if self._demonstrations is None:
            return [self._builder.build(job.text, spans=job.spans) for job in jobs]
        chosen = self._demonstrations.choose([job.text for job in jobs])
        return [
            self._builder.build(job.text, pairs, spans=job.spans)
            for job, pairs in zip(jobs, chosen, strict=True)
        ]

    def _rewrite_parts(self, jobs: Sequence[_Job]) -> Iterator[_Outcome]:
        unique = list({(job.text, job.spans): job for job in jobs}.values())
        prompts = self._build_prompts(unique)
        decoding = [self._bound(job.text) for job in unique]
        answers = self._generator.generate(prompts, decoding=decoding)
        candidates = {
            (job.text, job.spans): found for job, found in zip(unique, answers, strict=True)
        }
        verdicts = self._judge([c for found in candidates.values() for c in found])
        for job in jobs:
            yield self._choose(job, candidates[job.text, job.spans], verdicts)

    def _bound(self, text: str) -> Decoding:
        """Return how to decode a rewrite of this text.

        A rewrite is about as long as its text (ParaDetox train: 1.5 times at most in 99.9 % of the
        pairs, and never beyond this bound); an answer that goes on beyond that has lost the thread.
        """
        n_tokens = self._generator.count_tokens(Prompt((Segment(text, is_user=True),)))
        return Decoding(
            max_new_tokens=min(self._max_room, n_tokens * 3 // 2 + 16),
            n_candidates=self.config.n_candidates,
        )

    def _judge(self, candidates: Sequence[Candidate]) -> dict[tuple[str, bool], str]:
        """Return, for each answer (its text, and whether it is finished) that is no use, why not.

        Another text's answer may be the same and finished, where this one ran into its bound.
        """
        texts = list(dict.fromkeys(c.text for c in candidates))
        faults: dict[str, str] = {text: "the model gave no answer" for text in texts if not text}
        for text in texts:
            if self.template.instruction and self.template.instruction in text:
                faults[text] = "the model repeated the instruction"
        verdicts = {(text, is_whole): f for text, f in faults.items() for is_whole in (True, False)}
        for candidate in candidates:
            if not candidate.is_finished:
                why = f"no end within {candidate.n_tokens} tokens"
                verdicts.setdefault((candidate.text, False), why)
        if self._detector is not None:
            for found in self._detector.detect(texts):
                if not found.is_clean:
                    verdicts.setdefault((found.text, True), _describe_rest(found))
        return verdicts

    def _choose(
        self, job: _Job, candidates: Sequence[Candidate], verdicts: dict[tuple[str, bool], str]
    ) -> _Outcome:
        for candidate in candidates:
            if (candidate.text, candidate.is_finished) not in verdicts:
                return _Outcome(candidate.text, "rewritten", candidate.log_prob)
        return self._refuse(job, verdicts[candidates[0].text, candidates[0].is_finished])

    def _refuse(self, job: _Job, reason: str) -> _Outcome:
        if not job.spans or self.config.on_failure == "abstain":
            return _Outcome(job.text, "abstained", reason=reason)
        return _Outcome(mask_spans(job.text, job.spans), "masked", reason=reason)

    def _assemble(
        self,
        text: str,
        spans: tuple[Span, ...],
        plan: Sequence[_Job],
        outcomes: Sequence[_Outcome],
    ) -> Rewrite:
        if not plan:
            return Rewrite(text=text, output=text, status="clean", digest=self.digest)
        outcomes = self._check_seams(text, plan, outcomes)
        output, edits = _join(text, plan, outcomes), []
        for job, outcome in zip(plan, outcomes, strict=True):
            if outcome.output != job.text:
                edits += diff_words(
                    job.text, outcome.output, offset=job.part.start, spans=job.spans
                )
        status = next(s for s in _SEVERITY if any(outcome.status == s for outcome in outcomes))
        log_probs = [o.log_prob for o in outcomes if o.log_prob is not None]
        scores = self._score(text, output)
        if log_probs:
            scores["log_prob"] = sum(log_probs) / len(log_probs)
        return Rewrite(
            text=text,
            output=output,
            status=status,
            spans=spans,
            edits=tuple(edits),
            scores=scores,
            digest=self.digest,
            reason="; ".join(dict.fromkeys(o.reason for o in outcomes if o.reason)),
        )

    def _check_seams(
        self, text: str, plan: Sequence[_Job], outcomes: Sequence[_Outcome]
    ) -> Sequence[_Outcome]:
        """Refuse parts that are neutral each, but together are not: ``shut`` and ``up``."""
        is_whole = len(plan) == 1 and plan[0].text == text.strip()
        if self._detector is None or is_whole or any(o.status == "abstained" for o in outcomes):
            return outcomes
        (left,) = self._detector.detect([_join(text, plan, outcomes)])
        if left.is_clean:
            return outcomes
        return [self._refuse(job, _describe_rest(left)) for job in plan]

    def _score(self, text: str, output: str) -> dict[str, float | None]:
        if self._scorers is None:
            self._scorers = [registry.resolve("scorer", name)() for name in _SCORERS]
        return {scorer.name: scorer.score([text], [output])[0].value for scorer in self._scorers}


def _describe_rest(found: Detection) -> str:
    """Return why a rewrite is still toxic."""
    if found.spans:
        return f"the rewrite still has: {found.spans[0].reason}"
    name = "toxic" if found.toxic else "hateful"
    score = found.scores.get("toxicity" if found.toxic else "hateful", 1.0)
    return f"the rewrite is still {name}: {score:.2f}"


def _within(spans: Sequence[Span], part: Part) -> tuple[Span, ...]:
    """Return the stretches of a part that spans of the whole text cover."""
    return tuple(
        replace(
            span,
            start=max(span.start, part.start) - part.start,
            end=min(span.end, part.end) - part.start,
        )
        for span in spans
    )


# The status of a text is that of its worst part.
_SEVERITY: tuple[Status, ...] = ("abstained", "masked", "rewritten")


def _join(text: str, plan: Sequence[_Job], outcomes: Sequence[_Outcome]) -> str:
    """Return the text with each planned part replaced by what became of it."""
    pieces, at = [], 0
    for job, outcome in zip(plan, outcomes, strict=True):
        pieces += [text[at : job.part.start], outcome.output]
        at = job.part.end
    return "".join([*pieces, text[at:]])


def _load_demonstrations(config: RewriteConfig) -> NearestDemonstrations | None:
    if config.demonstrations is None:
        return None
    pairs = list(read_pairs(Path(config.demonstrations)))
    engine = "fake" if config.engine == "fake" else "ctranslate2"
    encoder = registry.resolve("encoder", engine).load(config.encoder)
    return NearestDemonstrations(pairs, encoder, n=config.n_demonstrations)
