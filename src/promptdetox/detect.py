"""The first step of every rewrite: which texts are toxic, and where."""

from __future__ import annotations

from pathlib import Path

from promptdetox import registry
from promptdetox.types import Span, Tagger


def load_tagger(name: str, *, lexicon: str | None = None) -> Tagger:
    """Return a registered tagger, or one for the user's own word list.

    Args:
        name: Registered name, such as ``lexicon-en.v1``; ``none`` finds nothing.
        lexicon: Path of a word list, used instead.

    Raises:
        ConfigError: No such tagger.
        DataError: The word list is broken.
        FileError: The word list cannot be read.
    """
    if lexicon is not None:
        from promptdetox.spans.lexicon import load_lexicon

        custom: Tagger = load_lexicon(Path(lexicon))
        return custom
    tagger: Tagger = registry.resolve("tagger", name)()
    return tagger


def mask_spans(text: str, spans: tuple[Span, ...]) -> str:
    """Return the text with each character of the spans but white space replaced by ``*``."""
    pieces, at = [], 0
    for span in spans:
        word = text[span.start : span.end]
        pieces += [text[at : span.start], "".join(c if c.isspace() else "*" for c in word)]
        at = span.end
    return "".join([*pieces, text[at:]])
