"""The first step of every rewrite: which texts are toxic, and where."""

from __future__ import annotations

from pathlib import Path

from promptdetox import registry
from promptdetox.models.catalog import LEARNT_FILE
from promptdetox.types import Span, Tagger


def load_tagger(name: str, *, lexicon: str | None = None) -> Tagger:
    """Return a registered tagger, one that was learnt, or one for the user's own word list.

    Args:
        name: Registered name, such as ``lexicon-en.v1``; ``none`` finds nothing; or a folder that
            ``promptdetox train --task tag`` left.
        lexicon: Path of a word list, used instead.

    Raises:
        ConfigError: No such tagger.
        DataError: The word list is broken.
        FileError: The word list cannot be read.
        ModelError: The folder holds no tagger, or torch, which it needs, is not installed.
    """
    if lexicon is not None:
        from promptdetox.spans.lexicon import load_lexicon

        custom: Tagger = load_lexicon(Path(lexicon))
        return custom
    if name not in registry.names("tagger") and Path(name, LEARNT_FILE).is_file():
        from promptdetox.spans.learnt import load_folder

        learnt: Tagger = load_folder(Path(name))
        return learnt
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
