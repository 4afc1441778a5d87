"""The text translated into another language and back, through two models.

Source: Sennrich et al. 2016, Improving Neural Machine Translation Models with Monolingual Data,
https://aclanthology.org/P16-1009; as augmentation: Yu et al. 2018, QANet,
https://arxiv.org/abs/1804.09541
"""

from __future__ import annotations

from collections.abc import Sequence

from promptdetox.augment.asking import ask, ask_in_parts
from promptdetox.augment.context import Augmentation, Augmenting, keep_usable
from promptdetox.errors import ConfigError
from promptdetox.types import Generator, Prompt, Segment


def back_translate(texts: Sequence[str], context: Augmenting) -> list[str | None]:
    """Return the texts after the way there and back, greedily: the seed changes nothing.

    Args:
        texts: Whole texts; a long one is translated in parts.
        context: Names two models that translate what they are given, without an instruction.

    Returns:
        One a text; None where a model gave no usable answer. Shape: (texts,).

    Raises:
        ConfigError: Not exactly two models are named.
        ModelError: One cannot be loaded.
    """
    if len(context.translators) != 2:
        raise ConfigError(
            f"--augment back-translation got {len(context.translators)} models in --translators: "
            "expected two, there and back; give both, or leave back-translation out."
        )
    there, back = (context.load_generator(name) for name in context.translators)
    changed = ask_in_parts(
        texts,
        lambda parts: _translate(back, _translate(there, parts)),
        fits=lambda part: there.count_tokens(_prompt(part)) <= there.max_length // 3,
    )
    return keep_usable(texts, changed, context)


def _translate(generator: Generator, texts: Sequence[str | None]) -> list[str | None]:
    answers = iter(ask(generator, [_prompt(text) for text in texts if text is not None]))
    return [None if text is None else next(answers) for text in texts]


def _prompt(text: str) -> Prompt:
    return Prompt((Segment(text, is_user=True),))


AUGMENTATION = Augmentation("back-translation", back_translate, is_local=False)
