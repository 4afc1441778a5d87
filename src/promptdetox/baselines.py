"""Systems without a model, to stand beside every figure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from promptdetox import registry
from promptdetox.types import Tagger

_SPACES = re.compile(r"[ \t]{2,}")


def copy_text(texts: Sequence[str]) -> list[str]:
    """Return the texts as they are.

    Source: the "duplicate" baseline of TextDetox 2024, Dementieva et al.
    """
    return list(texts)


def delete_spans(texts: Sequence[str], *, tagger: Tagger | None = None) -> list[str]:
    """Return the texts without their toxic words.

    Args:
        texts: Any texts.
        tagger: What finds the words; default ``lexicon-en.v1``.

    Source: the deletion baseline of Logacheva et al. 2022, ParaDetox,
    https://aclanthology.org/2022.acl-long.469
    """
    chosen: Tagger = tagger or registry.resolve("tagger", "lexicon-en.v1")()
    outputs = []
    for text, spans in zip(texts, chosen.tag(texts), strict=True):
        for span in reversed(spans):
            text = text[: span.start] + text[span.end :]
        if spans:
            text = _SPACES.sub(" ", text).strip()
        outputs.append(text)
    return outputs
