"""What every augmentation is given, gives back and must keep to.

::

    Augmenting(seed=0, tagger=tagger, load_generator=load)          -> context
    AUGMENTATION.apply(["you idiot", "42"], context)                -> ["you 1diot", None]
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from promptdetox.types import Generator, Tagger

# A text that got longer than this has lost what it said, or an engine has lost the thread.
_MAX_GROWTH = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmenting:
    """What augmentations need beside the texts.

    Attributes:
        load_generator: Name of a model -> its engine; asked only by augmentations that use a
            model, with every batch, so it must keep the engines that it has loaded.
        seed: Another seed gives other results where chance decides.
        tagger: Finds the toxic words; None: no word is known to be toxic and nothing is checked.
        model: Name of the model that finds synonyms and paraphrases; None for none.
        translators: Names of two models, there and back; empty for none.
    """

    load_generator: Callable[[str], Generator]
    seed: int = 0
    tagger: Tagger | None = None
    model: str | None = None
    translators: tuple[str, ...] = ()


Augment: TypeAlias = Callable[[Sequence[str], Augmenting], list[str | None]]
"""Texts -> one result a text, in order; None where a text could not be changed.

The same seed and text give the same result, whatever else is in the batch. A result differs from
its text, is not blank, is at most three times as long and has no more toxic spans.
"""


@dataclass(frozen=True, slots=True)
class Augmentation:
    """A registered augmentation.

    Attributes:
        name: The registered name.
        apply: What it does.
        is_local: True if it may be given a piece of a text without the rest, so that spans stay
            exact when the pieces between their borders are augmented one by one.
    """

    name: str
    apply: Augment
    is_local: bool


def random_for(name: str, text: str, context: Augmenting) -> random.Random:
    """Return the source of chance of one augmentation for one text."""
    material = f"{context.seed}\0{name}\0{text}".encode("utf-8", "surrogatepass")
    return random.Random(hashlib.sha256(material).digest())


def keep_usable(
    texts: Sequence[str], changed: Sequence[str | None], context: Augmenting
) -> list[str | None]:
    """Return the results with None for those that break what `Augment` promises.

    More toxic means more spans: a tagger's scores say how sure it is, not how bad a word is.
    """
    kept = [
        new
        if new is not None and new != text and new.strip() and len(new) <= _MAX_GROWTH * len(text)
        else None
        for text, new in zip(texts, changed, strict=True)
    ]
    if context.tagger is None:
        return kept
    at = [index for index, new in enumerate(kept) if new is not None]
    before = context.tagger.tag([texts[index] for index in at])
    after = context.tagger.tag([new for new in kept if new is not None])
    for index, old_spans, new_spans in zip(at, before, after, strict=True):
        if len(new_spans) > len(old_spans):
            kept[index] = None
    return kept
